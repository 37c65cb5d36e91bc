"""What a program and all that it starts cost: time on the clock, and CPU time, user and system."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PR_SET_CHILD_SUBREAPER = 36
_TAIL = 4_000
_FOREIGN = ("AWS_", "RCLONE_", "AIRFLOW", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
"""What was set for other clouds must not leak in; and Python may keep what it compiled."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run took, in seconds.

    :param began: when, since the epoch.
    :param busy: CPU time of the whole machine meanwhile, that of the servers and of others too.
    :param out: what the program printed.
    """

    began: float
    wall: float
    cpu: float
    busy: float
    out: str


def plain_environment() -> dict[str, str]:
    """Return our environment without what would change a program's ways."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and not name.lower().endswith("_proxy")
    }


def busy_s() -> float:
    """Return the CPU time that the machine has spent on anything since it was started."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def adopt_orphans() -> None:
    """Let processes whose parents have ended become ours, so that their CPU time can be counted."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, *, deadline_s: float = 900
) -> Cost:
    """Run a program to its end, and return what it and its children cost.

    :raises RuntimeError: with what it said, if it does not end well.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        began, clock, busy = time.time(), time.monotonic(), busy_s()
        child = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env={**plain_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        late = threading.Timer(deadline_s, _kill, [child.pid])
        late.start()
        _, status, used = os.wait4(child.pid, 0)
        wall, busy = time.monotonic() - clock, busy_s() - busy
        late.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime + _cpu_of_orphans(child.pid)
        out.seek(0)
        errors.seek(0)
        if child.returncode != 0:
            said = errors.read()[-_TAIL:]
            raise RuntimeError(f"{command[0]} ended with {child.returncode}:\n{said}")
        return Cost(began=began, wall=wall, cpu=cpu, busy=busy, out=out.read())


def _kill(session: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)


def _cpu_of_orphans(group: int) -> float:
    """Wait for what is left of a program's process group, which ended without waiting for it."""
    cpu = 0.0
    with contextlib.suppress(ChildProcessError):
        while True:
            _, _, used = os.wait4(-group, 0)
            cpu += used.ru_utime + used.ru_stime
    return cpu
