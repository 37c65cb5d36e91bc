"""Who listens for other machines, read from tables as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import listening

PID, OTHER = 11, 12
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue timer retrnsmt   uid timeout inode"
V6_LOOPBACK = "00000000000000000000000001000000"
V6_MAPPED_LOOPBACK = "0000000000000000FFFF00000100007F"


def line(address: str, port: int, state: str, inode: int) -> str:
    """Return a line of ``/proc/net/tcp``."""
    return (
        f"   0: {address}:{port:04X} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1 0 100 0 0 10 0"
    )


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a ``/proc`` of two processes, the first with the sockets 1 to 6, the second with 7."""
    monkeypatch.setattr(listening, "PROC", tmp_path)
    (tmp_path / "net").mkdir()
    for table in ("tcp", "tcp6"):
        (tmp_path / "net" / table).write_text(f"{HEAD}\n")
    for pid, inodes in ((PID, range(1, 7)), (OTHER, [7])):
        folder = tmp_path / str(pid) / "fd"
        folder.mkdir(parents=True)
        for inode in inodes:
            (folder / str(inode)).symlink_to(f"socket:[{inode}]")
        (folder / "0").symlink_to("/dev/null")
    return tmp_path


def write(proc: Path, table: str, *lines: str) -> None:
    """Put lines into a table."""
    (proc / "net" / table).write_text("\n".join([HEAD, *lines]) + "\n")


def test_loopback_addresses_are_for_this_machine(proc: Path) -> None:
    """All of 127.0.0.0/8, ::1, and the first in the form of the second."""
    write(proc, "tcp", line("0100007F", 80, "0A", 1), line("0200007F", 80, "0A", 2))
    write(proc, "tcp6", line(V6_LOOPBACK, 81, "0A", 3), line(V6_MAPPED_LOOPBACK, 82, "0A", 4))
    assert listening.exposed([PID]) == set()


def test_all_others_are_for_others(proc: Path) -> None:
    """Any address, and one of the machine's own."""
    write(proc, "tcp", line("00000000", 8080, "0A", 1), line("0101A8C0", 81, "0A", 2))
    write(proc, "tcp6", line("0" * 32, 8793, "0A", 3))
    found = {"0.0.0.0:8080", "192.168.1.1:81", ":::8793"}
    assert listening.exposed([PID]) == found


def test_only_what_listens_and_is_theirs_counts(proc: Path) -> None:
    """A connection to elsewhere is none, nor is the server of another process."""
    write(proc, "tcp", line("0101A8C0", 40_000, "01", 1), line("00000000", 22, "0A", 7))
    assert listening.exposed([PID]) == set()
    assert listening.exposed([PID, OTHER]) == {"0.0.0.0:22"}


def test_a_process_that_ended_has_nothing(proc: Path) -> None:
    """It may do so between two looks."""
    write(proc, "tcp", line("00000000", 22, "0A", 1))
    assert listening.exposed([99]) == set()
