"""Credentials of an ECS instance's RAM role, from the instance's metadata service.

Asked in the service's "security hardening mode" (a token first), and in the normal one where the
service knows no tokens. Never through a proxy and never with what ``~/.netrc`` says: who stands
between could read the credentials, or give others.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import requests

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.hooks._oss_credentials import can_be_sent

log = logging.getLogger(__name__)

METADATA: Final = "http://100.100.100.200"
"""The same on every ECS instance, and reachable from it only."""
Keys = tuple[object, object, object]
"""Access key id, secret and token, as somebody gave them."""

_OPERATION: Final = "GetRoleCredentials"
_TOKEN_PATH: Final = "/latest/api/token"  # noqa: S105 - an address
_ROLE_PATH: Final = "/latest/meta-data/ram/security-credentials/"
_TIMEOUTS_S: Final = (2.0, 5.0)
_TOKEN_LASTS_S: Final = 300
_RENEWED_AHEAD_S: Final = 900.0
_ASKED_AT_MOST_EVERY_S: Final = 60.0
_ADVICE: Final = "; is this an ECS instance?"
_OK: Final = 200
_NO_TOKENS: Final = frozenset({403, 404, 405})
"""What a service answers that knows the normal mode only."""
_DENIED: Final = frozenset({401, 403})
_NO_ROLE: Final = 404
_BUSY: Final = 429
_SERVER_FAULTS: Final = range(500, 600)


@dataclass(frozen=True, slots=True)
class _Held:
    keys: Keys = field(repr=False)
    expires: float
    renew_at: float


class RoleKeys:
    """The credentials of a role, kept until shortly before they expire; for many threads.

    :param base: address of the metadata service.
    :param clock: seconds since 1970.
    """

    def __init__(
        self, role: str, base: str = METADATA, clock: Callable[[], float] = time.time
    ) -> None:
        self._role = role
        self._base = base
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Held | None = None

    def keys(self) -> Keys:
        """Return what to sign with now.

        :raises TransientStoreError: if the service does not answer and nothing valid is held.
        :raises StoreError: if it has no credentials of this role.
        """
        with self._lock:
            held, now = self._held, self._clock()
            if held is None or now >= held.renew_at:
                held = self._held = self._renewed(held, now)
            return held.keys

    def _renewed(self, held: _Held | None, now: float) -> _Held:
        later = now + _ASKED_AT_MOST_EVERY_S
        try:
            keys, expires = fetch_role_keys(self._role, self._base)
        except StoreError as error:
            if held is None or now >= held.expires:
                raise
            log.warning("The credentials that are held are used for a while longer: %s", error)
            return _Held(held.keys, held.expires, later)
        return _Held(keys, expires, max(expires - _RENEWED_AHEAD_S, later))


def fetch_role_keys(role: str, base: str) -> tuple[Keys, float]:
    """Ask the metadata service for the credentials of a role, and until when they hold.

    :raises StoreError: without anything that was answered, as that may be secret.
    """
    with requests.Session() as session:
        session.trust_env = False
        asker = _Asker(session, base, f"RAM role {role!r} at {base}")
        return asker.role_keys(role)


class _Asker:
    """One conversation with the metadata service."""

    def __init__(self, session: requests.Session, base: str, subject: str) -> None:
        self._session = session
        self._base = base
        self._subject = subject

    def role_keys(self, role: str) -> tuple[Keys, float]:
        """Return the credentials of a role, and until when they hold."""
        answer = self._ask("GET", _ROLE_PATH + role, self._token_header())
        self._check_role(answer.status_code)
        said = _object_in(answer.content)
        if said.get("Code", "Success") != "Success":
            detail = "the service could not get credentials of the role"
            raise self._error(TransientStoreError, detail)
        keys = (said.get("AccessKeyId"), said.get("AccessKeySecret"), said.get("SecurityToken"))
        expires = _seconds(said.get("Expiration"))
        if "Code" not in said or expires is None or not all(keys):
            detail = f"an answer that holds no credentials{_ADVICE}"
            raise self._error(StoreError, detail)
        return keys, expires

    def _token_header(self) -> dict[str, str]:
        lasts = {"X-aliyun-ecs-metadata-token-ttl-seconds": str(_TOKEN_LASTS_S)}
        answer = self._ask("PUT", _TOKEN_PATH, lasts)
        if answer.status_code in _NO_TOKENS:
            return {}
        self._check_ok(answer.status_code, "a token")
        token = answer.content.decode("latin-1").strip()
        if not token or not can_be_sent(token):
            raise self._error(StoreError, f"a token that cannot be sent{_ADVICE}")
        return {"X-aliyun-ecs-metadata-token": token}

    def _check_role(self, status: int) -> None:
        if status == _NO_ROLE:
            detail = f"HTTP 404: the instance has no role of this name{_ADVICE}"
            raise self._error(AccessDeniedError, detail)
        if status in _DENIED:
            detail = f"HTTP {status}: the service gives this caller no credentials of the role"
            raise self._error(AccessDeniedError, detail)
        self._check_ok(status, "the role's credentials")

    def _check_ok(self, status: int, wanted: str) -> None:
        if status == _OK:
            return
        passing = status == _BUSY or status in _SERVER_FAULTS
        kind = TransientStoreError if passing else StoreError
        raise self._error(kind, f"HTTP {status} when asked for {wanted}")

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> requests.Response:
        try:
            return self._session.request(
                method,
                self._base + path,
                headers=dict(headers),
                timeout=_TIMEOUTS_S,
                allow_redirects=False,
            )
        except (requests.RequestException, OSError) as error:
            kind = type(error).__name__
        # Raised here, where it carries no error of the client along: they repeat what was sent.
        raise self._error(TransientStoreError, f"{kind}{_ADVICE}")

    def _error(self, kind: type[StoreError], detail: str) -> StoreError:
        return kind(_OPERATION, self._subject, detail)


def _object_in(content: bytes) -> dict[str, Any]:
    """Return the JSON object of an answer, an empty one if it is none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(expiration: object) -> float | None:
    if not isinstance(expiration, str):
        return None
    try:
        moment = datetime.fromisoformat(expiration)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
