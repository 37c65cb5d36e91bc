"""``make demo-parity``: what users of the older tools did, done here, and read back by other tools.

``python -m tests.support.parity [WORD …]`` plays all cases, or those whose title has one of the
words, prints a line for each, and last how many passed. It starts two SeaweedFS, a MiniStack and
a test server of Alibaba Cloud OSS, and ends them.
"""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tests import support
from tests.support.parity_registry import CASES, Case
from tests.support.processes import folder_of_its_own

if TYPE_CHECKING:
    from tests.support.parity_world import World

_MODULES = "parity_cases_"


def load_cases() -> Sequence[Case]:
    """Return the cases of all modules ``parity_cases_*``."""
    names = [found.name for found in pkgutil.iter_modules(support.__path__)]
    for name in sorted(names):
        if name.startswith(_MODULES):
            importlib.import_module(f"{support.__name__}.{name}")
    return CASES


def chosen(cases: Sequence[Case], words: Sequence[str]) -> list[Case]:
    """Return the cases that are asked for; all, without a word."""
    asked = [word.lower() for word in words]
    return [one for one in cases if not asked or any(w in one.title.lower() for w in asked)]


def play(world: World, one: Case, log: TextIO) -> bool:
    """Play a case, say what became of it in a line, and return whether it passed.

    :param log: what tasks say is no news here, as many of them fail on purpose.
    """
    started = time.monotonic()
    try:
        with redirect_stdout(log):
            one.play(world)
    except Exception:  # noqa: BLE001 - whatever it is, the other cases are played all the same
        print(f"FAILED  {one.title}\n{traceback.format_exc()}", flush=True)
        return False
    finally:
        world.end_case()
    print(f"passed  {one.title} ({time.monotonic() - started:.1f} s)", flush=True)
    return True


def summary(passed: int, failed: int) -> str:
    """Return the last line."""
    return f"demo-parity: cases={passed + failed} passed={passed} failed={failed}"


def set_environment(folder: Path) -> None:
    """Keep all files of Airflow and the SDKs in a folder, and foreign settings out."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW", "AWS_", "ALIBABA_"))]:
        del os.environ[name]
    os.environ["AIRFLOW_HOME"] = str(folder / "airflow")
    os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def main() -> None:
    """Play, sum up, and say by the exit code whether all passed."""
    with folder_of_its_own("s3resume-parity-") as folder, (folder / "tasks.log").open("w") as log:
        set_environment(folder)
        with redirect_stdout(log):
            # Airflow reads its settings when it is imported, and says so.
            from tests.support.parity_world import World  # noqa: PLC0415

            cases = chosen(load_cases(), sys.argv[1:])
        if not cases:
            print(f"No case has one of these words: {sys.argv[1:]}", flush=True)
            print(summary(0, 0), flush=True)
            sys.exit(1)
        print(f"Starting the servers for {len(cases)} cases …", flush=True)
        logging.disable(logging.CRITICAL)
        with World(folder) as world:
            results = [play(world, one, log) for one in cases]
    passed = sum(results)
    print(summary(passed, len(results) - passed), flush=True)
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
