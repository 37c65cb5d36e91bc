"""Connections as Secrets Manager keeps them for Airflow: JSON, with words where secrets belong.

Every template has a word in a field that is checked before a connection is used, so that one
nobody filled in is refused by name. Source: "Configuring an Apache Airflow connection using an AWS
Secrets Manager secret" of the Amazon MWAA User Guide, and the amazon provider's documentation of
its backend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_s3resume.exceptions import InvalidInputError

PREFIX: Final = "airflow/connections"
BACKEND: Final = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
_OPEN, _CLOSE = "<", ">"

AMAZON_S3: Final[Mapping[str, Any]] = {
    "conn_type": "aws",
    "extra": {
        "region_name": "<region of the bucket, such as eu-central-1>",
        "s3resume": {"expected_bucket_owner": "<id of the bucket's account, 12 digits>"},
    },
}
"""No keys: the environment's execution role is used."""
COMPATIBLE: Final[Mapping[str, Any]] = {
    "conn_type": "aws",
    "login": "<access key id>",
    "password": "<secret access key>",
    "extra": {"endpoint_url": "<https://address of the service>"},
}
OSS: Final[Mapping[str, Any]] = {
    "conn_type": "s3resume_oss",
    "login": "<AccessKey id of the RAM user>",
    "password": "<AccessKey secret of the RAM user>",
    "extra": {"region": "<region of the bucket, such as cn-hangzhou>"},
}
TEMPLATES: Final = {"s3": AMAZON_S3, "compatible": COMPATIBLE, "oss": OSS}


def backend_kwargs(conn_ids: list[str]) -> dict[str, str | None]:
    """Return what the backend is told: only these connections are asked for, each as one request.

    A look-up in Secrets Manager is billed, and what the role may not read is an error in each log.
    """
    return {
        "connections_prefix": PREFIX,
        "connections_lookup_pattern": f"^({'|'.join(sorted(set(conn_ids)))})$",
        "variables_prefix": None,
        "config_prefix": None,
    }


def render(template: Mapping[str, Any]) -> str:
    """Return the text of a secret."""
    return json.dumps(template, indent=2) + "\n"


def left_open(value: object, name: str = "") -> list[str]:
    """Return the names of the fields whose words nobody replaced."""
    if isinstance(value, Mapping):
        return [
            field
            for key, inner in value.items()
            for field in left_open(inner, f"{name}.{key}".lstrip("."))
        ]
    is_word = isinstance(value, str) and value.startswith(_OPEN) and value.endswith(_CLOSE)
    return [name] if is_word else []


def check_filled(subject: str, secret: str) -> None:
    """Refuse the text of a secret that is still a template, or no JSON.

    :raises InvalidInputError: naming the fields.
    """
    try:
        fields = left_open(json.loads(secret))
    except ValueError:
        raise InvalidInputError(
            subject, found="no JSON", accepted="the JSON of a connection"
        ) from None
    if fields:
        accepted = "values in place of the words in angle brackets, or no such field"
        raise InvalidInputError(subject, found=", ".join(fields), accepted=accepted)
