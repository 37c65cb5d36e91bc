"""Connections to OSS are given up when they stall, as those to S3 are (ADR 0016)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import oss2
import pytest

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.storage.oss import OSSStore, make_bucket, oss_settings_from_extra
from tests.support.wire_scripted import Handler, Scripted, read_head, trickle

HEAD = b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nETag: "e"\r\nx-oss-object-type: Normal\r\n\r\n'
LIMITS = {
    "is_path_style": True,
    "read_timeout_s": 3,
    "low_speed_bytes_per_s": 10_000,
    "low_speed_time_s": 0.4,
    "answer_deadline_s": 30,
}
DUE: dict[str, object] = {"answer_deadline_s": 0.6}
"""Where the answer's deadline is judged: later than its pace would be."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """End the servers when the test ends."""
    with ExitStack() as made:
        yield made


def store_of(stack: ExitStack, handler: Handler, **extra: object) -> OSSStore:
    """Return a store of a bucket of a scripted server's."""
    server = stack.enter_context(closing(Scripted(handler)))
    # Through a tunnel, TLS is what is asked for.
    url = f"https{server.url[4:]}" if "https" in str(extra.get("proxies")) else server.url
    settings = oss_settings_from_extra({**LIMITS, **extra})
    auth = oss2.AuthV4("key", "secret")
    bucket = make_bucket(auth, url, "bucket", "cn-hangzhou", settings)
    return OSSStore(bucket, service=url, settings=settings)


def _body_trickles(connection: socket.socket, over: threading.Event) -> None:
    read_head(connection)
    connection.sendall(HEAD + b"x" * 700)
    trickle(connection, over, b"y" * 4300)


def test_a_body_that_trickles_is_given_up_and_no_byte_of_it_is_lost(stack: ExitStack) -> None:
    """What came is given out; only then the error says that the connection was given up."""
    store = store_of(stack, _body_trickles)
    buffer = memoryview(bytearray(5000))
    with store.open_range("k", None, SourceIdentity(etag="e", size=5000)) as reader:
        got = reader.readinto(buffer)
        assert bytes(buffer[:got]) == b"x" * 700 + b"y" * (got - 700)
        with pytest.raises(TransientStoreError, match="given up as stalled"):
            reader.readinto(buffer)


def test_a_small_answer_that_trickles_ends_at_its_deadline(stack: ExitStack) -> None:
    """The pace of a listing does not matter, only when it is there."""
    store = store_of(stack, _body_trickles, low_speed_bytes_per_s=1, **DUE)
    with pytest.raises(TransientStoreError, match=r"a small answer was not there .* after 0.6 s"):
        store.check_access()


def test_a_proxys_connections_are_judged_too(stack: ExitStack) -> None:
    """The pools of a proxy are made apart from the others."""
    proxy = stack.enter_context(closing(Scripted(_body_trickles)))
    store = store_of(stack, _body_trickles, proxies={"http": proxy.url}, **DUE)
    with pytest.raises(TransientStoreError, match="a small answer was not there"):
        store.check_access()


def _tunnel_trickles(connection: socket.socket, over: threading.Event) -> None:
    read_head(connection)
    trickle(connection, over, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000)


def test_a_proxy_that_trickles_its_answer_to_connect_is_given_up(stack: ExitStack) -> None:
    """A tunnel is part of connecting, and has that long."""
    proxy = stack.enter_context(closing(Scripted(_tunnel_trickles)))
    store = store_of(stack, _body_trickles, connect_timeout_s=0.5, proxies={"https": proxy.url})
    with pytest.raises(TransientStoreError, match=r"answer to CONNECT was not there .* 0.5 s"):
        store.check_access()
