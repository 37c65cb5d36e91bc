"""Reads of OSS are of exactly the bytes, the range and the object that were meant."""

from __future__ import annotations

import dataclasses
import gzip
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import ByteRange, SourceIdentity
from airflow_provider_s3resume.storage import _oss_calls
from airflow_provider_s3resume.storage.oss import OSSSettings
from tests.support.oss_faults import Fault
from tests.support.oss_world import OSSWorld, read_all
from tests.support.processes import wait_until

DATA = bytes(range(256)) * 20_000
MIDDLE = ByteRange(start=1_000_003, stop=3_000_001)
IMPATIENT = OSSSettings(read_timeout_s=0.3)


def test_a_read_asks_for_the_range_of_the_object_meant(oss: OSSWorld) -> None:
    """Range, condition and range behaviour are sent, and no encoding is offered."""
    oss.put("k", DATA)
    store = oss.store()
    assert read_all(store, "k", MIDDLE) == DATA[MIDDLE.start : MIDDLE.stop]
    sent = oss.last("GetObject")
    etag = store.head("k").etag
    assert etag is not None
    assert etag == etag.upper()
    assert sent.headers["if-match"] == f'"{etag}"'
    assert sent.headers["range"] == "bytes=1000003-3000000"
    assert sent.headers["x-oss-range-behavior"] == "standard"
    assert "gzip" not in sent.headers.get("accept-encoding", "")
    assert "versionId" not in sent.query
    assert read_all(store, "k") == DATA
    assert "range" not in oss.last("GetObject").headers


@pytest.mark.parametrize("kind", ["whole_object", "wrong_content_range"])
def test_c12_another_range_is_refused(oss: OSSWorld, kind: str) -> None:
    """The whole object with status 200, and a range of the right length elsewhere, are errors."""
    oss.put("k", DATA)
    store = oss.store()
    identity = store.head("k").identity()
    oss.fault(Fault(kind=kind))  # type: ignore[arg-type]
    with pytest.raises(RangeMismatchError, match="expected were"):
        store.open_range("k", MIDDLE, identity)
    assert read_all(store, "k", MIDDLE, identity) == DATA[MIDDLE.start : MIDDLE.stop]


