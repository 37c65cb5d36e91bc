"""The role of an ECS instance: its metadata service is asked itself, with a token, and seldom."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.hooks import _oss_providers
from airflow_provider_s3resume.hooks._oss_credentials import Credentials
from airflow_provider_s3resume.hooks._oss_metadata import METADATA, RoleKeys
from airflow_provider_s3resume.hooks.oss import OSSResumeHook

SECRET, TOKEN = "wJalrXUtnFEMIK7MDENG", "CAISexampletoken"
ROLE_PATH = "/latest/meta-data/ram/security-credentials/reader"
TOKEN_PATH = "/latest/api/token"
NOON = 1893499200.0
"""2030-01-01T12:00:00Z."""


def role_answer(number: int = 1, expires: str = "2030-01-01T18:00:00Z", **more: Any) -> bytes:
    """Return what the service says of a role."""
    said = {
        "Code": "Success",
        "AccessKeyId": f"STS.{number}",
        "AccessKeySecret": SECRET,
        "SecurityToken": TOKEN,
        "Expiration": expires,
        "LastUpdated": "2030-01-01T12:00:00Z",
    }
    return json.dumps({k: v for k, v in {**said, **more}.items() if v is not None}).encode()


@dataclass
class Service:
    """An HTTP server that answers as it is told, and remembers what it was asked.

    :param token: status and body for a token; the token is then demanded.
    """

    token: tuple[int, bytes] = (200, b"the-metadata-token\n")
    role: tuple[int, bytes] = (200, role_answer())
    base: str = ""
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{method} {path}" for method, path, _ in self.seen]

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return status and body."""
        self.seen.append((method, path, headers))
        if (method, path) == ("PUT", TOKEN_PATH):
            return self.token
        given = headers.get("x-aliyun-ecs-metadata-token", "")
        wanted = self.token[1].decode().strip() if self.token[0] == 200 else ""
        return self.role if given == wanted and path == ROLE_PATH else (403, b"no")


