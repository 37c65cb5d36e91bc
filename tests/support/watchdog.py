"""End the children of a process that died: the last resort behind ``processes``.

The owner holds the other end of this program's standard input and writes ``+PID`` for each child
that leads a session and ``-PID`` once it has ended. When the input ends, the owner is gone (even by
SIGKILL), and what is left of the named sessions is ended. Nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
GRACE_S = 5.0
_POLL_S = 0.02


def session_of(pid: int) -> int | None:
    """Return the session a running process belongs to; None for one that ended or is a zombie."""
    try:
        state_and_ids = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state_and_ids[0] in "ZX" else int(state_and_ids[3])


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
    alive: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            alive.add(pid)
        else:
            alive.discard(pid)
    end_sessions(alive)


if __name__ == "__main__":
    main()
