"""Between our values and the parameters and headers of the S3 API."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlencode

from airflow_provider_s3resume.exceptions import UnsupportedError
from airflow_provider_s3resume.plan.digests import (
    Checksum,
    ChecksumAlgorithm,
    normal_etag,
    part_count_of_etag,
)
from airflow_provider_s3resume.plan.objects import (
    CUSTOMER_KEY,
    ContentAttributes,
    ObjectInfo,
    SourceIdentity,
)
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage._headers import as_unicode, bare, meant, quoted
from airflow_provider_s3resume.storage.base import Condition, NewUpload, Written

Parameters = dict[str, Any]

# Every algorithm of the S3 API but CRC-64/XZ, which is Alibaba Cloud's.
CHECKSUM_PARAMETERS: Final = {
    algorithm: f"Checksum{algorithm.value}"
    for algorithm in ChecksumAlgorithm
    if algorithm not in {ChecksumAlgorithm.CRC64XZ, ChecksumAlgorithm.MD5}
}
_FULL_OBJECT_ONLY: Final = ChecksumAlgorithm.CRC64NVME
_LAST_ASKED: Final[list[tuple[NewUpload, Mapping[str, Any]] | None]] = [None]
"""What the last upload asked for: the same one serves many objects (``transfer.attributes``)."""
_WORD: Final = re.compile(r"=\?UTF-8\?B\?([A-Za-z0-9+/=]+)\?=")


def completed_part(part: PartRecord, repeated: ChecksumAlgorithm | None) -> dict[str, object]:
    """Return a part as CompleteMultipartUpload names it, its checksum included if asked for."""
    named: dict[str, object] = {"PartNumber": part.part_number, "ETag": quoted(part.etag)}
    if repeated in CHECKSUM_PARAMETERS and part.checksum is not None:
        named[CHECKSUM_PARAMETERS[repeated]] = part.checksum
    return named


def checksum_parameters(checksum: Checksum | None, operation: str, subject: str) -> Parameters:
    """Return the parameters that make the service check a body.

    :raises UnsupportedError: for an algorithm that the S3 API does not have.
    """
    if checksum is None:
        return {}
    if checksum.algorithm is ChecksumAlgorithm.MD5:
        return {"ContentMD5": checksum.value}
    if checksum.algorithm not in CHECKSUM_PARAMETERS:
        detail = f"the S3 API has no {checksum.algorithm.value} checksums"
        raise UnsupportedError(operation, subject, detail)
    return {CHECKSUM_PARAMETERS[checksum.algorithm]: checksum.value}


def condition_parameters(condition: Condition | None) -> Parameters:
    """Return the parameters of a conditional write."""
    if condition is None:
        return {}
    if condition.etag is not None:
        return {"IfMatch": quoted(condition.etag)}
    return {"IfNoneMatch": "*"}


def upload_parameters(upload: NewUpload) -> Mapping[str, Any]:
    """Return what an object shall have besides its bytes; ``Expires`` is not among it.

    Metadata that is not ASCII is written as RFC 2047 words, the form in which Amazon S3 itself
    gives such values back ("Working with object metadata"); ASCII travels unchanged.
    """
    known = _LAST_ASKED[0]
    if known is not None and known[0] is upload:
        return known[1]
    attributes, options = upload.attributes, upload.options
    given = {
        "ContentType": attributes.content_type,
        "ContentEncoding": attributes.content_encoding,
        "ContentLanguage": attributes.content_language,
        "ContentDisposition": attributes.content_disposition,
        "CacheControl": attributes.cache_control,
        "WebsiteRedirectLocation": attributes.website_redirect,
        "Metadata": {name: _ascii(text) for name, text in attributes.metadata.items()},
        "Tagging": urlencode(dict(attributes.tags), quote_via=quote),
        "StorageClass": options.storage_class,
        "ServerSideEncryption": options.encryption,
        "SSEKMSKeyId": options.kms_key_id,
        "ACL": options.acl,
    }
    made: Parameters = {name: value for name, value in given.items() if value}
    if options.bucket_key is not None:
        made["BucketKeyEnabled"] = options.bucket_key
    # Replaced as a whole: threads see one or the other.
    _LAST_ASKED[0] = (upload, made)
    return made


def create_parameters(upload: NewUpload) -> Parameters:
    """Return the parameters of CreateMultipartUpload; ``Expires`` is not among them."""
    parameters = dict(upload_parameters(upload))
    algorithm = upload.algorithm
    if algorithm in CHECKSUM_PARAMETERS and algorithm is not None:
        full = upload.full_object or algorithm is _FULL_OBJECT_ONLY
        parameters["ChecksumAlgorithm"] = algorithm.value
        parameters["ChecksumType"] = "FULL_OBJECT" if full else "COMPOSITE"
    return parameters


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    return f"=?UTF-8?B?{base64.b64encode(text.encode()).decode('ascii')}?="


def _decoded(text: str) -> str:
    """Undo :func:`_ascii`, and nothing else: what it would not write again stays as it is."""
    found = _WORD.fullmatch(text)
    if found is None:
        return as_unicode(text)
    try:
        decoded = base64.b64decode(found[1], validate=True).decode()
    except ValueError:
        return text
    return decoded if _ascii(decoded) == text else text


def checksums_of(answer: Mapping[str, Any]) -> tuple[Checksum, ...]:
    """Return the checksums in an answer; a composite one ends in ``-N``."""
    found = []
    for algorithm, name in CHECKSUM_PARAMETERS.items():
        value = answer.get(name)
        if value:
            full = "-" not in value and answer.get("ChecksumType") != "COMPOSITE"
            found.append(Checksum(algorithm=algorithm, value=value, full_object=full))
    return tuple(found)


def object_info(key: str, answer: Mapping[str, Any], size: int) -> ObjectInfo:
    """Return the values in an answer to HeadObject or GetObject.

    :param size: bytes of the whole object, which a ranged answer gives in another place.
    """
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    tag_count = headers.get("x-amz-tagging-count")
    etag = bare(answer.get("ETag"))
    return ObjectInfo(
        key=key,
        size=size,
        etag=etag,
        last_modified=timestamp(answer.get("LastModified")),
        version_id=answer.get("VersionId"),
        storage_class=answer.get("StorageClass"),
        part_count=answer.get("PartsCount") or part_count_of_etag(normal_etag(etag)),
        checksums=checksums_of(answer),
        attributes=_attributes(answer, headers),
        tag_count=int(tag_count) if tag_count is not None else None,
        encryption=CUSTOMER_KEY
        if "SSECustomerAlgorithm" in answer
        else answer.get("ServerSideEncryption"),
        kms_key=answer.get("SSEKMSKeyId"),
        bucket_key=bool(answer.get("BucketKeyEnabled")),
        missing_metadata=int(answer.get("MissingMeta") or 0),
    )


def _attributes(answer: Mapping[str, Any], headers: Mapping[str, str]) -> ContentAttributes:
    get = answer.get
    plain = _plain_attributes(
        get("ContentType"),
        get("ContentEncoding"),
        get("ContentLanguage"),
        get("ContentDisposition"),
        get("CacheControl"),
        # botocore would parse it, and drop what is no date.
        headers.get("expires"),
        get("WebsiteRedirectLocation"),
    )
    metadata = get("Metadata")
    if not metadata:
        return plain
    # Services that are written in Go send `X-Amz-Meta-Some-Name`.
    given = {name.lower(): _decoded(text) for name, text in metadata.items()}
    return replace(plain, metadata=given)


@lru_cache(maxsize=256)
def _plain_attributes(
    content_type: str | None,
    content_encoding: str | None,
    content_language: str | None,
    content_disposition: str | None,
    cache_control: str | None,
    expires: str | None,
    website_redirect: str | None,
) -> ContentAttributes:
    """Return attributes without metadata: one of them serves all objects that have the same."""
    return ContentAttributes(
        content_type=meant(content_type),
        content_encoding=meant(content_encoding),
        content_language=meant(content_language),
        content_disposition=meant(content_disposition),
        cache_control=meant(cache_control),
        expires=meant(expires),
        website_redirect=meant(website_redirect),
    )


def timestamp(moment: datetime | None) -> float:
    """Return seconds since the epoch, 0 for a service that gives no time."""
    return moment.timestamp() if moment is not None else 0.0


def version_parameters(version_id: str | None) -> Parameters:
    """Return the parameter that chooses a version."""
    return {"VersionId": version_id} if version_id is not None else {}


def identity_parameters(identity: SourceIdentity) -> Parameters:
    """Return the parameters that make a read one of exactly this object."""
    condition = {"IfMatch": quoted(identity.etag)} if identity.etag is not None else {}
    return {**version_parameters(identity.version_id), **condition}


def raw_headers(upload: NewUpload) -> dict[str, str]:
    """Return the headers that have to be sent as they are."""
    # botocore would turn it into a date and write that its own way.
    expires = upload.attributes.expires
    return {"Expires": expires} if expires else {}


def written(answer: Mapping[str, Any]) -> Written:
    """Return what an answer to a write says."""
    return Written(
        etag=bare(answer.get("ETag")),
        version_id=answer.get("VersionId"),
        checksums=checksums_of(answer),
        encryption=answer.get("ServerSideEncryption"),
    )
