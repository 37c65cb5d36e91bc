"""Telling running threads to stop: at once, from any thread, with the reason."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from airflow_provider_s3resume.exceptions import CopyStoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Abortable(Protocol):
    """Something that blocks a thread and can be broken from another one."""

    def abort(self) -> None:
        """End the blocking call promptly."""


class StopSignal:
    """A flag that also breaks what its holders are blocked in.

    A child stops with its parent, not the other way round: one object's failure ends its own
    parts, a SIGTERM ends everything.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        # A second signal may come while the handler of the first one is in `stop`.
        self._lock = threading.RLock()
        self._watched: set[Abortable] = set()
        self._children: set[StopSignal] = set()
        self.reason: str = ""

    def stop(self, reason: str) -> None:
        """Stop, for this reason; the first reason given stays. Safe in a signal handler's thread.

        Blocked reads that are being watched end with an error.
        """
        with self._lock:
            if self._event.is_set():
                return
            self.reason = reason
            self._event.set()
            watched, children = tuple(self._watched), tuple(self._children)
        for one in watched:
            one.abort()
        for child in children:
            child.stop(reason)

    def is_set(self) -> bool:
        """Tell whether to stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds`` and tell whether to stop."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Return if there is no reason to stop.

        :raises CopyStoppedError: with the reason, if there is.
        """
        if self._event.is_set():
            msg = f"stopped: {self.reason}"
            raise CopyStoppedError(msg)

    @contextmanager
    def child(self) -> Iterator[StopSignal]:
        """Give a signal that stops with this one, for the length of a ``with`` block."""
        made = StopSignal()
        with self._lock:
            self._children.add(made)
            stopped = self._event.is_set()
        if stopped:
            made.stop(self.reason)
        try:
            yield made
        finally:
            with self._lock:
                self._children.discard(made)

    @contextmanager
    def watching(self, one: Abortable) -> Iterator[None]:
        """Abort ``one`` if the stop comes while the block runs.

        :raises CopyStoppedError: if it has come already.
        """
        with self._lock:
            self._watched.add(one)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._watched.discard(one)
