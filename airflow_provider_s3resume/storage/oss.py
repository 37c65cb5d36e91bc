"""``OSSStore``: a bucket of Alibaba Cloud OSS as a source, through oss2.

Make the bucket with ``make_bucket``: its connections take nothing from the environment and follow
no redirects. Importing this module keeps oss2 from logging signatures and tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial

import oss2

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    ObjectArchivedError,
    ObjectNotFoundError,
)
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    ByteRange,
    Hindrance,
    KeyRange,
    ListedObject,
    ObjectInfo,
    SourceIdentity,
)
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.storage._listing import Walk, walk_objects
from airflow_provider_s3resume.storage._oss_calls import SCHEME, Calls
from airflow_provider_s3resume.storage._oss_errors import translated
from airflow_provider_s3resume.storage._oss_headers import (
    LINK_TYPE,
    Answer,
    check_version,
    object_info,
    size_of,
)
from airflow_provider_s3resume.storage._oss_session import PlainSession, make_bucket
from airflow_provider_s3resume.storage._oss_settings import (
    OSS_LIMITS,
    OSSSettings,
    endpoint_url,
    oss_settings_from_extra,
    service_of,
)
from airflow_provider_s3resume.storage._oss_source import SourceOnly
from airflow_provider_s3resume.storage._range_reader import (
    BodyReader,
    check_answer,
    check_identity,
)
from airflow_provider_s3resume.storage.base import Capabilities, PartInfo

__all__ = [
    "OSSSettings",
    "OSSStore",
    "PlainSession",
    "endpoint_url",
    "make_bucket",
    "oss_settings_from_extra",
    "service_of",
]


class OSSStore(SourceOnly):
    """An ``ObjectStore`` on a bucket of oss2, to read from only; safe to use from many threads.

    :param bucket: from ``make_bucket``, with credentials that refresh themselves where they expire.
    :param service: from ``service_of``.
    """

    def __init__(
        self, bucket: oss2.Bucket, *, service: str, settings: OSSSettings | None = None
    ) -> None:
        self.settings = settings or OSSSettings()
        self.scheme = SCHEME
        self.service = service
        self._capabilities = self.settings.capabilities
        self._calls = Calls(
            bucket,
            request_payer=self.settings.request_payer,
            md5_etags=self.settings.md5_etags,
        )
        self.bucket = self._calls.name

    @property
    def capabilities(self) -> Capabilities:
        """What a bucket of OSS can do as a source."""
        return self._capabilities

    @property
    def limits(self) -> Limits:
        """What OSS accepts."""
        return OSS_LIMITS

    def check_access(self, prefix: str = "") -> None:
        """Make sure that the bucket exists and answers: a listing of one key says why it does not.

        A policy may allow listings of a prefix only.
        """
        self._calls.page(prefix, 1, None, None)

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects, one call a page, and one more for each symbolic link to be followed.

        A link that leads nowhere is listed all the same: what is there must not look deleted.
        """
        walk = Walk(
            subject=self._calls.subject(prefix),
            prefix=prefix,
            key_range=key_range,
            ordered=True,
            advice="is the endpoint one of Alibaba Cloud OSS?",
            max_key_bytes=self.limits.max_key_bytes,
        )
        follow, page_size = self.settings.symlinks == "follow", self.limits.list_page
        pages = partial(self._calls.page, prefix, page_size)
        for listed in walk_objects(pages, walk):
            is_link = listed.hindrance is Hindrance.SYMLINK
            yield self._followed(listed) if is_link and follow else listed

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return the object's headers, its CRC-64 included; of a link, those of a read of it."""
        answer = self._calls.head(key, version_id)
        if answer.text("x-oss-object-type") == LINK_TYPE:
            return self._end_of_link(key, version_id)
        return self._info(key, answer, size_of(answer))

    def head_part(self, key: str, part_number: int, identity: SourceIdentity) -> PartInfo | None:
        """Return ``None``: OSS does not tell how an object was cut."""
        del key, part_number, identity
        return None

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> BodyReader:
        """Open a range of exactly the object that ``identity`` names; its bytes are as stored."""
        answer, status, raw = self._calls.open(key, byte_range, identity)
        length = byte_range.length if byte_range else identity.size
        given = (status, answer.text("content-length"), answer.text("content-range"))
        try:
            info = self._info(key, answer, identity.size)
            check_identity(info, identity, answer.subject)
            check_version(answer, identity)
            check_answer(given, byte_range, identity.size, answer.subject)
        except BaseException:
            raw.close()
            raise
        return BodyReader(raw, info, length, answer.subject, translated)

    def get_tags(self, key: str, *, version_id: str | None = None) -> Mapping[str, str]:
        """Return the object's tags."""
        return self._calls.tags(key, version_id)

    def _info(self, key: str, answer: Answer, size: int) -> ObjectInfo:
        return object_info(key, answer, size, md5_etags=self.settings.md5_etags)

    def _end_of_link(self, key: str, version_id: str | None) -> ObjectInfo:
        """Return what a link leads to; what cannot be read now is as HEAD tells it.

        Without its CRC and MD5, of which it is not said whether they are the link's own.
        """
        try:
            answer, size = self._calls.end_of_link(key, version_id)
            info = self._info(key, answer, size)
        except ObjectArchivedError:
            answer = self._calls.head(key, version_id)
            info = dataclasses.replace(self._info(key, answer, size_of(answer)), checksums=())
        return dataclasses.replace(info, md5_etag=False)

    def _followed(self, link: ListedObject) -> ListedObject:
        """Return a link as the object that it leads to; what a listing says of it is the link's.

        :raises StoreError: for a fault that says nothing about the link.
        """
        try:
            info = self._end_of_link(link.key, None)
        except (ObjectNotFoundError, AccessDeniedError):
            return dataclasses.replace(link, hindrance=Hindrance.DANGLING_SYMLINK)
        return ListedObject(
            key=link.key,
            size=info.size,
            etag=info.etag,
            last_modified=info.last_modified,
            storage_class=info.storage_class,
            md5_etag=False,
            restored=not info.archived,
        )
