"""An ``OSSStore`` that writes too, so that the suite of all stores can be run on OSS.

For tests alone: it has what oss2 gives, and refuses what OSS does not have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import oss2

from airflow_provider_s3resume.exceptions import (
    TransientStoreError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage._oss_errors import translated
from airflow_provider_s3resume.storage.base import (
    Capabilities,
    Condition,
    NewUpload,
    PartBody,
    UploadInfo,
    Written,
)
from airflow_provider_s3resume.storage.oss import (
    OSSSettings,
    OSSStore,
    make_bucket,
    service_of,
)
from tests.support.oss_server import OSSEndpoint

_HEADERS: Final = {
    "content_type": "Content-Type",
    "content_encoding": "Content-Encoding",
    "content_language": "Content-Language",
    "content_disposition": "Content-Disposition",
    "cache_control": "Cache-Control",
    "expires": "Expires",
}


class WritingOSSStore(OSSStore):
    """A bucket of OSS with ``Content-MD5`` as its one checksum, and no conditions."""

    def __init__(
        self, bucket: oss2.Bucket, *, service: str, settings: OSSSettings | None = None
    ) -> None:
        super().__init__(bucket, service=service, settings=settings)
        self._oss = bucket
        self._headers = self._calls.payer
        self._capabilities: Capabilities = dataclasses.replace(
            self._capabilities, part_checksums=(ChecksumAlgorithm.MD5,)
        )

    def put_object(
        self,
        key: str,
        body: PartBody,
        *,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None = None,
        content_md5: str | None = None,
    ) -> Written:
        """Write a whole object in one request."""
        operation, subject = "PutObject", self._calls.subject(key)
        self._refuse_condition(operation, key, condition)
        headers = {**_upload_headers(upload), **self._digest(operation, key, checksum)}
        if content_md5 is not None:
            headers["Content-MD5"] = content_md5
        with translated(operation, subject):
            return _written(self._oss.put_object(key, bytes(body), {**headers, **self._headers}))

    def create_upload(self, key: str, upload: NewUpload) -> str:
        """Begin a multipart upload."""
        operation, subject = "InitiateMultipartUpload", self._calls.subject(key)
        if upload.full_object:
            raise UnsupportedError(operation, subject, "OSS takes no checksum of the whole")
        headers = {**_upload_headers(upload), **self._headers}
        with translated(operation, subject):
            return str(self._oss.init_multipart_upload(key, headers).upload_id)

    def upload_part(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: PartBody,
        checksum: Checksum | None,
    ) -> str:
        """Send one part."""
        operation = "UploadPart"
        headers = {**self._digest(operation, key, checksum), **self._headers}
        with translated(operation, self._calls.subject(key)):
            sent = self._oss.upload_part(key, upload_id, part_number, bytes(body), headers=headers)
            return str(sent.etag)

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        """Return all parts of an upload."""
        return [
            ListedPart(part_number=part.part_number, size=part.size, etag=part.etag)
            for part in self._all_parts(key, upload_id)
        ]

    def _all_parts(self, key: str, upload_id: str) -> Iterator[Any]:
        marker = ""
        while True:
            with translated("ListParts", self._calls.subject(key)):
                page = self._oss.list_parts(key, upload_id, marker, headers=self._headers)
            yield from page.parts
            if not page.is_truncated:
                return
            marker = page.next_marker

    def list_uploads(self, key: str) -> list[UploadInfo]:
        """Return the unfinished uploads of exactly this key."""
        return [
            UploadInfo(key=key, upload_id=one.upload_id, initiated=one.initiation_date)
            for one in self._all_uploads(key)
            if one.key == key
        ]

    def list_all_uploads(self, prefix: str = "") -> list[UploadInfo]:
        """Return the unfinished uploads of all keys under a prefix."""
        return [
            UploadInfo(key=one.key, upload_id=one.upload_id, initiated=one.initiation_date)
            for one in self._all_uploads(prefix)
        ]

    def _all_uploads(self, prefix: str) -> Iterator[Any]:
        marker = id_marker = ""
        while True:
            with translated("ListMultipartUploads", self._calls.subject(prefix)):
                page = self._oss.list_multipart_uploads(
                    prefix,
                    key_marker=marker,
                    upload_id_marker=id_marker,
                    headers=self._headers,
                )
            yield from page.upload_list
            if not page.is_truncated:
                return
            marker, id_marker = page.next_key_marker, page.next_upload_id_marker

    def complete_upload(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[PartRecord],
        *,
        size: int,
        checksum: Checksum | None,
        algorithm: ChecksumAlgorithm | None = None,
        condition: Condition | None = None,
    ) -> Written:
        """Make the parts the object."""
        del size, algorithm
        operation, subject = "CompleteMultipartUpload", self._calls.subject(key)
        self._refuse_condition(operation, key, condition)
        if checksum is not None:
            raise UnsupportedError(operation, subject, "OSS takes no checksum of the whole")
        chosen = [oss2.models.PartInfo(part.part_number, part.etag) for part in parts]
        with translated(operation, subject):
            return _written(
                self._oss.complete_multipart_upload(key, upload_id, chosen, self._headers)
            )

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload; nothing happens if it is gone."""
        try:
            with translated("AbortMultipartUpload", self._calls.subject(key)):
                self._oss.abort_multipart_upload(key, upload_id, self._headers)
        except UploadNotFoundError:
            return

    def delete_object(self, key: str) -> None:
        """Delete an object; nothing happens if it is gone."""
        with translated("DeleteObject", self._calls.subject(key)):
            self._oss.delete_object(key, headers=self._headers)

    def _refuse_condition(self, operation: str, key: str, condition: Condition | None) -> None:
        # x-oss-forbid-overwrite is one of the two conditions; a store has both or none.
        if condition is not None:
            detail = "OSS does not honour conditions of writes"
            raise UnsupportedError(operation, self._calls.subject(key), detail)

    def _digest(self, operation: str, key: str, checksum: Checksum | None) -> dict[str, str]:
        if checksum is None:
            return {}
        if checksum.algorithm is not ChecksumAlgorithm.MD5:
            detail = f"OSS checks no {checksum.algorithm.value}"
            raise UnsupportedError(operation, self._calls.subject(key), detail)
        return {"Content-MD5": checksum.value}


