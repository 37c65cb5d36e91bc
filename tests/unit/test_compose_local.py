"""What ``make compose-check`` finds out about services that tell too much."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.compose_local import Composed
from tests.support.processes import Child, wait_until
from tests.support.watchdog import command_of


@pytest.fixture
def composed(tmp_path: Path) -> Composed:
    """Give the services of the file, none of which runs."""
    return Composed(tmp_path / "composed")


@pytest.mark.parametrize("place", ["logs", "volumes/logs/dag_id=x", "homes/worker/logs"])
def test_a_secret_in_a_log_is_named(composed: Composed, place: str) -> None:
    """Wherever it is written: by a process, by a task, beside Airflow's settings."""
    assert composed.secrets_told() == []
    file = composed.folder / place / "attempt=1.log"
    file.parent.mkdir(parents=True)
    file.write_text(f"redis://:{composed.variables['REDIS_PASSWORD']}@redis:6379/0\n")
    assert composed.secrets_told() == [f"REDIS_PASSWORD in {file}"]


def test_a_secret_on_a_command_line_is_named(composed: Composed, tmp_path: Path) -> None:
    """Everybody on the machine can read it."""
    secret = composed.variables["POSTGRES_PASSWORD"]
    command = [sys.executable, "-c", "import threading; threading.Event().wait()", secret]
    with Child("worker", command, log_file=tmp_path / "log") as child:
        composed._children["worker"] = child
        wait_until(lambda: secret in command_of(child.pid), deadline_s=10, what="it has started")
        told = composed.secrets_told()
    assert told == [f"POSTGRES_PASSWORD in the command line of {child.pid}"]


def test_nothing_is_started_where_a_folder_is_in_use(composed: Composed) -> None:
    """What an earlier check left would be taken for this one's."""
    with pytest.raises(FileExistsError):
        Composed(composed.folder)
