"""What a task and the processes for its small objects tell each other, through pipes."""

from __future__ import annotations

import fcntl
import os
import pickle
import threading
import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_s3resume.exceptions import S3ResumeError
    from airflow_provider_s3resume.plan.manifest import CopyEntry

DONE, FAILED, REFUSED, LOG, END = range(5)
"""Kinds of events."""
SIGN_EVERY_S: Final = 2.0
"""A process gives a sign of life so often, whatever it waits for."""
_CHUNK: Final = 16
_NUMBER: Final = 4
_TOLD_AT_ONCE: Final = 64
_TOLD_EVERY_S: Final = 0.1
_VALUES: Final = attrgetter(*Outcome.__slots__)


class Work:
    """What is to be done, in a pipe: whoever reads a number from it does those objects.

    All of it is written before anybody reads, so there are no more numbers than the pipe holds.
    """

    def __init__(self, entries: Sequence[CopyEntry]) -> None:
        self._entries = entries
        # Here, as a forked process that looks at all of them has a copy of all of their memory.
        self.mean_size: int = sum(entry.size for entry in entries) // max(1, len(entries))
        self._reading, self._writing = os.pipe()
        room = fcntl.fcntl(self._writing, fcntl.F_GETPIPE_SZ) // _NUMBER
        self._chunk = max(_CHUNK, -(-len(entries) // room))
        count = -(-len(entries) // self._chunk)
        os.write(self._writing, b"".join(n.to_bytes(_NUMBER, "big") for n in range(count)))

    def is_all_given(self) -> None:
        """Let whoever reads see the end behind the last number."""
        os.close(self._writing)
        self._writing = -1

    def take(self) -> Sequence[CopyEntry]:
        """Return the next objects that nobody else does, none at the end."""
        number = os.read(self._reading, _NUMBER)
        if not number:
            return ()
        start = int.from_bytes(number, "big") * self._chunk
        return self._entries[start : start + self._chunk]

    def drain(self) -> None:
        """Let nobody take anything any more."""
        while os.read(self._reading, 1 << 16):
            pass

    def close(self) -> None:
        """Close both ends, if they are not closed."""
        close_all(self._reading, self._writing)
        self._reading = self._writing = -1


class Alive:
    """A pipe of which the task alone has one end: it closes with the task, however that ends."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def end_with_the_task(self) -> None:
        """Let this process, which is not the task, end at once when the task has ended."""
        os.close(self._writing)

        def wait() -> None:
            os.read(self._reading, 1)
            os._exit(1)

        threading.Thread(target=wait, name="s3resume-alive", daemon=True).start()

    def close(self) -> None:
        """Close both ends, if they are not closed."""
        close_all(self._reading, self._writing)
        self._reading = self._writing = -1


def close_all(*numbers: int) -> None:
    """Close files by their numbers; those below 0 are none."""
    for number in numbers:
        if number >= 0:
            os.close(number)


class Told:
    """What is told to the task, a few events at a time."""

    def __init__(self, writing: int) -> None:
        self._writing = os.fdopen(writing, "wb")
        self._lock = threading.RLock()
        self._events: list[tuple[Any, ...]] = []
        self._at = time.monotonic()

    def add(self, *event: Any) -> None:  # noqa: ANN401 - a kind, and what belongs to it
        """Tell something, soon."""
        with self._lock:
            self._events.append(event)
            if len(self._events) >= _TOLD_AT_ONCE:
                self.flush()
            else:
                self.flush_if_due()

    def done(self, outcome: Outcome) -> None:
        """Tell of an object that was copied."""
        self.add(DONE, *_VALUES(outcome))

    def failed(self, entry: CopyEntry, error: S3ResumeError) -> None:
        """Tell of an object of which another try says nothing new."""
        self.add(FAILED, entry.target_key, error)

    def refused(self, entry: CopyEntry) -> None:
        """Tell of an object that has to be copied in the ordinary way."""
        self.add(REFUSED, entry.target_key)

    def log(self, level: int, name: str, text: str) -> None:
        """Let the task log a line."""
        self.add(LOG, level, name, text)

    def flush_if_due(self) -> None:
        """Tell what there is if the last telling was a while ago."""
        silent = time.monotonic() - self._at
        if silent > (_TOLD_EVERY_S if self._events else SIGN_EVERY_S):
            self.flush()

    def flush(self) -> None:
        """Tell all of it now."""
        with self._lock:
            events, self._events, self._at = self._events, [], time.monotonic()
            # Of none, too: that this process lives.
            pickle.dump(events, self._writing, pickle.HIGHEST_PROTOCOL)
            self._writing.flush()
