"""Buffers that encrypted bytes are read into, few of them large.

The more is read at once, the less it costs: more of what the socket holds comes with one system
call. But a thread has its buffer while it waits for bytes, and a task has up to 256 threads that
may wait, beside its memory budget (c20). Where the processor is what bounds a task, no more than a
few of them read at a time.

They are used again, by all threads of a process. A buffer each for all threads would be much more:
most of them wait for their turn. And callers' own buffers will not do: of those the start is filled
when more has to be read.
"""

from __future__ import annotations

from typing import Final

LARGE: Final = 1 << 20
SMALL: Final = 128 * 1024
TINY: Final = 32 * 1024
MOST_LARGE: Final = 4
_MOST_KEPT: Final = 16
"""Of each of the other sizes: what more threads had while they waited is not kept."""


# To take from a list, or to add to it, is one step for other threads. What is there to be used
# again goes first: it lies at the end.
_LARGE: list[memoryview | None] = [None] * MOST_LARGE
_SMALL: list[memoryview] = []
_TINY: list[memoryview] = []


def take(size: int) -> memoryview:
    """Return a buffer for about ``size`` bytes, but not for more than a small one has."""
    kept, whole = (_SMALL, SMALL) if size > TINY else (_TINY, TINY)
    try:
        return kept.pop()
    except IndexError:
        return memoryview(bytearray(whole))


def take_large() -> memoryview:
    """Return a large buffer, or a small one if as many as there may be are in use."""
    try:
        kept = _LARGE.pop()
    except IndexError:
        return take(SMALL)
    try:
        return kept or memoryview(bytearray(LARGE))
    except MemoryError:
        _LARGE.append(None)
        raise


def give_back(buffer: memoryview) -> None:
    """Take back a buffer that nobody looks at any more."""
    size = len(buffer)
    if size == LARGE:
        _LARGE.append(buffer)
        return
    kept = _SMALL if size == SMALL else _TINY
    if len(kept) < _MOST_KEPT:
        kept.append(buffer)
