"""Listings of a service, page by page to their true end, or an error (c01, c02, c13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from airflow_provider_s3resume.exceptions import ListingError, TransientStoreError
from airflow_provider_s3resume.plan.archives import ARCHIVE_CLASSES
from airflow_provider_s3resume.plan.objects import KeyRange, ListedObject
from airflow_provider_s3resume.plan.resume import ListedPart
from airflow_provider_s3resume.storage._headers import bare
from airflow_provider_s3resume.storage._listing import ObjectPage, Pages, Walk, walk_objects
from airflow_provider_s3resume.storage._s3_headers import CHECKSUM_PARAMETERS, timestamp
from airflow_provider_s3resume.storage.base import UploadInfo

Page = Mapping[str, Any]
Fetch = Callable[[dict[str, Any]], Page]
"""Makes one call of a listing with these parameters."""

_UNORDERED_ADVICE: Final = (
    'set "list_order": "unordered" in the extra of this connection if the service does not list '
    "in the order of UTF-8 bytes"
)


def check_said(page: Page, operation: str, subject: str) -> None:
    """Refuse an answer that says nothing at all, as one of a proxy's: another try may help.

    :raises TransientStoreError: in that case.
    """
    said = ("IsTruncated", "Contents", "Parts", "Uploads")
    if all(page.get(name) is None for name in said):
        raise TransientStoreError(operation, subject, "the answer lists nothing, nor an end")


def decoded(page: Page, name: str) -> str:
    """Undo the URL encoding of a name, which is there only if the answer says so.

    Amazon S3 and SeaweedFS write a space as ``+``, others as ``%20``.
    """
    return unquote_plus(name) if page.get("EncodingType") == "url" else name


def list_objects(
    fetch: Fetch,
    subject: str,
    prefix: str,
    key_range: KeyRange,
    *,
    ordered: bool,
    restores: bool = False,
) -> Iterator[ListedObject]:
    """Yield the objects of a key range from ListObjectsV2.

    :param ordered: whether keys have to come in the order of their UTF-8 bytes.
    :param restores: ask which archived objects have a restored copy; the service tells of all.
    :raises ListingError: if the listing cannot be relied upon.
    """
    asked = {"OptionalObjectAttributes": ["RestoreStatus"]} if restores else {}

    def page_of(after: str | None, token: str | None) -> ObjectPage:
        place = {"StartAfter": after, "ContinuationToken": token}
        chosen = {name: value for name, value in place.items() if value is not None}
        page = fetch({"Prefix": prefix, "EncodingType": "url", **asked, **chosen})
        check_said(page, "ListObjectsV2", subject)
        return ObjectPage(
            objects=[_listed(subject, page, one, restores) for one in page.get("Contents", ())],
            more=page.get("IsTruncated"),
            token=page.get("NextContinuationToken"),
        )

    walk = Walk(
        subject=subject,
        prefix=prefix,
        key_range=key_range,
        ordered=ordered,
        advice=_UNORDERED_ADVICE,
    )
    return walk_objects(page_of, walk)


def _needed(subject: str, entry: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - as listed
    try:
        return entry[name]
    except KeyError:
        raise ListingError(f"listing of {subject}: an entry has no {name}") from None


def _listed(
    subject: str,
    page: Page,
    entry: Mapping[str, Any],
    restores: bool,  # noqa: FBT001 - internal
) -> ListedObject:
    storage_class = entry.get("StorageClass")
    archive = storage_class in ARCHIVE_CLASSES
    return ListedObject(
        key=decoded(page, _needed(subject, entry, "Key")),
        size=_needed(subject, entry, "Size"),
        etag=bare(entry.get("ETag")),
        last_modified=timestamp(entry.get("LastModified")),
        storage_class=storage_class,
        restored=_restored(entry.get("RestoreStatus"), restores) if archive else None,
    )


def _restored(status: Mapping[str, Any] | None, restores: bool) -> bool | None:  # noqa: FBT001 - as above
    """Tell whether there is a restored copy ("RestoreStatus"), ``None`` if it is not said."""
    if status is not None:
        return not status.get("IsRestoreInProgress") and "RestoreExpiryDate" in status
    # Of an object that nobody has restored Amazon S3 says nothing, and so do others of all objects.
    return False if restores else None


def list_parts(fetch: Fetch, subject: str) -> list[ListedPart]:
    """Return all parts of an upload from ListParts, as listed.

    :raises ListingError: if the listing cannot be relied upon.
    """
    pages, parts = Pages(subject), list[ListedPart]()
    parameters: dict[str, Any] = {}
    while True:
        page = fetch(parameters)
        check_said(page, "ListParts", subject)
        more = pages.truncated(page.get("IsTruncated"))
        entries = page.get("Parts", ())
        parts += [_part(subject, entry) for entry in entries]
        if not more:
            return parts
        if not entries:
            raise pages.error("more was announced, but a page has no parts")
        marker = page.get("NextPartNumberMarker")
        pages.follow(marker)
        parameters = {"PartNumberMarker": int(marker or 0)}


def _part(subject: str, entry: Mapping[str, Any]) -> ListedPart:
    return ListedPart(
        part_number=_needed(subject, entry, "PartNumber"),
        size=_needed(subject, entry, "Size"),
        etag=bare(entry.get("ETag")) or "",
        checksum=next((entry[n] for n in CHECKSUM_PARAMETERS.values() if entry.get(n)), None),
    )


def list_uploads(fetch: Fetch, subject: str, key: str) -> list[UploadInfo]:
    """Return the unfinished uploads of exactly ``key`` from ListMultipartUploads.

    :raises ListingError: if the listing cannot be relied upon.
    """
    entries = _walk_uploads(fetch, subject, key)
    return [_upload(key, entry) for page, entry in entries if _is_key(page, entry, key)]


def list_all_uploads(fetch: Fetch, subject: str, prefix: str) -> list[UploadInfo]:
    """Return the unfinished uploads of all keys under ``prefix``, named as the service names them.

    :raises ListingError: if the listing cannot be relied upon.
    """
    entries = _walk_uploads(fetch, subject, prefix)
    return [_upload(decoded(page, entry["Key"]), entry) for page, entry in entries]


def _walk_uploads(
    fetch: Fetch, subject: str, prefix: str
) -> Iterator[tuple[Page, Mapping[str, Any]]]:
    pages = Pages(subject)
    parameters: dict[str, Any] = {"Prefix": prefix, "EncodingType": "url"}
    while True:
        page = fetch(parameters)
        check_said(page, "ListMultipartUploads", subject)
        more = pages.truncated(page.get("IsTruncated"))
        entries = page.get("Uploads", ())
        for entry in entries:
            _needed(subject, entry, "Key")
            _needed(subject, entry, "UploadId")
        pages.begin((entries[0]["Key"], entries[0]["UploadId"]) if entries else None)
        for entry in entries:
            yield page, entry
        if not more:
            return
        marker = page.get("NextKeyMarker")
        # Without a key marker the service would begin anew (SeaweedFS gives none).
        pages.follow((marker, page.get("NextUploadIdMarker")) if marker else None)
        parameters = {
            **parameters,
            "KeyMarker": decoded(page, str(marker)),
            "UploadIdMarker": page.get("NextUploadIdMarker") or "",
        }


def _is_key(page: Page, entry: Mapping[str, Any], key: str) -> bool:
    """Tell whether an upload is of ``key``, and not of a key that begins with it.

    SeaweedFS says that names are encoded, and does not encode them here. The prefix that it echoes
    shows it: where that came back as it was sent, a name is taken as it stands.
    """
    raw = entry["Key"]
    return bool(raw == key or (page.get("Prefix") != key and decoded(page, raw) == key))


def _upload(key: str, entry: Mapping[str, Any]) -> UploadInfo:
    return UploadInfo(
        key=key,
        upload_id=entry["UploadId"],
        initiated=timestamp(entry.get("Initiated")),
    )
