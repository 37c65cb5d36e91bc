"""What an image of MWAA has installed, and how it installs a user's requirements."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from deploy.mwaa.releases import PYTHON, Release, find_release
from tests.matrix.cells import ROOT, CellError, disturbed, pinned
from tests.matrix.environments import find_python, installed, run
from tests.support.bootstrap import UV

FOLDER = ROOT / ".state" / "mwaa"
# Beside the two that every image has: what its database and the queue of this layout take, and pip.
_BESIDE = ("asyncpg", "psycopg2-binary", "redis", "pip==25.2")


def release_for_here(airflow: str, *, may_differ: bool) -> Release:
    """Return the release to lay out: MWAA's own Python, or what a laptop has in its place.

    :param may_differ: without a Python of that version, take this one, and a release that runs on
        it; on another platform, take wheels for that.
    :raises CellError: if there is no such Python, and no other one may be taken.
    """
    release = find_release(airflow)
    is_mwaas = sys.platform == "linux" and os.uname().machine == "x86_64"
    platforms = release.platforms if is_mwaas or not may_differ else ()
    try:
        find_python(PYTHON)
    except CellError:
        if not may_differ:
            raise
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        # Airflow 3.0 does not run on Python 3.13.
        airflow = "3.2.1" if here == "3.13" and airflow == "3.0.6" else airflow
        print(f"  no Python {PYTHON}, which MWAA has: Python {here}, Airflow {airflow}")
        return Release(airflow=airflow, python=here, platforms=platforms)
    return Release(airflow=airflow, platforms=platforms)


def make_image(release: Release) -> Path:
    """Make the environment of an image anew, and return its interpreter.

    :raises CellError: if that fails.
    """
    folder = FOLDER / f"image-{release.airflow}-py{release.python}"
    shutil.rmtree(folder, ignore_errors=True)
    run(UV, "venv", "--quiet", "--python", find_python(release.python), folder)
    python = folder / "bin" / "python"
    wanted = [f"apache-airflow[celery]=={release.airflow}", "apache-airflow-providers-amazon"]
    # Not byte-compiled: Airflow imports a part of it, and the first command compiles that.
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", python]
    run(*install, "--constraints", release.constraints, *wanted, *_BESIDE)
    return python


def install_requirements(python: Path, requirements: Path) -> None:
    """Install a user's requirements by pip, as MWAA does, with no index and no network.

    :raises CellError: with what pip said.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    alone = {**own, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # Nothing of a proxy or a mirror is needed.
    run(python, "-m", "pip", "install", "--quiet", "-r", requirements, env=alone)


def check(python: Path, release: Release, before: dict[str, str]) -> list[str]:
    """Make sure that the requirements moved nothing of the image; return what was added.

    :raises CellError: naming what is other than before, or than pinned.
    """
    run(UV, "pip", "check", "--quiet", "--python", python)
    after = installed(python)
    wrong = disturbed(before, after, pinned(release.constraints.read_text()))
    if wrong:
        raise CellError("\n".join(wrong))
    return sorted(set(after) - set(before))
