"""End the children of a process that died: the last resort behind ``processes``.

The owner holds the other end of this program's standard input and writes ``+PID`` for each child
that leads a session and ``-PID`` once it has ended; ``>FOLDER`` for each folder outside its own
places and ``<FOLDER`` once it is removed. When the input ends, the owner is gone (even by SIGKILL):
what is left of the named sessions is ended, and the folders are removed. Nothing but the standard
library.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
GRACE_S = 5.0
_POLL_S = 0.02


def _state_and_ids(pid: int) -> list[str] | None:
    """Return state, parent, group and session; None for a process that ended or is a zombie."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else fields


def session_of(pid: int) -> int | None:
    """Return the session a running process belongs to; None for one that ended or is a zombie."""
    fields = _state_and_ids(pid)
    return None if fields is None else int(fields[3])


def parent_of(pid: int) -> int:
    """Return the parent of a running process; ProcessLookupError if it has ended."""
    fields = _state_and_ids(pid)
    if fields is None:
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[1])


def command_of(pid: int) -> str:
    """Return what a process calls itself; empty if it has ended."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(filter(None, words)).decode(errors="replace")


def members(sessions: Iterable[int]) -> set[int]:
    """Return the processes that run in these sessions."""
    wanted = set(sessions)
    numbers = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return {pid for pid in numbers if session_of(pid) in wanted}


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_sessions(sessions: Iterable[int], grace_s: float = GRACE_S) -> None:
    """End all processes of these sessions: SIGTERM, then SIGKILL after the grace time."""
    wanted = set(sessions)
    signal_all(members(wanted), signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while members(wanted) and time.monotonic() < deadline:
        threading.Event().wait(_POLL_S)
    while left := members(wanted):
        signal_all(left, signal.SIGKILL)
        threading.Event().wait(_POLL_S)


def main() -> None:
    """Keep the list of the children and act on the end of the input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    alive: set[str] = set()
    folders: set[str] = set()
    for line in sys.stdin:
        sign, name = line[0], line[1:].rstrip("\n")
        named = alive if sign in "+-" else folders
        if sign in "+>":
            named.add(name)
        else:
            named.discard(name)
    end_sessions(map(int, alive))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
