"""Large buffers that many threads use for a short time: how they are allocated."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE: Final = 256 * 1024
_ARENAS: Final = 2
_UNTRIMMED: Final = 4 * 1024 * 1024
_Make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)


def give_back_large_blocks() -> None:
    """Let every block of 256 KiB and more be one of its own, which is gone when it is freed.

    glibc raises that limit, up to 32 MiB, each time a larger block is freed, and keeps what is
    freed below it in up to eight heaps for each processor: buffers of a few MiB, allocated and
    freed by many threads, then take several times the memory that is in use at any moment
    (``mallopt(3)``, "M_MMAP_THRESHOLD" and "M_ARENA_MAX"). To set the first ends another habit of
    glibc, to leave the end of a heap alone until twice as much as a large block is free there;
    without it each piece of a body that is encrypted would be mapped and zeroed anew. So that is
    set as well. Where there is another C library, nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE)
    mallopt(_M_TRIM_THRESHOLD, _UNTRIMMED)
    mallopt(_M_ARENA_MAX, _ARENAS)


def unfilled(size: int) -> bytearray:
    """Return a buffer that nothing was written to; what is in it may be anything.

    ``bytearray(size)`` writes zeros, and has the system map every page meanwhile, under the
    interpreter's lock: 5 to 9 ms for 16 MiB, in which no other thread begins its request. Here the
    read that fills a page has it mapped, without the lock. Where Python's own C function is not
    there, the buffer is one of zeros.
    """
    try:
        make = _Make(("PyByteArray_FromStringAndSize", ctypes.pythonapi))
    except (AttributeError, OSError):
        return bytearray(size)
    made: bytearray = make(None, size)
    return made
