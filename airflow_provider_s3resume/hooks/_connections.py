"""Reading an Airflow connection: type, endpoint and extra fields are checked before any use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._access import ENDPOINTS, SECRET_KEY, check_access_fields
from airflow_provider_s3resume.hooks._airflow import mask_secret
from airflow_provider_s3resume.hooks._reading import (
    checked_endpoint,
    given,
    json_field,
    nested_fields,
    read_extra,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection

OWN_TYPE = "s3resume"
ACCEPTED_TYPES = (OWN_TYPE, "aws")
OWN_FIELDS = frozenset(
    {
        "addressing_style",
        "answer_deadline_s",
        "bucket",
        "bytes_per_second",
        "checksums",
        "complete_deadline_s",
        "conditional_writes",
        "connect_timeout_s",
        "connections",
        "direct",
        "expected_bucket_owner",
        "full_object_checksum",
        "key_folding",
        "limits",
        "list_order",
        "low_speed_bytes_per_s",
        "low_speed_time_s",
        "md5_etags",
        "object_tags",
        "part_layout",
        "payload_signing",
        "read_timeout_s",
        "request_payer",
        "requests_per_second",
        SECRET_KEY,
        "stream_parts",
        "unsigned",
        *ENDPOINTS,
    }
)
"""Fields of ours: under ``s3resume`` in the extra of any connection; for our own connection type
also at the top, where its form puts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A connection, checked.

    :param subject: how errors call it.
    :param extra: for the amazon provider.
    :param settings: our own fields.
    """

    conn_id: str | None
    subject: str
    login: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    bucket: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)


def read_connection(connection: Connection, parameter: str) -> Facts:
    """Check a connection and return what it says.

    :param parameter: name of the parameter that named the connection, for errors.
    :raises InvalidInputError: naming the connection and the field.
    """
    subject = f"{parameter} {connection.conn_id!r}"
    if connection.conn_type not in ACCEPTED_TYPES:
        raise InvalidInputError(
            subject,
            found=f"a connection of type {connection.conn_type!r}",
            accepted="a connection of type "
            + " or ".join(repr(t) for t in ACCEPTED_TYPES)
            + " for an s3:// URI",
        )
    extra = read_extra(connection, subject)
    settings = _settings(extra, subject, own_type=connection.conn_type == OWN_TYPE)
    endpoint = _endpoint(connection, extra, subject)
    if endpoint is not None:
        extra["endpoint_url"] = endpoint
    _check_service_endpoints(extra, subject)
    facts = Facts(
        conn_id=connection.conn_id,
        subject=subject,
        login=connection.login,
        password=connection.password,
        bucket=settings.pop("bucket", None) or connection.schema or None,
        extra=extra,
        settings=settings,
    )
    if settings.get(SECRET_KEY):
        mask_secret(settings[SECRET_KEY])
    check_access_fields(facts)
    return facts


def _settings(extra: dict[str, Any], subject: str, *, own_type: bool) -> dict[str, Any]:
    nested = nested_fields(extra, OWN_FIELDS, subject)
    top: dict[str, Any] = {}
    if own_type:
        top = {name: extra.pop(name) for name in OWN_FIELDS & set(extra)}
    merged = {**given(top), **nested}
    if isinstance(merged.get("limits"), str):
        merged["limits"] = json_field(merged["limits"], f"extra 'limits' of {subject}")
    return merged


def _endpoint(connection: Connection, extra: dict[str, Any], subject: str) -> str | None:
    named = extra.get("endpoint_url")
    if named:
        return checked_endpoint(named, f"endpoint_url of {subject}").geturl()
    if connection.conn_type != OWN_TYPE or not connection.host:
        return None
    url = connection.host if "://" in connection.host else f"https://{connection.host}"
    parts = checked_endpoint(url, f"host of {subject}")
    if connection.port and parts.port is None:
        url = f"{parts.geturl().rstrip('/')}:{connection.port}"
        parts = checked_endpoint(url, f"port of {subject}")
    return parts.geturl()


def _check_service_endpoints(extra: dict[str, Any], subject: str) -> None:
    """Check the endpoints that the amazon provider takes for single services."""
    services = extra.get("service_config")
    for name, config in services.items() if isinstance(services, dict) else ():
        named = config.get("endpoint_url") if isinstance(config, dict) else None
        if named:
            checked_endpoint(named, f"endpoint_url of {name!r} in service_config of {subject}")
