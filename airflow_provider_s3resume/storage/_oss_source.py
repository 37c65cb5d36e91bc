"""The half of an ``ObjectStore`` that a bucket of OSS does not have here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from airflow_provider_s3resume.exceptions import UnsupportedError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage._oss_calls import Calls
from airflow_provider_s3resume.storage.base import (
    Condition,
    NewUpload,
    PartBody,
    SupportsRead,
    UploadInfo,
    Written,
)

_WAY_OUT: Final = (
    "OSS buckets are sources only; to write to one, give OSS's S3-compatible endpoint "
    "(https://s3.oss-<region>.aliyuncs.com) as an S3 connection"
)


class SourceOnly:
    """Refuses every call that writes, or that only a writer makes."""

    _calls: Calls

    def _refuse(self, operation: str, key: str) -> NoReturn:
        raise UnsupportedError(operation, self._calls.subject(key), _WAY_OUT)

    def put_object(
        self,
        key: str,
        body: PartBody,  # noqa: ARG002 - the contract's
        *,
        upload: NewUpload,  # noqa: ARG002 - the contract's
        checksum: Checksum | None,  # noqa: ARG002 - the contract's
        condition: Condition | None = None,  # noqa: ARG002 - the contract's
        content_md5: str | None = None,  # noqa: ARG002 - the contract's
    ) -> Written:
        """Refuse."""
        self._refuse("PutObject", key)

    def put_object_stream(
        self,
        key: str,
        body: SupportsRead,  # noqa: ARG002 - the contract's
        length: int,  # noqa: ARG002 - the contract's
        *,
        upload: NewUpload,  # noqa: ARG002 - the contract's
        content_md5: str,  # noqa: ARG002 - the contract's
        condition: Condition | None = None,  # noqa: ARG002 - the contract's
    ) -> Written:
        """Refuse."""
        self._refuse("PutObject", key)

    def create_upload(self, key: str, upload: NewUpload) -> str:  # noqa: ARG002 - the contract's
        """Refuse."""
        self._refuse("InitiateMultipartUpload", key)

    def upload_part(
        self,
        key: str,
        upload_id: str,  # noqa: ARG002 - the contract's
        part_number: int,  # noqa: ARG002 - the contract's
        body: PartBody,  # noqa: ARG002 - the contract's
        checksum: Checksum | None,  # noqa: ARG002 - the contract's
    ) -> str:
        """Refuse."""
        self._refuse("UploadPart", key)

    def upload_part_stream(
        self,
        key: str,
        upload_id: str,  # noqa: ARG002 - the contract's
        part_number: int,  # noqa: ARG002 - the contract's
        body: SupportsRead,  # noqa: ARG002 - the contract's
        length: int,  # noqa: ARG002 - the contract's
        algorithm: ChecksumAlgorithm | None,  # noqa: ARG002 - the contract's
    ) -> str:
        """Refuse."""
        self._refuse("UploadPart", key)

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:  # noqa: ARG002 - the contract's
        """Refuse."""
        self._refuse("ListParts", key)

    def list_uploads(self, key: str) -> list[UploadInfo]:
        """Refuse."""
        self._refuse("ListMultipartUploads", key)

    def list_all_uploads(self, prefix: str = "") -> list[UploadInfo]:
        """Refuse."""
        self._refuse("ListMultipartUploads", prefix)

    def complete_upload(
        self,
        key: str,
        upload_id: str,  # noqa: ARG002 - the contract's
        parts: Sequence[PartRecord],  # noqa: ARG002 - the contract's
        *,
        size: int,  # noqa: ARG002 - the contract's
        checksum: Checksum | None,  # noqa: ARG002 - the contract's
        algorithm: ChecksumAlgorithm | None = None,  # noqa: ARG002 - the contract's
        condition: Condition | None = None,  # noqa: ARG002 - the contract's
    ) -> Written:
        """Refuse."""
        self._refuse("CompleteMultipartUpload", key)

    def abort_upload(self, key: str, upload_id: str) -> None:  # noqa: ARG002 - the contract's
        """Refuse."""
        self._refuse("AbortMultipartUpload", key)

    def delete_object(self, key: str) -> None:
        """Refuse."""
        self._refuse("DeleteObject", key)
