"""Whom a client of OSS signs for: keys of the connection, of the environment, or of a callable."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import oss2
import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, TransientStoreError
from airflow_provider_s3resume.hooks._oss_credentials import Credentials
from airflow_provider_s3resume.hooks._oss_providers import Provider, make_provider
from airflow_provider_s3resume.hooks.oss import OSSResumeHook
from tests.support.oss_world import OSSWorld

KEY_ID, SECRET, TOKEN = "LTAI5tExampleKey", "wJalrXUtnFEMIK7MDENG", "CAISexampletoken"
CUSTOM = {"auth_type": "custom", "credentials_provider": "our_company_oss.provider"}
Connect = Callable[..., OSSResumeHook]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Give a factory of hooks on a connection with these fields in its extra."""

    def make(**extra: Any) -> OSSResumeHook:
        said = {"region": "cn-hangzhou", **extra}
        connection = {"conn_type": "oss", "schema": "data", "extra": said}
        monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps(connection))
        return OSSResumeHook("side", parameter="source_conn_id")

    return make


@pytest.fixture
def users_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give a module of the user's own, to be filled by a test."""
    module = ModuleType("our_company_oss")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def credentials_of(hook: OSSResumeHook) -> tuple[str, str, str]:
    """Return what a client of the hook signs with."""
    found = hook.get_conn("data").auth.credentials_provider.get_credentials()
    return found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token()


def told(error: BaseException) -> str:
    """Return all that a log would print of an error."""
    return "".join(traceback.format_exception(error))


def giving(*keys: Any) -> Callable[[], Any]:
    """Return a callable as a user may write it, of a provider of these credentials."""
    return lambda: oss2.credentials.StaticCredentialsProvider(*keys)


def raising(*_: object) -> Any:
    """Fail with a text that holds a secret, and with another one beneath."""
    raise RuntimeError(SECRET) from ConnectionError(SECRET)


