"""The S3 store against a real server behind a wire that breaks on purpose."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    CredentialsExpiredError,
    ListingError,
    RangeMismatchError,
    S3ResumeError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import ByteRange, KeyRange
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage.base import NewUpload, ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import RetryPolicy
from airflow_provider_s3resume.storage.s3 import S3Store
from tests.conformance.actions import complete, new_upload, put, read, send_parts
from tests.conformance.cases import MINISTACK_EXTRA, SEAWEED_EXTRA, s3_store
from tests.conftest import SeaweedPair
from tests.support.endpoints import S3Endpoint
from tests.support.ministack import MinistackServer
from tests.support.wire import Wire
from tests.support.wire_rules import (
    EXPIRED_TOKEN,
    INTERNAL_ERROR,
    SLOW_DOWN,
    Action,
    Match,
    Replace,
    Reset,
    Rewrite,
    Rule,
    Stall,
    Truncate,
    WholeObject,
)

DATA = bytes(range(256)) * 8
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
NO_BUCKET = b"<Error><Code>NoSuchBucket</Code><Message>gone</Message></Error>"
ARCHIVED = b"<Error><Code>InvalidObjectState</Code><Message>archived</Message></Error>"
KMS = b"<Error><Code>KMS.DisabledException</Code><Message>key</Message></Error>"


class Waits:
    """Waits for nothing, and keeps how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        """Return that there is no stop."""
        self.seconds.append(seconds)
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A server, the wire before it, a store through the wire, and one that goes round it."""

    wire: Wire
    endpoint: S3Endpoint
    raw: S3Store
    direct: S3Store

    def break_(
        self, operation: str, action: Action, *, nth: int | None = None, times: int | None = None
    ) -> Rule:
        """Break calls of an operation."""
        rule = Rule(when=Match(operation=operation), action=action, nth=nth, times=times)
        return self.wire.add(rule)

    def count(self, operation: str) -> int:
        """Return how many calls of an operation came over the wire."""
        return len(self.wire.seen(Match(operation=operation)))


@pytest.fixture
def scene(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Scene:
    """Give a bucket of a SeaweedFS with an object ``k``."""
    endpoint = seaweed_pair.source.endpoint
    endpoint.client().create_bucket(Bucket=bucket)
    before = wire(endpoint.endpoint_url)
    direct = s3_store(endpoint, bucket, SEAWEED_EXTRA)
    extra = {**SEAWEED_EXTRA, "read_timeout_s": 5}
    put(direct, "k", DATA)
    return Scene(
        wire=before,
        endpoint=endpoint,
        raw=s3_store(endpoint.through(before.url), bucket, extra),
        direct=direct,
    )


@pytest.fixture
def ordered(ministack_server: MinistackServer, wire: Callable[..., Wire], bucket: str) -> Scene:
    """Give a bucket of a MiniStack with 1,005 objects: two pages."""
    endpoint = ministack_server.endpoint
    endpoint.client().create_bucket(Bucket=bucket)
    before = wire(endpoint.endpoint_url)
    direct = s3_store(endpoint, bucket, MINISTACK_EXTRA)
    for number in range(1005):
        direct.put_object(f"{number:04d}", b"", upload=NewUpload(), checksum=None)
    raw = s3_store(endpoint.through(before.url), bucket, MINISTACK_EXTRA)
    return Scene(wire=before, endpoint=endpoint, raw=raw, direct=direct)


def _open(store: ObjectStore, wanted: ByteRange | None = None) -> bytes:
    return read(store, "k", wanted)


RANGE = ByteRange(start=100, stop=200)


def test_c01_a_listing_cut_at_its_second_page_is_an_error(ordered: Scene) -> None:
    """Whatever the second page fails with, the listing raises and does not end short."""
    faults: list[tuple[Action, type[S3ResumeError]]] = [
        (Replace(status=500, body=INTERNAL_ERROR), TransientStoreError),
        (Replace(status=200, body=INTERNAL_ERROR), TransientStoreError),
        (Replace(status=200, body=b""), TransientStoreError),
        (Replace(status=200, body=b"<html>log in</html>"), TransientStoreError),
        (Replace(status=403, body=DENIED), AccessDeniedError),
        (Replace(status=404, body=NO_BUCKET), BucketNotFoundError),
        (Truncate(200), TransientStoreError),
        (Reset(side="answer"), TransientStoreError),
    ]
    for action, kind in faults:
        ordered.wire.clear()
        ordered.break_("ListObjectsV2", action, nth=2)
        with pytest.raises(kind):
            list(ordered.raw.list_objects())


def test_c01_a_passing_fault_of_a_page_loses_and_repeats_no_key(ordered: Scene) -> None:
    """Tried again behind its last key, the listing is the whole one."""
    ordered.break_("ListObjectsV2", Replace(status=503, body=SLOW_DOWN), nth=2)
    store = build_store(ordered.raw, wait=lambda _: False)
    expected = [f"{number:04d}" for number in range(1005)]
    assert [listed.key for listed in store.list_objects()] == expected
    started = store.list_objects(key_range=KeyRange(start="0003", stop="1003"))
    assert [listed.key for listed in started] == expected[3:1003]


def test_c02_a_repeated_page_is_an_error(ordered: Scene) -> None:
    """A service that answers the second page with the first again is not believed."""
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>MDAwMA=="
        b"</NextContinuationToken><Contents><Key>0000</Key><Size>0</Size>"
        b"<LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>"
    )
    ordered.break_("ListObjectsV2", Replace(status=200, body=page))
    with pytest.raises(ListingError, match="repeats"):
        list(ordered.raw.list_objects())


def test_c02_seaweedfs_undeclared_is_refused_with_advice(
    seaweed_pair: SeaweedPair, bucket: str
) -> None:
    """Its order by path segments is found out, and the way out is named; declared, it is sorted."""
    endpoint = seaweed_pair.source.endpoint
    endpoint.client().create_bucket(Bucket=bucket)
    undeclared = s3_store(endpoint, bucket, {"addressing_style": "path"})
    for key in ("a/b", "a b"):
        put(undeclared, key, b"x")
    with pytest.raises(ListingError, match='"list_order": "unordered"'):
        list(undeclared.list_objects())
    declared = build_store(s3_store(endpoint, bucket, SEAWEED_EXTRA))
    assert [listed.key for listed in declared.list_objects()] == ["a b", "a/b"]


def test_c12_an_answer_that_is_not_the_range_is_refused(scene: Scene) -> None:
    """The whole object with 200, another Content-Range, total or length: none is read."""
    total = len(DATA)
    answers: list[Action] = [
        WholeObject(scene.endpoint),
        Rewrite(status=200),
        Rewrite(headers={"content-range": f"bytes 100-200/{total}"}),
        Rewrite(headers={"content-range": f"bytes 101-199/{total}"}),
        Rewrite(headers={"content-range": f"bytes 100-199/{total + 1}"}),
        Rewrite(headers={"content-range": "bytes 100-199/*"}),
        Rewrite(headers={"content-range": None}),
        Replace(status=206, body=b"x" * 99, headers={"content-range": f"bytes 100-199/{total}"}),
    ]
    for action in answers:
        scene.wire.clear()
        scene.break_("GetObject", action)
        with pytest.raises(RangeMismatchError):
            _open(scene.raw, RANGE)
    scene.wire.clear()
    assert _open(scene.raw, RANGE) == DATA[100:200]


def test_c12_a_whole_read_with_another_length_is_refused(scene: Scene) -> None:
    """Without a range, too, the length has to be the planned one."""
    scene.break_("GetObject", Replace(status=200, body=DATA[:-1]))
    with pytest.raises(RangeMismatchError):
        _open(scene.raw)


def test_c12_a_body_that_ends_early_is_an_error(scene: Scene) -> None:
    """A connection that closes inside of a body is no end of the range."""
    for wanted in (None, RANGE):
        scene.wire.clear()
        scene.break_("GetObject", Truncate(50))
        with pytest.raises(TransientStoreError):
            _open(scene.raw, wanted)


def test_an_abort_frees_a_blocked_read(scene: Scene) -> None:
    """A read that waits for bytes that never come ends at once when another thread aborts it."""
    scene.break_("GetObject", Stall(after_bytes=10))
    reader = scene.raw.open_range("k", None, scene.direct.head("k").identity())
    caught: list[BaseException] = []
    arrived = threading.Event()

    def drain() -> None:
        try:
            while reader.readinto(memoryview(bytearray(10))):
                arrived.set()  # All that ever comes: the next read waits.
        except TransientStoreError as error:
            caught.append(error)

    thread = threading.Thread(target=drain)
    thread.start()
    assert arrived.wait(10)
    assert thread.is_alive()
    reader.abort()
    thread.join(10)
    assert not thread.is_alive()
    assert len(caught) == 1
    reader.close()


def _upload(scene: Scene) -> tuple[str, list[PartRecord]]:
    upload_id = scene.direct.create_upload("new", new_upload(scene.direct))
    return upload_id, send_parts(scene.direct, "new", upload_id, [b"data"])


@pytest.mark.parametrize("carried_out", [False, True])
def test_c16_an_error_inside_of_a_200_raises(scene: Scene, *, carried_out: bool) -> None:
    """Complete answered with 200 and an error raises once, for the caller to look at the target."""
    upload_id, records = _upload(scene)
    action = Replace(status=200, body=INTERNAL_ERROR, forward=carried_out)
    scene.break_("CompleteMultipartUpload", action)
    store = build_store(scene.raw, wait=lambda _: False)
    with pytest.raises(TransientStoreError):
        complete(store, "new", upload_id, records, b"data")
    assert scene.count("CompleteMultipartUpload") == 1
    assert bool([*scene.direct.list_objects("new")]) is carried_out


@pytest.mark.parametrize(
    "action",
    [
        Reset(side="answer"),
        Replace(status=200, body=b"", forward=True),
        Replace(status=200, body=b"<CompleteMultipartUploadResult/>", forward=True),
        Replace(status=200, body=b"<CompleteMulti", forward=True),
        Truncate(20),
    ],
)
def test_c16_an_answer_that_says_nothing_raises(scene: Scene, action: Action) -> None:
    """Neither a lost answer nor an empty or torn one is a success, nor is it asked for again."""
    upload_id, records = _upload(scene)
    scene.break_("CompleteMultipartUpload", action)
    store = build_store(scene.raw, wait=lambda _: False)
    with pytest.raises(TransientStoreError):
        complete(store, "new", upload_id, records, b"data")
    assert scene.count("CompleteMultipartUpload") == 1
    assert read(scene.direct, "new") == b"data"


@pytest.mark.parametrize("body", [DENIED, NO_BUCKET, ARCHIVED, KMS])
def test_c41_a_hopeless_error_costs_one_request(scene: Scene, body: bytes) -> None:
    """What no retry helps goes over the wire once."""
    planned = scene.direct.head("k").identity()
    scene.break_("GetObject", Replace(status=403, body=body))
    waits = Waits()
    store = build_store(scene.raw, wait=waits)
    with pytest.raises(StoreError) as caught:
        store.open_range("k", None, planned)
    assert not caught.value.retryable
    assert (scene.count("GetObject"), waits.seconds) == (1, [])


def test_c41_wrong_credentials_cost_one_request(scene: Scene) -> None:
    """So does a signature that a real server refuses."""
    wrong = S3Endpoint(
        endpoint_url=scene.wire.url, access_key=scene.endpoint.access_key, secret_key="wrong"
    )
    store = build_store(s3_store(wrong, scene.raw.bucket, SEAWEED_EXTRA), wait=lambda _: False)
    with pytest.raises(AccessDeniedError):
        store.check_access()
    assert len(scene.wire.exchanges) == 1


def test_c41_throttling_backs_off(scene: Scene) -> None:
    """SlowDown is answered with pauses, and the call succeeds in the end."""
    scene.break_("GetObject", Replace(status=503, body=SLOW_DOWN), times=3)
    waits = Waits()
    store = build_store(scene.raw, wait=waits)
    assert _open(store) == DATA
    assert scene.count("GetObject") == 4
    # Those of the call by itself; between them the flow to the store says when it is its turn.
    bounds = [(0.025, 0.05), (0.05, 0.1), (0.1, 0.2)]
    assert all(any(low <= s <= high for s in waits.seconds) for low, high in bounds)


def test_c41_expired_credentials_are_refreshed(scene: Scene) -> None:
    """ExpiredToken refreshes and tries again at once; for ever expired, it gives up."""
    scene.break_("GetObject", Replace(status=400, body=EXPIRED_TOKEN), times=1)
    refreshed: list[int] = []
    store = build_store(scene.raw, wait=lambda _: True, refresh=lambda: refreshed.append(1))
    assert _open(store) == DATA
    assert refreshed == [1]
    scene.break_("GetObject", Replace(status=400, body=EXPIRED_TOKEN))
    with pytest.raises(CredentialsExpiredError):
        _open(store)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Record our own loggers down to DEBUG."""
    with caplog.at_level(logging.DEBUG, logger="airflow_provider_s3resume"):
        yield caplog


