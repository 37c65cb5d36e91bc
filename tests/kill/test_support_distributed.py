"""What the kill tests run on: an Airflow of several machines, which leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import debian
from tests.support.celery_backend import CeleryBackend
from tests.support.debian import MissingProgramError
from tests.support.ports import is_free
from tests.support.postgres import PostgresServer
from tests.support.processes import wait_until
from tests.support.redis_server import RedisServer
from tests.support.stage import ROOT


def listening_addresses() -> dict[int, str]:
    """Return the IPv4 address that each listening port of this machine is bound to."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, port = local.split(":")
        if state == "0A":
            found[int(port, 16)] = socket.inet_ntoa(int(address, 16).to_bytes(4, "little"))
    return found


def listening_on_ipv6() -> set[int]:
    """Return the ports that anything listens on over IPv6."""
    lines = [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    return {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == "0A"}


def test_both_servers_listen_on_loopback_only_and_leave_nothing(tmp_path: Path) -> None:
    """PostgreSQL's data lie in a folder of its own, and are gone with it."""
    with PostgresServer(tmp_path / "pg.log") as postgres, RedisServer(tmp_path / "redis") as redis:
        ports = (postgres.port, redis.port)
        addresses = listening_addresses()
        assert [addresses[port] for port in ports] == ["127.0.0.1"] * 2
        assert listening_on_ipv6().isdisjoint(ports)
        folder = postgres.folder
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert all(map(is_free, ports))


def test_a_second_server_that_does_not_start_takes_the_first_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is not installed: the error names its package, and PostgreSQL runs no more."""
    monkeypatch.setattr(debian, "program", _without("redis-server"))
    backend = CeleryBackend()
    with pytest.raises(MissingProgramError, match=r"apt-get install redis-server \("):
        backend.start(tmp_path)
    assert is_free(backend.postgres.port)
    assert not backend.postgres.folder.exists()


def test_missing_packages_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, whatever the number of programs in it."""
    monkeypatch.setattr(debian, "program", lambda _name: None)
    assert debian.missing_packages(debian.DISTRIBUTED) == ["postgresql", "redis-server"]
    with pytest.raises(MissingProgramError, match="apt-get install postgresql redis-server"):
        debian.require("postgres", "redis-server")


def test_the_servers_of_a_killed_owner_end_with_their_folder(tmp_path: Path) -> None:
    """The process that started them gets SIGKILL, and cannot tidy up itself."""
    script = f"""
        import sys, threading
        from pathlib import Path
        from tests.support.postgres import PostgresServer
        from tests.support.redis_server import RedisServer
        with PostgresServer(Path({str(tmp_path)!r}) / "pg.log") as postgres:
            with RedisServer(Path({str(tmp_path)!r}) / "redis") as redis:
                print(postgres.port, redis.port, postgres.folder, flush=True)
                threading.Event().wait()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        assert owner.stdout is not None
        *ports, folder = owner.stdout.readline().split()
        assert not any(is_free(int(port)) for port in ports)
        os.kill(owner.pid, signal.SIGKILL)
    wait_until(
        lambda: all(is_free(int(p)) for p in ports) and not Path(folder).exists(),
        deadline_s=30,
        what="the servers and their folder are gone",
    )


def _without(missing: str) -> Callable[[str], Path | None]:
    real = debian.program
    return lambda name: None if name == missing else real(name)
