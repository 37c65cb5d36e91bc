"""The layer that calls a store as fast as it accepts calls, from many threads (c41)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    CopyStoppedError,
    ObjectNotFoundError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.storage.base import NewUpload, ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import Adaptive, Retrying
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.processes import wait_until

DEADLINE_S = 20.0


class Scene:
    """A store in memory that refuses what it is told to, with a clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stop = False
        self.waits: list[float] = []
        self.calls: list[float] = []
        self.refuse: Callable[[], bool] = lambda: False
        self.memory = MemoryStore(limits=Limits(min_part_size=1, list_page=2))
        self.memory.observer.before = self._before
        self.store = Adaptive(self.memory, wait=self._wait, clock=lambda: self.now)

    def _before(self, operation: str, _arguments: Mapping[str, Any]) -> None:
        self.calls.append(self.now)
        if self.refuse():
            raise ThrottledError(operation, "s3://b/k", "SlowDown")

    def _wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.stop

    def refused(self) -> None:
        """Have one call refused."""
        self.refuse = lambda: True
        with pytest.raises(ThrottledError):
            self.store.check_access()
        self.refuse = lambda: False


def test_without_throttling_no_call_waits() -> None:
    """A thousand calls at one moment."""
    scene = Scene()
    for _ in range(1000):
        scene.store.check_access()
    assert scene.waits == []
    assert scene.store.flow.in_flight == 0


def test_c41_after_throttling_calls_are_spread() -> None:
    """Refused at once, again and again, they become slower; accepted, faster again."""
    scene = Scene()
    for _ in range(15):
        scene.refused()
    assert scene.calls[-1] - scene.calls[-2] > scene.calls[2] - scene.calls[1]
    slowest = scene.calls[-1] - scene.calls[-2]
    for _ in range(60):
        scene.store.check_access()
    assert scene.calls[-1] - scene.calls[-2] < slowest / 10


def test_c41_an_error_of_another_kind_is_no_refusal_and_frees_its_place() -> None:
    """404 is an answer; a broken connection is none; neither slows anything down."""
    scene = Scene()
    with pytest.raises(ObjectNotFoundError):
        scene.store.head("absent")

    def break_off(operation: str, _arguments: Mapping[str, Any]) -> None:
        raise TransientStoreError(operation, "s3://b/k", "reset")

    scene.memory.observer.before = break_off
    with pytest.raises(TransientStoreError):
        scene.store.head("absent")
    assert scene.store.flow.in_flight == 0
    assert scene.store.flow.refused == 0
    assert scene.waits == []


def test_c41_every_page_of_a_listing_waits_for_its_turn() -> None:
    """Five keys in pages of two are three requests."""
    scene = Scene()
    for key in "abcde":
        scene.memory.put_object(key, b"", upload=NewUpload(), checksum=None)
    scene.refused()
    before = len(scene.waits)
    assert [listed.key for listed in scene.store.list_objects()] == list("abcde")
    assert len(scene.waits) - before == 3
    assert scene.store.flow.in_flight == 0


def test_c41_a_page_that_was_not_expected_is_counted_when_it_is_refused() -> None:
    """Pages shorter than the limits say."""
    scene = Scene()

    def listing(*_: object) -> Iterator[object]:
        yield from scene.memory.list_objects()
        raise ThrottledError("ListObjectsV2", "s3://b", "SlowDown")

    scene.memory.put_object("a", b"", upload=NewUpload(), checksum=None)
    layer = Adaptive(_Listing(listing), wait=lambda _: False)  # type: ignore[arg-type]
    with pytest.raises(ThrottledError):
        list(layer.list_objects())
    assert (layer.flow.refused, layer.flow.in_flight) == (1, 0)


