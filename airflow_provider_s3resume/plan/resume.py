"""What to do with an earlier attempt: keep its acknowledged parts, or start over and say why.

Part number and size alone never identify a part (c11). A listed part is ours only because its
upload id stands in a checkpoint for the same source identity, target and layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.digests import normal_etag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_s3resume.plan.objects import SourceIdentity
    from airflow_provider_s3resume.plan.parts import PartLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """A part that the target acknowledged, as the checkpoint keeps it.

    :param size: bytes.
    :param etag: as the target answered it, without quotes.
    :param checksum: base64 checksum of the part's bytes in the checkpoint's algorithm, if any.
    :param source_checksum: the same in the algorithm that the source's service vouches for the
        whole object with, where that is another one.
    :param by_service: the target's service copied it by itself, so nobody here has seen its bytes.
    """

    part_number: int
    size: int
    etag: str
    checksum: str | None = None
    source_checksum: str | None = None
    by_service: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is kept between attempts of one object's copy.

    :param source_uri: ``scheme://bucket/key`` with the service in front.
    :param upload_id: ``None`` while only the intent to create an upload is recorded.
    :param asked: digest of what CreateMultipartUpload was asked for: attributes, storage class,
        encryption; empty in records that do not say.
    :param uploads_before: ids of the uploads of this key that existed when the intent was recorded.
    :param algorithm: name of the checksum algorithm that the parts carry.
    :param source_algorithm: name of that of the parts' source checksums, empty if they have none.
    :param superseded: ids of uploads of ours that were given up and may still be there.
    """

    source_uri: str
    target_uri: str
    identity: SourceIdentity
    layout: PartLayout
    upload_id: str | None
    algorithm: str
    uploads_before: tuple[str, ...] = ()
    parts: tuple[PartRecord, ...] = ()
    superseded: tuple[str, ...] = ()
    started: float = 0.0
    asked: str = ""
    source_algorithm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPart:
    """A part as ListParts gives it."""

    part_number: int
    size: int
    etag: str
    checksum: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue:
    """Keep the upload.

    :param kept: parts that need not be sent or read again.
    :param unrecorded: parts that the target holds but of which a digest that is needed was not
        recorded: their source range is read again and compared, never sent again.
    :param missing: part numbers to send.
    """

    upload_id: str
    kept: tuple[PartRecord, ...]
    unrecorded: tuple[ListedPart, ...]
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOver:
    """Abandon the earlier upload, for this reason."""

    reason: str


Decision = Continue | StartOver


def decide(
    checkpoint: Checkpoint,
    *,
    source_uri: str,
    target_uri: str,
    identity: SourceIdentity,
    algorithm: str,
    asked: str,
    listed: Sequence[ListedPart] | None,
    source_algorithm: str = "",
) -> Decision:
    """Decide whether the upload of a checkpoint can be gone on with.

    The layout is the checkpoint's: a part size configured differently since does not matter.

    :param identity: of the source object as it is now.
    :param asked: digest of what an upload begun now would be asked for.
    :param listed: what ListParts gave, or ``None`` if the upload does not exist any more.
    :param source_algorithm: name of the algorithm in which the source's own digest of the whole is
        to be compared, if it is not ``algorithm``.
    """
    if checkpoint.upload_id is None:
        return StartOver(reason="the earlier attempt ended before its upload was recorded")
    refusal = _foreign(checkpoint, source_uri, target_uri, identity, algorithm) or _outdated(
        checkpoint, asked
    )
    if refusal is not None:
        return StartOver(reason=refusal)
    if listed is None:
        return StartOver(reason="the upload does not exist any more at the target")
    refusal = _unfit(checkpoint, listed)
    if refusal is not None:
        return StartOver(reason=refusal)
    recorded = _recorded(checkpoint, source_algorithm)
    kept = tuple(recorded[p.part_number] for p in listed if p.part_number in recorded)
    unrecorded = tuple(p for p in listed if p.part_number not in recorded)
    there = {part.part_number for part in listed}
    missing = tuple(n for n in range(1, checkpoint.layout.count + 1) if n not in there)
    return Continue(
        upload_id=checkpoint.upload_id, kept=kept, unrecorded=unrecorded, missing=missing
    )


def _recorded(checkpoint: Checkpoint, source_algorithm: str) -> dict[int, PartRecord]:
    """Return the recorded parts that have every digest that is needed."""
    comparable = checkpoint.source_algorithm == source_algorithm
    return {
        part.part_number: part
        for part in checkpoint.parts
        if not source_algorithm or (comparable and part.source_checksum is not None)
    }


def _foreign(
    checkpoint: Checkpoint,
    source_uri: str,
    target_uri: str,
    identity: SourceIdentity,
    algorithm: str,
) -> str | None:
    if checkpoint.source_uri != source_uri or checkpoint.target_uri != target_uri:
        return "the checkpoint is of another pair of objects"
    if identity.etag is None and identity.version_id is None:
        return "the source gives no ETag or version to recognise it by"
    if checkpoint.identity != identity:
        was, now = checkpoint.identity, identity
        return (
            f"the source was replaced: was ETag {was.etag}, {was.size} bytes; "
            f"is ETag {now.etag}, {now.size} bytes"
        )
    if checkpoint.algorithm != algorithm:
        return f"parts carry {checkpoint.algorithm} checksums, now {algorithm} are asked for"
    return None


def _outdated(checkpoint: Checkpoint, asked: str) -> str | None:
    if not checkpoint.asked:
        return "the checkpoint does not say which attributes and encryption its upload has"
    if checkpoint.asked != asked:
        return "other attributes, storage class or encryption are asked for than the upload has"
    return None


def _unfit(checkpoint: Checkpoint, listed: Sequence[ListedPart]) -> str | None:
    recorded = {part.part_number: part for part in checkpoint.parts}
    seen: set[int] = set()
    for part in listed:
        number = part.part_number
        if number in seen:
            return f"part {number} is listed twice"
        seen.add(number)
        if not 1 <= number <= checkpoint.layout.count:
            return f"part {number} does not belong to a layout of {checkpoint.layout.count} parts"
        expected = checkpoint.layout.length_of(number)
        if part.size != expected:
            return f"part {number} has {part.size} bytes, expected {expected}"
        known = recorded.get(number)
        if known is not None and normal_etag(known.etag) != normal_etag(part.etag):
            return f"part {number} has ETag {part.etag}, recorded was {known.etag}"
    return None
