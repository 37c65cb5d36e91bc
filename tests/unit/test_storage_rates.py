"""What goes to a store is kept within agreed rates, and what a task moves within its budget."""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config

from airflow_provider_s3resume.exceptions import CopyStoppedError, TransientStoreError
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.storage._paced_bodies import PacedBody
from airflow_provider_s3resume.storage.base import NewUpload, SupportsRead
from airflow_provider_s3resume.storage.layers import Budget, RateLimited, Rates
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store, client_config

KIB = 1024


class Time:
    """A clock that waiting moves."""

    def __init__(self, *, stop: bool = False) -> None:
        self.now = 0.0
        self.stop = stop
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        """Let the time pass."""
        self.waits.append(seconds)
        self.now += seconds
        return self.stop

    def clock(self) -> float:
        """Return the time."""
        return self.now


def limited(time: Time, budget: Budget | None = None, **rates: float) -> RateLimited:
    """Return a store in memory with these rates."""
    memory = MemoryStore(limits=Limits(min_part_size=1, list_page=2))
    return RateLimited(memory, Rates(**rates), budget, wait=time.wait, clock=time.clock)


def budget_of(time: Time, **rates: float) -> Budget:
    """Return a task's budget."""
    return Budget(clock=time.clock, **rates)


class Zeros:
    """A body of so many zeros."""

    def __init__(self, left: int) -> None:
        self.left = left

    def read(self, size: int = -1, /) -> bytes:
        """Return the next ones."""
        count = min(size, self.left)
        self.left -= count
        return bytes(count)


def read(store: RateLimited, key: str, buffer: int) -> int:
    """Read an object whole; return the number of reads."""
    reads = 0
    with store.open_range(key, None, store.head(key).identity()) as reader:
        while reader.readinto(memoryview(bytearray(buffer))):
            reads += 1
    return reads


def test_requests_keep_their_rate() -> None:
    """A tenth of a second's worth is free at first; from then on the rate holds."""
    time = Time()
    store = limited(time, requests_per_s=40)
    for _ in range(4):
        store.check_access()
    assert time.now == 0
    for _ in range(80):
        store.check_access()
    assert time.now == pytest.approx(2)


def test_a_slow_rate_has_one_request_in_hand() -> None:
    """Every two seconds one."""
    time = Time()
    store = limited(time, requests_per_s=0.5)
    for _ in range(3):
        store.check_access()
    assert time.now == pytest.approx(4)


def test_every_page_of_a_listing_is_a_request() -> None:
    """Five keys in pages of two are three."""
    time = Time()
    store = limited(time, requests_per_s=1)
    for key in "abcde":
        store.inner.put_object(key, b"", upload=NewUpload(), checksum=None)
    assert len(list(store.list_objects())) == 5
    assert time.now == pytest.approx(2)


def test_the_bytes_of_a_connection_count_both_ways() -> None:
    """Bodies sent and bodies read share one rate."""
    time = Time()
    store = limited(time, bytes_per_s=100 * KIB)
    store.put_object("k", bytes(210 * KIB), upload=NewUpload(), checksum=None)
    assert time.now == pytest.approx(2)
    read(store, "k", 300 * KIB)
    assert time.now == pytest.approx(4.1)


def test_the_bytes_of_a_task_count_each_way_by_itself() -> None:
    """A link that carries so much in each direction is used for both."""
    time = Time()
    store = limited(time, budget_of(time, bytes_per_s=100 * KIB))
    store.put_object("k", bytes(210 * KIB), upload=NewUpload(), checksum=None)
    assert time.now == pytest.approx(2)
    read(store, "k", 300 * KIB)
    assert time.now == pytest.approx(4), "reading had a tenth of a second in hand of its own"


def test_the_stores_of_a_task_share_its_bytes_and_not_its_requests() -> None:
    """What both receive together keeps the rate; each is asked as often as if it were alone."""
    time = Time()
    budget = budget_of(time, bytes_per_s=100 * KIB, requests_per_s=10)
    one, other = limited(time, budget), limited(time, budget)
    for store in (one, other):
        store.put_object("k", bytes(105 * KIB), upload=NewUpload(), checksum=None)
    assert time.now == pytest.approx(2)
    time.now = 100.0
    for store, _ in itertools.product((one, other), range(2)):
        store.check_access()
    assert time.now == pytest.approx(100.2), "the second request of each waits for a tenth"


def test_the_lower_rate_counts() -> None:
    """A connection's rate holds beside a task's budget."""
    time = Time()
    store = limited(time, budget_of(time, requests_per_s=100), requests_per_s=1)
    for _ in range(3):
        store.check_access()
    assert time.now == pytest.approx(2)


def test_reading_is_spread() -> None:
    """One read gives what a twentieth of a second may, however large the buffer is."""
    time = Time()
    store = limited(time, budget_of(time, bytes_per_s=1000 * KIB))
    store.inner.put_object("k", bytes(2000 * KIB), upload=NewUpload(), checksum=None)
    assert read(store, "k", 2000 * KIB) == 40
    assert max(time.waits) == pytest.approx(0.05)


