"""Between the headers of OSS and our values."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from airflow_provider_s3resume.exceptions import PreconditionFailedError, TransientStoreError
from airflow_provider_s3resume.plan.archives import is_archived
from airflow_provider_s3resume.plan.digests import (
    Checksum,
    ChecksumAlgorithm,
    encode_crc,
    normal_etag,
    part_count_of_etag,
)
from airflow_provider_s3resume.plan.objects import (
    ByteRange,
    ContentAttributes,
    ObjectInfo,
    SourceIdentity,
)
from airflow_provider_s3resume.storage._headers import as_unicode, bare, meant, quoted

PLAIN_TYPE: Final = "Normal"
"""Of objects that were not made of parts, and not by appending."""

_METADATA: Final = "x-oss-meta-"
_CRC: Final = "x-oss-hash-crc64ecma"
_VERSION: Final = "x-oss-version-id"
_NULL_VERSION: Final = "null"
_CONTENT_RANGE: Final = re.compile(r"bytes 0-0/([0-9]{1,19})")
LINK_TYPE: Final = "Symlink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The headers of an answer about one object.

    :param operation: the call, in the service's words.
    :param subject: what it was about, as ``oss://bucket/key``.
    :param headers: by name, whatever the case of its letters.
    """

    operation: str
    subject: str
    headers: Mapping[str, str]

    def text(self, name: str) -> str | None:
        """Return a header as it was sent, ``None`` if it was not."""
        return self.headers.get(name)

    def number(self, name: str) -> int | None:
        """Return a header that is a decimal number.

        :raises TransientStoreError: naming the header, if it is something else.
        """
        found = self.text(name)
        if found is None:
            return None
        if not (found.isascii() and found.isdecimal()):
            raise self.unreadable(name)
        return int(found)

    def moment(self, name: str) -> float:
        """Return a header that is a time in seconds since the epoch, 0 if it was not sent.

        :raises TransientStoreError: naming the header, if it is something else.
        """
        found = self.text(name)
        if found is None:
            return 0.0
        try:
            return parsedate_to_datetime(found).timestamp()
        except ValueError:
            raise self.unreadable(name) from None

    def unreadable(self, name: str) -> TransientStoreError:
        """Return the error for a header that says nothing."""
        detail = f"the answer's header {name} is {self.text(name)!r}"
        return TransientStoreError(self.operation, self.subject, detail)


def size_of(answer: Answer) -> int:
    """Return the bytes of the body that the answer has, or would have had.

    :raises TransientStoreError: if it does not say.
    """
    size = answer.number("content-length")
    if size is None:
        raise answer.unreadable("content-length")
    return size


def whole_size(answer: Answer, *, ranged: bool) -> int:
    """Return the bytes of the whole object, of which an answer may have a range only.

    :raises TransientStoreError: if it does not say.
    """
    if not ranged:
        return size_of(answer)
    found = _CONTENT_RANGE.fullmatch(answer.text("content-range") or "")
    if found is None:
        raise answer.unreadable("content-range")
    return int(found[1])


def object_info(key: str, answer: Answer, size: int, *, md5_etags: bool = True) -> ObjectInfo:
    """Return the values in an answer to HeadObject or GetObject.

    :param size: bytes of the whole object, which a ranged answer gives in another place.
    :param md5_etags: False where no ETag is to be taken for an MD5.
    :raises TransientStoreError: naming a header that cannot be read.
    """
    etag = bare(answer.text("etag"))
    kind = answer.text("x-oss-object-type")
    storage_class = answer.text("x-oss-storage-class")
    return ObjectInfo(
        key=key,
        size=size,
        etag=etag,
        last_modified=answer.moment("last-modified"),
        version_id=answer.text(_VERSION),
        storage_class=storage_class,
        archived=is_archived(storage_class, answer.text("x-oss-restore"), None),
        part_count=part_count_of_etag(normal_etag(etag)) if kind == "Multipart" else None,
        checksums=_checksums(answer),
        attributes=_attributes(answer.headers),
        tag_count=answer.number("x-oss-tagging-count"),
        encryption=answer.text("x-oss-server-side-encryption"),
        kms_key=answer.text("x-oss-server-side-encryption-key-id"),
        md5_etag=md5_etags and kind == PLAIN_TYPE and _is_md5(etag, answer.text("content-md5")),
    )


def _is_md5(etag: str | None, content_md5: str | None) -> bool:
    """Tell whether an ETag is the MD5 of the bytes.

    PutObject makes it so. Other calls, which is not told by the type, make other ETags; but there
    is a ``Content-MD5`` only where OSS knows the MD5.
    """
    try:
        md5 = base64.b64decode(content_md5 or "", validate=True)
    except ValueError:
        return False
    return bool(md5) and md5.hex() == normal_etag(etag)


def _checksums(answer: Answer) -> tuple[Checksum, ...]:
    """Return the CRC-64 of the whole object, which is there on ranged answers too.

    Objects from before OSS kept it, and objects made of such ones, have none.
    """
    value = answer.number(_CRC)
    if value is None:
        return ()
    if value >= 1 << 64:
        raise answer.unreadable(_CRC)
    algorithm = ChecksumAlgorithm.CRC64XZ
    encoded = encode_crc(algorithm, value)
    return (Checksum(algorithm=algorithm, value=encoded, full_object=True),)


def _attributes(headers: Mapping[str, str]) -> ContentAttributes:
    metadata = {
        lower.removeprefix(_METADATA): as_unicode(headers[name])
        for name in headers
        if (lower := name.lower()).startswith(_METADATA)
    }
    return ContentAttributes(
        content_type=meant(headers.get("content-type")),
        content_encoding=meant(headers.get("content-encoding")),
        content_language=meant(headers.get("content-language")),
        content_disposition=meant(headers.get("content-disposition")),
        cache_control=meant(headers.get("cache-control")),
        expires=meant(headers.get("expires")),
        metadata=metadata,
    )


def read_headers(byte_range: ByteRange | None, identity: SourceIdentity) -> dict[str, str]:
    """Return the headers that make a read one of exactly this range of this object.

    Without ``x-oss-range-behavior`` OSS answers a range that it finds wrong with the whole object
    and status 200 ("GetObject").
    """
    headers = {"If-Match": quoted(identity.etag)} if identity.etag is not None else {}
    if byte_range is not None:
        headers |= {"Range": byte_range.http, "x-oss-range-behavior": "standard"}
    return headers


def version_parameters(version_id: str | None) -> dict[str, str]:
    """Return the parameter that chooses a version."""
    return {"versionId": version_id} if version_id is not None else {}


def check_version(answer: Answer, identity: SourceIdentity) -> None:
    """Refuse an answer of another version than was chosen.

    :raises PreconditionFailedError: naming both.
    """
    found, wanted = answer.text(_VERSION), identity.version_id
    # A bucket that never had versions knows this one, and does not name it.
    same = found == wanted or (wanted == _NULL_VERSION and found is None)
    if wanted is not None and not same:
        detail = f"answered version {found} to a request for version {wanted}"
        raise PreconditionFailedError(answer.operation, answer.subject, detail)
