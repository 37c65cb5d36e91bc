"""How much is under way at once, found by what it brings.

The right number depends on the distance to the stores and on how much they take, and neither is
known before. So it begins with a number that does for near stores, and is raised by half as long as
that moves more. Where the processor is what holds things up, threads take the interpreter's lock
from each other, and about as many as there are processors move the same with less of their time;
fewer yet where they have to share the processors with others. Where few are likely to do, it begins
with these, until a moment shows that they leave the processor idle. What the user gave is not
changed.

Busy is a process that has the processor, or waits for it: beside others it may get little.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OBJECTS: Final = 32
THREADS: Final = 8
"""What it begins with: small objects in one thread; parts, and larger objects, in one each."""

MOST_THREADS: Final = 64
"""Each has two connections of its own."""

_SPAN_S: Final = 0.5
_TURNS: Final = 2
"""A span has so many turns of all that is under way, as a few ends say nothing about a rate."""
_STEP: Final = 1.5
_GAIN: Final = 1.1
"""What half as much again has to bring; less is chance, or the end of the line."""
_BUSY: Final = 0.5
"""What threads have had a processor, or waited for one, in each second, beyond which it is not
distance that holds things up."""
_SPARED: Final = 0.8
"""What half as many have to bring at the least, however little processor time they take for it."""
_AS_GOOD: Final = 0.95
"""What half as many have to be worth, of what all are: less is no chance any more."""
_PAUSE, _LONGEST = 4, 32
"""Spans in which nothing is tried after something brought less: as many at first, and at most."""
_TRUSTED: Final = 20
"""Spans after which what the fewest bring is compared with what more do, again."""
MOMENT_S: Final = 0.15
"""After so long it shows whether the processor is busy, though not yet what is moved."""


class Runnable:
    """How long threads of this process have had a processor or waited for one, in seconds.

    Where Linux does not tell who waited, it is the time that they had one.
    """

    def __init__(self) -> None:
        self._waited = 0
        self._known = _waits_ns()

    def __call__(self) -> float:
        """Return the time so far."""
        known, self._known = self._known, _waits_ns()
        # A thread that has ended takes what it waited with it, and another may have its number.
        self._waited += sum(max(0, ns - known.get(name, 0)) for name, ns in self._known.items())
        return time.process_time() + self._waited / 1e9


def _waits_ns() -> dict[str, int]:
    """Return how long each thread has waited for a processor, in nanoseconds."""
    found = {}
    with contextlib.suppress(OSError):
        for task in os.scandir("/proc/self/task"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                found[task.name] = int(Path(task.path, "schedstat").read_text().split()[1])
    return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was moved in a second, and the processor time that took."""

    rate: float
    taken: float

    @property
    def _worth(self) -> float:
        # What is moved counts as much as what is moved for each second of a processor.
        return self.rate * self.rate / self.taken

    def is_as_good_as(self, best: _Seen) -> bool:
        """Tell whether it moves about as much, or takes less by as much as it moves less."""
        return self.rate >= _SPARED * best.rate and self._worth >= _AS_GOOD * best._worth

    def better(self, other: _Seen) -> _Seen:
        """Return the better of the two."""
        return other if other._worth > self._worth else self


_LEAST_SHARE: Final = 0.001
_NOTHING: Final = _Seen(0.0, 1.0)


