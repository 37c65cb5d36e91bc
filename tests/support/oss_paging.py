"""Pages of a listing: prefix, delimiter, and marker over keys in the order of their bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from tests.support.oss_messages import Request, invalid_argument
from tests.support.oss_model import Bucket, StoredObject

_LAST_CHARACTER = "\U0010ffff"
_LONGEST = 1024
_DEFAULT_MOST = 100
_MOST = 1000


@dataclasses.dataclass(kw_only=True, slots=True)
class Page:
    """What one answer lists; ``last`` is the key or prefix and the version to go on behind."""

    objects: list[StoredObject] = dataclasses.field(default_factory=list)
    prefixes: list[str] = dataclasses.field(default_factory=list)
    is_truncated: bool = False
    last: tuple[str, str] = ("", "")

    def __len__(self) -> int:
        return len(self.objects) + len(self.prefixes)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a listing is restricted to."""

    prefix: str
    delimiter: str
    most: int
    encoding: str | None

    def group_of(self, key: str) -> str | None:
        """Return the common prefix that stands for a key, if one does."""
        if not self.delimiter:
            return None
        at = key.find(self.delimiter, len(self.prefix))
        return None if at < 0 else key[: at + len(self.delimiter)]


def asked(request: Request, most_name: str = "max-keys") -> Asked:
    """Return what a request asks for; InvalidArgument for what cannot be."""
    query = request.query
    names = ("prefix", "delimiter", "marker", "key-marker", "version-id-marker", "start-after")
    for name in names:
        if len(query.get(name, "").encode()) > _LONGEST:
            raise invalid_argument("The length of the parameter is invalid.", name, query[name])
    if query.get("encoding-type", "url") not in {"url", ""}:
        raise invalid_argument("Invalid Encoding Method", "encoding-type", query["encoding-type"])
    return Asked(
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        most=number(request, most_name, _DEFAULT_MOST, _MOST),
        encoding=query.get("encoding-type") or None,
    )


def number(request: Request, name: str, default: int, most: int) -> int:
    """Return a parameter from 1 to ``most``."""
    text = request.query.get(name, "") or str(default)
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise invalid_argument(f"Argument {name} must be an integer in range.", name, text)
    return int(text)


def page_of(
    bucket: Bucket,
    wanted: Asked,
    after: tuple[str, str],
    listed: Callable[[str], list[StoredObject]],
) -> Page:
    """Return the page behind ``after``, a key (or common prefix) and a version of it.

    :param listed: gives the versions of a key that this kind of listing shows.
    """
    page = Page()
    for group, found in _entries(bucket, wanted, after, listed):
        if len(page) == wanted.most:
            page.is_truncated = True
            break
        if found is None:
            page.prefixes.append(group)
            page.last = (group, "")
        else:
            page.objects.append(found)
            page.last = (found.key, found.version_id)
    return page


def _entries(
    bucket: Bucket,
    wanted: Asked,
    after: tuple[str, str],
    listed: Callable[[str], list[StoredObject]],
) -> Iterator[tuple[str, StoredObject | None]]:
    """Yield (common prefix, None) and ("", object), one for each line of the listing."""
    marker, version_marker = after
    if version_marker:
        yield from (("", v) for v in _older(listed(marker), version_marker))
    shown_group = marker
    for key in _keys(bucket, wanted, marker):
        versions = listed(key)
        group = wanted.group_of(key)
        if not versions:
            continue
        if group is None:
            yield from (("", version) for version in versions)
        elif group != shown_group:
            yield group, None
            shown_group = group


def _keys(bucket: Bucket, wanted: Asked, marker: str) -> Iterator[str]:
    """Yield the keys behind the marker; those below a marker that is a common prefix are passed."""
    group = wanted.group_of(marker) if marker.startswith(wanted.prefix) else None
    start = marker + _LAST_CHARACTER if group == marker else max(marker, wanted.prefix)
    for key in bucket.keys_from(start, after=start == marker):
        if not key.startswith(wanted.prefix):
            break
        yield key


def _older(versions: list[StoredObject], version_marker: str) -> list[StoredObject]:
    ids = [version.version_id for version in versions]
    return versions[ids.index(version_marker) + 1 :] if version_marker in ids else []
