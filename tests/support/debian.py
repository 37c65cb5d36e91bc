"""Programs that no wheel brings: where they are, and which Debian package has them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

BROWSER = {"chromium": "chromium", "chromedriver": "chromium-driver"}
DISTRIBUTED = {
    "postgres": "postgresql",
    "initdb": "postgresql",
    "pg_isready": "postgresql",
    "redis-server": "redis-server",
}
COMPOSED = {
    **DISTRIBUTED,
    "createdb": "postgresql-client",
    "curl": "curl",
    "redis-cli": "redis-tools",
}
"""What the services of docker-compose.yaml are played with."""

COMPOSE = {"docker-compose": "docker-compose"}
PACKAGES = {**BROWSER, **COMPOSED, **COMPOSE}
_POSTGRESQL = Path("/usr/lib/postgresql")


class MissingProgramError(RuntimeError):
    """A program is not installed; the message names the packages to install."""

    def __init__(self, programs: Iterable[str]) -> None:
        missing = list(programs)
        packages = sorted({PACKAGES[program] for program in missing})
        super().__init__(
            f"missing programs: {', '.join(missing)}; run: apt-get install {' '.join(packages)} "
            "(as root; no service of the system has to run, the tests start their own)"
        )


def program(name: str) -> Path | None:
    """Return where a program is, or None.

    Debian keeps PostgreSQL's servers out of PATH, a folder for each version; the newest is taken.
    """
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    versions = [d for d in _POSTGRESQL.glob("*/bin") if os.access(d / name, os.X_OK)]
    return max(versions, key=_version) / name if versions else None


def require(*names: str) -> list[Path]:
    """Return where programs are.

    :raises MissingProgramError: naming the packages of all that are missing.
    """
    found = {name: program(name) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise MissingProgramError(missing)
    return [path for path in found.values() if path is not None]


def missing_packages(wanted: Iterable[str]) -> list[str]:
    """Return the Debian packages of those programs that this machine lacks."""
    return sorted({PACKAGES[name] for name in wanted if program(name) is None})


def _version(bin_dir: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in bin_dir.parent.name.split(".") if number.isdigit())
