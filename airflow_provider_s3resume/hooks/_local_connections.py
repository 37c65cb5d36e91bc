"""Reading a connection to a folder: type, path and fields, checked before any use."""

from __future__ import annotations

import os.path
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._reading import RATES, given, nested_fields, read_extra

if TYPE_CHECKING:
    from airflow.sdk import Connection

LOCAL_TYPE = "s3resume_local"
STANDARD_TYPE = "fs"
"""The standard provider's, whose only field is ``path``."""
ACCEPTED_LOCAL_TYPES = (LOCAL_TYPE, STANDARD_TYPE)
STORE_FIELDS = frozenset({"directory_markers", "guess_content_type", "inodes", "symlinks"})
"""What ``storage.local`` reads."""
OWN_FIELDS = STORE_FIELDS | RATES | {"path"}
"""Fields that a connection to a folder may have, at the top of its extra or under ``s3resume``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFacts:
    """A connection to a folder, checked.

    :param subject: how errors call it.
    :param path: of the folder that URIs must lie in.
    :param settings: for ``storage.local``, and the rates.
    """

    subject: str
    path: str
    settings: dict[str, Any] = field(default_factory=dict)


def read_local_connection(connection: Connection, parameter: str) -> LocalFacts:
    """Check a connection and return what it says.

    :param parameter: name of the parameter that named the connection, for errors.
    :raises InvalidInputError: naming the connection and the field.
    """
    subject = f"{parameter} {connection.conn_id!r}"
    if connection.conn_type not in ACCEPTED_LOCAL_TYPES:
        types = " or ".join(repr(t) for t in ACCEPTED_LOCAL_TYPES)
        raise InvalidInputError(
            subject,
            found=f"a connection of type {connection.conn_type!r}",
            accepted=f"a connection of type {types} for a file:// URI",
        )
    extra = read_extra(connection, subject)
    nested = nested_fields(extra, OWN_FIELDS, subject)
    unknown = sorted(set(extra) - OWN_FIELDS)
    if unknown and connection.conn_type == LOCAL_TYPE:
        accepted = "some of " + ", ".join(sorted(OWN_FIELDS))
        raise InvalidInputError(f"extra of {subject}", found=", ".join(unknown), accepted=accepted)
    top = {name: extra[name] for name in OWN_FIELDS & set(extra)}
    said = {**given(top), **given(nested)}
    return LocalFacts(
        subject=subject,
        path=_path(said.get("path"), subject),
        settings={name: said[name] for name in (STORE_FIELDS | RATES) & set(said)},
    )


def _path(found: object, subject: str) -> str:
    """Return the folder that URIs must lie in; nobody means all of a machine's files."""
    usable = isinstance(found, str) and "\0" not in found and found.startswith("/")
    if not usable or os.path.normpath(str(found)).strip("/") == "":
        accepted = "the absolute path of a folder, such as '/data', that file:// URIs must lie in"
        raise InvalidInputError(f"extra 'path' of {subject}", found=found, accepted=accepted)
    return os.path.normpath(str(found))
