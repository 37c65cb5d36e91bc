"""Figures of a running task, counted from many threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


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

    def __init__(self, *, objects: int = 0, size: int = 0) -> None:
        self._lock = threading.Lock()
        self._figures = Figures(objects_planned=objects, bytes_planned=size)

    def add(self, **counts: int) -> None:
        """Add to the named figures."""
        with self._lock:
            now = {name: getattr(self._figures, name) + n for name, n in counts.items()}
            self._figures = replace(self._figures, **now)

    def figures(self) -> Figures:
        """Return the figures of this moment."""
        with self._lock:
            return self._figures
