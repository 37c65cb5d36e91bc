"""``make matrix``: install the wheel beside other releases of Airflow and Python, and use it there.

``python -m tests.matrix [--write] [NAME …]`` plays all cells, or those whose name has one of the
words, prints a line for each check, the tables of what was found, and last how many cells passed.
``--write`` writes ``docs/compatibility.md``; without it, the document has to be what all cells say.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.matrix import environments, table
from tests.matrix.cells import CELLS, Cell, Facts, judge
from tests.matrix.servers import Servers, servers
from tests.matrix.syncs import CellAirflow
from tests.support.processes import folder_of_its_own
from tests.support.stage import DAGS

_AT_ONCE = 2
"""Most of a cell is one process that starts, after another."""

Told = dict[Cell, Facts]


@contextmanager
def check(cell: Cell, title: str) -> Iterator[None]:
    """Say how long a check took."""
    started = time.monotonic()
    yield
    print(f"  {cell.name}: {title} ({time.monotonic() - started:.0f} s)", flush=True)


def play(cell: Cell, *, wheel: Path, lock: str, world: Servers) -> Facts:
    """Make a cell's environment and check all of it.

    :raises CellError: at the first thing that is not as it should be.
    """
    with check(cell, "installed, fits together, nothing else was changed"):
        environment = environments.make(cell, wheel, lock)
    airflow = CellAirflow(world, cell, environment)
    with check(cell, "provider registered, example DAGs parsed, nightly sync by dag.test()"):
        said = airflow.by_dag_test()
        judge(said, cell, environment.versions, sorted(path.stem for path in DAGS.glob("*.py")))
    with check(cell, "what arrived is the same"):
        airflow.compare()
    if cell.scheduler:
        with check(cell, "nightly sync by a scheduler, a copy by an event, the same arrived"):
            airflow.by_scheduler(said.features["start of a run by an event"])
    environments.remove(cell)
    return Facts(
        versions=environment.versions, added=environment.added, features=dict(said.features)
    )


def attempt(cell: Cell, play_one: Callable[[Cell], Facts]) -> Facts | None:
    """Return what a cell said; ``None``, when it has failed, and that was printed."""
    try:
        facts = play_one(cell)
    except Exception:  # noqa: BLE001 - whatever it is, the other cells are played all the same
        print(f"FAILED  {cell.name}\n{traceback.format_exc()}", flush=True)
        return None
    print(f"passed  {cell.name}", flush=True)
    return facts


def play_all(cells: Sequence[Cell]) -> Told:
    """Return what those cells said that passed; the longest are begun first."""
    wheel, lock = environments.build_wheel(), environments.locked()
    with (
        folder_of_its_own("s3resume-matrix-") as folder,
        servers(folder) as world,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        play_one = partial(play, wheel=wheel, lock=lock, world=world)
        longest_first = sorted(cells, key=lambda cell: not cell.scheduler)
        found = pool.map(partial(attempt, play_one=play_one), longest_first)
        told = dict(zip(longest_first, found, strict=True))
    return {cell: facts for cell in cells if (facts := told[cell]) is not None}


def settle_document(told: Told, document: Path, *, write: bool) -> bool:
    """Write the document, or return whether it is as it would be written."""
    wanted = table.document(told)
    if write:
        document.write_text(wanted)
        return True
    differs = table.difference(document.read_text() if document.exists() else "", wanted)
    if differs:
        print(f"{document.name} is not what the cells say:\n{differs}")
        print("make matrix MATRIX=--write renews it", flush=True)
    return not differs


def chosen(words: Sequence[str]) -> list[Cell]:
    """Return the cells that are asked for; all, without a word."""
    return [cell for cell in CELLS if not words or any(word in cell.name for word in words)]


def main(
    arguments: Sequence[str] | None = None,
    *,
    play_cells: Callable[[Sequence[Cell]], Told] = play_all,
    document: Path = table.DOCUMENT,
) -> None:
    """Play the cells that were asked for; exit code 1 unless all passed.

    :param arguments: of the command line, if not this process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args(arguments)
    cells = chosen(asked.names)
    if not cells:
        sys.exit(f"no such cell; there are {', '.join(cell.name for cell in CELLS)}")
    told = play_cells(cells)
    if told:
        print(f"\n{table.versions(told)}\n{table.features(told)}", flush=True)
    is_whole = len(told) == len(CELLS)
    is_settled = not is_whole or settle_document(told, document, write=asked.write)
    if asked.write and not is_whole:
        print(f"{document.name} was not written: not all cells were played and passed")
    failed = len(cells) - len(told)
    print(f"matrix: cells={len(cells)} passed={len(told)} failed={failed}", flush=True)
    sys.exit(0 if is_settled and not failed else 1)


if __name__ == "__main__":
    main()
