"""What the layers around a store make of its part for small objects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import (
    ObjectNotFoundError,
    RangeMismatchError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.storage.base import NewUpload, ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.express import Express, express_of
from airflow_provider_s3resume.storage.layers import (
    Adaptive,
    Budget,
    Meter,
    Metered,
    RateLimited,
    Rates,
    Retrying,
    SortedListing,
    requests_of,
)
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store
from tests.support.wire_direct import Recorder, Servers, answer, drive, store_of

OBJECT = answer(200, b"data", etag='"e"', last_modified="Thu, 01 Jan 2026 00:00:00 GMT")
SLOW = answer(503)
IDENTITY = SourceIdentity(etag="e", size=4)


def get(express: Express) -> bool:
    """Read an object; tell whether its line is kept."""
    line = express.open_line(writes=False)
    try:
        exchange = express.get(line, "k", IDENTITY, memoryview(bytearray(4)))
        assert exchange.line is line
        drive(exchange)
        return exchange.keeps
    finally:
        line.close()


def put(express: Express) -> str | None:
    """Write an object; return its ETag."""
    line = express.open_line(writes=True)
    try:
        exchange = express.put(
            line,
            "k",
            memoryview(b"data"),
            upload=NewUpload(),
            checksum=None,
            condition=None,
            content_md5=None,
        )
        return drive(exchange).etag
    finally:
        line.close()


def found(store: ObjectStore) -> Express:
    """Return a store's part for small objects."""
    express = express_of(store)
    assert express is not None
    return express


def test_a_store_without_such_a_part_has_none_through_all_layers() -> None:
    """It is asked for, and never taken for granted."""
    store = MemoryStore("b")
    assert express_of(store) is express_of(build_store(store)) is None


@pytest.mark.parametrize("layer", [Retrying, SortedListing])
def test_layers_that_repeat_and_sort_let_it_through(
    servers: Servers, layer: type[Retrying | SortedListing]
) -> None:
    """What fails there is made again by the store's own methods; there is nothing to sort."""
    store = store_of(servers.recorder(OBJECT))
    assert found(layer(store)) is store.express


@pytest.mark.parametrize(
    ("rates", "budget"),
    [
        (Rates(requests_per_s=9.0), None),
        (Rates(bytes_per_s=9.0), None),
        (Rates(), Budget(requests_per_s=9.0)),
        (Rates(), Budget(bytes_per_s=9.0)),
    ],
)
def test_a_store_that_keeps_to_a_rate_has_none(
    servers: Servers, rates: Rates, budget: Budget | None
) -> None:
    """It knows no rates."""
    store = store_of(servers.recorder(OBJECT))
    assert express_of(RateLimited(store, rates, budget)) is None
    assert express_of(RateLimited(store, Rates(), Budget())) is store.express


def test_a_store_whose_requests_are_counted_has_none(servers: Servers) -> None:
    """A meter has to see each of them."""
    store = store_of(servers.recorder(OBJECT))
    assert express_of(Metered(store)) is None
    assert express_of(build_store(store, meter=Meter())) is None


def test_the_whole_stack_lets_it_through(servers: Servers) -> None:
    """As the hooks build it, for a service that lists in another order, too."""
    server = servers.recorder(OBJECT)
    usual = S3Settings(addressing_style="path")
    other = replace(usual, capabilities=replace(usual.capabilities, ordered_listing=False))
    for settings in (usual, other):
        store = build_store(store_of(server, settings=settings), rates=Rates(), budget=Budget())
        express = found(store)
        assert express.is_open()
        assert get(express)
        assert requests_of(store).made == 1
    assert found(store) is found(store)
    assert len(server.requests) == 2


def adaptive_to(server: Recorder) -> tuple[Adaptive, Express]:
    """Return a store that is called as fast as it accepts calls."""
    store = Adaptive(store_of(server))
    return store, found(store)


def test_calls_are_counted_as_all_others(servers: Servers) -> None:
    """Reads and writes, each when it has ended."""
    store, express = adaptive_to(servers.recorder(OBJECT, answer(200, etag='"n"'), OBJECT))
    assert get(express)
    assert put(express) == "n"
    store.open_range("k", None, IDENTITY).close()
    assert (requests_of(store).made, requests_of(store).refused) == (3, 0)
    assert store.flow.in_flight == 0
    assert store.is_unlimited()
    assert express.is_open()


def test_calls_under_way_are_counted(servers: Servers) -> None:
    """From their beginning to their result."""
    store, express = adaptive_to(servers.recorder(OBJECT))
    lines = [express.open_line(writes=False) for _ in range(3)]
    exchanges = [express.get(line, "k", IDENTITY, memoryview(bytearray(4))) for line in lines]
    assert store.flow.in_flight == 3
    for exchange in exchanges:
        drive(exchange)
    assert store.flow.in_flight == 0
    for line in lines:
        line.close()


@pytest.mark.parametrize("call", [get, put])
def test_c41_a_refusal_closes_it_until_the_service_takes_more(
    servers: Servers, call: object
) -> None:
    """What is under way ends; what comes after is held back by the store's own methods."""
    server = servers.recorder(SLOW)
    store, express = adaptive_to(server)
    with pytest.raises(ThrottledError, match="HTTP 503"):
        call(express)  # type: ignore[operator]
    assert (requests_of(store).made, requests_of(store).refused) == (1, 1)
    assert store.flow.in_flight == 0
    assert not store.is_unlimited()
    assert not express.is_open()
    assert store.inner.express.is_open()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(404), ObjectNotFoundError),
        (answer(200, b"other", etag='"e"'), RangeMismatchError),
        (b"", TransientStoreError),
        (b"rubbish\r\n\r\n", TransientStoreError),
    ],
)
def test_c41_an_error_of_another_kind_slows_nothing_down(
    servers: Servers, said: bytes, kind: type[StoreError]
) -> None:
    """Its place is free again."""
    store, express = adaptive_to(servers.recorder(said))
    with pytest.raises(StoreError) as caught:
        get(express)
    assert type(caught.value) is kind
    assert store.flow.in_flight == 0
    assert requests_of(store).refused == 0
    assert express.is_open()


def test_a_part_that_is_botocores_is_closed_through_the_layers(servers: Servers) -> None:
    """Whatever the service takes."""
    store = store_of(servers.recorder(OBJECT), config={"signature_version": "s3"})
    assert isinstance(store, S3Store)
    assert not found(build_store(store)).is_open()
