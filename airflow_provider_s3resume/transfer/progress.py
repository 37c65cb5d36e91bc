"""Figures of a running task, counted from many threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A moment's figures; bytes are those sent to the target by this attempt."""

    objects_planned: int = 0
    objects_done: int = 0
    objects_failed: int = 0
    bytes_planned: int = 0
    bytes_moved: int = 0
    parts_sent: int = 0
    parts_kept: int = 0
    parts_reread: int = 0


class Progress:
    """Adds up figures; :meth:`figures` gives a consistent copy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(Figures.__slots__, 0)

    def add(self, **counts: int) -> None:
        """Add to the named figures."""
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    def figures(self) -> Figures:
        """Return the figures of this moment."""
        with self._lock:
            return Figures(**self._counts)
