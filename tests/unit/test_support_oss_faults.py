"""Each fault of the OSS test server shows on the wire, as often as told."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.oss_control import ControlError
from tests.support.oss_faults import Fault
from tests.support.oss_process import OSSProcess
from tests.support.oss_server import OSSServer
from tests.support.processes import wait_until
from tests.support.tls import make_certificate

NAME = "bucket"
DATA = bytes(range(256)) * 1000
HALF = len(DATA) // 2
CRC = "x-oss-hash-crc64ecma"
Connect = Callable[[], http.client.HTTPConnection]


@pytest.fixture
def server() -> Iterator[OSSServer]:
    """Give a server with one object that everybody may read."""
    with OSSServer() as running:
        running.state.create_bucket(NAME)
        running.state.put(NAME, "k", DATA, headers={"x-oss-object-acl": "public-read"})
        yield running


@pytest.fixture
def connect(server: OSSServer) -> Iterator[Connect]:
    """Give a function that makes connections, which end with the test."""
    opened: list[http.client.HTTPConnection] = []

    def make() -> http.client.HTTPConnection:
        address = server.endpoint.endpoint_url.removeprefix("http://")
        opened.append(http.client.HTTPConnection(address, timeout=10))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


def get(
    connection: http.client.HTTPConnection, target: str = f"/{NAME}/k", **headers: str
) -> http.client.HTTPResponse:
    """Send a GET that nobody signed and return the answer, unread."""
    connection.request("GET", target, headers=headers)
    return connection.getresponse()


def test_a_reset_comes_after_the_bytes_told(server: OSSServer, connect: Connect) -> None:
    """Half of the body arrives, then the connection is reset; the next request is well."""
    server.faults.add(Fault(kind="reset", operation="GetObject", after_bytes=HALF))
    answer = get(connect())
    assert answer.read(HALF) == DATA[:HALF]
    with pytest.raises(ConnectionResetError):
        answer.read()
    assert get(connect()).read() == DATA


def test_a_reset_may_come_before_the_head(server: OSSServer, connect: Connect) -> None:
    """With None, or where there is no body, no byte of the answer arrives."""
    server.faults.add(Fault(kind="reset", after_bytes=None))
    with pytest.raises(ConnectionResetError):
        get(connect())
    server.faults.add(Fault(kind="reset", operation="HeadObject"))
    connection = connect()
    connection.request("HEAD", f"/{NAME}/k")
    with pytest.raises(ConnectionResetError):
        connection.getresponse()


def test_a_truncated_body_ends_cleanly(server: OSSServer, connect: Connect) -> None:
    """The connection closes before the length that the head tells."""
    server.faults.add(Fault(kind="truncate", after_bytes=HALF))
    answer = get(connect())
    assert answer.headers["Content-Length"] == str(len(DATA))
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    assert caught.value.partial == DATA[:HALF]


def test_a_stall_ends_when_released(server: OSSServer, connect: Connect) -> None:
    """The first bytes arrive, the others when the test lets them go."""
    server.faults.add(Fault(kind="stall", after_bytes=HALF))
    answer = get(connect())
    assert answer.read(HALF) == DATA[:HALF]
    wait_until(lambda: server.faults.stalled == 1, deadline_s=10, what="the answer stalls")
    server.faults.release()
    assert answer.read() == DATA[HALF:]


def test_a_stall_does_not_outlive_the_server(server: OSSServer, connect: Connect) -> None:
    """Stopping breaks off what stalls; no thread of the server is left."""
    before = threading.active_count()
    server.faults.add(Fault(kind="stall", after_bytes=None, times=None))
    connection = connect()
    connection.request("GET", f"/{NAME}/k")
    wait_until(lambda: server.faults.stalled == 1, deadline_s=10, what="the answer stalls")
    server.stop()
    # The thread of a connection that had just ended may still be on its way out.
    wait_until(lambda: threading.active_count() < before, deadline_s=10, what="its threads end")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        connection.getresponse().read()


def test_nothing_stalls_once_the_server_stops(server: OSSServer) -> None:
    """An answer that comes to its stall late is broken off at once."""
    server.stop()
    assert not server.faults.stall(None)


def test_a_short_stall_goes_on_by_itself(server: OSSServer, connect: Connect) -> None:
    """A stall of some time ends without being released."""
    server.faults.add(Fault(kind="stall", seconds=0.01))
    assert get(connect()).read() == DATA


def test_a_flipped_byte_is_the_only_wrong_one(server: OSSServer, connect: Connect) -> None:
    """The headers are those of the right object."""
    server.faults.add(Fault(kind="flip", after_bytes=7))
    answer = get(connect(), Range="bytes=100-199")
    body = answer.read()
    assert [i for i in range(100) if body[i] != DATA[100 + i]] == [7]
    assert answer.headers[CRC] == get(connect()).headers[CRC]


HEADERS = [
    ("wrong_crc", CRC, lambda right, found: found not in {right, None}),
    ("no_crc", CRC, lambda _, found: found is None),
    (
        "wrong_content_range",
        "Content-Range",
        lambda _, found: found == f"bytes 2-10/{len(DATA)}",
    ),
]


@pytest.mark.parametrize(("kind", "header", "holds"), HEADERS)
def test_a_header_is_wrong(
    server: OSSServer, connect: Connect, kind: Any, header: str, holds: Callable[[Any, Any], bool]
) -> None:
    """The body is right beside a header that is wrong or missing."""
    server.faults.add(Fault(kind=kind, operation="GetObject", key="k"))
    answer = get(connect(), Range="bytes=1-9")
    assert answer.read() == DATA[1:10]
    right = get(connect(), Range="bytes=1-9").headers[header]
    assert holds(right, answer.headers[header])


def test_a_range_may_be_answered_with_everything(server: OSSServer, connect: Connect) -> None:
    """The whole object comes with 200; requests without a range do not use the fault up."""
    server.faults.add(Fault(kind="whole_object"))
    assert get(connect()).read() == DATA
    answer = get(connect(), Range="bytes=1-9")
    assert (answer.status, answer.read()) == (200, DATA)
    assert get(connect(), Range="bytes=1-9").status == 206


ANSWERS = [
    (Fault(kind="unavailable"), 503, "ServiceUnavailable"),
    (Fault(kind="unavailable", code="TotalQpsLimitExceeded"), 503, "TotalQpsLimitExceeded"),
    (Fault(kind="error", status=403, code="AccessDenied"), 403, "AccessDenied"),
    (Fault(kind="internal_error"), 500, "InternalError"),
    (Fault(kind="expired_token"), 403, "SecurityTokenExpired"),
    (Fault(kind="clock_skew"), 403, "RequestTimeTooSkewed"),
]


@pytest.mark.parametrize(("fault", "status", "code"), ANSWERS)
def test_an_error_is_answered_instead(
    server: OSSServer, connect: Connect, fault: Fault, status: int, code: str
) -> None:
    """The request is answered with the error once, on a connection that goes on."""
    server.faults.add(fault)
    connection = connect()
    answer = get(connection)
    document = ET.fromstring(answer.read())  # noqa: S314 - of our own server
    assert (answer.status, document.findtext("Code")) == (status, code)
    assert get(connection).read() == DATA


def test_a_redirect_leads_elsewhere(server: OSSServer, connect: Connect) -> None:
    """The path is kept, the host is another."""
    server.faults.add(Fault(kind="redirect", status=302, location="http://elsewhere.invalid"))
    answer = get(connect(), f"/{NAME}/k?versionId=null")
    assert answer.status == 302
    target = "http://elsewhere.invalid/bucket/k?versionId=null"
    assert answer.headers["Location"] == target


def test_faults_are_counted(server: OSSServer, connect: Connect) -> None:
    """``skip`` requests pass, ``times`` are struck, others never; clear ends it."""
    server.faults.add(Fault(kind="internal_error", key="k", skip=1, times=2))
    server.faults.add(Fault(kind="internal_error", key="other", times=None))
    statuses = [get(connect()).status for _ in range(5)]
    assert statuses == [200, 500, 500, 200, 200]
    assert get(connect(), f"/{NAME}/other").status == 500
    server.faults.clear()
    assert get(connect(), f"/{NAME}/other").status == 403


def _pages(server: OSSServer, count: int) -> list[Any]:
    bucket = server.endpoint.bucket(NAME)
    token, found = "", []
    for _ in range(count):
        found.append(bucket.list_objects_v2(max_keys=1, continuation_token=token))
        token = found[-1].next_continuation_token
    return found


def test_a_page_may_come_again(server: OSSServer) -> None:
    """The second page is the first one; the next request gets the right one."""
    server.state.put(NAME, "l", b"")
    server.faults.add(Fault(kind="repeated_page", operation="ListObjectsV2"))
    pages = _pages(server, 3)
    assert [page.object_list[0].key for page in pages] == ["k", "k", "l"]


def test_a_page_may_hide_where_to_go_on(server: OSSServer) -> None:
    """It says that there is more, and not where."""
    server.faults.add(Fault(kind="truncated_without_marker", operation="ListObjectsV2"))
    with pytest.raises(RuntimeError, match="NextContinuationToken"):
        _pages(server, 1)
    assert not _pages(server, 1)[0].is_truncated


def test_a_page_may_be_no_xml(server: OSSServer) -> None:
    """The answer is 200, and its document breaks off."""
    server.faults.add(Fault(kind="broken_xml", operation="ListObjectsV2"))
    with pytest.raises(ET.ParseError):
        _pages(server, 1)


def test_a_server_of_its_own_process_obeys_its_control(tmp_path: Path) -> None:
    """Objects and faults are made from outside, over TLS; without the token nothing is."""
    certificate = make_certificate(tmp_path)
    with OSSProcess(tmp_path, certificate=certificate) as server:
        server.control("create_bucket", NAME)
        server.control("put", NAME, "k", DATA, crc=False)
        server.control("put_multipart", NAME, "m", [b"a", b"b"])
        bucket = server.endpoint.bucket(NAME)
        assert bucket.get_object("k").read() == DATA
        assert CRC not in bucket.head_object("k").headers
        assert bucket.head_object("m").object_type == "Multipart"
        server.control("add_fault", kind="internal_error", operation="HeadObject")
        assert bucket.object_exists("m")
        seen = server.control("seen", operation="HeadObject", key="m")
        assert [one["status"] for one in seen] == [200]
        for method in ("__class__", "clock", "bucket"):
            with pytest.raises(ControlError):
                server.control(method)
        server._token = "guessed"
        with pytest.raises(ControlError, match="token"):
            server.control("delete", NAME, "k")


def test_a_server_starts_again_with_what_it_had(server: OSSServer, connect: Connect) -> None:
    """After an outage the objects are there, at the same address, and faults happen again."""
    server.stop()
    with pytest.raises(ConnectionError):
        get(connect())
    server.start()
    server.faults.add(Fault(kind="stall"))
    connection = connect()
    connection.request("GET", f"/{NAME}/k")
    wait_until(lambda: server.faults.stalled == 1, deadline_s=10, what="the answer stalls")
    server.faults.clear()
    assert connection.getresponse().read() == DATA
