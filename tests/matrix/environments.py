"""Makes the environment of a cell: the wheel and what it depends on, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.matrix.cells import (
    AIRFLOW,
    OURS,
    ROOT,
    Cell,
    CellError,
    disturbed,
    normal_name,
    pinned,
    unpinned,
)
from tests.support.bootstrap import UV, child_environment

FOLDER = ROOT / ".state" / "matrix"
# What an MWAA environment has whether one asks for it or not, as far as it matters here.
_OF_MWAA = (f"{AIRFLOW}[celery]=={{}}", f"{AIRFLOW}-providers-amazon")
_SHOWN = 6000


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """An environment that is there.

    :param python: its interpreter.
    :param versions: of all its distributions.
    :param added: names of those that came with the wheel, where it came later.
    """

    python: Path
    versions: dict[str, str]
    added: tuple[str, ...]


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints.

    :raises CellError: with the end of what it said, if it fails.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=child_environment() if env is None else env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = f"{done.stdout[-_SHOWN:]}\n{done.stderr[-_SHOWN:]}"
        raise CellError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{said}")
    return done.stdout


def find_python(minor: str) -> Path:
    """Return an interpreter of this machine: our own, or one of the PATH, of pyenv, of uv.

    :raises CellError: if there is none.
    """
    for candidate in _candidates(minor):
        # A shim of pyenv answers to the name, and runs only where its version was chosen.
        asked = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        if said.stdout.strip() == minor:
            return Path(candidate)
    raise CellError(f"no Python {minor} on this machine: put python{minor} on the PATH")


def _candidates(minor: str) -> Iterator[str]:
    if minor == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    on_path = shutil.which(f"python{minor}")
    if on_path:
        yield on_path
    managed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(map(str, managed.glob(f"{minor}.*/bin/python{minor}")), reverse=True)
    # Without the project's settings, which would leave out those that uv itself has fetched.
    asked = [str(UV), "python", "find", "--no-project", "--no-config", "--no-python-downloads"]
    known = subprocess.run([*asked, minor], capture_output=True, text=True, check=False)
    if known.returncode == 0:
        yield known.stdout.strip()


def build_wheel() -> Path:
    """Build the wheel, and return it."""
    folder = FOLDER / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    run(UV, "build", "--wheel", "--quiet", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


def locked() -> str:
    """Return what ``uv.lock`` says for users, as lines of requirements."""
    export = ["export", "--frozen", "--no-default-groups", "--no-emit-project", "--quiet"]
    return run(UV, *export, "--no-hashes", "--no-annotate")


def make(cell: Cell, wheel: Path, lock: str) -> Environment:
    """Make a cell's environment anew: what is there without us, then the wheel.

    :param lock: what :func:`locked` returns.
    :raises CellError: if the wheel changes what was there, if something is not as it is pinned,
        or if all of it does not fit together.
    """
    folder = FOLDER / cell.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run(UV, "venv", "--quiet", "--python", find_python(cell.python), folder / "venv")
    python = folder / "venv" / "bin" / "python"
    requirements = folder / "requirements.txt"
    before: dict[str, str] = {}
    pins: dict[str, str] = {}
    if cell.pins is None:
        requirements.write_text(lock)
        _install(python, "--requirements", requirements, wheel)
    else:
        pins = pinned(cell.pins.read_text())
        requirements.write_text(unpinned(lock, pins))
        constraints = ("--constraints", cell.pins, "--constraints", requirements)
        _install(python, *constraints, *(one.format(cell.airflow) for one in _OF_MWAA), lazy=True)
        before = installed(python)
        _install(python, *constraints, wheel)
    after = installed(python)
    run(UV, "pip", "check", "--quiet", "--python", python)
    wrong = disturbed(before, after, pins)
    if wrong:
        raise CellError("not as it was, or not as pinned:\n" + "\n".join(wrong))
    added = tuple(sorted(set(after) - set(before) - {OURS})) if before else ()
    return Environment(python=python, versions=after, added=added)


def remove(cell: Cell) -> None:
    """Remove a cell's environment: one that has failed stays, to be looked at."""
    shutil.rmtree(FOLDER / cell.name)


def _install(python: Path, *wanted: str | Path, lazy: bool = False) -> None:
    # Airflow takes twice as long to start where nothing is byte-compiled.
    compiled = [] if lazy else ["--compile-bytecode"]
    run(UV, "pip", "install", "--quiet", *compiled, "--python", python, *wanted)


def installed(python: Path) -> dict[str, str]:
    """Return name → version of the distributions of an environment."""
    listed = json.loads(run(UV, "pip", "list", "--format", "json", "--python", python))
    return {normal_name(one["name"]): str(one["version"]) for one in listed}
