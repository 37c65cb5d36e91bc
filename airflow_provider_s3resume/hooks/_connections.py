"""Reading an Airflow connection: type, endpoint and extra fields are checked before any use."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_s3resume.exceptions import InvalidInputError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.sdk import Connection

OWN_TYPE = "s3resume"
ACCEPTED_TYPES = (OWN_TYPE, "aws")
OWN_FIELDS = frozenset(
    {
        "addressing_style",
        "bucket",
        "bytes_per_second",
        "checksums",
        "conditional_writes",
        "connect_timeout_s",
        "connections",
        "full_object_checksum",
        "key_folding",
        "limits",
        "list_order",
        "md5_etags",
        "object_tags",
        "part_layout",
        "payload_signing",
        "read_timeout_s",
        "request_payer",
        "requests_per_second",
        "stream_parts",
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
    settings: dict[str, Any] = field(default_factory=dict)


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
            accepted="a connection of type " + " or ".join(repr(t) for t in ACCEPTED_TYPES),
        )
    extra = _extra(connection, subject)
    settings = _settings(extra, subject, own_type=connection.conn_type == OWN_TYPE)
    endpoint = _endpoint(connection, extra, subject)
    if endpoint is not None:
        extra["endpoint_url"] = endpoint
    _check_service_endpoints(extra, subject)
    return Facts(
        conn_id=connection.conn_id,
        subject=subject,
        login=connection.login,
        password=connection.password,
        bucket=settings.pop("bucket", None) or connection.schema or None,
        extra=extra,
        settings=settings,
    )


def _extra(connection: Connection, subject: str) -> dict[str, Any]:
    # Airflow's own reading takes a damaged extra for an empty one: another endpoint and account.
    try:
        extra = json.loads(connection.extra) if connection.extra else {}
    except ValueError as error:
        raise InvalidInputError(
            f"extra of {subject}", found="text that is no JSON", accepted="a JSON object"
        ) from error
    if not isinstance(extra, dict):
        raise InvalidInputError(
            f"extra of {subject}", found=type(extra).__name__, accepted="a JSON object"
        )
    return extra


def _settings(extra: dict[str, Any], subject: str, *, own_type: bool) -> dict[str, Any]:
    nested = extra.pop("s3resume", None) or {}
    if not isinstance(nested, dict) or not set(nested) <= OWN_FIELDS:
        found = sorted(set(nested) - OWN_FIELDS) if isinstance(nested, dict) else nested
        raise InvalidInputError(
            f"extra 's3resume' of {subject}",
            found=found,
            accepted="an object with some of " + ", ".join(sorted(OWN_FIELDS)),
        )
    top: dict[str, Any] = {}
    if own_type:
        top = {name: extra.pop(name) for name in OWN_FIELDS & set(extra)}
    # A field of the form that was left empty arrives as an empty text.
    merged = {**{n: v for n, v in top.items() if v is not None and v != ""}, **nested}
    if isinstance(merged.get("limits"), str):
        merged["limits"] = _json_field(merged["limits"], f"extra 'limits' of {subject}")
    return merged


def _json_field(text: str, parameter: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInputError(parameter, found=text, accepted="a JSON object") from error


_ADDRESS = "scheme, host and port, such as 'https://minio.example:9000'"


def _endpoint(connection: Connection, extra: dict[str, Any], subject: str) -> str | None:
    given = extra.get("endpoint_url")
    if given:
        return _checked_endpoint(given, f"endpoint_url of {subject}").geturl()
    if connection.conn_type != OWN_TYPE or not connection.host:
        return None
    url = connection.host if "://" in connection.host else f"https://{connection.host}"
    parts = _checked_endpoint(url, f"host of {subject}")
    if connection.port and parts.port is None:
        url = f"{parts.geturl().rstrip('/')}:{connection.port}"
        parts = _checked_endpoint(url, f"port of {subject}")
    return parts.geturl()


def _check_service_endpoints(extra: dict[str, Any], subject: str) -> None:
    """Check the endpoints that the amazon provider takes for single services."""
    services = extra.get("service_config")
    for name, config in services.items() if isinstance(services, dict) else ():
        given = config.get("endpoint_url") if isinstance(config, dict) else None
        if given:
            _checked_endpoint(given, f"endpoint_url of {name!r} in service_config of {subject}")


def _checked_endpoint(endpoint: object, parameter: str) -> SplitResult:
    """Return the parts of an address that is scheme, host and port.

    What may hold a key or a password is never repeated: neither a text with ``@`` nor one that
    cannot be read as an address, wherever in it they stand (c42).
    """
    parts = _split(endpoint)
    if parts is None or "@" in str(endpoint):
        found = "a text that is no such address (it is not repeated here: it may hold a secret)"
        raise InvalidInputError(parameter, found=found, accepted=_ADDRESS)
    if parts.query or parts.fragment:
        found = "an address with more than scheme, host and port"
        raise InvalidInputError(parameter, found=found, accepted=_ADDRESS)
    if parts.scheme not in {"http", "https"} or parts.port == 0:
        raise InvalidInputError(parameter, found=endpoint, accepted=_ADDRESS)
    return parts


def _split(endpoint: object) -> SplitResult | None:
    """Return the parts of an address with a host, ``None`` if it is none.

    The error of the parser is left out, as it repeats what it could not read.
    """
    if not isinstance(endpoint, str):
        return None
    try:
        parts = urlsplit(endpoint)
        readable = bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:
        return None
    return parts if readable else None
