"""The values that everything else talks about: objects, key ranges, byte ranges, identities."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.access_points import is_arn, split_arn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.plan.digests import Checksum

MAX_KEY_BYTES = 1024
"""Longest key in UTF-8 bytes ("Naming Amazon S3 objects")."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{1,253}[A-Za-z0-9]\Z")


def key_bytes(key: str) -> bytes:
    """Return the UTF-8 bytes of a key: what every comparison and order of keys is made on."""
    return key.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Half-open byte range ``start:stop`` of an object, in bytes."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        """Refuse ranges that are empty or turned round.

        :raises ValueError: if ``not 0 <= start < stop``.
        """
        if not 0 <= self.start < self.stop:
            msg = f"not a byte range: {self.start}:{self.stop}"
            raise ValueError(msg)

    @property
    def length(self) -> int:
        """Number of bytes in the range."""
        return self.stop - self.start

    @property
    def http(self) -> str:
        """HTTP's inclusive form, as the ``Range`` header takes it (RFC 9110, 14.1.2)."""
        return f"bytes={self.start}-{self.stop - 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """Half-open range ``[start, stop)`` of keys in UTF-8 byte order; ``None`` is the open end."""

    start: str | None = None
    stop: str | None = None

    def contains(self, key: str) -> bool:
        """Tell whether ``key`` lies in the range."""
        raw = key_bytes(key)
        after_start = self.start is None or key_bytes(self.start) <= raw
        return after_start and (self.stop is None or raw < key_bytes(self.stop))


ALL_KEYS = KeyRange()


class Hindrance(enum.Enum):
    """Why an object cannot be copied, as far as its listing tells.

    ``SYMLINK``: a link to another object, where links are to be reported and not followed.
    ``DANGLING_SYMLINK``: a link to be followed, to an object that is not there or not readable.
    ``UNREACHABLE_KEY``: no request of the service's own client library can name the key.
    ``REFUSED_SYMLINK``: a link, where links are to fail the run.
    ``OUTSIDE_SYMLINK``: a link to be followed, out of the folder that nothing may leave.
    ``SPECIAL_FILE``: a pipe, a socket or a device.
    """

    SYMLINK = "symlink"
    DANGLING_SYMLINK = "dangling_symlink"
    UNREACHABLE_KEY = "unreachable_key"
    REFUSED_SYMLINK = "refused_symlink"
    OUTSIDE_SYMLINK = "outside_symlink"
    SPECIAL_FILE = "special_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """One object as a listing gives it.

    :param size: bytes.
    :param etag: without quotes; ``None`` if the store gives none.
    :param last_modified: seconds since the epoch, by the store's own clock.
    :param md5_etag: False if the service says that the ETag is not made of MD5s as Amazon S3 makes
        it, whatever form it has.
    :param hindrance: why the object cannot be copied, ``None`` if nothing is known to hinder it.
    :param restored: of an object of an archive class: whether there is a copy that can be read now,
        ``None`` if the listing does not say.
    """

    key: str
    size: int
    etag: str | None
    last_modified: float
    storage_class: str | None = None
    md5_etag: bool = True
    hindrance: Hindrance | None = None
    restored: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceIdentity:
    """What makes a source object *this* object: compared on every read and every resume.

    :param etag: without quotes.
    :param version_id: only where one version was chosen.
    :param size: bytes.
    """

    etag: str | None
    size: int
    version_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentAttributes:
    """What travels with an object besides its bytes.

    ``expires`` is the HTTP date as the service sent it, never re-formatted.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    content_disposition: str | None = None
    cache_control: str | None = None
    expires: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    website_redirect: str | None = None


