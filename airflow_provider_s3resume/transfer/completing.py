"""After the parts of a copy: they are listed, proven, made the object, and looked at.

The old target stays until the proof of the new one is in hand (c18).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    ObjectNotFoundError,
    PreconditionFailedError,
    TargetChangedError,
    ThrottledError,
    TransientStoreError,
    UploadNotFoundError,
    VerificationError,
)
from airflow_provider_s3resume.plan.digests import (
    ChecksumAlgorithm,
    Match,
    compare_checksums,
    normal_etag,
)
from airflow_provider_s3resume.transfer.attributes import condition_of
from airflow_provider_s3resume.transfer.context import Landed
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from airflow_provider_s3resume.transfer.proving import (
    Expected,
    WrittenParts,
    check_landed,
    look,
    without_target,
)
from airflow_provider_s3resume.transfer.rereading import prove_whole
from airflow_provider_s3resume.transfer.subject import CopySubject, StartOverError
from airflow_provider_s3resume.transfer.uploads import UploadRecord, same_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.plan.resume import Checkpoint, PartRecord
    from airflow_provider_s3resume.storage.base import Condition, Written
    from airflow_provider_s3resume.transfer.preparing import Prepared

_COMPLETE_TRIES = 4
_FIRST_WAIT_S = 0.2


def finish(copy: CopySubject, prepared: Prepared, reread: int) -> Landed:
    """Make the object of its parts, once they are proven to be the source.

    :param reread: parts that the target held and that were only read again.
    :raises StartOverError: if the target does not list exactly our parts.
    :raises VerificationError: if the parts do not make the source; the upload was aborted.
    :raises TargetChangedError: if the target is not what the plan saw.
    """
    _, notes = copy.upload()
    checkpoint = prepared.record.checkpoint
    # A Complete whose outcome is lost is recognised by a record that has all parts.
    with prepared.record.flushing():
        parts, shown = _covering(copy, prepared.record)
    expected = copy.expected(parts)
    copy.last_expected = expected
    proof = _proven(copy, checkpoint, expected, parts)
    condition = _condition(copy)
    written = _complete(copy, checkpoint.upload_id or "", parts, expected, condition)
    found = look(copy.context.target, copy.key)
    check_landed(copy.uri, found, expected, written.etag if written else None)
    arrived = shown or _have_arrived(copy, found, expected)
    copied = sum(part.by_service for part in parts)
    if copied and proof is Proof.PARTS:
        proof = Proof.SERVICE
    elif not arrived:
        proof = without_target(proof, copy.algorithm)
        proof = Proof.SERVICE if copied and proof is Proof.PARTS else proof
    mixed = 0 < copied < len(parts)
    return Landed(
        status=Status.COPIED,
        target_etag=normal_etag(found.etag) if found else None,
        proof=proof,
        sent_parts=len(copy.moved),
        kept_parts=len(prepared.kept) + reread,
        reread_parts=reread,
        bytes_moved=sum(copy.moved),
        unprotected=condition is None,
        checkpointed=True,
        superseded=checkpoint.superseded,
        by_service=bool(copied) and not mixed,
        notes=(
            *notes,
            *prepared.notes,
            *(copy.lost(found) if found else ()),
            *([f"{copied} of {len(parts)} parts were copied by the service"] if mixed else []),
        ),
    )


def _condition(copy: CopySubject) -> Condition | None:
    supported = copy.context.target.capabilities.conditional_complete
    return condition_of(copy.entry, supported=supported)


def _covering(copy: CopySubject, record: UploadRecord) -> tuple[list[PartRecord], bool]:
    """Return the parts that ListParts gives, if they are ours and cover the object.

    :returns: also whether the target shows the checksum of each, as it was sent.
    """
    checkpoint = record.checkpoint
    listed = copy.parts_of(checkpoint.upload_id or "")
    mine = record.parts()
    seen: dict[int, PartRecord] = {}
    for part in listed:
        known = mine.get(part.part_number)
        if part.part_number in seen:
            raise StartOverError(f"part {part.part_number} is listed twice")
        if known is None or known.size != part.size or not same_part(known, part.etag):
            raise StartOverError(f"part {part.part_number} is not ours")
        seen[part.part_number] = known
    absent = [n for n in range(1, checkpoint.layout.count + 1) if n not in seen]
    if absent:
        raise StartOverError(f"part {absent[0]} is not listed by the target")
    shown = all(
        p.checksum is not None and p.checksum == mine[p.part_number].checksum for p in listed
    )
    return [seen[number] for number in sorted(seen)], shown


def _proven(
    copy: CopySubject, checkpoint: Checkpoint, expected: Expected, parts: Sequence[PartRecord]
) -> Proof:
    written = WrittenParts(parts=parts, md5_etags=copy.md5_etags, algorithm=copy.algorithm)
    try:
        return prove_whole(
            copy.context, copy.source, copy.info, checkpoint.layout, expected, written
        )
    except VerificationError:
        copy.context.target.abort_upload(copy.key, checkpoint.upload_id or "")
        copy.context.records.forget(copy.source_uri, copy.target_uri)
        raise


def _have_arrived(copy: CopySubject, found: ObjectInfo | None, expected: Expected) -> bool:
    """Tell whether the target's service is known to have looked at the bytes that arrived."""
    # Either each part's Content-MD5 was sent, or each part's ETag was compared.
    if copy.algorithm is ChecksumAlgorithm.MD5 or copy.md5_etags:
        return True
    ours = [expected.checksum] if expected.checksum is not None else []
    return found is not None and compare_checksums(found.checksums, ours) is Match.SAME


def _complete(
    copy: CopySubject,
    upload_id: str,
    parts: Sequence[PartRecord],
    expected: Expected,
    condition: Condition | None,
) -> Written | None:
    """Complete, and where the answer is lost or unclear, look instead of guessing (c16).

    :returns: the answer, ``None`` if it was lost and the object is there.
    """
    context, (upload, _) = copy.context, copy.upload()
    for attempt in range(_COMPLETE_TRIES):
        context.stop.check()
        try:
            return context.target.complete_upload(
                copy.key,
                upload_id,
                parts,
                size=expected.size,
                checksum=expected.checksum if upload.full_object else None,
                algorithm=upload.algorithm,
                condition=condition,
            )
        except (PreconditionFailedError, ObjectNotFoundError, UploadNotFoundError) as error:
            if not copy.is_there(look(context.target, copy.key), expected):
                if isinstance(error, UploadNotFoundError):
                    raise
                raise _target_changed(copy) from error
            if attempt == 0:
                raise StartOverError("another worker completed it") from error
            break  # It was this one's, whose answer was lost.
        except ThrottledError:
            raise  # Refused, and repeated by the store's layers as often as can help.
        except TransientStoreError:
            if copy.is_there(look(context.target, copy.key), expected):
                break
            if attempt == _COMPLETE_TRIES - 1:
                raise
            context.stop.wait(_FIRST_WAIT_S * 2**attempt)
    # The object may be another worker's all the same; then the upload is still there.
    context.target.abort_upload(copy.key, upload_id)
    return None


def _target_changed(copy: CopySubject) -> TargetChangedError:
    entry = copy.entry
    saw = f"ETag {entry.target_etag}" if entry.target_there else "no object"
    return TargetChangedError(
        f"{copy.uri}: somebody changed it since the plan, which saw {saw}; it was not "
        "replaced. The parts are kept: the next plan looks again and goes on from them"
    )
