"""Recognising what has landed at a target that keeps no digests: it is read again.

After a kill, or a write of another worker, only the target can tell what is there. A service does
so by its ETag or a checksum; a folder has neither, but its bytes cost no request.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import SourceChangedError
from airflow_provider_s3resume.plan.objects import ByteRange
from airflow_provider_s3resume.transfer.hashing import Hasher
from airflow_provider_s3resume.transfer.proving import is_expected
from airflow_provider_s3resume.transfer.reading import ExactSource

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.proving import Expected
    from airflow_provider_s3resume.transfer.stopping import StopSignal

_BUFFER = 256 * 1024
"""Bytes held beside the memory budget, by a copy that holds no part at that time."""


def has_landed(
    store: ObjectStore, found: ObjectInfo | None, expected: Expected, stop: StopSignal
) -> bool:
    """Tell whether the object at the target is provably the one that was expected.

    :raises CopyStoppedError: if told to stop.
    """
    if is_expected(found, expected):
        return True
    if found is None or found.size != expected.size or not store.capabilities.reads_back:
        return False
    known = expected.checksum or expected.source_checksum
    if known is None or not known.full_object:
        return False
    hasher = Hasher(known.algorithm)
    if found.size:
        there = ExactSource(store, found.key, found.identity(), stop)
        whole = ByteRange(start=0, stop=found.size)
        buffer = memoryview(bytearray(min(_BUFFER, found.size)))
        try:
            with closing(there.chunks(whole, buffer)) as chunks:
                for chunk in chunks:
                    hasher.update(chunk)
        except SourceChangedError:
            return False  # Somebody is writing to it.
    return hasher.checksum().value == known.value
