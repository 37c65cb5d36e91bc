"""What a target has to keep of what an object was written with, and whether it did (c19)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.transfer.losses import judged
from airflow_provider_s3resume.transfer.proving import attribute_notes, look

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import NewUpload
    from airflow_provider_s3resume.transfer.context import CopyContext

_NO_OPTIONS: Final = WriteOptions()


def is_type_alone(upload: NewUpload) -> bool:
    """Tell whether an upload asks for a content type alone, which every target keeps."""
    asked = upload.attributes
    others = (
        asked.content_encoding,
        asked.content_language,
        asked.content_disposition,
        asked.cache_control,
        asked.expires,
        asked.website_redirect,
    )
    return (
        others == (None,) * len(others)
        and not asked.metadata
        and not asked.tags
        and upload.options == _NO_OPTIONS
    )


def losses_of(
    context: CopyContext, uri: str, upload: NewUpload, info: ObjectInfo, found: ObjectInfo
) -> list[str]:
    """Return what an upload asked for and the object at the target does not have, as notes.

    :param info: the source object's headers.
    :raises AttributesLostError: if what is lost is to be an error.
    """
    asked = replace(info, attributes=upload.attributes)
    losses = attribute_notes(uri, asked, found, upload.options)
    return judged(context.config, uri, losses, landed=True)


def looked_for(
    context: CopyContext, key: str, uri: str, upload: NewUpload, info: ObjectInfo
) -> list[str]:
    """Look at the target, if more than a content type was asked for, and return what is lost.

    :raises AttributesLostError: if what is lost is to be an error.
    """
    if is_type_alone(upload):
        return []
    found = look(context.target, key)
    return [] if found is None else losses_of(context, uri, upload, info, found)
