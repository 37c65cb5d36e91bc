"""Children that start in a session of their own, become ready by a deadline, and always end.

A watchdog (see ``watchdog``) ends them even when the process that started them is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import watchdog
from tests.support.accounts import Account, as_account

_POLL_S = 0.05
_LOG_TAIL = 4_000


class NotReadyError(RuntimeError):
    """A child ended, or did not become ready before its deadline."""


def wait_until(condition: Callable[[], bool], *, deadline_s: float, what: str) -> None:
    """Return once the condition holds; raise TimeoutError naming ``what`` at the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() >= end:
            raise TimeoutError(f"{what}: not so after {deadline_s:g} s")
        threading.Event().wait(_POLL_S)


class _Watchdog:
    """The one watchdog of this process, started with the first child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None

    def tell(self, line: str) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                self._owner = os.getpid()
                self._process = self._start()
            if self._process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.write(line.encode() + b"\n")
                    self._process.stdin.flush()

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", watchdog.__file__]
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


_watchdog = _Watchdog()


@contextlib.contextmanager
def folder_of_its_own(prefix: str) -> Iterator[Path]:
    """Give an empty folder in the system's place for such, with a short path, removed at the end.

    It is removed even when this process is killed.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    _watchdog.tell(f">{folder}")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        _watchdog.tell(f"<{folder}")


class Child:
    """A running program with its log; as a context manager it is stopped at the end.

    ``command`` is run at once. ``env`` is the whole environment of the child, without which it
    gets a copy of ours. Everything it prints goes to ``log_file``. ``user`` is the account that it
    runs as, and the group of the same name, where that is not ours. ``end_signal`` asks it to end.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_file: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: Account | None = None,
        end_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self._end_signal = end_signal
        self.log_file = log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                **as_account(user),
            )
        _watchdog.tell(f"+{self.process.pid}")

    @property
    def pid(self) -> int:
        """The process id, which is the id of its session too."""
        return self.process.pid

    def is_running(self) -> bool:
        """Return whether the program itself has not ended."""
        return self.process.poll() is None

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        return self.log_file.read_text(errors="replace")[-_LOG_TAIL:]

    def wait_ready(self, ready: Callable[[], bool], *, deadline_s: float) -> None:
        """Wait until ``ready()``; a child that ends or is late raises NotReadyError and its log."""

        def ready_or_ended() -> bool:
            return not self.is_running() or ready()

        try:
            wait_until(ready_or_ended, deadline_s=deadline_s, what=f"{self.name} is ready")
        except TimeoutError as error:
            raise NotReadyError(f"{error}\n{self.log_tail()}") from error
        if not self.is_running():
            code = self.process.returncode
            raise NotReadyError(f"{self.name} ended with exit code {code}\n{self.log_tail()}")

    def stop(self, *, grace_s: float = 10.0) -> None:
        """End the program: SIGTERM to it, then whatever is left of its session by force."""
        self.ask_to_end()
        self.end_within(grace_s)

    def ask_to_end(self) -> None:
        """Send SIGTERM, or what was chosen instead, and do not wait."""
        if self.is_running():
            self.process.send_signal(self._end_signal)

    def end_within(self, grace_s: float) -> None:
        """Wait for the program to end by itself; kill what is left of its session then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """End the program and all that it started with SIGKILL, now."""
        while left := watchdog.members({self.pid}):
            watchdog.signal_all(left, signal.SIGKILL)
            threading.Event().wait(_POLL_S)
        self.process.wait()
        _watchdog.tell(f"-{self.pid}")

    def __enter__(self) -> Self:
        """Return the running child."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the child."""
        self.stop()


def children(pid: int | None = None) -> set[int]:
    """Return the processes that one has forked or started, those that ended included.

    :param pid: of the one, ``None`` for this process.
    """
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid or 'self'}/task").iterdir():
            # A thread may end meanwhile; its children are the others' then.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found |= set(map(int, (task / "children").read_text().split()))
    return found