@pytest.fixture
def start() -> Iterator[Callable[..., Service]]:
    """Give a factory of running services."""
    servers = []

    def run(**said: Any) -> Service:
        service = Service(**said)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): text for name, text in self.headers.items()}
                status, body = service.answer(self.command, self.path, headers)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", "/latest/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        service.base = f"http://127.0.0.1:{server.server_port}"
        return service

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_role_is_asked_of_the_service_itself_whatever_the_environment_says(
    start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Through no proxy, which could read or forge the credentials, and with nothing of .netrc."""
    service, trap = start(), start()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, trap.base)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password pass\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setattr(_oss_providers, "METADATA", service.base)
    extra = {"region": "cn-hangzhou", "auth_type": "ecs_ram_role", "role_name": "reader"}
    connection = {"conn_type": "oss", "schema": "data", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps(connection))
    provider = OSSResumeHook("side").get_conn().auth.credentials_provider
    assert service.seen == []
    found = provider.get_credentials()
    assert (found.get_access_key_id(), found.get_access_key_secret()) == ("STS.1", SECRET)
    assert found.get_security_token() == TOKEN
    assert trap.seen == []
    assert service.paths == [f"PUT {TOKEN_PATH}", f"GET {ROLE_PATH}"]
    assert 0 < int(service.seen[0][2]["x-aliyun-ecs-metadata-token-ttl-seconds"]) <= 21600
    assert not any("authorization" in headers for _, _, headers in service.seen)


def test_the_metadata_service_is_at_the_address_that_all_instances_have() -> None:
    """It is reached from within the instance only."""
    assert METADATA == "http://100.100.100.200"


@pytest.mark.parametrize("status", [403, 404, 405])
def test_a_service_without_tokens_is_asked_without_one(
    start: Callable[..., Service], status: int
) -> None:
    """The normal mode, where the hardened one is not known."""
    service = start(token=(status, b""))
    assert RoleKeys("reader", service.base).keys() == ("STS.1", SECRET, TOKEN)
    assert "x-aliyun-ecs-metadata-token" not in service.seen[-1][2]


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"role": (404, SECRET.encode())}, AccessDeniedError, "no role of this name"),
        ({"role": (403, SECRET.encode())}, AccessDeniedError, "HTTP 403"),
        ({"role": (500, SECRET.encode())}, TransientStoreError, "HTTP 500"),
        ({"role": (429, b"")}, TransientStoreError, "HTTP 429"),
        ({"role": (302, b"")}, StoreError, "HTTP 302"),
        ({"token": (503, b"")}, TransientStoreError, "HTTP 503 when asked for a token"),
        ({"token": (200, f"{SECRET}\nx".encode())}, StoreError, "token that cannot be sent"),
        ({"token": (200, SECRET.encode() + b"\xe4")}, StoreError, "token that cannot be sent"),
        ({"token": (200, b"")}, StoreError, "token that cannot be sent"),
        ({"role": (200, f"<html>{SECRET}".encode())}, StoreError, "holds no credentials"),
        ({"role": (200, b"[" * 100_000)}, StoreError, "holds no credentials"),
        ({"role": (200, b"[]")}, StoreError, "holds no credentials"),
        ({"role": (200, role_answer(Code=None))}, StoreError, "holds no credentials"),
        ({"role": (200, role_answer(AccessKeyId=None))}, StoreError, "holds no credentials"),
        ({"role": (200, role_answer(SecurityToken=""))}, StoreError, "holds no credentials"),
        ({"role": (200, role_answer(Expiration=None))}, StoreError, "holds no credentials"),
        ({"role": (200, role_answer(expires="soon"))}, StoreError, "holds no credentials"),
        ({"role": (200, role_answer(Code="Failed"))}, TransientStoreError, "could not get"),
    ],
)
def test_c42_an_answer_without_credentials_is_told_without_its_text(
    start: Callable[..., Service], said: dict[str, Any], kind: type[StoreError], words: str
) -> None:
    """By the class that says whether another try can help (c41)."""
    service = start(**said)
    with pytest.raises(StoreError, match=words) as raised:
        RoleKeys("reader", service.base).keys()
    assert type(raised.value) is kind
    assert "'reader'" in str(raised.value)
    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET not in str(error) + repr(error.args)
        error = error.__cause__ or error.__context__


def test_a_service_that_does_not_answer_is_worth_another_try() -> None:
    """And the machine may be none of that kind."""
    with pytest.raises(TransientStoreError, match="ConnectionError; is this an ECS instance") as e:
        RoleKeys("reader", "http://127.0.0.1:1").keys()
    assert e.value.__context__ is None


def test_credentials_that_cannot_be_sent_are_refused_by_the_provider(
    start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of any other origin, naming the field only."""
    service = start(role=(200, role_answer(SecurityToken=f"{SECRET}\nx")))
    monkeypatch.setattr(_oss_providers, "METADATA", service.base)
    credentials = Credentials(auth_type="ecs_ram_role", role_name="reader")
    provider = _oss_providers.make_provider(credentials, "oss_conn_id 'side'")
    with pytest.raises(InvalidInputError, match=r"'role_name' of .* security_token") as raised:
        provider.get_credentials()
    assert SECRET not in str(raised.value)


def test_credentials_are_kept_and_renewed_before_they_expire(
    start: Callable[..., Service],
) -> None:
    """One question in hours, though the SDK asks at every request."""
    service, now = start(), [NOON]
    role = RoleKeys("reader", service.base, lambda: now[0])
    for now[0] in (NOON, NOON + 1, NOON + 5.7 * 3600):
        assert role.keys()[0] == "STS.1"
    assert len(service.seen) == 2
    service.role = (200, role_answer(2, "2030-01-02T00:00:00Z"))
    now[0] = NOON + 5.8 * 3600
    assert role.keys()[0] == "STS.2"
    assert len(service.seen) == 4


def test_a_service_that_gives_nothing_newer_is_not_asked_at_every_request(
    start: Callable[..., Service],
) -> None:
    """It renews credentials in its own time."""
    service, now = start(role=(200, role_answer(1, "2030-01-01T12:01:00Z"))), [NOON]
    role = RoleKeys("reader", service.base, lambda: now[0])
    for now[0] in (NOON, NOON + 1, NOON + 59):
        role.keys()
    assert len(service.seen) == 2
    now[0] = NOON + 61
    role.keys()
    assert len(service.seen) == 4


def test_credentials_that_still_hold_are_used_while_the_service_is_away(
    start: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    """And no longer; the log says so, and nothing secret (c42)."""
    caplog.set_level(logging.DEBUG)
    service, now = start(), [NOON]
    role = RoleKeys("reader", service.base, lambda: now[0])
    role.keys()
    service.role = (500, b"")
    now[0] = NOON + 5.9 * 3600
    assert role.keys()[0] == "STS.1"
    assert "HTTP 500" in caplog.text
    asked = len(service.seen)
    assert role.keys()[0] == "STS.1"
    assert len(service.seen) == asked
    now[0] = NOON + 6 * 3600
    with pytest.raises(TransientStoreError, match="HTTP 500"):
        role.keys()
    for secret in (SECRET, TOKEN, "the-metadata-token"):
        assert secret not in caplog.text


def test_many_threads_ask_once(start: Callable[..., Service]) -> None:
    """The others wait for what the first one gets."""
    service = start()
    role = RoleKeys("reader", service.base, lambda: NOON)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: role.keys()[0], range(64)))
    assert set(found) == {"STS.1"}
    assert len(service.seen) == 2
