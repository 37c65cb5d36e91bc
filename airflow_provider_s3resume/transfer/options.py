"""What every written object is asked to have: checked when it is said, chosen for each object."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.parts import check_part_size
from airflow_provider_s3resume.plan.storage_classes import SOURCE, is_class
from airflow_provider_s3resume.plan.written import ACLS, DSSE, ENCRYPTIONS, KMS
from airflow_provider_s3resume.storage.base import WriteOptions, uri_of

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import Capabilities, ObjectStore
    from airflow_provider_s3resume.transfer.config import CopyConfig
    from airflow_provider_s3resume.transfer.context import CopyContext


def check_options(options: WriteOptions) -> None:
    """Refuse what no service takes, or takes and does not do.

    :raises InvalidInputError: naming the parameter, what was found and what is accepted.
    """
    if options.storage_class is not None and not is_class(options.storage_class):
        accepted = f"the name of a storage class, such as 'STANDARD_IA', or {SOURCE!r}"
        raise InvalidInputError("storage_class", found=options.storage_class, accepted=accepted)
    if options.acl is not None and options.acl not in ACLS:
        accepted = " or ".join(repr(name) for name in ACLS)
        raise InvalidInputError("acl", found=options.acl, accepted=accepted)
    _check_encryption(options)


def _check_encryption(options: WriteOptions) -> None:
    encryption = options.encryption
    if options.kms_key_id is not None and encryption not in {KMS, DSSE}:
        accepted = f"{KMS!r} or {DSSE!r} with a kms_key_id"
        raise InvalidInputError("encryption", found=encryption, accepted=accepted)
    if options.bucket_key is not None and encryption != KMS:
        accepted = f"{KMS!r} with a bucket_key: there is none for any other encryption"
        raise InvalidInputError("encryption", found=encryption, accepted=accepted)
    if encryption is not None and encryption not in ENCRYPTIONS:
        accepted = " or ".join(repr(name) for name in ENCRYPTIONS)
        raise InvalidInputError("encryption", found=encryption, accepted=accepted)


def check_fits(options: WriteOptions, capabilities: Capabilities) -> None:
    """Refuse two kinds of encryption at once, before any object is read.

    :raises InvalidInputError: naming the parameter.
    """
    if options.encryption is not None and capabilities.customer_key:
        accepted = (
            "no encryption beside that with the customer-provided key of the target's connection"
        )
        raise InvalidInputError("encryption", found=options.encryption, accepted=accepted)


def check_fits_target(config: CopyConfig, target: ObjectStore) -> None:
    """Refuse a configuration that no object at the target can have, before any object is read.

    :raises InvalidInputError: naming the parameter.
    """
    check_part_size(config.part_size, target.limits)
    check_fits(config.options, target.capabilities)
    if not target.capabilities.keeps_attributes:
        _check_nothing_is_asked(config)


def _check_nothing_is_asked(config: CopyConfig) -> None:
    """Refuse what is asked of every written object where no object can have it (c19)."""
    names = ("storage_class", "acl", "encryption", "kms_key_id", "bucket_key")
    asked = {name: getattr(config.options, name) for name in names}
    if config.storage_classes is not None:
        asked["storage_class"] = SOURCE
    for name, found in asked.items():
        if found is not None:
            accepted = "nothing for a target that is a folder"
            raise InvalidInputError(name, found=found, accepted=accepted)


def options_of(context: CopyContext, entry: CopyEntry, info: ObjectInfo) -> WriteOptions:
    """Return what one object is asked to have; the same object for all that ask for the same.

    :raises InvalidInputError: if the mapping of classes has nothing for the source's.
    """
    config = context.config
    if config.storage_classes is None:
        return config.options
    # GET and HEAD leave the standard class out, and some services leave out every class; what was
    # listed is that of another object if this one has been replaced since.
    listed = entry.storage_class if entry.etag == info.etag else None
    found = info.storage_class or listed
    uri = uri_of(context.source, entry.key)
    return _with_class(config.options, config.storage_classes.target_class(found, uri=uri))


@lru_cache(maxsize=64)
def _with_class(options: WriteOptions, storage_class: str) -> WriteOptions:
    return replace(options, storage_class=storage_class)
