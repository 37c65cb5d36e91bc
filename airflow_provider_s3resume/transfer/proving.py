"""Proofs: comparing what would land, or has landed, with its source."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    ObjectNotFoundError,
    TargetChangedError,
    VerificationError,
)
from airflow_provider_s3resume.plan.digests import (
    COMBINABLE,
    Checksum,
    ChecksumAlgorithm,
    Match,
    combine,
    compare_checksums,
    compare_etags,
    composite_etag,
    md5_of_etag,
    normal_etag,
)
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.plan.written import DSSE
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.hashing import Hasher, hex_of
from airflow_provider_s3resume.transfer.layouts import part_by_part
from airflow_provider_s3resume.transfer.losses import header_losses
from airflow_provider_s3resume.transfer.outcomes import Proof

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.plan.parts import PartLayout
    from airflow_provider_s3resume.plan.resume import PartRecord
    from airflow_provider_s3resume.storage.base import Capabilities, ObjectStore, WriteOptions
    from airflow_provider_s3resume.transfer.reading import ExactSource

PLAIN_ENCRYPTION = frozenset({None, "AES256"})
"""Server-side encryption under which a plain ETag is still the MD5 of the bytes."""

_READ_AGAIN = MIB
"""Bytes held while a part is read again, whatever its size."""
_COMPARED = 2
"""Parts that are read again to find out whether their ETags are MD5s."""


class NotEncryptedError(VerificationError):
    """The target does not encrypt as it was asked to; another attempt would end the same."""

    retryable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the completed object must show.

    :param etag: composite ETag of the parts, ``None`` if their ETags are no MD5s.
    :param checksum: full-object CRC, ``None`` if it cannot be combined.
    :param source_checksum: the same in the algorithm of the source's own digest, where that is
        another one that the target does not know.
    :param source_etag: the ETag that the source has if its parts are ours, where the target's are
        made in another way.
    """

    size: int
    etag: str | None
    checksum: Checksum | None
    source_checksum: Checksum | None = None
    source_etag: str | None = None

    @property
    def checksums(self) -> list[Checksum]:
        """Both, as far as they are there."""
        return [one for one in (self.checksum, self.source_checksum) if one is not None]


def expected_of(
    size: int,
    parts: Sequence[PartRecord],
    algorithm: ChecksumAlgorithm | None,
    source_algorithm: ChecksumAlgorithm | None = None,
) -> Expected:
    """Return what parts in order make of the whole."""
    sizes = [part.size for part in parts]
    return Expected(
        size=size,
        etag=composite_etag([p.etag for p in parts]),
        checksum=_combined(algorithm, [p.checksum for p in parts], sizes),
        source_checksum=_combined(source_algorithm, [p.source_checksum for p in parts], sizes),
        source_etag=_etag_of_md5s([p.source_checksum for p in parts])
        if source_algorithm is ChecksumAlgorithm.MD5
        else None,
    )


def _combined(
    algorithm: ChecksumAlgorithm | None, values: Sequence[str | None], sizes: Sequence[int]
) -> Checksum | None:
    known = [(one, size) for one, size in zip(values, sizes, strict=True) if one is not None]
    if algorithm is None or algorithm not in COMBINABLE or len(known) != len(values):
        return None
    return Checksum(algorithm=algorithm, value=combine(algorithm, known), full_object=True)


def _etag_of_md5s(values: Sequence[str | None]) -> str | None:
    """Return the composite ETag of parts with these base64 MD5s, ``None`` if one is not known."""
    known = [base64.b64decode(value).hex() for value in values if value is not None]
    return composite_etag(known) if len(known) == len(values) else None


def algorithm_for(
    info: ObjectInfo,
    capabilities: Capabilities,
    usable: Collection[ChecksumAlgorithm] = frozenset(ChecksumAlgorithm),
) -> ChecksumAlgorithm | None:
    """Choose the checksum that is sent: the source's own where the target checks it.

    :param usable: only these are taken over from the source. The parts of a multipart upload carry
        what can be combined: a SHA of parts says nothing about one of the whole.
    """
    taken = capabilities.part_checksums
    for checksum in info.checksums:
        if checksum.full_object and checksum.algorithm in taken and checksum.algorithm in usable:
            return checksum.algorithm
    return next(iter(taken), None)


def source_algorithm_for(
    info: ObjectInfo, sent: ChecksumAlgorithm | None, *, by_parts: bool = False
) -> ChecksumAlgorithm | None:
    """Choose the checksum that is computed beside the one that is sent.

    :param by_parts: the source's ETag is made of the MD5s of its parts, and nothing else would
        compare them.
    :returns: that of the source's own full-object CRC, if ``sent`` cannot be compared with it.
    """
    held = [c.algorithm for c in info.checksums if c.full_object and c.algorithm in COMBINABLE]
    if by_parts and not held and sent is not ChecksumAlgorithm.MD5:
        return ChecksumAlgorithm.MD5
    return None if sent in held else next(iter(held), None)


