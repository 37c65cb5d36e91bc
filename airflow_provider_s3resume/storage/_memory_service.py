"""What a service does with a call, in memory: the rules between the contract and the bucket.

Source of the rules: the Amazon S3 API reference, call by call; those that other services have
instead are named in ``MemoryTraits`` and ``Capabilities``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm, normal_etag
from airflow_provider_s3resume.plan.objects import SourceIdentity, key_bytes
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage._memory_bucket import (
    Call,
    ObjectTable,
    OpenUpload,
    StoredObject,
    StoredPart,
    etag_of,
    multipart_etag,
)
from airflow_provider_s3resume.storage.base import (
    Capabilities,
    Condition,
    NewUpload,
    SupportsRead,
    Written,
)
from airflow_provider_s3resume.storage.checksums import checksum_value, composite_value

_FULL_OBJECT_ONLY = frozenset({ChecksumAlgorithm.CRC64NVME, ChecksumAlgorithm.CRC64XZ})


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTraits:
    """Habits of services that no capability names.

    :param lists_resent_parts: ListParts gives a part that was sent twice twice (SeaweedFS).
    :param adds_checksum: objects written without one get a full-object CRC64NVME (Amazon S3).
    :param ignores_checksums: checksums are taken, and neither checked nor kept.
    :param ignores_copy_conditions: copies by the service are made whatever their condition.
    :param knows_no_copies: CopyObject is taken for a PutObject of no bytes, and UploadPartCopy for
        nothing that is kept.
    :param encryption: what the bucket encrypts with where nothing is asked for.
    :param read_size: bytes that one ``readinto`` gives at most.
    """

    lists_resent_parts: bool = False
    adds_checksum: bool = True
    ignores_checksums: bool = False
    ignores_copy_conditions: bool = False
    knows_no_copies: bool = False
    encryption: str | None = None
    read_size: int | None = None


class MemoryService:
    """The bucket and its rules; not locked, the store does that."""

    def __init__(
        self,
        *,
        bucket: str,
        clock: Callable[[], float],
        capabilities: Capabilities,
        limits: Limits,
        traits: MemoryTraits,
    ) -> None:
        self.bucket = bucket
        self.clock = clock
        self.capabilities = capabilities
        self.limits = limits
        self.traits = traits
        self.exists = True
        self.denied = False
        self.objects = ObjectTable(by_segment=not capabilities.ordered_listing)
        self.versions: dict[tuple[str, str], StoredObject] = {}
        self.uploads: dict[str, OpenUpload] = {}

    def begin(self, operation: str, key: str) -> Call:
        """Let a call in; its key is the one that the service makes of the key given.

        :raises BucketNotFoundError, AccessDeniedError: as the tests have set it.
        """
        call = Call(operation=operation, bucket=self.bucket, key=key)
        if self.denied:
            raise AccessDeniedError(operation, call.uri, "AccessDenied")
        if not self.exists:
            raise BucketNotFoundError(operation, call.uri, "NoSuchBucket")
        if not self.capabilities.folds_keys:
            return call
        if {".", ".."} & set(key.split("/")):
            raise call.refuse("InvalidRequest", "a key with dot segments")
        folded = re.sub(r"[/\\]+", "/", key).removeprefix("/")
        return Call(operation=operation, bucket=self.bucket, key=folded)

    def find(self, call: Call, version_id: str | None = None) -> StoredObject:
        """Return the object of a call.

        :param version_id: of one that a test has put into ``versions``.
        :raises ObjectNotFoundError: if there is none.
        """
        if version_id is None:
            stored = self.objects.get(call.key)
        else:
            stored = self.versions.get((call.key, version_id))
        if stored is None:
            raise call.refuse("NoSuchKey" if version_id is None else "NoSuchVersion")
        return stored

    def find_exact(self, call: Call, identity: SourceIdentity) -> StoredObject:
        """Return the object of a call if it is still the one named.

        :raises PreconditionFailedError: if it is another one.
        """
        stored = self.find(call, identity.version_id)
        if identity.etag is not None and normal_etag(identity.etag) != normal_etag(stored.etag):
            raise call.refuse("PreconditionFailed", "the object has another ETag")
        return stored

    def put(self, call: Call, data: bytes, upload: NewUpload, checksum: Checksum | None) -> Written:
        """Write a plain object whose bytes were checked."""
        upload = self._as_kept(upload)
        checksum = None if self.traits.ignores_checksums else checksum
        kept = () if checksum is None or _is_md5(checksum) else (checksum,)
        etag = etag_of(data, upload.options, md5=self.capabilities.md5_etags)
        return self._store(call, data, etag, upload, kept)

    def create(self, call: Call, upload: NewUpload) -> str:
        """Begin an upload."""
        self._check_key(call)
        self._check_algorithm(call, upload.algorithm)
        upload_id = uuid.uuid4().hex
        self.uploads[upload_id] = OpenUpload(
            key=call.key, upload=self._as_kept(upload), initiated=self.clock()
        )
        return upload_id

    def _as_kept(self, upload: NewUpload) -> NewUpload:
        encryption = upload.options.encryption or self.traits.encryption
        return replace(
            upload,
            options=replace(upload.options, encryption=encryption),
            algorithm=None if self.traits.ignores_checksums else upload.algorithm,
        )

    def find_upload(self, call: Call, upload_id: str) -> OpenUpload:
        """Return the upload of exactly this key.

        :raises UploadNotFoundError: if there is none.
        """
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != call.key:
            raise call.refuse("NoSuchUpload")
        return upload

    def add_part(
        self, call: Call, upload_id: str, number: int, data: bytes, checksum: Checksum | None
    ) -> str:
        """Check and keep a part."""
        upload = self.find_upload(call, upload_id)
        if not 1 <= number <= self.limits.max_parts:
            raise call.refuse("InvalidArgument", f"part number {number}")
        if len(data) > self.limits.max_part_size:
            raise call.refuse("EntityTooLarge", f"a part of {len(data)} bytes")
        checksum = None if self.traits.ignores_checksums else checksum
        self.check_checksum(call, checksum, data)
        kept = None if checksum is None or _is_md5(checksum) else checksum
        declared = upload.upload.algorithm
        # A declared algorithm binds all parts; MD5 cannot be declared.
        if declared is not None and declared is not ChecksumAlgorithm.MD5:
            found = kept and kept.algorithm
            if found is not declared:
                raise call.refuse("InvalidRequest", f"expected {declared.value}, found {found}")
        etag = etag_of(data, upload.upload.options, md5=self.capabilities.md5_etags)
        part = StoredPart(data=data, etag=etag, checksum=kept.value if kept else None)
        upload.parts.setdefault(number, []).append(part)
        return etag

    def parts(self, call: Call, upload_id: str) -> list[ListedPart]:
        """Return the parts of an upload as it lists them."""
        upload = self.find_upload(call, upload_id)
        resent = self.traits.lists_resent_parts
        return [
            ListedPart(part_number=number, size=len(p.data), etag=p.etag, checksum=p.checksum)
            for number, sent in sorted(upload.parts.items())
            for p in (sent if resent else sent[-1:])
        ]

    def complete(
        self,
        call: Call,
        upload_id: str,
        records: Sequence[PartRecord],
        *,
        size: int,
        checksum: Checksum | None,
        algorithm: ChecksumAlgorithm | None,
        condition: Condition | None,
    ) -> Written:
        """Check everything and make the parts the object."""
        checksum = None if self.traits.ignores_checksums else checksum
        upload = self.find_upload(call, upload_id)
        parts = self._chosen(call, upload, records)
        data = b"".join(part.data for part in parts)
        if len(data) != size:
            raise call.refuse("InvalidRequest", f"the parts have {len(data)} bytes, not {size}")
        if len(data) > self.limits.max_object_size:
            raise call.refuse("EntityTooLarge", f"an object of {len(data)} bytes")
        declared = upload.upload.algorithm
        repeated = algorithm is declared and all(r.checksum is not None for r in records)
        if declared is not None and not upload.upload.full_object and not repeated:
            raise call.refuse("InvalidRequest", "composite: each part's checksum must be repeated")
        kept = self._proof(call, upload, parts, data, checksum)
        self.check_condition(call, condition, honoured=self.capabilities.conditional_complete)
        etag = multipart_etag(parts)
        written = self._store(call, data, etag, upload.upload, kept, parts=parts)
        del self.uploads[upload_id]
        return written

    def _chosen(
        self, call: Call, upload: OpenUpload, records: Sequence[PartRecord]
    ) -> list[StoredPart]:
        numbers = [record.part_number for record in records]
        if not numbers or numbers != sorted(set(numbers)):
            raise call.refuse("InvalidPartOrder", "parts must ascend, and there must be one")
        chosen: list[StoredPart] = []
        for record in records:
            sent = upload.parts.get(record.part_number, [])
            # The part sent last counts, whatever is listed.
            if not sent or normal_etag(sent[-1].etag) != normal_etag(record.etag):
                raise call.refuse("InvalidPart", f"part {record.part_number}")
            chosen.append(sent[-1])
        if any(len(part.data) < self.limits.min_part_size for part in chosen[:-1]):
            raise call.refuse("EntityTooSmall", f"minimum is {self.limits.min_part_size}")
        return chosen

    def _proof(
        self,
        call: Call,
        upload: OpenUpload,
        parts: Sequence[StoredPart],
        data: bytes,
        checksum: Checksum | None,
    ) -> tuple[Checksum, ...]:
        """Return the checksums that the object will have, the one given being checked."""
        algorithm, new = upload.upload.algorithm, upload.upload
        if checksum is not None:
            if not self.capabilities.full_object_checksum:
                raise UnsupportedError(call.operation, call.uri, "no full-object checksums")
            if algorithm is not checksum.algorithm or not checksum.full_object:
                raise call.refuse("InvalidRequest", "the upload was created for another checksum")
            self.check_checksum(call, checksum, data)
        if algorithm is None or algorithm is ChecksumAlgorithm.MD5:
            return ()
        full = new.full_object or algorithm in _FULL_OBJECT_ONLY
        values = [part.checksum for part in parts if part.checksum is not None]
        value = checksum_value(algorithm, data) if full else composite_value(algorithm, values)
        return (Checksum(algorithm=algorithm, value=value, full_object=full),)

    def check_checksum(self, call: Call, checksum: Checksum | None, data: bytes) -> None:
        """Refuse bytes that do not have the checksum that came with them."""
        if checksum is None or self.traits.ignores_checksums:
            return
        self._check_algorithm(call, checksum.algorithm)
        if checksum.value != checksum_value(checksum.algorithm, data):
            raise call.refuse("BadDigest", f"{checksum.algorithm.value} of the body differs")

    def _check_algorithm(self, call: Call, algorithm: ChecksumAlgorithm | None) -> None:
        if algorithm is not None and algorithm not in self.capabilities.part_checksums:
            raise UnsupportedError(call.operation, call.uri, f"no {algorithm.value} checksums")

    def _check_key(self, call: Call) -> None:
        if not 0 < len(key_bytes(call.key)) <= self.limits.max_key_bytes:
            raise call.refuse("KeyTooLongError", f"{len(key_bytes(call.key))} bytes")

    def check_condition(self, call: Call, condition: Condition | None, *, honoured: bool) -> None:
        """Refuse a write whose condition does not hold, or that the service would ignore."""
        if condition is None:
            return
        if not honoured:
            raise UnsupportedError(call.operation, call.uri, "conditional writes")
        there = self.objects.get(call.key)
        if condition.absent and there is not None:
            raise call.refuse("PreconditionFailed", "an object is there")
        if condition.etag is not None and (
            there is None or normal_etag(there.etag) != normal_etag(condition.etag)
        ):
            raise call.refuse("PreconditionFailed", "the object there has another ETag")

    def _store(
        self,
        call: Call,
        data: bytes,
        etag: str,
        upload: NewUpload,
        checksums: tuple[Checksum, ...],
        parts: Sequence[StoredPart] = (),
    ) -> Written:
        self._check_key(call)
        if not checksums and self.capabilities.full_object_checksum and self.traits.adds_checksum:
            added = ChecksumAlgorithm.CRC64NVME
            value = checksum_value(added, data)
            checksums = (Checksum(algorithm=added, value=value, full_object=True),)
        self.objects[call.key] = StoredObject(
            data=data,
            etag=etag,
            last_modified=self.clock(),
            attributes=upload.attributes,
            options=upload.options,
            checksums=checksums,
            part_sizes=tuple(len(part.data) for part in parts),
        )
        return Written(etag=etag, checksums=checksums)


def _is_md5(checksum: Checksum) -> bool:
    return checksum.algorithm is ChecksumAlgorithm.MD5


def read_exactly(call: Call, body: SupportsRead, length: int) -> bytes:
    """Read a streamed body to its declared end.

    :raises TransientStoreError: if it is shorter; the service refuses an incomplete body.
    """
    read = bytearray()
    while len(read) < length:
        piece = body.read(length - len(read))
        if not piece:
            detail = f"IncompleteBody: {len(read)} of {length} bytes"
            raise TransientStoreError(call.operation, call.uri, detail)
        read += piece
    return bytes(read)
