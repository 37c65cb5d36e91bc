"""c41: credentials that end while objects are copied are renewed, and no copy fails."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from airflow_provider_s3resume.exceptions import CredentialsExpiredError
from airflow_provider_s3resume.hooks import _renewing
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.plan.manifest import BatchRef
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.express import MOST_BYTES
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.processes import wait_until
from tests.support.sts_server import RoleSeaweedServer, StsServer, expiry_rules
from tests.support.wire import Wire
from tests.support.wire_rules import (
    EXPIRED_TOKEN,
    Delay,
    Exchange,
    Match,
    Predicate,
    Replace,
    Rule,
    Truncate,
)

SEAWEED = {"list_order": "unordered", "key_folding": True, "addressing_style": "path"}
PART = 5 * MIB
LONG_S = 900
SIZE = 3 * PART + 1
DATA = random.Random(11).randbytes(SIZE)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RoleSeaweedServer]]:
    """Give two servers, each with a role."""
    folder = tmp_path_factory.mktemp("roles")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                RoleSeaweedServer(folder / name, f"{name}-key", secrets.token_hex(12))
            )
            for name in ("source", "target")
        }


class Side:
    """A bucket that is reached with a role, over a wire that refuses what has ended."""

    def __init__(
        self, server: RoleSeaweedServer, wire: Wire, sts: StsServer, bucket: str, conn_id: str
    ) -> None:
        self.server, self.wire, self.sts = server, wire, sts
        self.bucket, self.conn_id = bucket, conn_id
        self.client = server.client()
        self.client.create_bucket(Bucket=bucket)
        self._ends: list[Callable[[Exchange], None]] = []
        for rule in expiry_rules(self._is_expired):
            wire.add(rule)

    @property
    def refused(self) -> list[Exchange]:
        """The requests that were refused as expired."""
        return [e for e in self.wire.exchanges if e.upstream_status is None and e.status]

    def by_role(self) -> str:
        """Return a connection that assumes the role."""
        return self.sts.connection(self.server.endpoint, self.wire.url, s3resume=SEAWEED)

    def by_token(self) -> str:
        """Return a connection with keys and a token that hold from now on."""
        return self.sts.issue().connection(self.wire.url, s3resume=SEAWEED)

    def expire_at(self, when: Predicate, *, also: Callable[[], None] | None = None) -> None:
        """Let all that was given out so far end at the first matching request, just before it."""
        met = threading.Lock()

        def end(exchange: Exchange) -> None:
            if when(exchange) and met.acquire(blocking=False):
                self.sts.revoke_all()
                if also is not None:
                    also()

        self._ends.append(end)

    def _is_expired(self, exchange: Exchange) -> bool:
        for end in self._ends:
            end(exchange)
        return self.sts.is_expired(exchange)


class Copy:
    """One object to be copied from a source to a target, by the provider's own hooks."""

    def __init__(self, source: Side, target: Side, setenv: Callable[[str, str], None]) -> None:
        self.source, self.target = source, target
        self._setenv = setenv

    def connect(self, side: Side, connection: str) -> None:
        """Say what a side's connection is from now on."""
        self._setenv(f"AIRFLOW_CONN_{side.conn_id.upper()}", connection)

    def renew(self, side: Side) -> None:
        """Write new keys and a new token into a side's connection."""
        self.connect(side, side.by_token())

    def run(
        self,
        *keys: str,
        part_size: int = PART,
        memory_budget: int = 64 * MIB,
        part_concurrency: int = 4,
        object_concurrency: int = 4,
    ) -> BatchResult:
        """Plan and copy as a task does."""
        stop = StopSignal()
        source, target = self.store(self.source, stop), self.store(self.target, stop)
        state = StateLocation(target)
        pairs = [(key, key) for key in keys]
        _, manifest = pairs_manifest(source, target, state, pairs, "run", now=time.time())
        ref: BatchRef = manifest.batches[0]
        config = CopyConfig(
            part_size=part_size,
            multipart_threshold=PART,
            memory_budget=memory_budget,
            part_concurrency=part_concurrency,
            object_concurrency=object_concurrency,
        )
        return copy_batch(source, target, state, ref, config, stop=stop, now=time.time())

    def store(self, side: Side, stop: StopSignal | None = None) -> ObjectStore:
        """Return a side's store."""
        wait = stop.wait if stop else None
        return S3ResumeHook(side.conn_id).get_store(side.bucket, wait=wait)

    def check(self, *keys: str, data: bytes = DATA) -> None:
        """Compare what is at the target."""
        for key in keys:
            body = self.target.client.get_object(Bucket=self.target.bucket, Key=key)["Body"]
            assert body.read() == data