def source_proof(info: ObjectInfo, ours: Sequence[Checksum]) -> Proof | None:
    """Return the proof that the source's own full-object checksums give, ``None`` if they do not.

    Checksums that are known to differ are no proof either: compare them first.
    """
    if compare_checksums(info.checksums, ours) is not Match.SAME:
        return None
    theirs = {c.algorithm for c in info.checksums if c.full_object}
    alibaba = ChecksumAlgorithm.CRC64XZ in theirs & {c.algorithm for c in ours}
    return Proof.CRC64 if alibaba else Proof.CHECKSUM


def without_target(proof: Proof, algorithm: ChecksumAlgorithm | None) -> Proof:
    """Return what is left of a proof if the target's service shows nothing of what has arrived.

    :param algorithm: of the checksums that were sent with the parts, which the service is said to
        check.
    """
    if proof is Proof.ETAG:
        return proof  # It is the target's own.
    return Proof.PARTS if algorithm is not None else Proof.NONE


def vouched_md5(store: ObjectStore, info: ObjectInfo) -> str | None:
    """Return the hexadecimal MD5 of the object's bytes, if its ETag is known to be that."""
    plain = info.md5_etag and info.encryption in PLAIN_ENCRYPTION
    return md5_of_etag(info.etag) if plain and store.capabilities.md5_etags else None


def prove_before(
    source: ExactSource,
    info: ObjectInfo,
    layout: PartLayout,
    expected: Expected,
    written: WrittenParts,
) -> Proof:
    """Compare what Complete would make with the source (c18), before the target is touched.

    :raises VerificationError: if the two are known to differ.
    """
    if layout.reproduces_source and compare_etags(info.etag, expected.etag) is Match.SAME:
        return Proof.ETAG
    if expected.source_etag is not None and layout.reproduces_source:
        if compare_etags(info.etag, expected.source_etag) is Match.SAME:
            return Proof.MD5
        if _cut_alike(source, info, layout, expected.source_etag):
            raise _mismatch(source, "ETag over the same part layout", info, expected)
    if compare_checksums(info.checksums, expected.checksums) is Match.DIFFERENT:
        raise _mismatch(source, "full-object checksum", info, expected)
    proof = source_proof(info, expected.checksums)
    if proof is not None:
        return proof
    alike = layout.reproduces_source and _cut_alike(source, info, layout, expected.etag)
    if alike and written.tell_bytes(source, layout):
        raise _mismatch(source, "ETag over the same part layout", info, expected)
    return Proof.PARTS


def _cut_alike(source: ExactSource, info: ObjectInfo, layout: PartLayout, etag: str | None) -> bool:
    """Tell whether the source's ETag is made of MD5s over parts known to be cut as ours are.

    A layout that was inferred from its first part is looked at part by part first: parts of 5, 7
    and 6 bytes look like uniform ones (c19a).
    """
    plain = info.md5_etag and info.encryption in PLAIN_ENCRYPTION
    md5s = plain and source.store.capabilities.md5_etags
    if not md5s or etag is None or info.etag is None:
        return False
    if layout.known:
        return True
    found = part_by_part(source, info.size, layout.count)
    return found is not None and list(found.ranges()) == list(layout.ranges())


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenParts:
    """The parts that the target holds, and what is known of their ETags.

    :param md5_etags: the target's ETags should be MD5s: it says so, and no key was asked for.
    :param algorithm: of the checksums that the parts carry.
    """

    parts: Sequence[PartRecord]
    md5_etags: bool
    algorithm: ChecksumAlgorithm | None

    def tell_bytes(self, source: ExactSource, layout: PartLayout) -> bool:
        """Tell whether the parts' ETags are known to speak of their bytes.

        A bucket that encrypts with KMS by itself answers ETags that are no MD5s, and says so only
        of finished objects. So the smallest part's range is read once more: if these are the bytes
        that were sent, the ETag is their MD5 or it is none. If they are not, one of the two reads
        was wrong, and the ETags differ for that.
        """
        if not self.md5_etags:
            return False
        smallest = sorted(self.parts, key=lambda one: (one.size, one.part_number))[:_COMPARED]
        part = smallest[0]
        if part.checksum is None or self.algorithm is None:
            # Each was compared with the MD5 of its bytes when it was sent, but for those that the
            # service copied. One of these may be what is wrong: then the other is an MD5.
            compared = not any(one.by_service for one in self.parts)
            return compared or any(_is_md5(source, layout, one) for one in smallest)
        if self.algorithm is ChecksumAlgorithm.MD5:
            return base64.b64decode(part.checksum).hex() == normal_etag(part.etag)
        sent = Hasher(self.algorithm)
        return _is_md5(source, layout, part, sent) or sent.checksum().value != part.checksum


def _is_md5(source: ExactSource, layout: PartLayout, part: PartRecord, *beside: Hasher) -> bool:
    """Read a part's range once more; tell whether the part's ETag is its MD5."""
    md5 = Hasher(ChecksumAlgorithm.MD5)
    buffer = memoryview(bytearray(min(part.size, _READ_AGAIN)))
    source.read(dict(layout.ranges())[part.part_number], buffer, *beside, md5)
    return hex_of(md5.checksum()) == normal_etag(part.etag)