def test_c42_no_secret_in_errors_and_logs(
    scene: Scene, everything_logged: pytest.LogCaptureFixture
) -> None:
    """A service that echoes the request's signature and query is not quoted with them."""
    signature = "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592"
    echo = (
        "<Error><Code>SlowDown</Code><Message>GET https://h/b/k?X-Amz-Signature="
        f"{signature}&amp;X-Amz-Credential=AKIAIOSFODNN7EXAMPLE Authorization: AWS4-HMAC-SHA256 "
        f"Credential={scene.endpoint.access_key}/x, Signature={signature}</Message></Error>"
    )
    scene.break_("GetObject", Replace(status=503, body=echo.encode()))
    policy = RetryPolicy(throttled_attempts=4)
    store = build_store(scene.raw, retry=policy, wait=lambda _: False)
    with pytest.raises(ThrottledError) as caught:
        _open(store)
    told = "".join(traceback.format_exception(caught.value)) + everything_logged.text
    assert "SlowDown" in everything_logged.text
    secrets = (signature, scene.endpoint.secret_key, "AKIAIOSFODNN7EXAMPLE", "X-Amz-Signature=5")
    assert not [secret for secret in secrets if secret in told]


def test_connections_are_given_back(scene: Scene) -> None:
    """Reads of every kind, one after the other, leave the client able to go on."""
    put(scene.direct, "empty", b"")
    empty, full = (scene.direct.head(key).identity() for key in ("empty", "k"))
    buffer, kept = memoryview(bytearray(len(DATA))), []
    for store in (scene.raw, scene.direct) * 5:
        # To the end, not to the end, and of no bytes; each on the connection of the one before.
        for key, wanted, identity in (
            ("k", RANGE, full),
            ("k", None, full),
            ("empty", None, empty),
        ):
            with store.open_range(key, wanted, identity) as reader:
                assert reader.readinto(buffer) == (wanted.length if wanted else identity.size)
                # A reader that is thrown away would close its connection's answer by that alone.
                kept.append(reader)
