"""The form's fields of what written objects shall have; by default, what is usual there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from airflow_provider_s3resume.plan.storage_classes import S3_CLASSES, SOURCE
from airflow_provider_s3resume.plan.written import ACLS, ENCRYPTIONS

_SECTION = "What copies shall have"

ASKED_FROM_PARAMS: Mapping[str, Any] = {
    "storage_class": "{{ params.storage_class or '' }}",
    "storage_class_map": "{{ params.storage_class_map | tojson if params.storage_class_map "
    "else '' }}",
    "acl": "{{ params.acl or '' }}",
    "encryption": "{{ params.encryption or '' }}",
    "kms_key_id": "{{ params.kms_key_id or '' }}",
    "bucket_key": "{{ '' if params.bucket_key is none else params.bucket_key }}",
    "on_unsupported_attribute": "{{ params.on_unsupported_attribute }}",
}
"""The arguments of a copy in a DAG that has :func:`asking_params`."""


def asking_params() -> dict[str, Param]:
    """Return the parameters, in the order of the form."""
    return {
        **_class_params(),
        "acl": Param(
            None,
            type=["null", "string"],
            enum=[None, *ACLS],
            title="Canned ACL",
            description_md="Empty: none is sent. A target whose bucket has no ACLs refuses most.",
            section=_SECTION,
        ),
        **_encryption_params(),
        "on_unsupported_attribute": Param(
            "report",
            type="string",
            enum=["report", "fail"],
            title="What the target does not hold",
            description_md="Metadata, tags and whatever was asked for above: `report` names what "
            "is lost, `fail` fails the object.",
            section=_SECTION,
        ),
    }


def _class_params() -> dict[str, Param]:
    return {
        "storage_class": Param(
            None,
            type=["null", "string"],
            pattern="^[A-Za-z0-9][A-Za-z0-9_.\\-]{0,63}$",
            title="Storage class",
            description_md="One for all copies, or `source`: for each, that of its source, with "
            "what it stands for where the target has other classes. Empty: the target's own.",
            examples=[SOURCE, *S3_CLASSES],
            section=_SECTION,
        ),
        "storage_class_map": Param(
            None,
            type=["null", "object"],
            title="Storage classes by that of the source",
            description_md="Only with `source`, on top of what is known of Amazon S3 and OSS, such "
            'as `{"Archive": "GLACIER"}`; `*` stands for all that are not named.',
            section=_SECTION,
        ),
    }


def _encryption_params() -> dict[str, Param]:
    return {
        "encryption": Param(
            None,
            type=["null", "string"],
            enum=[None, *ENCRYPTIONS],
            title="Encryption",
            description_md="By the service. Empty: the bucket's own.",
            section=_SECTION,
        ),
        "kms_key_id": Param(
            None,
            type=["null", "string"],
            maxLength=2048,
            title="KMS key",
            description_md="With `aws:kms` and `aws:kms:dsse`. Empty: the account's own.",
            section=_SECTION,
        ),
        "bucket_key": Param(
            None,
            type=["null", "boolean"],
            title="Bucket key",
            description_md="With `aws:kms`: whether the service asks KMS once for many objects. "
            "Empty: as the bucket says.",
            section=_SECTION,
        ),
    }
