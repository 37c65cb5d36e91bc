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
        return _LARGE.pop() or memoryview(bytearray(LARGE))
    except IndexError:
        return take(SMALL)


def give_back(buffer: memoryview) -> None:
    """Take back a buffer that nobody looks at any more."""
    size = len(buffer)
    (_TINY if size == TINY else _SMALL if size == SMALL else _LARGE).append(buffer)
