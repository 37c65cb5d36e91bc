"""docker-compose.yaml is no fiction: Debian's docker-compose reads it, and what it says runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import compose_local, watchdog
from tests.support.bootstrap import ROOT
from tests.support.compose_file import read
from tests.support.compose_local import COMPOSE_FILE, Composed, make_env
from tests.support.compose_places import LISTENS
from tests.support.debian import COMPOSE, require
from tests.support.ports import is_free
from tests.support.processes import NotReadyError


def config(env_file: Path) -> subprocess.CompletedProcess[str]:
    """Let ``docker-compose config`` read the file: it asks no engine."""
    require(*COMPOSE)
    command = ["docker-compose", "--env-file", env_file, "--file", COMPOSE_FILE, "config"]
    return subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_docker_compose_reads_the_file_as_the_tests_do(tmp_path: Path) -> None:
    """Every command, value, condition and check of every service."""
    variables = make_env(tmp_path / ".env")
    done = config(tmp_path / ".env")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    printed = tmp_path / "printed.yaml"
    # It writes out where the folder of the DAGs is.
    printed.write_text(done.stdout.replace(f"{ROOT}/dags:", "./dags:"))
    assert read(printed, {}) == read(COMPOSE_FILE, variables)


def test_docker_compose_says_what_to_run_first(tmp_path: Path) -> None:
    """Without an ``.env`` nothing starts with an empty password."""
    (tmp_path / ".env").touch()
    done = config(tmp_path / ".env")
    assert done.returncode != 0
    assert "run docker/make_env.py" in done.stderr


@pytest.mark.timeout(900)
def test_what_the_file_says_runs_and_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All services come up healthy, a sync arrives, no secret is told, and nothing is left."""
    played: list[set[int]] = []

    class Seen(Composed):
        """One whose processes are noted before they are ended."""

        def stop(self) -> None:
            played.append(self.processes())
            super().stop()

    monkeypatch.setattr(compose_local, "Composed", Seen)
    line = compose_local.check(tmp_path / "composed")
    assert line == "compose: services=9 healthy=9 sync=success"
    (processes,) = played
    assert len(processes) > 9
    assert {pid for pid in processes if watchdog.session_of(pid) is not None} == set()


def test_a_service_that_does_not_come_up_is_named_and_the_others_end(tmp_path: Path) -> None:
    """Redis ends at once: its log is in the error, and no server goes on without it."""
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE_FILE.read_text().replace("exec redis-server", "echo no memory; false"))
    composed = Composed(tmp_path / "composed", file)
    with pytest.raises(NotReadyError, match=r"(?s)redis is ill: .*no memory"):
        composed.start()
    assert composed.processes() == set()
    ports = [composed.places.port(name, port) for name, all_ in LISTENS.items() for port in all_]
    assert all(map(is_free, ports))
