"""c41: who renews expired credentials, how often, and what a failure to do so means."""

from __future__ import annotations

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
        self.made = 0
        self.fail = fail

    def __call__(self) -> MemoryStore:
        """Make one."""
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
