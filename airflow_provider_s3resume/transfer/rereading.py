"""Proving a copy by an MD5 of the whole: the source is read a second time, in order.

The parts of a copy are read side by side, and an MD5 takes its bytes in order only. Most services
vouch for large objects with a CRC, which can be put together from those of the parts; this is for
the objects that have none, such as those of Alibaba Cloud OSS from before it kept CRCs.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import VerificationError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.hashing import Hasher, hex_of
from airflow_provider_s3resume.transfer.outcomes import Proof
from airflow_provider_s3resume.transfer.proving import prove_before, vouched_md5
from airflow_provider_s3resume.transfer.reading import STREAM_BUFFER

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo
    from airflow_provider_s3resume.plan.parts import PartLayout
    from airflow_provider_s3resume.plan.resume import PartRecord
    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.proving import Expected, WrittenParts
    from airflow_provider_s3resume.transfer.reading import ExactSource

log = logging.getLogger(__name__)


def prove_whole(
    context: CopyContext,
    source: ExactSource,
    info: ObjectInfo,
    layout: PartLayout,
    expected: Expected,
    written: WrittenParts,
) -> Proof:
    """Compare what Complete would make with the source (c18), by reading it again if need be.

    :raises VerificationError: if the two are known to differ.
    """
    proof = prove_before(source, info, layout, expected, written)
    if proof is not Proof.PARTS or not _can_be_reread(source, info, written):
        return proof
    uri = uri_of(source.store, source.key)
    log.info("%s: reading it again, as the MD5 of the whole is its only digest", uri)
    with context.budget.hold(STREAM_BUFFER, context.stop):
        buffer = memoryview(bytearray(STREAM_BUFFER))
        return prove_by_md5(source, info, layout, written, buffer)


def _can_be_reread(source: ExactSource, info: ObjectInfo, written: WrittenParts) -> bool:
    """Tell whether a second reading can prove the parts, and is asked for."""
    linked = all(_algorithm(part, written) is not None for part in written.parts)
    wanted = source.store.capabilities.reread_for_md5
    return wanted and linked and vouched_md5(source.store, info) is not None


def prove_by_md5(
    source: ExactSource,
    info: ObjectInfo,
    layout: PartLayout,
    written: WrittenParts,
    buffer: memoryview,
) -> Proof:
    """Read the source once more: its bytes must be those of the parts, and have its MD5.

    :param buffer: memory to read into, of whatever size.
    :raises VerificationError: if either is not so.
    """
    whole = Hasher(ChecksumAlgorithm.MD5)
    ranges = dict(layout.ranges())
    for part in sorted(written.parts, key=lambda one: one.part_number):
        algorithm = _algorithm(part, written)
        again = Hasher(algorithm) if algorithm is not None else None
        _read(source, ranges[part.part_number], buffer, whole, again)
        if again is None or not _is_sent(part, again):
            raise _differs(source, f"part {part.part_number} was read twice, and was two things")
    found = hex_of(whole.checksum())
    if found != vouched_md5(source.store, info):
        raise _differs(source, f"expected the MD5 that its ETag is, {info.etag}, found {found}")
    return Proof.MD5


def _algorithm(part: PartRecord, written: WrittenParts) -> ChecksumAlgorithm | None:
    """Return by what the bytes of a part that was sent are known."""
    if part.checksum is not None and written.algorithm is not None:
        return written.algorithm
    return ChecksumAlgorithm.MD5 if written.md5_etags else None


def _is_sent(part: PartRecord, again: Hasher) -> bool:
    if part.checksum is not None:
        return again.checksum().value == part.checksum
    return hex_of(again.checksum()) == part.etag.lower()


def _read(
    source: ExactSource,
    byte_range: ByteRange,
    buffer: memoryview,
    whole: Hasher,
    part: Hasher | None,
) -> None:
    with closing(source.chunks(byte_range, buffer)) as chunks:
        for chunk in chunks:
            whole.update(chunk)
            if part is not None:
                part.update(chunk)


def _differs(source: ExactSource, why: str) -> VerificationError:
    return VerificationError(
        f"{uri_of(source.store, source.key)}: {why}; the upload was aborted and the target was not "
        "changed. A retry reads the source again"
    )
