"""Reading a connection to OSS: type, address, region and credentials, checked before any use."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._oss_addresses import (
    ADDRESS_FIELDS,
    Address,
    read_address,
)
from airflow_provider_s3resume.hooks._oss_credentials import (
    CREDENTIAL_FIELDS,
    Credentials,
    read_credentials,
)
from airflow_provider_s3resume.hooks._reading import RATES, given, nested_fields, read_extra

if TYPE_CHECKING:
    from airflow.sdk import Connection

OSS_TYPE = "s3resume_oss"
ALIBABA_TYPE = "oss"
"""The alibaba provider's, whether or not that is installed."""
ACCEPTED_OSS_TYPES = (ALIBABA_TYPE, OSS_TYPE)
STORE_FIELDS = frozenset(
    {
        "answer_deadline_s",
        "connect_timeout_s",
        "connections",
        "is_cname",
        "is_path_style",
        "low_speed_bytes_per_s",
        "low_speed_time_s",
        "md5_etags",
        "proxies",
        "read_timeout_s",
        "request_payer",
        "symlinks",
        "verify",
    }
)
"""What ``storage.oss`` reads."""
OSS_FIELDS = ADDRESS_FIELDS | CREDENTIAL_FIELDS | STORE_FIELDS | RATES | {"bucket"}
"""Fields that a connection to OSS may have, at the top of its extra or under ``s3resume``."""
_NEAR = 0.8
"""How like each other two names are, up to 1, before one is taken for the other misspelt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OSSFacts:
    """A connection to OSS, checked.

    :param subject: how errors call it.
    :param bucket: what the connection test asks for, ``None`` for none.
    :param settings: for ``storage.oss``, and the rates; a proxy may have a password.
    """

    subject: str
    address: Address
    credentials: Credentials
    bucket: str | None = None
    settings: dict[str, Any] = field(default_factory=dict, repr=False)


def read_oss_connection(connection: Connection, parameter: str) -> OSSFacts:
    """Check a connection and return what it says.

    :param parameter: name of the parameter that named the connection, for errors.
    :raises InvalidInputError: naming the connection and the field.
    """
    subject = f"{parameter} {connection.conn_id!r}"
    if connection.conn_type not in ACCEPTED_OSS_TYPES:
        types = " or ".join(repr(t) for t in ACCEPTED_OSS_TYPES)
        raise InvalidInputError(
            subject,
            found=f"a connection of type {connection.conn_type!r}",
            accepted=f"a connection of type {types} for an oss:// URI",
        )
    said = _fields(connection, subject)
    return OSSFacts(
        subject=subject,
        address=read_address(said, connection.host, connection.port, subject),
        credentials=read_credentials(said, connection.login, connection.password, subject),
        bucket=_bucket(said.get("bucket") or connection.schema, subject),
        settings={name: said[name] for name in (STORE_FIELDS | RATES) & set(said)},
    )


def _bucket(found: object, subject: str) -> str | None:
    if found is None or isinstance(found, str):
        return found or None
    accepted = "a text, the name of a bucket"
    raise InvalidInputError(f"extra 'bucket' of {subject}", found=found, accepted=accepted)


def _fields(connection: Connection, subject: str) -> dict[str, Any]:
    extra = read_extra(connection, subject)
    if "role_arn" in extra or "role_arn" in (extra.get("s3resume") or {}):
        raise InvalidInputError(
            f"extra 'role_arn' of {subject}",
            found="a role to assume",
            accepted="auth_type 'custom' with a credentials_provider that assumes the role, as "
            "the OSS SDK cannot",
        )
    nested = nested_fields(extra, OSS_FIELDS, subject)
    _check_unknown(set(extra) - OSS_FIELDS, connection.conn_type, subject)
    top = {name: extra[name] for name in OSS_FIELDS & set(extra)}
    return {**given(top), **given(nested)}


def _check_unknown(names: set[str], conn_type: str | None, subject: str) -> None:
    """Refuse names that nobody else reads.

    In the alibaba provider's own type they may be another tool's, unless they look like ours: a
    field of ours that is misspelt must not be passed over. All that provider's names are ours too.
    """
    near = {name: _meant(name) for name in sorted(names)}
    misspelt = [f"{name} (did you mean {meant}?)" for name, meant in near.items() if meant]
    unknown = [name for name, meant in near.items() if not meant]
    found = misspelt + (unknown if conn_type == OSS_TYPE else [])
    if found:
        raise InvalidInputError(
            f"extra of {subject}",
            found=", ".join(found),
            accepted="some of " + ", ".join(sorted(OSS_FIELDS)),
        )


def _meant(name: str) -> str:
    """Return the field of ours that a name is nearly, if there is one."""
    return next(iter(get_close_matches(name.lower(), sorted(OSS_FIELDS), n=1, cutoff=_NEAR)), "")
