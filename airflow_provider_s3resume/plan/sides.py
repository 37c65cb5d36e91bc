"""Whether two places may be synced at all, decided from their names before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.objects import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_STATE_PREFIX = ".s3resume/"
SYMLINKS = ("follow", "report")
"""What can be done about links to other objects, which OSS has and S3 has not."""
LOCAL_SYMLINKS = (*SYMLINKS, "fail")
"""The same of links in a folder."""
_SYMLINKS_OF = {"oss": SYMLINKS, "file": LOCAL_SYMLINKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a sync reads, writes, and keeps its state."""

    source: Location
    target: Location
    state: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Scheme, host and port of each place's service; see ``ObjectStore.service``."""

    source: str
    target: str
    state: str


def parse_places(source_uri: object, target_uri: object, state_uri: object = None) -> Places:
    """Read the three URIs of a sync; without a state URI it is ``.s3resume/`` in the target bucket.

    :raises InvalidInputError: naming ``source_uri``, ``target_uri`` or ``state_uri``.
    """
    source = _parse("source_uri", source_uri)
    target = _parse_target("target_uri", target_uri)
    _check_folders(source, target)
    state = _state_of(target, state_uri)
    _check_boundaries(source, target)
    return Places(source=source, target=target, state=state)


def _state_of(target: Location, state_uri: object) -> Location:
    if state_uri is None:
        if target.scheme == "file":
            accepted = "an s3:// URI: a folder as a target needs a state location in a bucket"
            raise InvalidInputError("state_uri", found=None, accepted=accepted)
        return Location(bucket=target.bucket, prefix=DEFAULT_STATE_PREFIX, scheme=target.scheme)
    state = _parse_written("state_uri", state_uri)
    if not state.prefix.endswith("/") or state.prefix.startswith("/"):
        accepted = "a prefix that ends with '/', such as 's3://bucket/.s3resume/'"
        raise InvalidInputError("state_uri", found=state.uri, accepted=accepted)
    return state


def parse_target(target_uri: object, state_uri: object = None) -> tuple[Location, Location]:
    """Read the URIs of a target and of its state location, without a source.

    :raises InvalidInputError: naming ``target_uri`` or ``state_uri``.
    """
    target = _parse_target("target_uri", target_uri)
    return target, _state_of(target, state_uri)


def check_overlap(places: Places, services: Services) -> None:
    """Refuse places that lie in one another, where service and bucket are the same.

    A state location inside the source or the target is fine: it is never taken for data.

    :raises InvalidInputError: naming the parameter to change.
    """
    source, target, state = places.source, places.target, places.state
    if _nested(source, services.source, target, services.target):
        accepted = f"a place that neither holds nor lies in the source, {source.uri}"
        raise InvalidInputError("target_uri", found=target.uri, accepted=accepted)
    for name, place, service in (
        ("source_uri", source, services.source),
        ("target_uri", target, services.target),
    ):
        if _same_bucket(place, service, state, services.state) and place.prefix.startswith(
            state.prefix
        ):
            accepted = f"a place outside of the state location, {state.uri}"
            raise InvalidInputError(name, found=place.uri, accepted=accepted)


def parse_object(uri: object, parameter: str) -> Location:
    """Read the URI of one object; its key is the location's ``prefix``.

    :raises InvalidInputError: if it is no URI, or names a bucket without a key.
    """
    found = _parse(parameter, uri)
    if not found.prefix or (found.scheme == "file" and found.prefix.endswith("/")):
        accepted = "an object's URI such as 's3://bucket/key'"
        raise InvalidInputError(parameter, found=uri, accepted=accepted)
    return found


def parse_pair(source_uri: object, target_uri: object, state_uri: object = None) -> Places:
    """Read the URIs of two objects, and that of the state location.

    :raises InvalidInputError: naming ``source_uri``, ``target_uri`` or ``state_uri``.
    """
    source = parse_object(source_uri, "source_uri")
    _parse_target("target_uri", target_uri)
    target = parse_object(target_uri, "target_uri")
    _check_not_both_folders(source, target)
    return Places(source=source, target=target, state=_state_of(target, state_uri))