def _mismatch(
    source: ExactSource, what: str, info: ObjectInfo, expected: Expected
) -> VerificationError:
    uri = uri_of(source.store, source.key)
    held = [f"{c.algorithm.value} {c.value}" for c in info.checksums if c.full_object]
    made = [f"{c.algorithm.value} {c.value}" for c in expected.checksums]
    return VerificationError(
        f"{uri}: {what} of the copy does not match the source: expected ETag {info.etag} "
        f"{' '.join(held)}, found ETag {expected.etag or expected.source_etag} "
        f"{' '.join(made)}; the upload was aborted and the target was not changed. A retry reads "
        "the source again"
    )


def look(store: ObjectStore, key: str) -> ObjectInfo | None:
    """Return what is at the target, ``None`` if nothing is."""
    try:
        return store.head(key)
    except ObjectNotFoundError:
        return None


def is_expected(found: ObjectInfo | None, expected: Expected) -> bool:
    """Tell whether the object at the target is provably the one that was expected."""
    if found is None or found.size != expected.size:
        return False
    if expected.etag is not None and normal_etag(found.etag) == expected.etag:
        return True
    ours = [expected.checksum] if expected.checksum is not None else []
    return compare_checksums(found.checksums, ours) is Match.SAME


def target_changed(uri: str, entry: CopyEntry, found: ObjectInfo | None) -> TargetChangedError:
    """Return the error that says that the target is not what the plan saw."""
    seen = f"ETag {found.etag}, {found.size} bytes" if found else "no object"
    planned = f"ETag {entry.target_etag}" if entry.target_there else "no object"
    return TargetChangedError(
        f"{uri}: found {seen}, the plan saw {planned}; it was not replaced. The next plan looks "
        "again"
    )


def check_landed(
    uri: str, found: ObjectInfo | None, expected: Expected, answered_etag: str | None
) -> None:
    """Compare what is at the target after the write with what must be there.

    :param answered_etag: what the write answered, ``None`` if its answer was lost or held none.
    :raises VerificationError: naming what was expected and what was found.
    """
    if is_expected(found, expected):
        return
    comparable = expected.etag is not None or (
        found is not None and expected.checksum is not None and bool(found.checksums)
    )
    encrypted = found is not None and found.encryption not in PLAIN_ENCRYPTION
    if (
        found is not None
        and found.size == expected.size
        and (answered_etag is None or normal_etag(found.etag) == normal_etag(answered_etag))
        and (encrypted or not comparable)
    ):
        return
    seen = f"{found.size} bytes, ETag {found.etag}" if found else "no object"
    raise VerificationError(
        f"{uri}: after the write, expected {expected.size} bytes, ETag {expected.etag}, "
        f"found {seen}; somebody else may have written it. A retry looks again"
    )


def attribute_notes(
    uri: str, asked: ObjectInfo, found: ObjectInfo, options: WriteOptions
) -> list[str]:
    """Say what was asked for and is not on the target object (c19).

    :raises NotEncryptedError: if it does not have the encryption that was asked for.
    """
    if options.encryption and not _covers(found.encryption, options.encryption):
        raise NotEncryptedError(
            f"{uri}: encryption {options.encryption} was asked for, and the object there has "
            f"{found.encryption or 'none'}: the target ignored the request, or somebody else wrote "
            "the object. Ask for no encryption there, or use a target that has it"
        )
    notes = header_losses(asked.attributes, found.attributes)
    if found.tag_count is not None and found.tag_count != len(asked.attributes.tags):
        notes.append(f"{len(asked.attributes.tags)} tags are {found.tag_count} at the target")
    if options.storage_class and (found.storage_class or "STANDARD") != options.storage_class:
        notes.append(f"storage class {options.storage_class} is {found.storage_class}")
    if options.encryption and found.encryption != options.encryption:
        notes.append(f"encryption {options.encryption} is {found.encryption}")
    if options.kms_key_id and _other_key(options.kms_key_id, found.kms_key):
        notes.append(f"encryption key {options.kms_key_id} is {found.kms_key}")
    if options.bucket_key is not None and options.bucket_key is not found.bucket_key:
        notes.append(f"bucket key {options.bucket_key} is {found.bucket_key}")
    return notes


def _covers(found: str | None, asked: str) -> bool:
    """Tell whether an object has the encryption asked for, or a stronger one."""
    if asked == DSSE:
        return found == DSSE
    kms = (found or "").startswith("aws:kms")
    return kms if asked.startswith("aws:kms") else kms or found == asked


def _other_key(asked: str, found: str | None) -> bool:
    """Tell whether two names are known to be of different keys.

    Amazon S3 answers the key's ARN, whatever it was asked by; an alias may be any key.
    """
    if found is None or "alias/" in asked:
        return False
    return asked != found and found.rpartition("/")[2] != asked.rpartition("/")[2]
