"""Reading an Airflow connection, whatever its type: extra, endpoint, rates, and what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._airflow import AirflowNotFoundException

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from airflow.sdk import BaseHook, Connection

    from airflow_provider_s3resume.storage.layers import Rates

RATES = frozenset({"bytes_per_second", "requests_per_second"})
"""Fields of ours that every connection may have."""


def find_connection(hook: type[BaseHook], conn_id: str, parameter: str) -> Connection:
    """Return a connection.

    :param parameter: name of the parameter that named the connection, for the error.
    :raises InvalidInputError: if there is none.
    """
    try:
        return hook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        accepted = "the id of a connection that exists"
        raise InvalidInputError(parameter, found=conn_id, accepted=accepted) from error


def read_extra(connection: Connection, subject: str) -> dict[str, Any]:
    """Return the extra of a connection.

    :raises InvalidInputError: if it is no JSON object.
    """
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


def nested_fields(extra: dict[str, Any], known: frozenset[str], subject: str) -> dict[str, Any]:
    """Take our own fields from under ``s3resume`` out of the extra.

    :raises InvalidInputError: naming a field that nothing reads.
    """
    nested = extra.pop("s3resume", None) or {}
    if not isinstance(nested, dict) or not set(nested) <= known:
        found = sorted(set(nested) - known) if isinstance(nested, dict) else type(nested).__name__
        raise InvalidInputError(
            f"extra 's3resume' of {subject}",
            found=found,
            accepted="an object with some of " + ", ".join(sorted(known)),
        )
    return nested


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that say something: one that was left empty in a form is an empty text."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def rates_of(settings: Mapping[str, Any], subject: str) -> Rates:
    """Return the rates to keep to.

    :raises InvalidInputError: naming the field.
    """
    from airflow_provider_s3resume.storage.layers import Rates  # noqa: PLC0415 - at DAG parse

    return Rates(
        requests_per_s=_rate(settings, "requests_per_second", subject),
        bytes_per_s=_rate(settings, "bytes_per_second", subject),
    )


def _rate(settings: Mapping[str, Any], name: str, subject: str) -> float | None:
    found = settings.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
        field = f"extra {name!r} of {subject}"
        raise InvalidInputError(field, found=found, accepted="a number above 0")
    return float(found)


def json_field(text: str, parameter: str) -> object:
    """Return what a field of a form holds as text.

    :raises InvalidInputError: if it is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInputError(parameter, found=text, accepted="a JSON object") from error


ADDRESS = "scheme, host and port, such as 'https://minio.example:9000'"


def checked_endpoint(endpoint: object, parameter: str, *, accepted: str = ADDRESS) -> SplitResult:
    """Return the parts of an address that is scheme, host and port.

    What may hold a key or a password is never repeated: neither a text with ``@`` nor one that
    cannot be read as an address, wherever in it they stand (c42).
    """
    parts = _split(endpoint)
    if parts is None or "@" in str(endpoint):
        found = "a text that is no such address (it is not repeated here: it may hold a secret)"
        raise InvalidInputError(parameter, found=found, accepted=accepted)
    if parts.query or parts.fragment:
        found = "an address with more than scheme, host and port"
        raise InvalidInputError(parameter, found=found, accepted=accepted)
    if parts.scheme not in {"http", "https"} or parts.port == 0:
        raise InvalidInputError(parameter, found=endpoint, accepted=accepted)
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