def test_c41_a_page_that_was_not_expected_is_no_open_question_when_it_is_refused() -> None:
    """Another call was refused since the page before: nobody waits for an answer that came."""
    scene = Scene()

    def listing(*_: object) -> Iterator[object]:
        yield from scene.memory.list_objects()
        raise ThrottledError("ListObjectsV2", "s3://b", "SlowDown")

    scene.memory.put_object("a", b"", upload=NewUpload(), checksum=None)
    inner = _Listing(listing)
    layer = Adaptive(inner, wait=scene.store.wait, clock=lambda: scene.now)  # type: ignore[arg-type]
    listed = layer.list_objects()
    next(listed)
    scene.now += 1
    layer.flow.begin(scene.now)
    layer.flow.refuse(scene.now, scene.now)
    with pytest.raises(ThrottledError):
        next(listed)
    scene.now += 0.5
    assert layer.flow.in_flight == 0
    assert layer.flow.pause(scene.now) is not None, "the next one may ask"


class _Listing:
    bucket, scheme = "b", "s3"
    limits = Limits()

    def __init__(self, listing: Callable[..., Iterator[object]]) -> None:
        self.list_objects = listing


def test_c41_a_stop_ends_the_waiting_for_a_turn() -> None:
    """The call is not made then, and holds no place."""
    scene = Scene()
    scene.refused()
    scene.stop = True
    made = len(scene.calls)
    with pytest.raises(CopyStoppedError, match="asks for fewer requests"):
        for _ in range(100):
            scene.store.check_access()
    assert len(scene.calls) <= made + 1
    assert scene.store.flow.in_flight == 0


def test_c41_a_stop_ends_all_waiting_promptly() -> None:
    """Twenty threads behind a store that refuses everything."""
    stop = StopSignal()
    memory = MemoryStore()

    def refuse(operation: str, _arguments: Mapping[str, Any]) -> None:
        raise ThrottledError(operation, "s3://b/k", "SlowDown")

    memory.observer.before = refuse
    store = build_store(memory, wait=stop.wait)
    ended: list[CopyStoppedError] = []

    def call() -> None:
        try:
            store.check_access()
        except CopyStoppedError as error:
            ended.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert isinstance(store, Retrying)
    layer = store.inner
    assert isinstance(layer, Adaptive)
    wait_until(
        lambda: layer.flow.refused >= 5, deadline_s=DEADLINE_S, what="some calls were refused"
    )
    stop.stop("told to")
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(ended) == 20
    assert layer.flow.in_flight == 0


class SourceBody:
    """An object of 100 bytes, opened when it is first read."""

    def __init__(self, store: ObjectStore, identity: SourceIdentity) -> None:
        self._store, self._identity = store, identity
        self._rest: bytes | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        if self._rest is None:
            data = bytearray(100)
            with self._store.open_range("k", None, self._identity) as reader:
                reader.readinto(memoryview(data))
            self._rest = bytes(data)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def refusing(times: int) -> Callable[[str, Mapping[str, Any]], None]:
    """Return what refuses the first calls."""
    left, lock = [times], threading.Lock()

    def before(operation: str, _arguments: Mapping[str, Any]) -> None:
        with lock:
            left[0] -= 1
            refused = left[0] >= 0
        if refused:
            raise ThrottledError(operation, "s3://b/k", "SlowDown")

    return before


def test_c41_a_streamed_part_may_read_from_a_throttled_source() -> None:
    """It holds a place at the target while its source waits for a place of its own: no deadlock."""
    source, target = MemoryStore("source"), MemoryStore("target")
    source.put_object("k", b"x" * 100, upload=NewUpload(), checksum=None)
    identity = source.head("k").identity()
    upload_id = target.create_upload("k", NewUpload())
    source.observer.before, target.observer.before = refusing(3), refusing(3)
    from_, to = build_store(source), build_store(target)
    sent: list[str] = []

    def send(number: int) -> None:
        for _ in range(20):
            with contextlib.suppress(ThrottledError):
                body = SourceBody(from_, identity)
                sent.append(to.upload_part_stream("k", upload_id, number, body, 100, None))
                return

    threads = [threading.Thread(target=send, args=(n,), daemon=True) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + DEADLINE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert len(sent) == 8