def test_sending_is_spread() -> None:
    """So is a part that is held in memory, in the blocks that urllib3 sends."""
    time, paid = Time(), list[float]()
    data = bytes(range(256)) * 1024
    body = PacedBody(data, paid.append, most=50 * KIB)
    blocks = iter(lambda: body.read(16 * KIB), b"")
    assert b"".join(blocks) == data
    assert (sum(paid), max(paid), len(body)) == (len(data), 16 * KIB, len(data))
    assert body.seek(0) == body.tell() == 0
    assert body.seek(-3, 2) == len(data) - 3
    assert body.read() == data[-3:]
    assert time.now == 0


class Target(BaseHTTPRequestHandler):
    """Answers every body with an ETag."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Note the body and the digest that was signed."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        seen: list[tuple[bytes, str]] = self.server.seen  # type: ignore[attr-defined]
        seen.append((data, self.headers["X-Amz-Content-SHA256"]))
        self.send_response(200)
        self.send_header("ETag", '"etag"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def target() -> Iterator[ThreadingHTTPServer]:
    """Serve a target on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Target) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("signed", [False, True])
def test_a_part_is_paid_for_once_on_its_way_through_botocore(
    target: ThreadingHTTPServer, *, signed: bool
) -> None:
    """It is sent whole, and in slices, also where its SHA-256 is signed before."""
    settings = S3Settings(payload_signing=signed, addressing_style="path")
    options: dict[str, Any] = client_config(settings)
    address = f"http://127.0.0.1:{target.server_address[1]}"
    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id="k",
        aws_secret_access_key="s",
        region_name="us-east-1",
        config=Config(**options),
    )
    time = Time()
    raw = S3Store(client, "bucket", service=address, settings=settings)
    budget = budget_of(time, bytes_per_s=1000 * KIB)
    store = RateLimited(raw, Rates(), budget, wait=time.wait, clock=time.clock)
    data = bytes(range(256)) * 4 * 1100
    assert store.upload_part("k", "id", 1, data, None) == "etag"
    hashed = hashlib.sha256(data).hexdigest() if signed else "UNSIGNED-PAYLOAD"
    assert target.seen == [(data, hashed)]  # type: ignore[attr-defined]
    assert time.now == pytest.approx(1.0, abs=0.02)
    assert max(time.waits) < 0.06


def test_a_streamed_part_keeps_the_rate() -> None:
    """It is paid for as it is read."""
    time = Time()
    store = limited(time, budget_of(time, bytes_per_s=100 * KIB))
    upload_id = store.create_upload("k", NewUpload())
    store.upload_part_stream("k", upload_id, 1, Zeros(110 * KIB), 110 * KIB, None)
    assert time.now == pytest.approx(1)
    assert max(time.waits) < 0.2


def test_a_streamed_object_keeps_the_rate() -> None:
    """It is paid for as it is read; without a rate it is passed on as it is."""
    time, size = Time(), 110 * KIB
    digest = hashlib.md5(bytes(size), usedforsecurity=False).digest()
    md5 = base64.b64encode(digest).decode()
    store = limited(time, budget_of(time, bytes_per_s=100 * KIB))
    store.put_object_stream("k", Zeros(size), size, upload=NewUpload(), content_md5=md5)
    assert time.now == pytest.approx(1)
    assert max(time.waits) < 0.2
    assert store.head("k").size == size
    seen: list[object] = []

    class Seeing(MemoryStore):
        def put_object_stream(self, key: str, body: SupportsRead, *given: Any, **more: Any) -> Any:
            seen.append(body)
            return super().put_object_stream(key, body, *given, **more)

    free, body = RateLimited(Seeing(), Rates()), Zeros(size)
    free.put_object_stream("k", body, size, upload=NewUpload(), content_md5=md5)
    assert seen == [body]


def test_a_stop_inside_of_a_streamed_object_is_still_a_stop() -> None:
    """An SDK takes whatever reading a body raises for a fault of the network."""
    time = Time(stop=True)

    class Sending(MemoryStore):
        def put_object_stream(self, key: str, body: SupportsRead, *_: Any, **__: Any) -> Any:
            try:
                body.read(16 * KIB)
            except CopyStoppedError as error:
                raise TransientStoreError("PutObject", key, "HTTPClientError") from error

    store = RateLimited(Sending(), Rates(bytes_per_s=1), wait=time.wait, clock=time.clock)
    with pytest.raises(CopyStoppedError):
        store.put_object_stream(
            "k", Zeros(16 * KIB), 16 * KIB, upload=NewUpload(), content_md5="AAAA"
        )


def test_a_stop_ends_the_waiting() -> None:
    """Told to stop while waiting, the call is not made."""
    time = Time(stop=True)
    store = limited(time, bytes_per_s=1)
    with pytest.raises(CopyStoppedError):
        store.put_object("k", b"x" * 10, upload=NewUpload(), checksum=None)
    assert isinstance(store.inner, MemoryStore)
    assert store.inner.keys() == []


def test_a_stop_inside_of_an_sdk_is_still_a_stop() -> None:
    """An SDK takes whatever reading a body raises for a fault of the network."""
    time = Time(stop=True)

    class Sending(MemoryStore):
        def upload_part(self, key: str, *_: object) -> str:
            body: Any = _[2]
            try:
                body.read(16 * KIB)
            except CopyStoppedError as error:
                raise TransientStoreError("UploadPart", key, "HTTPClientError") from error
            return "etag"

    store = RateLimited(Sending(), Rates(bytes_per_s=1), wait=time.wait, clock=time.clock)
    with pytest.raises(CopyStoppedError):
        store.upload_part("k", "id", 1, b"x" * 10, None)
