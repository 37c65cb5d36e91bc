"""The programs that a release needs, in an environment of their own, pinned by ``uv.lock``."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.bootstrap import ROOT, TOOLS, UV, alone, child_environment

HOME = TOOLS / "release"
PACKAGE = "airflow_provider_s3resume"
DISTRIBUTION = "airflow-provider-s3resume"


class ReleaseError(Exception):
    """What a release promises is not so."""


def run(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it prints.

    :raises ReleaseError: with all that it said, if it fails.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=child_environment() if env is None else env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = f"{done.stdout[-6000:]}{done.stderr[-6000:]}"
        raise ReleaseError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{said}")
    return done.stdout


def sync(home: Path, *what: str) -> Path:
    """Make an environment of what ``uv.lock`` says of it, and return its Python.

    :param what: options of ``uv sync`` that choose it.
    """
    env = {**child_environment(), "UV_PROJECT_ENVIRONMENT": str(home)}
    # The one that .venv was made of.
    python = (TOOLS / "python").read_text()
    run(UV, "sync", "--frozen", "--quiet", "--python", python, *what, env=env)
    return home / "bin" / "python"


@functools.cache
def _home() -> Path:
    with alone():
        sync(HOME, "--only-group", "release")
    return HOME


def tool(name: str) -> Path:
    """Return a program of the dependency group ``release``, which is installed when first asked."""
    return _home() / "bin" / name
