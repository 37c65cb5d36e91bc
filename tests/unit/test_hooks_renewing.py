"""c41: who renews expired credentials, how often, and what a failure to do so means."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ProfileNotFound

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    InvalidInputError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.hooks import _amazon, _renewing
from airflow_provider_s3resume.hooks._connections import Facts
from airflow_provider_s3resume.hooks._renewing import RenewableStore
from airflow_provider_s3resume.storage.memory import MemoryStore


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Expired(MemoryStore):
    """A store whose credentials have expired."""

    def check_access(self, prefix: str = "") -> None:
        """Refuse."""
        raise CredentialsExpiredError("ListObjectsV2", prefix, "ExpiredToken")


class Maker:
    """Makes stores, and counts them."""

    def __init__(self, *, fail: Exception | None = None) -> None:
        self.made = self.asked = 0
        self.fail = fail

    def __call__(self) -> MemoryStore:
        """Make one."""
        self.asked += 1
        if self.made and self.fail is not None:
            raise self.fail
        self.made += 1
        return Expired("bucket")


def refuse(store: RenewableStore) -> None:
    """Let this thread be refused."""
    with pytest.raises(CredentialsExpiredError):
        store.check_access()


def test_c41_who_was_refused_by_an_older_client_makes_no_new_one() -> None:
    """However long ago the new one was made."""
    make, clock = Maker(), Clock()
    store = RenewableStore(make, clock)
    refuse(store)
    with ThreadPoolExecutor(1) as other:
        other.submit(refuse, store).result()
        store.renew()
        assert make.made == 2
        clock.now += 3600
        other.submit(store.renew).result()
        assert make.made == 2
        other.submit(refuse, store).result()
        other.submit(store.renew).result()
        assert make.made == 3


def test_c41_new_credentials_that_are_refused_at_once_are_not_renewed_again() -> None:
    """A second later they are."""
    make, clock = Maker(), Clock()
    store = RenewableStore(make, clock)
    for _ in range(5):
        refuse(store)
        store.renew()
    assert make.made == 2
    clock.now += _renewing.BETWEEN_S
    refuse(store)
    store.renew()
    assert make.made == 3


def test_c41_a_blip_while_renewing_is_over_with_the_next_try() -> None:
    """Other than a client that was made, a try that failed holds nobody up for a second."""
    blip = TransientStoreError("AssumeRole", "sts", "no answer")
    make, clock = Maker(fail=blip), Clock()
    store = RenewableStore(make, clock)
    refuse(store)
    with pytest.raises(TransientStoreError):
        store.renew()
    make.fail = None
    clock.now += _renewing.NOT_AGAIN_S
    assert _renewing.NOT_AGAIN_S < _renewing.BETWEEN_S
    store.renew()
    assert make.made == 2


def test_c41_one_asks_for_all_that_wait_and_all_hear_the_same() -> None:
    """Each raises an error of its own: many threads must not write into one traceback."""
    count, clock = 16, Clock()
    blip, all_in = ThrottledError("AssumeRole", "sts", "Throttling"), threading.Barrier(count)
    make = Maker(fail=blip)
    store = RenewableStore(make, clock)

    def renew(_: int) -> StoreError:
        refuse(store)
        all_in.wait(10)
        with pytest.raises(StoreError) as raised:
            store.renew()
        return raised.value

    with ThreadPoolExecutor(count) as threads:
        errors = list(threads.map(renew, range(count)))
    assert make.asked == 2
    assert {(type(error), str(error)) for error in errors} == {(ThrottledError, str(blip))}
    assert len({id(error) for error in errors}) == count


@pytest.mark.parametrize("kind", [RuntimeError, OSError, KeyError])
def test_c41_whatever_else_fails_while_renewing_is_worth_another_try(
    kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """Of SAML, of a session factory: it is told by its class and place, never by its text."""
    caplog.set_level(logging.DEBUG)
    text = "assertion" + "=secret"
    store = RenewableStore(Maker(fail=kind(text)), Clock())
    refuse(store)
    with pytest.raises(TransientStoreError, match=kind.__name__) as raised:
        store.renew()
    assert raised.value.operation == "RenewCredentials"
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert text not in caplog.text + str(raised.value)
    assert "raise self.fail" in caplog.text


def test_c41_connections_are_read_in_one_thread_at_a_time() -> None:
    """Of all stores: a task has one channel to its supervisor, and not every SDK locks it."""
    inside, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)
    begun = threading.Event()

    def make() -> MemoryStore:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        if begun.is_set():
            threading.Event().wait(0.05)
        with lock:
            inside -= 1
        return Expired("bucket")

    def renew(store: RenewableStore) -> None:
        refuse(store)
        both.wait(10)
        store.renew()

    stores = [RenewableStore(make) for _ in range(2)]
    begun.set()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(renew, stores))
    assert most == 1


def test_c41_a_connection_that_cannot_be_read_now_is_worth_another_attempt() -> None:
    """It was there when the task began; a secrets backend may be away for a moment."""
    missing = InvalidInputError("source_conn_id", found="x", accepted="one that exists")
    store = RenewableStore(Maker(fail=missing), Clock())
    refuse(store)
    with pytest.raises(TransientStoreError, match="source_conn_id") as raised:
        store.renew()
    assert raised.value.retryable


def test_c41_what_the_giver_of_credentials_says_stays_what_it_is() -> None:
    """A role that may not be assumed any more is hopeless."""
    denied = AccessDeniedError("AssumeRole", "s3://bucket/", "AccessDenied")
    store = RenewableStore(Maker(fail=denied), Clock())
    refuse(store)
    with pytest.raises(AccessDeniedError):
        store.renew()


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (EndpointConnectionError(endpoint_url="http://sts"), TransientStoreError),
        (
            ClientError({"Error": {"Code": "Throttling"}}, "AssumeRole"),
            ThrottledError,
        ),
        (
            ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole"),
            AccessDeniedError,
        ),
        (
            ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRole"),
            CredentialsExpiredError,
        ),
    ],
)
def test_c41_a_role_that_cannot_be_assumed_is_told_apart_from_a_wrong_connection(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[StoreError]
) -> None:
    """The first may pass, or is the service's word; only the second is the connection's fault."""
    failing(monkeypatch, raised)
    with pytest.raises(StoreError) as found:
        _amazon.make_client(Facts(conn_id="x", subject="s3_conn_id 'x'"), {})
    assert type(found.value) is expected


def test_a_wrong_connection_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before: a profile that does not exist."""
    failing(monkeypatch, ProfileNotFound(profile="nobody"))
    with pytest.raises(InvalidInputError, match="nobody"):
        _amazon.make_client(Facts(conn_id="x", subject="s3_conn_id 'x'"), {})


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let nothing be made of a connection."""

    def fail(*_: object, **__: object) -> None:
        raise error

    make: Callable[..., None] = fail
    monkeypatch.setattr(_amazon.CheckedConnectionHook, "get_client_type", make)
