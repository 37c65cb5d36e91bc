"""What every listing of a service has to be: complete, ordered, free of repeats (c01, c02, c05)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_provider_s3resume.exceptions import ListingError
from airflow_provider_s3resume.plan.objects import (
    MAX_KEY_BYTES,
    KeyRange,
    ListedObject,
    key_bytes,
)

_LAST_CHARACTER: Final = "\U0010ffff"
_AFTER_SURROGATES, _BEFORE_SURROGATES = "\ue000", "\ud7ff"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPage:
    """One page of a listing of objects.

    :param more: whether another page follows, ``None`` if the answer does not say.
    :param token: where that page begins.
    """

    objects: Sequence[ListedObject]
    more: bool | None
    token: str | None


FetchPage = Callable[[str | None, str | None], ObjectPage]
"""Makes the call for one page: behind this key on the first page, from this token on later ones."""


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

    def truncated(self, more: object) -> bool:
        """Tell whether another page follows.

        :raises ListingError: if the answer does not say; an empty 200 is no empty bucket.
        """
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


def start_after(prefix: str, start: str | None, max_key_bytes: int = MAX_KEY_BYTES) -> str | None:
    """Return a place just before ``start``, since a listing leaves out the key it starts after.

    It may leave a few keys before ``start`` in the listing, never one behind it out.
    """
    if not start or key_bytes(start) <= key_bytes(prefix):
        return None
    head, last = start[:-1], start[-1]
    if last == "\0":
        return head or None
    before = _BEFORE_SURROGATES if last == _AFTER_SURROGATES else chr(ord(last) - 1)
    tight = head + before + _LAST_CHARACTER
    return tight if len(key_bytes(tight)) <= max_key_bytes else head + before


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What a listing of objects is asked for, and what it has to be.

    :param subject: what is listed, for the messages.
    :param ordered: whether keys have to come in the order of their UTF-8 bytes; if not, the whole
        prefix is listed, since a range can then end anywhere.
    :param advice: what to do about another order.
    """

    subject: str
    prefix: str
    key_range: KeyRange
    ordered: bool
    advice: str
    max_key_bytes: int = MAX_KEY_BYTES


def walk_objects(fetch: FetchPage, walk: Walk) -> Iterator[ListedObject]:
    """Yield the objects of a key range, page by page to the true end.

    :raises ListingError: if the listing cannot be relied upon.
    """
    pages = Pages(walk.subject)
    token: str | None = None
    after = start_after(walk.prefix, walk.key_range.start, walk.max_key_bytes)
    if not walk.ordered:
        after = None
    last: bytes | None = None
    while True:
        page = fetch(after, token)
        more = pages.truncated(page.more)
        pages.begin(page.objects[0].key if page.objects else None)
        if walk.ordered:
            last = _check_order(pages, page.objects, last, walk.advice)
        for one in page.objects:
            if not one.key.startswith(walk.prefix):
                raise pages.error(f"{one.key!r} is not under the prefix asked for")
            if walk.key_range.contains(one.key):
                yield one
        if not more or (walk.ordered and _is_behind(last, walk.key_range.stop)):
            return
        pages.follow(page.token)
        after, token = None, page.token


def _check_order(
    pages: Pages, listed: Iterable[ListedObject], last: bytes | None, advice: str
) -> bytes | None:
    for one in listed:
        raw = key_bytes(one.key)
        if last is not None and raw <= last:
            found = f"{one.key!r} came after {last.decode('utf-8', 'replace')!r}"
            if raw == last:
                raise pages.error(f"{found}: the service repeats a key")
            raise pages.error(f"{found}, which is not their order; {advice}")
        last = raw
    return last


def _is_behind(last: bytes | None, stop: str | None) -> bool:
    return last is not None and stop is not None and last >= key_bytes(stop)
