"""Make the development environment: nothing but the standard library is needed to run this.

``python tests/support/bootstrap.py env`` puts a pinned uv into ``.tools`` and what ``uv.lock`` says
into ``.venv``. A stamp inside ``.venv`` names what it was made from; an environment that is half
made, outdated or moved is noticed by it and made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

UV_VERSION = "0.13.9"

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
STAMP = VENV / "made-from"
UV_HOME = TOOLS / f"uv-{UV_VERSION}"
UV = UV_HOME / "bin" / "uv"
REMOVED_BY_CLEAN = (
    ".venv",
    ".tools",
    ".state",
    "build",
    "dist",
)


def say(line: str) -> None:
    """Tell the person at the terminal."""
    print(line, flush=True)


def stop(message: str) -> None:
    """End with a message and exit code 1."""
    raise SystemExit(f"error: {message}")


def child_environment() -> dict[str, str]:
    """Return the environment for pip and uv: byte-compiling, and of no other environment."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "UV_PROJECT_ENVIRONMENT": str(VENV), "UV_NO_PROGRESS": "1"}


def ingredients() -> str:
    """Return a digest of all that an environment is made from, its own place included."""
    digest = hashlib.sha256()
    for name in ("uv.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    for fact in (sys.version, UV_VERSION, str(ROOT)):
        digest.update(b"\0" + fact.encode())
    return digest.hexdigest()


def reason_to_make() -> str | None:
    """Return why the environment has to be made, or None when it is as it should be."""
    if not VENV.exists():
        return "there is none yet"
    if not STAMP.exists():
        return "the last attempt did not finish"
    if STAMP.read_text() != ingredients():
        return "uv.lock, pyproject.toml, the Python or the folder changed"
    if subprocess.run([VENV / "bin" / "python", "-c", ""], check=False).returncode != 0:
        return "its Python does not run"
    return None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one process at a time make the environment."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def has_module(name: str) -> bool:
    """Return whether this interpreter can import a module."""
    command = [sys.executable, "-c", f"import {name}"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def install_uv() -> None:
    """Put the pinned uv into .tools, with venv where the Python has it, else with pip alone."""
    if UV.exists():
        return
    shutil.rmtree(UV_HOME, ignore_errors=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install.append("--root-user-action=ignore")
    wanted = f"uv=={UV_VERSION}"
    if has_module("venv, ensurepip"):
        run([sys.executable, "-m", "venv", str(UV_HOME)], "venv")
        run([str(UV_HOME / "bin" / "python"), *install, wanted], "pip")
    elif has_module("pip"):
        run([sys.executable, *install, "--target", str(UV_HOME), wanted], "pip")
    else:
        stop(
            f"{sys.executable} has neither venv with ensurepip nor pip. "
            "Debian, Ubuntu: apt-get install python3-venv python3-pip"
        )


def run(command: list[str], name: str) -> None:
    """Run one step, and stop with its name when it fails."""
    code = subprocess.run(command, check=False, cwd=ROOT, env=child_environment()).returncode
    if code != 0:
        stop(
            f"{name} ended with exit code {code}; `make env` tries again, `make clean` starts anew"
        )


def make_environment() -> None:
    """Make .venv what uv.lock says, unless it is already."""
    with alone():
        reason = reason_to_make()
        if reason is None:
            return
        say(f"Making the environment with Python {sys.version.split()[0]}: {reason}.")
        STAMP.unlink(missing_ok=True)
        install_uv()
        sync = ["sync", "--frozen", "--all-groups", "--compile-bytecode", "--quiet"]
        # What only a release needs has an environment of its own.
        run([str(UV), *sync, "--no-group", "release", "--python", sys.executable], "uv sync")
        (TOOLS / "python").write_text(sys.executable)
        STAMP.write_text(ingredients())
        say("The environment is ready: .venv")


def clean() -> None:
    """Remove all that the other commands make."""
    for name in REMOVED_BY_CLEAN:
        shutil.rmtree(ROOT / name, ignore_errors=True)


def main() -> None:
    """Run the command named on the command line."""
    commands = {"env": make_environment, "clean": clean}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        stop(f"usage: bootstrap.py {' | '.join(commands)}")
    commands[sys.argv[1]]()


if __name__ == "__main__":
    main()
