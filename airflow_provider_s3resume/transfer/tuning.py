"""How much is under way at once, found by what it brings."""

from __future__ import annotations

from typing import Final

FIRST: Final = 16
_SPAN_S: Final = 0.5
_STEP: Final = 1.5
_GAIN: Final = 1.1
"""What another half as much under way has to bring; less is chance, or the end of the line."""


class Tuner:
    """Lets more and more be under way while that moves more; what the user says wins.

    :param given: what the user wants, ``None`` for what is found.
    :param most: what there is room for.
    """

    def __init__(self, given: int | None, *, most: int, now: float) -> None:
        self.allowed = min(most, FIRST if given is None else given)
        self.rate = 0.0
        """Units a second in the last span."""
        self._most = most
        self._settled = given is not None
        self._best = 0.0
        self._count = 0
        self._began = now

    def count(self, units: int, size: int) -> None:  # noqa: ARG002 - bytes are for larger things
        """Count what was done."""
        self._count += units

    def tick(self, now: float) -> None:
        """Look at the last span, if it is over."""
        spent = now - self._began
        if spent < _SPAN_S:
            return
        self.rate = self._count / spent
        self._count, self._began = 0, now
        if self._settled:
            return
        if self.rate > self._best * _GAIN and self.allowed < self._most:
            self._best = self.rate
            self.allowed = min(self._most, int(self.allowed * _STEP) + 1)
        elif self.rate:
            self._settled = True