def check_symlinks(source: Location, symlinks: str | None) -> None:
    """Refuse an unknown word about symlinks, and any word about a source that has none.

    :param symlinks: ``follow``, ``report``, of a folder also ``fail``, or ``None`` for what the
        connection says.
    :raises InvalidInputError: naming ``symlinks``.
    """
    if symlinks is None:
        return
    words = _SYMLINKS_OF.get(source.scheme)
    if words is None:
        accepted = f"nothing, as the objects of {source.uri} are never links"
        raise InvalidInputError("symlinks", found=symlinks, accepted=accepted)
    if symlinks not in words:
        accepted = " or ".join(repr(word) for word in words)
        raise InvalidInputError("symlinks", found=symlinks, accepted=accepted)


def check_pair(source: Location, target: Location, *, same_service: bool) -> None:
    """Refuse to copy an object onto itself.

    :raises InvalidInputError: naming ``target_uri``.
    """
    if same_service and (source.bucket, source.prefix) == (target.bucket, target.prefix):
        accepted = "another object than the source"
        raise InvalidInputError("target_uri", found=target.uri, accepted=accepted)


def check_unknown(found: Mapping[str, object], known: Iterable[str], *, what: str) -> None:
    """Refuse names that nothing reads: a misspelt parameter must not pass for its default.

    :param what: what is checked, such as ``params``.
    :raises InvalidInputError: naming the unknown ones and those that are known.
    """
    names = sorted(known)
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise InvalidInputError(what, found=", ".join(unknown), accepted=", ".join(names))


def _parse(parameter: str, uri: object) -> Location:
    if not isinstance(uri, str):
        accepted = "a URI such as 's3://bucket/prefix/'"
        raise InvalidInputError(parameter, found=uri, accepted=accepted)
    return Location.parse(uri, parameter=parameter)


def _parse_written(parameter: str, uri: object) -> Location:
    """Read the URI of a place that is written to."""
    found = _parse(parameter, uri)
    if found.scheme == "file":
        accepted = "an s3:// URI: a folder is a source or a target"
        raise InvalidInputError(parameter, found=uri, accepted=accepted)
    if found.scheme != "s3":
        accepted = (
            "an s3:// URI: targets are s3://; for OSS use a connection to OSS's S3-compatible "
            f"endpoint and 's3://{found.bucket}/{found.prefix}'"
        )
        raise InvalidInputError(parameter, found=uri, accepted=accepted)
    return found


def _parse_target(parameter: str, uri: object) -> Location:
    """Read the URI of a target, which may be a folder."""
    found = _parse(parameter, uri)
    return found if found.scheme == "file" else _parse_written(parameter, uri)


def _check_folders(source: Location, target: Location) -> None:
    """Refuse a folder that does not end where a name ends, and two of them."""
    for name, place in (("source_uri", source), ("target_uri", target)):
        if place.scheme == "file" and not place.prefix.endswith("/"):
            accepted = f"a folder, which ends with '/': '{place.uri}/'"
            raise InvalidInputError(name, found=place.uri, accepted=accepted)
    _check_not_both_folders(source, target)


def _check_not_both_folders(source: Location, target: Location) -> None:
    if source.scheme == target.scheme == "file":
        accepted = (
            "a bucket, as the source is a folder: from one folder to another, a file system copies "
            "by itself, and no part of it would go through a service"
        )
        raise InvalidInputError("target_uri", found=target.uri, accepted=accepted)


def _check_boundaries(source: Location, target: Location) -> None:
    if is_whole(source.prefix) != is_whole(target.prefix):
        wanted = (
            "ends with '/' (or is empty)" if is_whole(source.prefix) else "does not end with '/'"
        )
        accepted = f"a prefix that {wanted}, as that of the source, {source.uri}"
        raise InvalidInputError("target_uri", found=target.uri, accepted=accepted)


def is_whole(prefix: str) -> bool:
    """Tell whether a prefix ends where a folder does, and begins no other name."""
    return not prefix or prefix.endswith("/")


def _same_bucket(one: Location, one_service: str, other: Location, other_service: str) -> bool:
    return (one_service, one.bucket) == (other_service, other.bucket)


def _nested(one: Location, one_service: str, other: Location, other_service: str) -> bool:
    return _same_bucket(one, one_service, other, other_service) and (
        one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
    )