def _upload_headers(upload: NewUpload) -> dict[str, str | bytes]:
    attributes = upload.attributes
    named = {header: getattr(attributes, name) for name, header in _HEADERS.items()}
    tags = urlencode(dict(attributes.tags), quote_via=quote)
    metadata = {f"x-oss-meta-{n}": text.encode() for n, text in attributes.metadata.items()}
    given = {**named, "x-oss-tagging": tags}
    return {**{name: text for name, text in given.items() if text}, **metadata}


def _written(answer: Any) -> Written:
    if not answer.etag:
        raise TransientStoreError("PutObject", "oss://", "the answer names no object")
    return Written(etag=answer.etag, version_id=answer.versionid)


def writing_oss_store(
    endpoint: OSSEndpoint, bucket: str, settings: OSSSettings | None = None
) -> WritingOSSStore:
    """Return a store as a hook would make it, with signatures of version 4."""
    return WritingOSSStore(
        oss_bucket(endpoint, bucket, settings),
        service=service_of(endpoint.endpoint_url, endpoint.region),
        settings=settings,
    )


def oss_bucket(
    endpoint: OSSEndpoint,
    bucket: str,
    settings: OSSSettings | None = None,
) -> oss2.Bucket:
    """Return a bucket of oss2 as a hook would make it."""
    keys = (endpoint.access_key_id, endpoint.access_key_secret, endpoint.security_token)
    auth = oss2.ProviderAuthV4(oss2.credentials.StaticCredentialsProvider(*keys))
    chosen = settings or OSSSettings()
    return make_bucket(auth, endpoint.endpoint_url, bucket, endpoint.region, chosen)