def test_the_environment_of_the_worker_may_have_the_keys(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked for when the client is made, and again at each request."""
    monkeypatch.delenv("OSS_ACCESS_KEY_SECRET", raising=False)
    monkeypatch.delenv("OSS_SESSION_TOKEN", raising=False)
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "machine")
    hook = connect(auth_type="env")
    with pytest.raises(InvalidInputError, match=r"environment of .* 'no OSS_ACCESS_KEY_SECRET'"):
        hook.get_store("data")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "own")
    assert credentials_of(hook) == ("machine", "own", "")
    provider = hook.get_conn("data").auth.credentials_provider
    monkeypatch.setenv("OSS_SESSION_TOKEN", TOKEN)
    assert provider.get_credentials().get_security_token() == TOKEN


def test_c42_a_line_break_behind_credentials_is_taken_off(
    connect: Connect, users_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever they come from: files and secrets of Kubernetes often end with one."""
    keys = (f"{KEY_ID}\n", f" {SECRET}\r\n", f"{TOKEN}\n")
    clean = (KEY_ID, SECRET, TOKEN)
    named = dict(zip(("access_key_id", "access_key_secret", "security_token"), keys, strict=True))
    assert credentials_of(connect(**named)) == clean
    names = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
    for name, text in zip(names, keys, strict=True):
        monkeypatch.setenv(name, text)
    assert credentials_of(connect(auth_type="env")) == clean
    users_module.provider = giving(*keys)  # type: ignore[attr-defined]
    assert credentials_of(connect(**CUSTOM)) == clean
    assert Provider(lambda: keys, "role").get_credentials().get_security_token() == TOKEN
    made = make_provider(Credentials(auth_type="STS", **named), "side").get_credentials()
    assert made.get_access_key_id() == KEY_ID


@pytest.mark.parametrize(
    ("place", "text"),
    [(place, text) for place in range(3) for text in (f"{SECRET}\nx", f"{SECRET}ü", 7)]
    + [(0, ""), (1, "\n"), (0, None)],
)
def test_c42_credentials_that_cannot_be_sent_are_refused_unsaid(
    connect: Connect, users_module: ModuleType, place: int, text: Any
) -> None:
    """By the name of the field only; the HTTP client would repeat them. No retry can help."""
    names = ("access_key_id", "access_key_secret", "security_token")
    keys: list[Any] = ["id", "secret", "token"]
    keys[place] = text
    users_module.provider = giving(*keys)  # type: ignore[attr-defined]
    store = connect(**CUSTOM).get_store("data")
    with pytest.raises(InvalidInputError, match=names[place]) as raised:
        store.check_access()
    assert "'credentials_provider' of source_conn_id 'side'" in str(raised.value)
    assert SECRET not in told(raised.value)


@pytest.mark.parametrize(
    "name", ["OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"]
)
def test_c42_an_environment_that_cannot_be_sent_is_refused_unsaid(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Before any request, and by the connection test."""
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "machine")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "own")
    monkeypatch.setenv(name, f"{SECRET}\nx")
    hook = connect(auth_type="env")
    with pytest.raises(InvalidInputError, match=name) as raised:
        hook.get_store("data")
    works, message = hook.test_connection()
    assert (works, name in message) == (False, True)
    assert SECRET not in told(raised.value) + message


def test_a_callable_of_the_users_own_gives_the_credentials(
    connect: Connect, users_module: ModuleType
) -> None:
    """Asked at each request, as credentials of a role change."""
    ids = iter(["first", "second"])

    class OwnProvider:
        def get_credentials(self) -> oss2.credentials.Credentials:
            return oss2.credentials.Credentials(next(ids), SECRET, TOKEN)

    users_module.provider = OwnProvider  # type: ignore[attr-defined]
    provider = connect(**CUSTOM).get_conn().auth.credentials_provider
    assert [provider.get_credentials().get_access_key_id() for _ in range(2)] == ["first", "second"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("our_company_oss.missing", "cannot be imported: AttributeError"),
        ("our_company_nothing.provider", "cannot be imported: no module named our_company_nothing"),
        ("our_company_oss.nothing", "which returned NoneType"),
        ("our_company_oss.text", "which is no callable but str"),
        ("our_company_oss.needy", "which raised TypeError"),
    ],
)
def test_c42_a_callable_that_is_none_of_that_kind_is_refused_by_name(
    connect: Connect, users_module: ModuleType, path: str, found: str
) -> None:
    """Before anything is read."""
    users_module.nothing = lambda: None  # type: ignore[attr-defined]
    users_module.text = SECRET  # type: ignore[attr-defined]
    users_module.needy = lambda needed: needed  # type: ignore[attr-defined]
    hook = connect(auth_type="custom", credentials_provider=path)
    with pytest.raises(InvalidInputError, match=found) as raised:
        hook.get_store("data")
    assert "credentials_provider" in str(raised.value)
    assert SECRET not in told(raised.value)


@pytest.mark.parametrize("kind", ["RuntimeError", "ImportError", "AttributeError", "OSError"])
def test_c42_a_module_that_fails_when_imported_is_refused_unsaid(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither the message nor what it is chained to repeats the module's; the test answers."""
    name = f"our_company_{kind.lower()}"
    (tmp_path / f"{name}.py").write_text(f"raise {kind}({SECRET!r})\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    hook = connect(auth_type="custom", credentials_provider=f"{name}.provider")
    with pytest.raises(InvalidInputError, match=f"cannot be imported: {kind}") as raised:
        hook.get_store("data")
    works, message = hook.test_connection()
    assert (works, kind in message) == (False, True)
    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET not in told(error) + repr(error.args)
        error = error.__cause__ or error.__context__


def test_c42_a_callable_that_fails_is_called_again_when_credentials_are_needed(
    users_module: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have asked a service that did not answer for a moment; only the type is told."""
    caplog.set_level(logging.DEBUG)
    users_module.provider = raising  # type: ignore[attr-defined]
    path = "our_company_oss.provider"
    provider = make_provider(Credentials(auth_type="custom", provider=path), "side")
    with pytest.raises(TransientStoreError, match="provider: which raised RuntimeError") as raised:
        provider.get_credentials()
    assert raised.value.retryable
    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET not in told(error) + repr(error.args)
        error = error.__cause__ or error.__context__
    assert SECRET not in caplog.text


def test_a_callable_that_fails_while_credentials_are_renewed_is_called_again(
    connect: Connect, users_module: ModuleType, oss: OSSWorld
) -> None:
    """In the middle of a run the call is made again until the callable answers (c41)."""
    endpoint = oss.endpoint
    oss.server.add_credentials("STS.old", "sts-secret", "old-token", 0)
    answers = [
        giving("STS.old", "sts-secret", "old-token"),
        raising,
        raising,
        giving(endpoint.access_key_id, endpoint.access_key_secret),
    ]
    made = iter(answers)

    def provider() -> Any:
        return next(made)()

    users_module.provider = provider  # type: ignore[attr-defined]
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    place = {"endpoint": endpoint.endpoint_url, "region": endpoint.region}
    store = connect(**CUSTOM, **place).get_store(oss.bucket, wait=wait)
    store.check_access()
    assert next(made, None) is None
    assert len(waits) == 1


def test_c42_a_provider_that_fails_later_is_worth_another_try(
    connect: Connect, users_module: ModuleType
) -> None:
    """It may be a service that did not answer; what it returned must still be credentials."""

    class Failing:
        get_credentials = staticmethod(raising)

    class Beneath:
        get_credentials = staticmethod(oss2.credentials.Credentials)

    class Wrong:
        def get_credentials(self) -> str:
            return SECRET

    users_module.provider = Failing  # type: ignore[attr-defined]
    with pytest.raises(TransientStoreError, match="which raised RuntimeError") as raised:
        credentials_of(connect(**CUSTOM))
    assert SECRET not in told(raised.value)
    users_module.provider = Wrong  # type: ignore[attr-defined]
    with pytest.raises(InvalidInputError, match="get_credentials returned str") as refused:
        credentials_of(connect(**CUSTOM))
    assert SECRET not in told(refused.value)
    users_module.provider = Beneath  # type: ignore[attr-defined]
    with pytest.raises(InvalidInputError, match="no access_key_id"):
        credentials_of(connect(**CUSTOM))
