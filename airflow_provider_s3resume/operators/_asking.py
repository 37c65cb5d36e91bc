"""What written objects shall have, from arguments as templates leave them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._values import document, flag, optional
from airflow_provider_s3resume.plan.storage_classes import SOURCE, ClassMapping

ASKED_FIELDS: Final = (
    "storage_class",
    "storage_class_map",
    "acl",
    "encryption",
    "kms_key_id",
    "bucket_key",
    "on_unsupported_attribute",
)
"""Arguments of a copy that say what the written objects shall have."""
_EMPTY: Final = (None, "")
_Choice = TypeVar("_Choice", bound=enum.Enum)


def asked_for(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``CopyConfig`` that these fields make.

    :param given: of :data:`ASKED_FIELDS`, by name.
    :raises InvalidInputError: naming the parameter.
    """
    from airflow_provider_s3resume.storage.base import WriteOptions  # noqa: PLC0415 - at DAG parse
    from airflow_provider_s3resume.transfer.config import (  # noqa: PLC0415 - as above
        OnUnsupportedAttribute,
    )

    storage_class, bucket_key = optional(given.get("storage_class")), given.get("bucket_key")
    by_source = storage_class == SOURCE
    policy = given.get("on_unsupported_attribute", OnUnsupportedAttribute.REPORT.value)
    return {
        "options": WriteOptions(
            storage_class=None if by_source else storage_class,
            encryption=optional(given.get("encryption")),
            kms_key_id=optional(given.get("kms_key_id")),
            acl=optional(given.get("acl")),
            bucket_key=None if bucket_key in _EMPTY else flag("bucket_key", bucket_key),
        ),
        "storage_classes": _mapping(given.get("storage_class_map"), by_source=by_source),
        "on_unsupported_attribute": choice(
            "on_unsupported_attribute", policy, OnUnsupportedAttribute
        ),
    }


def _mapping(given: object, *, by_source: bool) -> ClassMapping | None:
    found = None if given in _EMPTY else document("storage_class_map", given)
    if by_source:
        return ClassMapping.of(found)
    if found:
        accepted = f"nothing, unless the storage class is {SOURCE!r}"
        raise InvalidInputError("storage_class_map", found=found, accepted=accepted)
    return None


def choice(parameter: str, given: object, kinds: type[_Choice]) -> _Choice:
    """Return the member of an enumeration that a word stands for.

    :raises InvalidInputError: naming the words that are accepted.
    """
    choices = {one.value: one for one in kinds}
    if not isinstance(given, str) or given not in choices:
        raise InvalidInputError(parameter, found=given, accepted=" or ".join(choices))
    return choices[given]