class Tuner:
    """Lets more and more be under way while that moves more; many threads may count.

    :param given: what the user wants, ``None`` for what is found.
    :param first: what it begins with, if nothing is given.
    :param most: what there is room for.
    :param least: what is enough where the processor is busy, if half of it is not as well; ``None``
        for what there is then.
    :param few: what it begins with until it shows whether the processor is busy, and goes on with
        if it is; ``None`` for ``first``.
    :param fewest: what is allowed at first where the processor is busy, and held against ``least``
        only after a while; ``None`` for ``least``.
    :param clock: seconds that only grow.
    :param busy: how long threads of this process have had a processor or waited for one, in
        seconds; what :class:`Runnable` tells, if it is not given.
    :param spent: the processor time of this process alone.
    """

    def __init__(
        self,
        given: int | None,
        *,
        first: int,
        most: int,
        least: int | None = None,
        few: int | None = None,
        fewest: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] | None = None,
        spent: Callable[[], float] = time.process_time,
    ) -> None:
        self.is_given: bool = given is not None
        self.allowed: int = max(1, min(most, first if given is None else given))
        self._most = max(1, most)
        self._least = None if least is None else min(least, self._most)
        self._fewest = fewest
        self._settled = self.is_given
        self._clock = clock
        # Where nothing is to be found, nobody has to look at all threads.
        self._busy = busy or (spent if self.is_given else Runnable())
        self._spent = spent
        self._lock = threading.Lock()
        self._first = self.allowed
        self._left, self._pause = 0, _PAUSE
        if few is not None and not self.is_given:
            self.allowed = max(1, min(few, self._first))
            is_fewest = fewest is not None and self.allowed < self._first
            self._left = _TRUSTED if is_fewest else 0
        self._shows_early = bool(self._least) or self.allowed < self._first
        self._before = (self.allowed, 0.0)
        self._doubted = 0
        self._enough: tuple[int, _Seen] | None = None
        self._best = _NOTHING
        self._is_new = True
        self._left_over = 0
        self._units, self._ends, self._began = 0, 0, clock()
        self._was_busy, self._had_spent = self._busy(), spent()
        self._looked, self._looked_busy = self._began, self._was_busy

    @property
    def is_unsure(self) -> bool:
        """Tell whether :meth:`look` has something to find out: it began with few."""
        return self._is_new and self.allowed < self._first

    def look(self) -> bool:
        """Tell whether another number is allowed now, though nothing may have ended.

        A single large part may take its time on a long way; all others would wait for its end.
        """
        with self._lock:
            now = self._clock()
            passed = now - self._looked
            if not self.is_unsure or passed < MOMENT_S:
                return False
            # What was before says nothing of now: it may have been something else.
            before, self._looked, self._looked_busy = self._looked_busy, now, self._busy()
            if self._looked_busy - before > _BUSY * passed:
                return False
            self._leave_few()
            self._begin_span(now, self._looked_busy, self._spent())
            return True

    def count(self, units: int) -> bool:
        """Count something that has ended; tell whether another number is allowed now.

        :param units: objects or bytes, of which more are to be moved in a second.
        """
        with self._lock:
            if self._settled or self._is_left_over():
                return False
            self._units += units
            self._ends += 1
            now = self._clock()
            spent = now - self._began
            is_over = self._ends >= _TURNS * self.allowed and spent >= _SPAN_S
            if not is_over and not (self._is_new and self._shows_early and spent >= MOMENT_S):
                return False
            before, now_busy, now_spent = self.allowed, self._busy(), self._spent()
            share = (now_busy - self._was_busy) / spent
            if is_over:
                taken = (now_spent - self._had_spent) / spent
                self._decide(_Seen(self._units / spent, max(taken, _LEAST_SHARE)), share)
            elif self.allowed < self._first and share <= _BUSY:
                self._leave_few()
            elif share <= _BUSY or self.allowed <= (self._least or 0):
                return False
            else:
                # What is too many shows before it is known what is moved.
                self.allowed = self._drop(self._least or self.allowed)
            self._is_new = False
            self._left_over = before if self.allowed < before else 0
            self._begin_span(now, now_busy, now_spent)
            return self.allowed != before

    def _leave_few(self) -> None:
        """Allow what is begun with where it is far to the stores."""
        self.allowed, self._left, self._is_new = self._first, 0, False

    def _begin_span(self, now: float, busy: float, spent: float) -> None:
        self._units, self._ends, self._began = 0, 0, now
        self._was_busy, self._had_spent = busy, spent

    def _is_left_over(self) -> bool:
        """Tell whether what has ended was begun when more were allowed: more moved it."""
        if not self._left_over:
            return False
        self._left_over -= 1
        if not self._left_over:
            self._begin_span(self._clock(), self._busy(), self._spent())
        return True

    def _decide(self, seen: _Seen, share: float) -> None:
        if share > _BUSY:
            # It may be otherwise later: this is not the end of the matter.
            if self._least is not None:
                self.allowed = self._frugal(self._least, seen)
            self._before = (self.allowed, 0.0)
            return
        if self.allowed < self._first:
            # So few were enough while the processor was busy, or leave it idle: how many are now,
            # is to be found.
            self._wait()
            self.allowed = self._first
            self._before = (self.allowed, 0.0)
            return
        self._grow(seen.rate)

    def _grow(self, rate: float) -> None:
        """Allow half as many more, as long as that brings more; a step back is doubted once."""
        before, best = self._before
        if rate < best * _GAIN:
            self.allowed = before
            self._settled, self._doubted = self._doubted == before, before
            self._before = (before, 0.0)
            return
        self._before = (self.allowed, rate)
        self.allowed = min(self._most, int(self.allowed * _STEP) + 1)

    def _frugal(self, least: int, seen: _Seen) -> int:
        """Return how many are enough on a busy processor: half as many, while these are as good.

        Where others want the processors, too (a server beside it, other tasks), more threads move
        no more. Where nobody does, they do. Neither is for good: after a pause it is tried again,
        from ``least`` on.
        """
        count, best = self._enough or (self.allowed, seen)
        if self._enough is not None and not seen.is_as_good_as(best):
            self._wait()
            return count
        if self._enough is None and self._left:
            self._left -= 1
            self._best = self._best.better(seen)
            return self.allowed
        if self._enough is None and self.allowed != least:
            self._best = _NOTHING
            return self._drop(least) if self.allowed > least else least
        if self.allowed == 1:
            self._enough, self._left, self._best = None, _TRUSTED, _NOTHING
            return 1
        self._enough = (self.allowed, best.better(seen).better(self._best))
        return (self.allowed + 1) // 2

    def _drop(self, least: int) -> int:
        """Return how many are allowed when it turns out that there are too many."""
        if self._fewest is None:
            return least
        self._left = _TRUSTED
        return min(self._fewest, least)

    def _wait(self) -> None:
        """Try nothing for a while, and longer the next time."""
        self._enough, self._best = None, _NOTHING
        self._left, self._pause = self._pause, min(_LONGEST, 2 * self._pause)
