"""Listings of a service, page by page to their true end, or an error (c01, c02, c13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from airflow_provider_s3resume.exceptions import ListingError
from airflow_provider_s3resume.plan.objects import KeyRange, ListedObject, key_bytes
from airflow_provider_s3resume.plan.resume import ListedPart
from airflow_provider_s3resume.storage._s3_headers import CHECKSUM_PARAMETERS, bare, timestamp
from airflow_provider_s3resume.storage.base import UploadInfo

Page = Mapping[str, Any]
Fetch = Callable[[dict[str, Any]], Page]
"""Makes one call of a listing with these parameters."""

_UNORDERED_ADVICE: Final = (
    'set "list_order": "unordered" in the extra of this connection if the service does not list '
    "in the order of UTF-8 bytes"
)
_MAX_KEY_BYTES: Final = 1024
_LAST_CHARACTER: Final = "\U0010ffff"
_AFTER_SURROGATES, _BEFORE_SURROGATES = "\ue000", "\ud7ff"


class Pages:
    """Walks one listing; refuses one that does not say where it ends or turns in circles.

    :param subject: what is listed, for the messages.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        # A digest of each token, not the token: a million pages have to fit.
        self._tokens: set[int] = set()
        self._first: object = None

    def error(self, reason: str) -> ListingError:
        """Return the error for this listing."""
        return ListingError(f"listing of {self._subject}: {reason}")

    def truncated(self, page: Page) -> bool:
        """Tell whether another page follows.

        :raises ListingError: if the answer does not say; an empty 200 is no empty bucket.
        """
        more = page.get("IsTruncated")
        if more is None:
            raise self.error("the answer does not say whether it is complete")
        return bool(more)

    def follow(self, token: object) -> None:
        """Note the token of the next page.

        :raises ListingError: if there is none, or it was followed before.
        """
        if not token or not any(token if isinstance(token, tuple) else (token,)):
            raise self.error("more was announced, but not where it begins")
        if hash(token) in self._tokens:
            raise self.error("the service repeats a page (same continuation token)")
        self._tokens.add(hash(token))

    def begin(self, first: object) -> None:
        """Note the first entry of a page.

        :raises ListingError: if the page before began with it too.
        """
        if first is not None and first == self._first:
            raise self.error("the service repeats a page (same first entry)")
        self._first = first


def decoded(page: Page, name: str) -> str:
    """Undo the URL encoding of a name, which is there only if the answer says so.

    Amazon S3 and SeaweedFS write a space as ``+``, others as ``%20``.
    """
    return unquote_plus(name) if page.get("EncodingType") == "url" else name


def start_after(prefix: str, start: str | None) -> str | None:
    """Return a place just before ``start``, since StartAfter leaves out the key it names.

    It may leave a few keys before ``start`` in the listing, never one behind it out.
    """
    if not start or key_bytes(start) <= key_bytes(prefix):
        return None
    head, last = start[:-1], start[-1]
    if last == "\0":
        return head or None
    before = _BEFORE_SURROGATES if last == _AFTER_SURROGATES else chr(ord(last) - 1)
    tight = head + before + _LAST_CHARACTER
    return tight if len(key_bytes(tight)) <= _MAX_KEY_BYTES else head + before


def list_objects(
    fetch: Fetch, subject: str, prefix: str, key_range: KeyRange, *, ordered: bool
) -> Iterator[ListedObject]:
    """Yield the objects of a key range from ListObjectsV2.

    :param ordered: whether keys have to come in the order of their UTF-8 bytes; if not, the whole
        prefix is listed, since a range can then end anywhere.
    :raises ListingError: if the listing cannot be relied upon.
    """
    pages = Pages(subject)
    parameters: dict[str, Any] = {"Prefix": prefix, "EncodingType": "url"}
    after = start_after(prefix, key_range.start) if ordered else None
    if after is not None:
        parameters["StartAfter"] = after
    last: bytes | None = None
    while True:
        page = fetch(parameters)
        more = pages.truncated(page)
        listed = [_listed(page, entry) for entry in page.get("Contents", ())]
        pages.begin(listed[0].key if listed else None)
        if ordered:
            last = _check_order(pages, listed, last)
        for one in listed:
            if not one.key.startswith(prefix):
                raise pages.error(f"{one.key!r} is not under the prefix asked for")
            if key_range.contains(one.key):
                yield one
        if not more or (ordered and _is_behind(last, key_range.stop)):
            return
        token = page.get("NextContinuationToken")
        pages.follow(token)
        parameters = {**parameters, "ContinuationToken": token}
        parameters.pop("StartAfter", None)


def _listed(page: Page, entry: Mapping[str, Any]) -> ListedObject:
    return ListedObject(
        key=decoded(page, entry["Key"]),
        size=entry["Size"],
        etag=bare(entry.get("ETag")),
        last_modified=timestamp(entry.get("LastModified")),
        storage_class=entry.get("StorageClass"),
    )


def _check_order(pages: Pages, listed: Iterable[ListedObject], last: bytes | None) -> bytes | None:
    for one in listed:
        raw = key_bytes(one.key)
        if last is not None and raw <= last:
            found = f"{one.key!r} came after {last.decode('utf-8', 'replace')!r}"
            if raw == last:
                raise pages.error(f"{found}: the service repeats a key")
            raise pages.error(f"{found}, which is not their order; {_UNORDERED_ADVICE}")
        last = raw
    return last


def _is_behind(last: bytes | None, stop: str | None) -> bool:
    return last is not None and stop is not None and last >= key_bytes(stop)


def list_parts(fetch: Fetch, subject: str) -> list[ListedPart]:
    """Return all parts of an upload from ListParts, as listed.

    :raises ListingError: if the listing cannot be relied upon.
    """
    pages, parts = Pages(subject), list[ListedPart]()
    parameters: dict[str, Any] = {}
    while True:
        page = fetch(parameters)
        more = pages.truncated(page)
        entries = page.get("Parts", ())
        parts += [_part(entry) for entry in entries]
        if not more:
            return parts
        if not entries:
            raise pages.error("more was announced, but a page has no parts")
        marker = page.get("NextPartNumberMarker")
        pages.follow(marker)
        parameters = {"PartNumberMarker": int(marker or 0)}


def _part(entry: Mapping[str, Any]) -> ListedPart:
    return ListedPart(
        part_number=entry["PartNumber"],
        size=entry["Size"],
        etag=bare(entry.get("ETag")) or "",
        checksum=next((entry[n] for n in CHECKSUM_PARAMETERS.values() if entry.get(n)), None),
    )


def list_uploads(fetch: Fetch, subject: str, key: str) -> list[UploadInfo]:
    """Return the unfinished uploads of exactly ``key`` from ListMultipartUploads.

    :raises ListingError: if the listing cannot be relied upon.
    """
    pages, uploads = Pages(subject), list[UploadInfo]()
    parameters: dict[str, Any] = {"Prefix": key, "EncodingType": "url"}
    while True:
        page = fetch(parameters)
        more = pages.truncated(page)
        entries = page.get("Uploads", ())
        pages.begin((entries[0]["Key"], entries[0]["UploadId"]) if entries else None)
        uploads += [_upload(key, entry) for entry in entries if _is_key(page, entry, key)]
        if not more:
            return uploads
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
