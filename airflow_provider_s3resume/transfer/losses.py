"""What a target does not hold of what was asked for: reported or an error, never silence (c19)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import AttributesLostError
from airflow_provider_s3resume.transfer.config import OnUnsupportedAttribute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_s3resume.plan.objects import ContentAttributes
    from airflow_provider_s3resume.transfer.config import CopyConfig

HEADERS: Final = (
    "content_type",
    "content_encoding",
    "content_language",
    "content_disposition",
    "cache_control",
    "expires",
    "website_redirect",
)
"""The attributes that are one header each."""


def judged(config: CopyConfig, uri: str, losses: list[str], *, landed: bool) -> list[str]:
    """Return what is lost as notes for the report, if it is to be reported.

    :param uri: of the target object.
    :param landed: whether the object is at the target by now.
    :raises AttributesLostError: if it is to be an error.
    """
    if losses and config.on_unsupported_attribute is OnUnsupportedAttribute.FAIL:
        raise AttributesLostError(_told(uri, losses, landed=landed))
    return losses


def _told(uri: str, losses: Sequence[str], *, landed: bool) -> str:
    where = "the object is at the target without it" if landed else "nothing was written"
    return (
        f"{uri}: the target does not hold all that was asked for: {'; '.join(losses)}; {where}. "
        "With on_unsupported_attribute 'report' this is a line of the report"
    )


def header_losses(asked: ContentAttributes, found: ContentAttributes) -> list[str]:
    """Say which headers and metadata were asked for and are not there."""
    losses: list[str] = []
    for name in HEADERS:
        want, have = getattr(asked, name), getattr(found, name)
        if want is not None and want != have:
            losses.append(f"{name} {want!r} is {have!r} at the target")
    wanted, held = dict(asked.metadata), dict(found.metadata)
    if by_lower_case(wanted) != by_lower_case(held):
        lost = sorted(set(wanted) - set(held)) or sorted(wanted)
        losses.append(f"metadata differs at the target: {', '.join(lost)}")
    return losses


def by_lower_case(metadata: dict[str, str]) -> dict[str, str]:
    """Return metadata by the names that HTTP compares."""
    return {name.lower(): text for name, text in metadata.items()}
