"""What the target object is written with: the source's attributes, and what the user asked for."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    ObjectNotFoundError,
    SourceChangedError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.manifest import dumps
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage.base import Condition, NewUpload, uri_of
from airflow_provider_s3resume.transfer.losses import judged
from airflow_provider_s3resume.transfer.options import options_of

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import WriteOptions
    from airflow_provider_s3resume.transfer.context import CopyContext

_LAST: list[NewUpload | None] = [None]
_ASKED_LATER: Final = ("acl", "bucket_key")
_GOES_WITHOUT = frozenset({"content_type", "tags"})
_NOTHING = ContentAttributes()


def upload_of(
    context: CopyContext,
    entry: CopyEntry,
    info: ObjectInfo,
    algorithm: ChecksumAlgorithm | None,
    *,
    full_object: bool,
) -> tuple[NewUpload, list[str]]:
    """Return what the target object is made with, and a note for what cannot be carried over.

    :raises AttributesLostError: if what cannot be carried over is to be an error.
    :raises InvalidInputError: if the source's storage class is mapped to none.
    """
    attributes, losses = _carried(context, entry, info)
    options = options_of(context, entry, info)
    uri = uri_of(context.target, entry.target_key) if losses else ""
    notes = judged(context.config, uri, losses, landed=False)
    return _upload(attributes, options, algorithm, full_object), notes


def _upload(
    attributes: ContentAttributes,
    options: WriteOptions,
    algorithm: ChecksumAlgorithm | None,
    full_object: bool,  # noqa: FBT001 - one caller's word
) -> NewUpload:
    """Return a new upload, or the last one if it is the same: most objects ask for the same."""
    last = _LAST[0]
    if (
        last is not None
        and last.attributes is attributes
        and last.options is options
        and last.algorithm is algorithm
        and last.full_object is full_object
    ):
        return last
    # Replaced as a whole: threads see one or the other.
    made = _LAST[0] = NewUpload(
        attributes=attributes, options=options, algorithm=algorithm, full_object=full_object
    )
    return made


def digest_of(upload: NewUpload, customer_key: str = "") -> str:
    """Return what tells two ways apart in which an upload can be begun.

    An upload keeps what it was begun with: one begun otherwise cannot be gone on with (c19).

    :param customer_key: see ``storage.base.Capabilities``: parts with another key are refused.
    """
    asked = asdict(upload)
    asked["algorithm"] = upload.algorithm.value if upload.algorithm else None
    # What earlier versions did not know is left out where it is not asked for, so that uploads
    # that they have begun are gone on with.
    for name in _ASKED_LATER:
        if asked["options"][name] is None:
            del asked["options"][name]
    if customer_key:
        asked["customer_key"] = customer_key
    # Where it is cut is said by the checkpoint itself.
    del asked["layout"]
    return hashlib.sha256(dumps(asked).encode("utf-8", "surrogatepass")).hexdigest()


def _carried(
    context: CopyContext, entry: CopyEntry, info: ObjectInfo
) -> tuple[ContentAttributes, list[str]]:
    if not context.config.carry_metadata:
        return ContentAttributes(), []
    if not context.keeps_attributes:
        return _NOTHING, _not_kept(info)
    notes: list[str] = []
    if info.missing_metadata:
        notes.append(f"{info.missing_metadata} metadata entries cannot be read at the source")
    tags, tag_notes = _tags(context, entry, info)
    same = tags == info.attributes.tags
    return info.attributes if same else replace(info.attributes, tags=tags), notes + tag_notes


def _not_kept(info: ObjectInfo) -> list[str]:
    """Name what a file cannot hold of an object; of content types the plan warns."""
    attributes = asdict(info.attributes)
    names = [name for name, value in attributes.items() if value and name not in _GOES_WITHOUT]
    if info.tag_count:
        names.append("tags")
    return [f"not kept by a folder: {', '.join(names)}"] if names else []


def carries_tags(context: CopyContext, info: ObjectInfo) -> bool:
    """Tell whether the source object has tags that are to be carried.

    GET and HEAD tell their number only to callers that may read them, and only if there are any.
    """
    config = context.config
    wanted = config.carry_metadata and config.carry_tags and context.source.capabilities.tags
    return bool(wanted and info.tag_count and context.keeps_attributes)


def _tags(
    context: CopyContext, entry: CopyEntry, info: ObjectInfo
) -> tuple[dict[str, str], list[str]]:
    if not carries_tags(context, info):
        return {}, []
    if not context.target.capabilities.tags:
        return {}, [f"{info.tag_count} tags not carried: the target has none"]
    try:
        tags = dict(context.source.get_tags(entry.key, version_id=entry.version_id))
        # This one call knows no condition: the tags could be those of a later object.
        now = context.source.head(entry.key, version_id=entry.version_id)
    except (AccessDeniedError, UnsupportedError) as error:
        return {}, [f"{info.tag_count} tags not carried: {error.detail}"]
    except ObjectNotFoundError as error:
        raise _changed(context, entry, info) from error
    if (now.etag, now.size) != (info.etag, info.size):
        raise _changed(context, entry, info)
    return tags, []


def _changed(context: CopyContext, entry: CopyEntry, info: ObjectInfo) -> SourceChangedError:
    uri = uri_of(context.source, entry.key)
    return SourceChangedError(
        f"{uri} was replaced or deleted while its tags were read (it was ETag {info.etag}, "
        f"{info.size} bytes); the target was not changed"
    )


def is_marker(entry: CopyEntry, *, folds_keys: bool) -> bool:
    """Tell whether an entry is the marker of a directory that may be there without one (c08).

    Where keys are folded, a key that ends with a slash is a directory: it is there as soon as
    something lies below, listed by nobody, and a condition takes it for an object.
    """
    empty = entry.size == 0 and not entry.target_there
    return folds_keys and empty and entry.target_key.endswith("/")


def condition_of(entry: CopyEntry, *, supported: bool) -> Condition | None:
    """Return the condition that the target must still be as the plan saw it (c18)."""
    if not supported or (entry.target_there and entry.target_etag is None):
        return None
    if entry.target_there:
        return Condition(etag=entry.target_etag)
    return Condition(absent=True)