CUSTOMER_KEY = "SSE-C"
"""Encryption with a key that the service does not keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One object as HEAD (or the headers of a GET) gives it.

    :param part_count: number of parts where the store tells it, else ``None``.
    :param checksums: the checksums that the service holds for the whole object or composite.
    :param tag_count: how many tags the object carries, ``None`` where the store does not say.
    :param encryption: the server-side encryption in the service's words (``aws:kms``), or ``None``;
        :data:`CUSTOMER_KEY` for one with a key that every request brings.
    :param kms_key: what the service calls the key of that encryption, ``None`` if it does not say.
    :param bucket_key: the service says that it asks KMS once for many objects.
    :param missing_metadata: metadata entries that the service holds and could not send.
    :param md5_etag: as in :class:`ListedObject`.
    :param archived: it has to be restored before it can be read; only HEAD tells.
    """

    key: str
    size: int
    etag: str | None
    last_modified: float
    version_id: str | None = None
    storage_class: str | None = None
    part_count: int | None = None
    checksums: tuple[Checksum, ...] = ()
    attributes: ContentAttributes = field(default_factory=ContentAttributes)
    tag_count: int | None = None
    encryption: str | None = None
    kms_key: str | None = None
    bucket_key: bool = False
    missing_metadata: int = 0
    md5_etag: bool = True
    archived: bool = False

    def identity(self) -> SourceIdentity:
        """Return the identity of the object as it is now (no version chosen)."""
        return SourceIdentity(etag=self.etag, size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A bucket and a key prefix, as ``s3://bucket/prefix``; the prefix is an opaque string.

    A folder is ``file:///path/``: it has no bucket, and its prefix is the path without the slash.
    """

    bucket: str
    prefix: str = ""
    scheme: str = "s3"

    @classmethod
    def parse(cls, uri: str, *, parameter: str) -> Location:
        """Read ``s3://bucket/prefix``. Nothing is decoded: the prefix is what stands there.

        The ARN of an access point may stand in place of the bucket.

        :param parameter: the name to use in the error.
        :raises InvalidInputError: if the text is not such a URI.
        """
        accepted = "a URI such as 's3://bucket/prefix/'"
        if not isinstance(uri, str):
            raise InvalidInputError(parameter, found=uri, accepted=accepted)
        scheme, separator, rest = uri.partition("://")
        if scheme == "s3" and is_arn(rest):
            bucket, prefix = split_arn(rest, parameter=parameter)
            return cls(bucket=bucket, prefix=_checked(prefix, uri, parameter))
        bucket, _, prefix = rest.partition("/")
        if scheme == "file" and separator:
            return _parse_path(uri, rest, parameter)
        if not separator or scheme not in {"s3", "oss"} or not _BUCKET.match(bucket):
            raise InvalidInputError(parameter, found=_without_secrets(uri), accepted=accepted)
        return cls(bucket=bucket, prefix=_checked(prefix, uri, parameter), scheme=scheme)

    @property
    def uri(self) -> str:
        """The location as one string."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}"


def _checked(prefix: str, uri: str, parameter: str) -> str:
    if len(key_bytes(prefix)) > MAX_KEY_BYTES:
        accepted = f"a prefix of at most {MAX_KEY_BYTES} UTF-8 bytes"
        raise InvalidInputError(parameter, found=uri, accepted=accepted)
    return prefix


def _parse_path(uri: str, rest: str, parameter: str) -> Location:
    accepted = (
        "an absolute path such as 'file:///data/exports/': no host, nothing encoded, no empty, "
        f"'.' or '..' segments, at most {MAX_KEY_BYTES} UTF-8 bytes"
    )
    root, _, prefix = rest.partition("/")
    segments = prefix.removesuffix("/").split("/")
    nameless = not {"", ".", ".."}.isdisjoint(segments) or "\0" in prefix
    if root or nameless or len(key_bytes(prefix)) > MAX_KEY_BYTES:
        raise InvalidInputError(parameter, found=_without_secrets(uri), accepted=accepted)
    return Location(bucket="", prefix=prefix, scheme="file")


def _without_secrets(uri: str) -> str:
    """Return what may be shown of a URI that is refused: no credentials, no signed query (c42)."""
    head, separator, rest = uri.partition("://")
    host, slash, path = (rest if separator else head).partition("/")
    user, at, host = host.rpartition("@") if "@" in host else ("", "", host)
    shown = f"{'***' if user else ''}{at}{host}{slash}{path}"
    before, question, _ = shown.partition("?")
    return f"{head + separator if separator else ''}{before}{'?***' if question else ''}"


def object_uri(bucket: str, key: str, scheme: str = "s3") -> str:
    """Return the one spelling of an object's place used in messages, checkpoints and reports."""
    return f"{scheme}://{bucket}/{key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMapping:
    """How source keys become target keys: one prefix is taken off, another put before the rest.

    The mapping is injective, so two source keys never meet at one target key.
    """

    source_prefix: str = ""
    target_prefix: str = ""

    def to_target(self, source_key: str) -> str:
        """Return the target key of a source key.

        :raises ValueError: if the key does not start with the source prefix.
        """
        if not source_key.startswith(self.source_prefix):
            msg = f"key {source_key!r} is not under {self.source_prefix!r}"
            raise ValueError(msg)
        return self.target_prefix + source_key[len(self.source_prefix) :]

    def to_source(self, target_key: str) -> str:
        """Return the source key of a target key (the inverse of :meth:`to_target`)."""
        return KeyMapping(
            source_prefix=self.target_prefix, target_prefix=self.source_prefix
        ).to_target(target_key)
