"""What an Airflow of the tests is made of: its database, its executor, its processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER = (
    "api-server",
    "scheduler",
    "dag-processor",
    "triggerer",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """One process of an Airflow.

    ``env`` is added to what all of them are told. ``grace_s`` is how long it may take to end by
    itself when all of Airflow is ended.
    """

    name: str
    arguments: Sequence[str]
    grace_s: float
    env: Mapping[str, str] = field(default_factory=dict)


class Backend(Protocol):
    """A way to run Airflow."""

    @property
    def health(self) -> Sequence[str]:
        """Those parts of the health check that must be well."""

    def start(self, home_dir: Path) -> None:
        """Start the servers that Airflow stands on."""

    def stop(self) -> None:
        """End them."""

    def settings(self) -> Mapping[str, str]:
        """Return Airflow's settings, as ``SECTION__NAME``, of the started servers."""

    def programs(self) -> Sequence[Program]:
        """Return Airflow's processes in the order of their start."""

    def is_at_work(self, name: str) -> bool:
        """Return whether a process that runs does its work, where the health check cannot tell."""

    def log_folders(self) -> Sequence[Path]:
        """Return where the logs of tasks lie, if Airflow itself does not find them."""


# The logs are read from the folder: nothing has to serve them.
CORE_PROGRAMS = (
    Program(name=API_SERVER, arguments=["api-server"], grace_s=10),
    Program(name=SCHEDULER, arguments=["scheduler", "--skip-serve-logs"], grace_s=15),
    Program(name=DAG_PROCESSOR, arguments=["dag-processor"], grace_s=5),
)


class LocalBackend:
    """SQLite, and tasks as children of the scheduler: all of it in one folder."""

    health = ("metadatabase", "scheduler", "dag_processor", "triggerer")

    def __init__(self) -> None:
        self._home_dir = Path()

    def start(self, home_dir: Path) -> None:
        """Note where the database lies."""
        self._home_dir = home_dir

    def stop(self) -> None:
        """Do nothing: there is no server."""

    def settings(self) -> Mapping[str, str]:
        """Return the settings."""
        return {
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            # Five processes write to one file: by default each gives up after 5 s of another.
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._home_dir / 'airflow.db'}?timeout=60",
            # On SQLite the first answer of a busy server may take longer than the default 5 s.
            "WORKERS__EXECUTION_API_TIMEOUT": "30",
        }

    def programs(self) -> Sequence[Program]:
        """Return all four; a triggerer that is idle takes 10 s to end, and loses nothing killed."""
        triggerer = Program(name=TRIGGERER, arguments=["triggerer", "--skip-serve-logs"], grace_s=1)
        return [*CORE_PROGRAMS, triggerer]

    def is_at_work(self, name: str) -> bool:
        """Return true: Airflow's own health check says it of all of them."""
        return bool(name)

    def log_folders(self) -> Sequence[Path]:
        """Return none: the API server shares the folder of the logs."""
        return []
