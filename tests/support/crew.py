"""Crews of two processes for batches of a few objects, in tests whose servers are threads."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_s3resume.transfer import batch, crew, crew_shares
from airflow_provider_s3resume.transfer.crew import Crew
from tests.support.processes import children, wait_until

DEADLINE_S = 20.0


def open_files() -> dict[str, str]:
    """Return what this process has open: number and name, sockets and pipes included."""
    folder = Path("/proc/self/fd")
    found = {}
    for one in folder.iterdir():
        with suppress(FileNotFoundError):
            found[one.name] = str(one.readlink())
    return found


def open_pipes() -> set[str]:
    """Return the pipes among them."""
    return {name for name in open_files().values() if name.startswith("pipe:")}


class Crews:
    """The crews that batches have had.

    :param patch: undone by whoever gives it.
    """

    def __init__(self, patch: pytest.MonkeyPatch, *, least: int = 2) -> None:
        self.made: list[Crew] = []
        self.pids: list[int] = []
        self._pipes = open_pipes()
        outer = self

        class KnownCrew(Crew):
            def __init__(self, *args: Any, **more: Any) -> None:
                super().__init__(*args, **more)
                outer.made.append(self)
                outer.pids += [process.pid for process in self._processes]

        patch.setattr(crew_shares, "LEAST_OBJECTS", least)
        # Wires and servers are threads of the test; they hold nothing that a process needs.
        patch.setattr(crew, "is_alone", lambda: True)
        patch.setattr(batch, "usable_processors", lambda: 2)
        patch.setattr(batch, "Crew", KnownCrew)

    def check_gone(self) -> None:
        """See that nothing is left: no process, not even one that has ended, and no pipe."""
        assert not children() & set(self.pids)
        wait_until(
            lambda: open_pipes() <= self._pipes, deadline_s=DEADLINE_S, what="pipes are closed"
        )
