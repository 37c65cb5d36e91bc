"""Notes of many objects counted by kind, in bounded memory whatever they say (c20)."""

from __future__ import annotations

import re
from collections import Counter

_MOST_KINDS = 50
_MOST_KINDS_COUNTED = 1000
_LONGEST_KIND = 120
_VALUE = re.compile(r"['\"].*", re.DOTALL)
_NUMBER = re.compile(r"\b\d+\b")


def kind_of(note: str) -> str:
    """Return what notes that differ in the values of single objects have in common (c20)."""
    kind = _NUMBER.sub("N", _VALUE.sub("", note)).strip()
    return kind if len(kind) <= _LONGEST_KIND else f"{kind[:_LONGEST_KIND]}…"


class NoteKinds:
    """Notes counted by kind, in bounded memory whatever they say."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._uncounted = 0

    def add(self, note: str) -> None:
        """Count one note."""
        kind = kind_of(note)
        if kind in self._counts or len(self._counts) < _MOST_KINDS_COUNTED:
            self._counts[kind] += 1
        else:
            self._uncounted += 1

    def most_frequent(self) -> dict[str, int]:
        """Return the most frequent kinds by name, the others as one."""
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        found = dict(sorted(ranked[:_MOST_KINDS]))
        rest = ranked[_MOST_KINDS:]
        if rest:
            more = f"and {'at least ' * bool(self._uncounted)}{len(rest)} more kinds"
            found[more] = sum(n for _, n in rest) + self._uncounted
        return found