MakeCopy = Callable[..., Copy]


@pytest.fixture
def make_copy(
    servers: dict[str, RoleSeaweedServer],
    wire: Callable[..., Wire],
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MakeCopy]:
    """Give a factory of copies: ``make_copy(lasts_s=…, said_s=…)``, by roles if not told more."""
    with ExitStack() as stack:

        def make(*, lasts_s: float = LONG_S, said_s: float | None = None) -> Copy:
            sides = [
                Side(
                    server,
                    wire(server.endpoint_url),
                    stack.enter_context(StsServer(server, lasts_s=lasts_s, said_s=said_s)),
                    bucket,
                    f"role_{name}",
                )
                for name, server in servers.items()
            ]
            copy = Copy(sides[0], sides[1], monkeypatch.setenv)
            for side in sides:
                copy.connect(side, side.by_role())
            return copy

        yield make


def put(side: Side, key: str, data: bytes = DATA) -> None:
    """Put an object into a side's bucket, past its wire."""
    side.client.put_object(Bucket=side.bucket, Key=key, Body=data)


def test_c41_a_role_is_refreshed_before_its_credentials_end(make_copy: MakeCopy) -> None:
    """The credentials end while a part is on its way: all that is sent later has new ones."""
    copy = make_copy(lasts_s=10)
    put(copy.source, "big")
    upload = Match(operation="UploadPart", query={"partNumber": "2"})
    with copy.target.wire.hold(upload) as hold, ExitStack() as stack:
        worker = Thread(lambda: copy.run("big", part_concurrency=1))
        stack.callback(worker.join)
        (held,) = hold.wait()
        wait_until(lambda: copy.target.sts.is_expired(held), deadline_s=60, what="they end")
        hold.release()
    worker.result().raise_for_failures()
    copy.check("big")
    assert copy.target.refused == copy.source.refused == []
    assert copy.target.sts.calls >= 2
    assert copy.source.sts.calls >= 2


