"""Sorting more rows of text than fit into memory: keys and what is said of them, never bytes.

What is beyond a bound goes, sorted, into one unnamed temporary file, and is merged while it is
read; the file goes with its reader.
"""

from __future__ import annotations

import heapq
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO, Final

from airflow_provider_s3resume.plan.objects import key_bytes

Row = tuple[str, ...]

ROWS_IN_MEMORY: Final = 100_000
"""About 30 MB of keys of a usual length."""
_BLOCK: Final = 32 * 1024


def sorted_rows(rows: Iterable[Row], most: int | None = None) -> Generator[Row]:
    """Yield rows in the order of their first texts' UTF-8 bytes, then of their second ones'.

    :param most: rows that are held at once.
    :raises OSError: if the temporary file cannot be written.
    """
    most = ROWS_IN_MEMORY if most is None else most
    rest = iter(rows)
    run = sorted(islice(rest, most), key=_order)
    if len(run) < most:
        yield from run
        return
    with tempfile.TemporaryFile(prefix="s3resume-sort-") as file:
        spans: list[tuple[int, int]] = []
        while run:
            spans.append(_spill(file, run))
            run = sorted(islice(rest, most), key=_order)
        file.flush()
        yield from heapq.merge(*(_read(file.fileno(), *span) for span in spans), key=_order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names in byte order, each once, that can be read as often as wanted.

    :param count: how many there are.
    """

    count: int
    descriptor: int
    size: int

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return (row[0] for row in _read(self.descriptor, 0, self.size))


@contextmanager
def sorted_names(names: Iterable[str], *, fold: bool = False) -> Iterator[Names]:
    """Sort names into a file that is there for the length of a ``with`` block.

    :param fold: leave out names that begin with another one.
    """
    with tempfile.TemporaryFile(prefix="s3resume-names-") as file:
        count, last = 0, None
        with closing(sorted_rows((name,) for name in names)) as rows:
            for (name,) in rows:
                # In byte order, what begins with a name stands right behind it.
                if last is not None and (name == last or (fold and name.startswith(last))):
                    continue
                file.write(_line((name,)))
                count, last = count + 1, name
        file.flush()
        yield Names(count=count, descriptor=file.fileno(), size=file.tell())


def _order(row: Row) -> tuple[bytes, ...]:
    return tuple(map(key_bytes, row[:2]))


def _line(row: Row) -> bytes:
    return json.dumps(row).encode("ascii") + b"\n"


def _spill(file: IO[bytes], run: list[Row]) -> tuple[int, int]:
    start = file.tell()
    file.writelines(map(_line, run))
    return start, file.tell()


def _read(descriptor: int, start: int, stop: int) -> Iterator[Row]:
    # pread, since several readers go through one descriptor by turns.
    rest = b""
    while start < stop:
        block = os.pread(descriptor, min(_BLOCK, stop - start), start)
        start += len(block)
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield tuple(json.loads(line))