def test_a_refused_answer_is_not_kept_open(oss: OSSWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody will read is broken off at once."""
    oss.put("k", DATA)
    store = oss.store()
    identity = store.head("k").identity()
    answered: list[Any] = []
    ask = store._calls.open

    def kept(*asked: Any) -> Any:
        answered.append(ask(*asked))
        return answered[-1]

    monkeypatch.setattr(store._calls, "open", kept)
    oss.fault(Fault(kind="whole_object"))
    with pytest.raises(RangeMismatchError):
        store.open_range("k", MIDDLE, identity)
    assert answered[0][2].closed


def test_c12_a_tail_as_long_as_the_whole_is_refused(oss: OSSWorld) -> None:
    """A range of a part's length is not taken for the bytes of an object of that size."""
    oss.put("k", DATA)
    store = oss.store()
    identity = store.head("k").identity()
    half = len(DATA) // 2
    beyond = ByteRange(start=half, stop=half + len(DATA))
    behind = ByteRange(start=len(DATA), stop=2 * len(DATA))
    for wanted in (beyond, behind):
        with pytest.raises(RangeMismatchError):
            store.open_range("k", wanted, identity)


def test_c10_an_answer_of_another_object_is_refused(
    oss: OSSWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the service overlooks the condition, another ETag is not read."""
    oss.put("k", b"old")
    store = oss.store()
    planned = store.head("k").identity()
    oss.put("k", b"new")
    with pytest.raises(PreconditionFailedError, match="PreconditionFailed"):
        store.open_range("k", None, planned)
    monkeypatch.setattr(_oss_calls, "read_headers", lambda *_: {})
    with pytest.raises(PreconditionFailedError, match="another object"):
        store.open_range("k", None, planned)


def test_c10_an_object_that_grows_is_refused(oss: OSSWorld) -> None:
    """An appended object is another one, although its first bytes are the same."""
    oss.server.state.append(oss.bucket, "log", b"first line\n")
    store = oss.store()
    planned = store.head("log").identity()
    assert read_all(store, "log") == b"first line\n"
    oss.server.state.append(oss.bucket, "log", b"second line\n")
    with pytest.raises(PreconditionFailedError):
        store.open_range("log", ByteRange(start=0, stop=11), planned)


def test_a_version_is_read_as_chosen(oss: OSSWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEAD, GET and tags are of the version named; an answer of another one is refused."""
    oss.server.state.create_bucket(oss.bucket, versioned=True)
    oss.put("k", b"first", x_oss_tagging="n=1")
    store = oss.store()
    version = store.head("k").version_id
    oss.put("k", b"again", x_oss_tagging="n=2")
    assert store.head("k").version_id != version
    info = store.head("k", version_id=version)
    assert info.version_id == version
    chosen = dataclasses.replace(info.identity(), version_id=version)
    assert read_all(store, "k", None, chosen) == b"first"
    assert oss.last("GetObject").query["versionId"] == version
    assert store.get_tags("k", version_id=version) == {"n": "1"}
    assert store.get_tags("k") == {"n": "2"}
    monkeypatch.setattr(_oss_calls, "version_parameters", lambda _: {})
    unpinned = SourceIdentity(etag=None, size=5, version_id=version)
    with pytest.raises(PreconditionFailedError, match="version"):
        store.open_range("k", None, unpinned)


def test_the_version_of_a_bucket_without_versions_is_read(oss: OSSWorld) -> None:
    """It can be asked for by the name that it would have, and is answered without one."""
    oss.put("k", b"data")
    store = oss.store()
    info = store.head("k", version_id="null")
    assert info.version_id is None
    chosen = dataclasses.replace(info.identity(), version_id="null")
    assert read_all(store, "k", None, chosen) == b"data"
    oss.server.state.create_bucket(oss.bucket, versioned=True)
    assert store.head("k").version_id == "null"
    assert read_all(store, "k", None, chosen) == b"data"


def test_what_a_delete_marker_hides_is_not_there(oss: OSSWorld) -> None:
    """Neither the key nor the marker's own version is an object; the version below still is."""
    oss.server.state.create_bucket(oss.bucket, versioned=True)
    oss.put("k", b"data")
    store = oss.store()
    info = store.head("k")
    oss.server.state.delete(oss.bucket, "k")
    marker = oss.server.state.bucket(oss.bucket).versions_of("k")[0].version_id
    for version in (None, marker):
        identity = SourceIdentity(etag=None, size=4, version_id=version)
        with pytest.raises(ObjectNotFoundError):
            store.head("k", version_id=version)
        with pytest.raises(ObjectNotFoundError):
            store.open_range("k", None, identity)
    chosen = dataclasses.replace(info.identity(), version_id=info.version_id)
    assert read_all(store, "k", None, chosen) == b"data"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_encoded_objects_are_read_as_stored(oss: OSSWorld, encoding: str) -> None:
    """Nothing is decoded, whole or in ranges, whether the bytes are what the header says or not."""
    for key, data in (("packed", gzip.compress(DATA)), ("plain", DATA), ("empty", b"")):
        oss.put(key, data, content_encoding=encoding)
        store = oss.store()
        assert store.head(key).attributes.content_encoding == encoding
        assert read_all(store, key) == data
        if data:
            assert read_all(store, key, ByteRange(start=3, stop=90)) == data[3:90]


def test_frozen_objects_say_so(oss: OSSWorld) -> None:
    """An archived object can be asked about, not read; once restored it can."""
    oss.put("k", b"data")
    oss.server.state.set_class(oss.bucket, "k", "ColdArchive")
    store = oss.store()
    info = store.head("k")
    assert info.storage_class == "ColdArchive"
    with pytest.raises(ObjectArchivedError, match="InvalidObjectState"):
        store.open_range("k", None, info.identity())
    oss.server.state.set_class(oss.bucket, "k", "ColdArchive", restored=True)
    assert read_all(store, "k") == b"data"


@pytest.mark.parametrize("kind", ["truncate", "reset"])
@pytest.mark.parametrize("after", [0, 1, 2_000_000])
def test_c12_a_body_that_ends_early_is_an_error(oss: OSSWorld, kind: str, after: int) -> None:
    """A connection that ends inside of the body is no end of the object."""
    oss.put("k", DATA)
    store = oss.store()
    identity = store.head("k").identity()
    oss.fault(Fault(kind=kind, operation="GetObject", after_bytes=after))  # type: ignore[arg-type]
    with pytest.raises(TransientStoreError):
        read_all(store, "k", None, identity)
    assert read_all(store, "k", None, identity) == DATA


@pytest.mark.parametrize("after", [None, 1_000_000])
def test_a_silent_service_is_left(oss: OSSWorld, after: int | None) -> None:
    """No byte for the read timeout is an error, before the answer or inside of it."""
    oss.put("k", DATA)
    patient = oss.store()
    identity = patient.head("k").identity()
    # It would stall until the server stops.
    oss.fault(Fault(kind="stall", operation="GetObject", after_bytes=after))
    with pytest.raises(TransientStoreError):
        read_all(oss.store(IMPATIENT), "k", None, identity)
    oss.server.faults.release()
    assert read_all(patient, "k", None, identity) == DATA


def test_an_abort_ends_a_read_that_waits(oss: OSSWorld) -> None:
    """A read that is blocked in another thread ends when it is aborted."""
    oss.put("k", DATA)
    store = oss.store()
    identity = store.head("k").identity()
    oss.fault(Fault(kind="stall", operation="GetObject", after_bytes=10))
    reader = store.open_range("k", None, identity)
    failures: list[StoreError] = []

    def read() -> None:
        try:
            while reader.readinto(memoryview(bytearray(1000))):
                pass
        except StoreError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: oss.server.faults.stalled == 1, deadline_s=10, what="the service stalls")
    reader.abort()
    thread.join(10)
    assert not thread.is_alive()
    assert [type(failure) for failure in failures] == [TransientStoreError]
    assert "aborted" in str(failures[0])
    reader.close()
    oss.server.faults.release()
    assert read_all(store, "k", None, identity) == DATA


def test_an_abort_after_the_end_is_harmless(oss: OSSWorld) -> None:
    """A body that was read has given its connection back, and there is nothing to break."""
    oss.put("k", b"data")
    store = oss.store()
    with store.open_range("k", None, store.head("k").identity()) as reader:
        assert reader.readinto(memoryview(bytearray(10))) == 4
        reader.abort()
        reader.abort()
    with store.open_range("k", None, store.head("k").identity()) as reader:
        assert reader.readinto(memoryview(bytearray(10))) == 4
    reader.abort()
    assert read_all(store, "k") == b"data"


def test_one_connection_serves_one_thread(oss: OSSWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are read to their end, errors and empty ones included, so the connection lives on."""
    made: list[object] = []
    create = socket.create_connection

    def counted(*place: Any, **options: Any) -> Any:
        made.append(place)
        return create(*place, **options)

    monkeypatch.setattr(socket, "create_connection", counted)
    oss.put("k", DATA, content_encoding="gzip")
    oss.put("empty", b"", content_encoding="zstd")
    for target in ("k", "empty"):
        oss.server.state.put_symlink(oss.bucket, f"link-to-{target}", target)
    store = oss.store()
    for _ in range(3):
        assert read_all(store, "k", MIDDLE) == DATA[MIDDLE.start : MIDDLE.stop]
        assert read_all(store, "empty") == b""
        store.get_tags("k")
        assert len(list(store.list_objects())) == 4
        assert store.head("link-to-k").size == len(DATA)
        assert store.head("link-to-empty").size == 0
        for call in (store.head, store.get_tags):
            with pytest.raises(ObjectNotFoundError):
                call("absent" * 100)
    assert len(made) == 1


def test_threads_share_a_store(oss: OSSWorld) -> None:
    """Ranges read side by side are each their own."""
    oss.put("k", DATA)
    store = oss.store()
    identity = store.head("k").identity()
    ranges = [ByteRange(start=n * 7919, stop=n * 7919 + 100_000) for n in range(200)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda wanted: read_all(store, "k", wanted, identity), ranges))
    assert found == [DATA[wanted.start : wanted.stop] for wanted in ranges]


def test_a_link_is_read_as_what_it_leads_to(oss: OSSWorld) -> None:
    """A link's bytes are those of its end, pinned by the ETag that HEAD gave."""
    oss.put("k", b"data")
    oss.server.state.put_symlink(oss.bucket, "link", "k")
    store = oss.store()
    planned = store.head("link").identity()
    assert read_all(store, "link", None, planned) == b"data"
    oss.put("k", b"else")
    with pytest.raises(PreconditionFailedError):
        store.open_range("link", None, planned)


@pytest.mark.parametrize("kind", ["no_crc", "wrong_crc"])
def test_c18_a_links_own_headers_are_not_its_ends(oss: OSSWorld, kind: str) -> None:
    """HEAD of a link may tell of the link; all that counts is asked of the object."""
    oss.server.state.put_multipart(oss.bucket, "k", [DATA, b"more"])
    oss.server.state.put_symlink(oss.bucket, "link", "k")
    oss.fault(Fault(kind=kind, operation="HeadObject", key="link", times=None))  # type: ignore[arg-type]
    store = oss.store()
    info, end = store.head("link"), store.head("k")
    assert (info.size, info.etag, info.checksums) == (end.size, end.etag, end.checksums)
    assert info.checksums != ()
    assert not info.md5_etag
    asked = oss.last("GetObject").headers
    assert (asked["range"], asked["x-oss-range-behavior"]) == ("bytes=0-0", "standard")


def test_a_link_to_no_bytes_is_asked_about_whole(oss: OSSWorld) -> None:
    """There is no first byte of it."""
    oss.put("empty", b"")
    oss.server.state.put_symlink(oss.bucket, "link", "empty")
    store = oss.store()
    info = store.head("link")
    assert (info.size, info.checksums) == (0, store.head("empty").checksums)
    assert [one.size for one in store.list_objects("link")] == [0]
    assert read_all(store, "link", None, info.identity()) == b""


def test_a_link_to_nothing_is_not_there(oss: OSSWorld) -> None:
    """Also if its end goes between two requests."""
    oss.server.state.put_symlink(oss.bucket, "link", "absent")
    with pytest.raises(ObjectNotFoundError):
        oss.store().head("link")
    oss.put("absent", b"data")
    oss.fault(Fault(kind="error", operation="GetObject", status=404, code="SymlinkTargetNotExist"))
    with pytest.raises(ObjectNotFoundError):
        oss.store().head("link")


def test_c31_a_link_to_a_frozen_object_is_told_by_head(oss: OSSWorld) -> None:
    """It is listed and has a size, but no digest of which it is known whose it is."""
    oss.put("k", b"data")
    oss.server.state.put_symlink(oss.bucket, "link", "k")
    oss.server.state.set_class(oss.bucket, "k", "ColdArchive")
    store = oss.store()
    listed = {one.key: one for one in store.list_objects()}
    assert (listed["link"].size, listed["link"].storage_class) == (4, "ColdArchive")
    assert listed["link"].hindrance is None
    info = store.head("link")
    assert (info.size, info.etag, info.checksums) == (4, listed["link"].etag, ())
    assert not info.md5_etag
    with pytest.raises(ObjectArchivedError):
        store.open_range("link", None, info.identity())


def test_c12_what_a_link_leads_to_is_broken_off(
    oss: OSSWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole object in place of its first byte is not read; another range is refused."""
    oss.put("k", DATA)
    oss.server.state.put_symlink(oss.bucket, "link", "k")
    store = oss.store()
    answered: list[Any] = []
    ask = store._calls.open

    def kept(*asked: Any) -> Any:
        answered.append(ask(*asked))
        return answered[-1]

    monkeypatch.setattr(store._calls, "open", kept)
    oss.fault(Fault(kind="whole_object"))
    assert store.head("link").size == len(DATA)
    oss.fault(Fault(kind="wrong_content_range"))
    with pytest.raises(TransientStoreError, match="content-range"):
        store.head("link")
    assert [raw.closed for _, _, raw in answered] == [True, True]
    oss.fault(Fault(kind="truncate", operation="GetObject", after_bytes=0))
    with pytest.raises(TransientStoreError):
        store.head("link")
    assert store.head("link").size == len(DATA)
