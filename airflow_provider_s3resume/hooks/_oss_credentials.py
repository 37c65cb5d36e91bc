"""Whom a connection to OSS signs for: keys, a token, a role of the machine, or a callable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_s3resume.exceptions import InvalidInputError

CREDENTIAL_FIELDS = frozenset(
    {
        "access_key_id",
        "access_key_secret",
        "auth_type",
        "credentials_provider",
        "role_name",
        "security_token",
    }
)
AUTH_TYPES = ("AK", "STS", "ecs_ram_role", "env", "custom")
_NEEDED = {
    "AK": ("access_key_id", "access_key_secret"),
    "STS": ("access_key_id", "access_key_secret", "security_token"),
    "ecs_ram_role": ("role_name",),
    "env": (),
    "custom": ("credentials_provider",),
}
_ROLE = re.compile(r"[A-Za-z0-9._\-]{1,64}\Z")
_DOTTED = re.compile(r"[A-Za-z_]\w*([.:][A-Za-z_]\w*)+\Z")
_SHOWN = frozenset({"role_name", "credentials_provider"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a connection says about whom to sign for; what an ``auth_type`` does not use is empty.

    :param auth_type: one of ``AUTH_TYPES``.
    :param role_name: RAM role of the ECS instance.
    :param provider: dotted path of a callable that returns an oss2 ``CredentialsProvider``.
    """

    auth_type: str
    access_key_id: str = field(default="", repr=False)
    access_key_secret: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)
    role_name: str = ""
    provider: str = ""


def read_credentials(
    said: Mapping[str, Any], login: str | None, password: str | None, subject: str
) -> Credentials:
    """Return whom to sign for; the extra's keys come before login and password.

    :raises InvalidInputError: naming the field; what may be secret is never repeated.
    """
    texts: dict[str, Any] = {"access_key_id": login, "access_key_secret": password}
    texts |= {name: said[name] for name in CREDENTIAL_FIELDS - {"auth_type"} if name in said}
    texts = {n: _text(n, value, subject) for n, value in texts.items() if value}
    auth_type = _auth_type(said.get("auth_type"), texts, subject)
    needed = _NEEDED[auth_type]
    for name in needed:
        if name not in texts:
            accepted = f"{_field_names(needed)}, as auth_type is {auth_type!r}"
            raise _invalid(name, subject, None, accepted)
    unused = sorted(set(texts) - set(needed))
    if unused:
        accepted = f"nothing, as auth_type {auth_type!r} takes {_field_names(needed)}"
        raise _invalid(unused[0], subject, "a value", accepted)
    return Credentials(
        auth_type=auth_type,
        provider=texts.pop("credentials_provider", ""),
        **texts,
    )


def _auth_type(found: object, texts: Mapping[str, str], subject: str) -> str:
    known = {name.lower(): name for name in AUTH_TYPES}
    chosen = known.get(str("AK" if found is None else found).lower())
    if chosen is None:
        accepted = "one of " + ", ".join(repr(name) for name in AUTH_TYPES)
        raise _invalid("auth_type", subject, found, accepted)
    # Keys that come with a token are worth nothing without it.
    return "STS" if chosen == "AK" and "security_token" in texts else chosen


def _text(name: str, value: object, subject: str) -> str:
    shown = value if name in _SHOWN else "a value (it is not repeated here)"
    if not isinstance(value, str) or not value.strip():
        raise _invalid(name, subject, type(value).__name__, "a text")
    text = value.strip()
    if name == "role_name" and not _ROLE.match(text):
        raise _invalid(name, subject, shown, "the name of a RAM role, not its ARN")
    if name == "credentials_provider" and not _DOTTED.match(text):
        accepted = "the dotted path of a callable, such as 'our_company.oss.provider'"
        raise _invalid(name, subject, shown, accepted)
    if not can_be_sent(text):
        raise _invalid(name, subject, shown, "printable ASCII characters")
    return text


def can_be_sent(text: str) -> bool:
    """Tell whether a text can stand in a header as it is."""
    return text.isascii() and text.isprintable()


def _field_names(names: tuple[str, ...]) -> str:
    words = {"access_key_id": "access_key_id (or login)"}
    words["access_key_secret"] = "access_key_secret (or password)"  # noqa: S105 - a field's name
    return " and ".join(words.get(name, name) for name in names) or "no such field"


def _invalid(name: str, subject: str, found: object, accepted: str) -> InvalidInputError:
    return InvalidInputError(f"extra {name!r} of {subject}", found=found, accepted=accepted)
