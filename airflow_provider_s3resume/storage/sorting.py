"""``SortedListing``: puts the listing of a service that lists in another order into ours (c02).

What is sorted are keys and listing fields, never object bytes: in memory up to a bound, beyond it
as sorted runs in one unnamed temporary file, which are merged while they are read.
"""

from __future__ import annotations

import heapq
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import IO, Final

from airflow_provider_s3resume.exceptions import ListingError
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    Hindrance,
    KeyRange,
    ListedObject,
    key_bytes,
)
from airflow_provider_s3resume.storage._layer import Layer
from airflow_provider_s3resume.storage.base import Capabilities, ObjectStore, uri_of
from airflow_provider_s3resume.storage.express import Express, express_of

RECORDS_IN_MEMORY: Final = 100_000
_BLOCK: Final = 32 * 1024


@lru_cache(maxsize=16)
def _in_order(capabilities: Capabilities) -> Capabilities:
    return replace(capabilities, ordered_listing=True, lists_ranges=False)


class SortedListing(Layer):
    """A store whose objects are listed in the order of their UTF-8 bytes, each once.

    Nothing is yielded before the whole of the inner listing was read.

    :param records_in_memory: most listed objects held at once (about 500 bytes each).
    :param folder: for the temporary file, ``None`` for the system's.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        records_in_memory: int = RECORDS_IN_MEMORY,
        folder: str | None = None,
    ) -> None:
        super().__init__(inner)
        self._records = records_in_memory
        self._folder = folder
        self._known: tuple[Capabilities, Capabilities] | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the inner store can do, and order."""
        # Asked several times for each object, and hardly ever another value than the last time.
        inner, known = self.inner.capabilities, self._known
        if known is None or known[0] is not inner:
            known = self._known = (inner, _in_order(inner))
        return known[1]

    @property
    def express(self) -> Express | None:
        """The inner store's."""
        return express_of(self.inner)

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects in order.

        :raises ListingError: if a key is listed twice.
        """
        listing = self.inner.list_objects(prefix, key_range)
        last: str | None = None
        # Closed also when the reader stops early, and the temporary file with it.
        with closing(sort_listing(listing, self._records, self._folder)) as ordered:
            for listed in ordered:
                if listed.key == last:
                    uri = uri_of(self, listed.key)
                    raise ListingError(f"listing of {uri}: the service lists this key twice")
                last = listed.key
                yield listed


def sort_listing(
    listing: Iterable[ListedObject], records_in_memory: int, folder: str | None = None
) -> Generator[ListedObject]:
    """Yield ``listing`` in order, holding so many records at most; the file goes with the iterator.

    :raises OSError: if the temporary file cannot be written.
    """
    rest = iter(listing)
    run = sorted(islice(rest, records_in_memory), key=_order)
    if len(run) < records_in_memory:
        yield from run
        return
    # Unnamed: it is gone with the process, however that ends.
    with tempfile.TemporaryFile(dir=folder) as file:
        runs: list[tuple[int, int]] = []
        while run:
            runs.append(_spill(file, run))
            run = sorted(islice(rest, records_in_memory), key=_order)
        file.flush()
        # pread, since the runs are read by turns from one descriptor.
        merged = heapq.merge(*(_read(file.fileno(), *span) for span in runs), key=_order)
        yield from merged


def _order(listed: ListedObject) -> bytes:
    return key_bytes(listed.key)


def _spill(file: IO[bytes], run: list[ListedObject]) -> tuple[int, int]:
    start = file.tell()
    for one in run:
        fields: list[object] = [one.key, one.size, one.etag, one.last_modified, one.storage_class]
        if not one.md5_etag or one.hindrance is not None or one.restored is not None:
            hindrance = one.hindrance.value if one.hindrance else None
            fields += [one.md5_etag, hindrance, one.restored]
        file.write(json.dumps(fields).encode("ascii") + b"\n")
    return start, file.tell()


def _read(descriptor: int, start: int, stop: int) -> Iterator[ListedObject]:
    rest = b""
    while start < stop:
        block = os.pread(descriptor, min(_BLOCK, stop - start), start)
        start += len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield from map(_record, lines)


def _record(line: bytes) -> ListedObject:
    key, size, etag, last_modified, storage_class, *rare = json.loads(line)
    md5_etag, hindrance, restored = rare or (True, None, None)
    return ListedObject(
        key=key,
        size=size,
        etag=etag,
        last_modified=last_modified,
        storage_class=storage_class,
        md5_etag=md5_etag,
        hindrance=Hindrance(hindrance) if hindrance else None,
        restored=restored,
    )