class Thread(threading.Thread):
    """A thread that gives its result, or raises what was raised in it."""

    def __init__(self, act: Callable[[], BatchResult]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._results: list[BatchResult] = []
        self._errors: list[BaseException] = []
        self.start()

    def run(self) -> None:
        """Act."""
        try:
            self._results.append(self._act())
        except BaseException as error:  # noqa: BLE001 - raised again by result
            self._errors.append(error)

    def result(self) -> BatchResult:
        """Return the result."""
        self.join(120)
        if self._errors:
            raise self._errors[0]
        return self._results[0]


def test_c41_a_role_of_15_minutes_is_assumed_once(make_copy: MakeCopy) -> None:
    """The SDK would ask for new credentials at every request, from 15 minutes before the end."""
    copy = make_copy(lasts_s=LONG_S)
    for n in range(20):
        put(copy.source, f"small{n}", b"x" * n)
    put(copy.source, "big")
    copy.run("big", *(f"small{n}" for n in range(20))).raise_for_failures()
    assert len(copy.source.wire.exchanges) > 20
    assert (copy.source.sts.calls, copy.target.sts.calls) == (1, 1)


SOURCE_CALLS = ["HeadObject", "GetObject"]
TARGET_CALLS = [
    "CreateMultipartUpload",
    "UploadPart",
    "ListParts",
    "ListMultipartUploads",
    "CompleteMultipartUpload",
    "HeadObject",
    "PutObject",
    "GetObject",
    "DeleteObject",
    "ListObjectsV2",
]


@pytest.mark.parametrize("operation", SOURCE_CALLS)
def test_c41_a_source_that_expires_at_any_call_is_asked_again(
    make_copy: MakeCopy, operation: str
) -> None:
    """The service refuses what the SDK takes for good; the role is assumed once more, not more."""
    copy = make_copy()
    put(copy.source, "big")
    copy.source.expire_at(Match(operation=operation))
    copy.run("big").raise_for_failures()
    copy.check("big")
    assert operation in {e.operation for e in copy.source.refused}
    assert (copy.source.sts.calls, copy.target.sts.calls) == (2, 1)


@pytest.mark.parametrize("operation", TARGET_CALLS)
def test_c41_a_target_that_expires_at_any_call_is_asked_again(
    make_copy: MakeCopy, operation: str
) -> None:
    """The same, for writes of objects and of state: nothing is sent twice, nothing is left."""
    copy = make_copy()
    put(copy.source, "big")
    copy.target.expire_at(Match(operation=operation))
    copy.run("big").raise_for_failures()
    copy.check("big")
    assert operation in {e.operation for e in copy.target.refused}
    assert (copy.source.sts.calls, copy.target.sts.calls) == (1, 2)
    left = copy.target.client.list_multipart_uploads(Bucket=copy.target.bucket)
    assert left.get("Uploads", []) == []
    sent = copy.target.wire.seen(Match(operation="UploadPart"))
    assert sorted(e.query["partNumber"] for e in sent if e.status == 200) == ["1", "2", "3", "4"]


def test_c41_every_page_of_a_listing_may_be_refused(make_copy: MakeCopy) -> None:
    """Keys that end between two pages: the listing is complete, whatever page it was."""
    copy = make_copy()
    keys = [f"k{n:04}" for n in range(1100)]
    for key in keys:
        put(copy.source, key, b"")
    second = Match(operation="ListObjectsV2", query={"continuation-token": None})
    copy.source.expire_at(second)
    listed = [found.key for found in copy.store(copy.source).list_objects()]
    assert listed == keys
    assert len(copy.source.refused) == 1
    assert copy.source.sts.calls == 2


def test_c41_a_body_goes_on_with_new_credentials_where_it_broke(make_copy: MakeCopy) -> None:
    """The connection breaks in a body, and the range cannot be opened again with the old ones."""
    copy = make_copy()
    put(copy.source, "big")
    broken = Rule(when=Match(operation="GetObject"), action=Truncate(MIB), nth=1)
    copy.source.wire.add(broken)
    gets: list[int] = []

    def is_second(exchange: Exchange) -> bool:
        if exchange.operation == "GetObject":
            gets.append(exchange.number)
        return exchange.operation == "GetObject" and len(gets) == 2

    copy.source.expire_at(is_second)
    copy.run("big", part_concurrency=1).raise_for_failures()
    copy.check("big")
    again = copy.source.wire.seen(Match(operation="GetObject"))
    assert again[1].headers["range"] == f"bytes={MIB}-{PART - 1}"
    assert [e.number for e in copy.source.refused] == [again[1].number]
    assert copy.source.sts.calls == 2


def test_c41_a_part_that_is_streamed_is_read_and_sent_again(make_copy: MakeCopy) -> None:
    """Its body cannot be sent twice by whatever makes calls again; the engine reads it again."""
    copy = make_copy()
    put(copy.source, "big")
    copy.target.expire_at(Match(operation="UploadPart", query={"partNumber": "1"}))
    copy.run("big", part_size=16 * MIB, memory_budget=16 * MIB).raise_for_failures()
    copy.check("big")
    assert "UploadPart" in {e.operation for e in copy.target.refused}
    assert copy.target.sts.calls == 2


def test_c41_many_threads_that_are_refused_at_once_assume_the_role_once(
    make_copy: MakeCopy,
) -> None:
    """Sixteen reads signed with the same credentials are refused in the same moment."""
    count, together = 16, threading.Event()
    copy = make_copy()
    for n in range(count):
        # Larger than what goes through one thread.
        put(copy.source, f"k{n}", bytes(MOST_BYTES + 1))
    reads = Match(operation="GetObject")
    copy.source.wire.add(Rule(when=reads, action=Delay(together), times=count))
    refused = Replace(status=403, body=EXPIRED_TOKEN)
    copy.source.wire.add(Rule(when=reads, action=refused, times=count))
    worker = Thread(lambda: copy.run(*(f"k{n}" for n in range(count)), object_concurrency=count))
    copy.source.wire.wait_for(reads, count=count)
    together.set()
    worker.result().raise_for_failures()
    assert len(copy.source.refused) == count
    assert copy.source.sts.calls == 2


def test_c41_a_token_that_is_renewed_in_the_connection_is_taken_from_there(
    make_copy: MakeCopy,
) -> None:
    """Somebody writes new keys into the connection while the task runs."""
    copy = make_copy()
    put(copy.source, "big")
    for side, match in (
        (copy.source, Match(operation="GetObject")),
        (copy.target, Match(operation="UploadPart")),
    ):
        copy.connect(side, side.by_token())
        side.expire_at(match, also=partial(copy.renew, side))
    copy.run("big").raise_for_failures()
    copy.check("big")
    assert copy.source.refused
    assert copy.target.refused
    assert (copy.source.sts.calls, copy.target.sts.calls) == (2, 2)


def test_c41_a_token_that_nobody_renews_fails_the_object_and_keeps_its_parts(
    make_copy: MakeCopy,
) -> None:
    """Another attempt can help, and sends only the rest."""
    copy = make_copy()
    put(copy.source, "big")
    copy.connect(copy.target, copy.target.by_token())
    copy.target.expire_at(Match(operation="UploadPart", query={"partNumber": "3"}))
    with pytest.raises(CredentialsExpiredError, match="ExpiredToken"):
        copy.run("big", part_concurrency=1)
    copy.connect(copy.target, copy.target.by_token())
    copy.run("big", part_concurrency=1).raise_for_failures()
    copy.check("big")
    sent = copy.target.wire.seen(Match(operation="UploadPart"))
    assert sorted(e.query["partNumber"] for e in sent if e.status == 200) == ["1", "2", "3", "4"]


def test_c41_a_token_service_that_fails_for_a_moment_is_asked_again(make_copy: MakeCopy) -> None:
    """The role's service answers 503 when the credentials are to be renewed."""
    copy = make_copy()
    put(copy.source, "big")
    copy.source.expire_at(
        Match(operation="GetObject"), also=lambda: copy.source.sts.faults.append(503)
    )
    copy.run("big").raise_for_failures()
    copy.check("big")
    assert copy.source.sts.faults == []
    assert copy.source.sts.calls == 2


def test_c41_refusals_in_a_row_do_not_become_a_storm(
    make_copy: MakeCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that takes all credentials for expired is not met with new ones at each call."""
    monkeypatch.setattr(_renewing, "BETWEEN_S", 3600.0)
    copy = make_copy(lasts_s=0, said_s=3600)
    for n in range(10):
        put(copy.source, f"k{n}", b"x")
    store = copy.store(copy.source)
    for n in range(10):
        with pytest.raises(CredentialsExpiredError):
            store.head(f"k{n}")
    assert copy.source.sts.calls == 2


def test_c42_no_log_holds_what_a_role_was_given(
    make_copy: MakeCopy, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither keys nor tokens, old or new, of any logger that a task shows."""
    caplog.set_level(logging.INFO)
    copy = make_copy()
    put(copy.source, "big")
    copy.source.expire_at(Match(operation="GetObject"))
    copy.run("big").raise_for_failures()
    assert "goes on with new credentials" in caplog.text
    given = copy.source.sts.secrets + copy.target.sts.secrets
    assert len(given) == 6
    assert [secret for secret in given if secret in caplog.text] == []
