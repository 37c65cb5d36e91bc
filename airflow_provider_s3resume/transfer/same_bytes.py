"""Whether an object at the target has the source's bytes, where no digest that both show tells.

A copy that the service makes by itself passes no byte here: after a lost answer, or a kill, there
is no digest that was computed on the way, as there is of a relayed copy. Where ETags are no MD5s
(KMS) and the source has no checksum, the bytes alone tell whose object lies there (c16).
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import SourceChangedError, StoreError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ByteRange
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.hashing import Hasher
from airflow_provider_s3resume.transfer.reading import READ_STEP, ExactSource

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.digests import Checksum
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.transfer.context import CopyContext

log = logging.getLogger(__name__)

_WHERE_NONE_IS_SHOWN: Final = ChecksumAlgorithm.CRC64NVME


def has_same_bytes(context: CopyContext, source: ExactSource, found: ObjectInfo) -> bool:
    """Read the source, and compare it with the checksum that the target shows of an object.

    Where the target shows none of the whole, that object is read, too. What may not be read is not
    known to be the same.

    :raises SourceChangedError: if the source is another object by now.
    :raises StoreError: if one of them cannot be read now.
    """
    if found.size != source.identity.size:
        return False
    uri = uri_of(context.target, found.key)
    log.warning("%s: reading the source, to tell whether it is what lies there", uri)
    with context.budget.hold(READ_STEP, context.stop):
        return _compare(context, source, found)


def _compare(context: CopyContext, source: ExactSource, found: ObjectInfo) -> bool:
    buffer = memoryview(bytearray(READ_STEP))
    there = ExactSource(context.target, found.key, found.identity(), context.stop)
    shown = next((one for one in found.checksums if one.full_object), None)
    try:
        theirs = shown or _checksum(there, _WHERE_NONE_IS_SHOWN, buffer)
    except SourceChangedError:
        return False  # Somebody is writing to it.
    except StoreError as error:
        return _not_known(error)
    try:
        return _checksum(source, theirs.algorithm, buffer) == theirs
    except StoreError as error:
        return _not_known(error)


def _not_known(error: StoreError) -> bool:
    """Take an object that may not be read for another one.

    :raises StoreError: if another try may read it.
    """
    if error.retryable:
        raise error
    log.warning("%s", error)
    return False


def _checksum(at: ExactSource, algorithm: ChecksumAlgorithm, buffer: memoryview) -> Checksum:
    hasher = Hasher(algorithm)
    if at.identity.size:
        whole = ByteRange(start=0, stop=at.identity.size)
        with closing(at.chunks(whole, buffer)) as chunks:
            for chunk in chunks:
                hasher.update(chunk)
    return hasher.checksum()
