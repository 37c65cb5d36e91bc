"""Copies by the service, broken at the wire."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from tests.conformance.cases import SEAWEED_EXTRA
from tests.conftest import SeaweedPair
from tests.support.one_server import CONFIG, WHOLE, OneServer
from tests.support.transfer_servers import PART
from tests.support.wire import Wire
from tests.support.wire_rules import (
    INTERNAL_ERROR,
    Action,
    Exchange,
    Match,
    Replace,
    Reset,
    Rewrite,
    Rule,
)

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
MISSING = b"<Error><Code>NotImplemented</Code><Message>not here</Message></Error>"
CHANGED = b"<Error><Code>PreconditionFailed</Code><Message>another ETag</Message></Error>"
SINGLE = random.Random(4).randbytes(WHOLE)
ONE_BY_ONE = replace(CONFIG, object_concurrency=1, part_concurrency=1)
LARGE = random.Random(5).randbytes(2 * PART + 10)
CUT = (PART, PART, 10)


@pytest.fixture
def server(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> OneServer:
    """Give a SeaweedFS with two buckets, and an object of each kind at the source."""
    made = OneServer(seaweed_pair.source.endpoint, bucket, wire, SEAWEED_EXTRA)
    made.put("whole", SINGLE)
    made.put("large", LARGE, CUT)
    return made


def break_(server: OneServer, operation: str, action: Action, *, times: int | None = None) -> Rule:
    """Break calls of an operation."""
    return server.wire.add(Rule(when=Match(operation=operation), action=action, times=times))


def check(server: OneServer) -> None:
    """See that both objects are there, whole, and nothing else is left."""
    assert {key: server.data(key) for key in ("whole", "large")} == {
        "whole": SINGLE,
        "large": LARGE,
    }
    assert server.open_uploads() == []
    assert server.verify().failed == 0


@pytest.mark.parametrize("operation", ["CopyObject", "UploadPartCopy"])
@pytest.mark.parametrize(
    "action",
    [
        Replace(status=200, body=INTERNAL_ERROR),
        Replace(status=200, body=INTERNAL_ERROR, forward=True),
        Reset(),
        Reset(side="answer"),
    ],
    ids=["error-in-200", "error-in-200-though-done", "reset", "answer-lost"],
)
def test_c16_a_copy_without_a_clear_answer_is_looked_for(
    server: OneServer, operation: str, action: Action
) -> None:
    """Whether it was made is told by the target, and it is asked for again if it was not."""
    server.plan("whole", "large")
    rule = break_(server, operation, action, times=1)
    server.run().raise_for_failures()
    assert rule.used == 1
    assert {o.status for o in server.outcomes().values()} == {Status.COPIED}
    assert all(o.by_service for o in server.outcomes().values())
    check(server)


@pytest.mark.parametrize(
    ("operation", "first"), [("CopyObject", "whole"), ("UploadPartCopy", "large")]
)
@pytest.mark.parametrize(
    ("status", "body", "code"), [(403, DENIED, "AccessDenied"), (501, MISSING, "NotImplemented")]
)
def test_a_service_that_refuses_to_copy_has_the_bytes_relayed(
    server: OneServer, operation: str, first: str, status: int, body: bytes, code: str
) -> None:
    """It is asked once, and the report says why."""
    server.plan(first)
    break_(server, operation, Replace(status=status, body=body))
    server.run(ONE_BY_ONE).raise_for_failures()
    assert len(server.seen(operation)) == 1
    assert not server.outcomes()[first].by_service
    [reason] = server.report().relayed_because
    assert reason == f"{operation} was refused: {code} (HTTP {status})"
    assert server.data(first) == {"whole": SINGLE, "large": LARGE}[first]
    assert server.open_uploads() == []


def test_a_source_that_the_targets_credentials_cannot_head_is_relayed(server: OneServer) -> None:
    """A bare 403 to the one HEAD that is made with them."""
    server.plan("whole", "large")
    path = f"/{server.source_bucket}/large$"
    heads = Match(operation="HeadObject", path=path)
    server.wire.add(Rule(when=heads, action=Replace(status=403), nth=2))
    server.run().raise_for_failures()
    assert server.seen("CopyObject") == []
    [reason] = server.report().relayed_because
    assert "HeadObject: 403 (HTTP 403)" in reason
    check(server)


@pytest.mark.parametrize(
    ("operation", "key", "data", "parts"),
    [("CopyObject", "whole", SINGLE[::-1], ()), ("UploadPartCopy", "large", LARGE[::-1], CUT)],
)
def test_c10_a_source_that_is_replaced_meanwhile_is_copied_as_it_is_then(
    server: OneServer, operation: str, key: str, data: bytes, parts: tuple[int, ...]
) -> None:
    """The service itself refuses: each request names the ETag that is meant."""
    server.plan("whole", "large")
    results: list[BatchResult] = []
    with server.wire.hold(Match(operation=operation)) as hold:
        worker = threading.Thread(target=lambda: results.append(server.run()))
        worker.start()
        hold.wait()
        server.put(key, data, parts)
        hold.release()
        worker.join(60)
    [result] = results
    result.raise_for_failures()
    assert server.data(key) == data
    assert "the source was replaced since the plan" in server.outcomes()[key].notes


def test_a_412_that_is_about_neither_object_has_the_bytes_relayed(server: OneServer) -> None:
    """The source is unchanged and the target as planned: the service sees something else."""
    server.plan("whole", "large")
    break_(server, "CopyObject", Replace(status=412, body=CHANGED))
    break_(server, "UploadPartCopy", Replace(status=403, body=DENIED))
    server.run().raise_for_failures()
    assert not any(o.by_service for o in server.outcomes().values())
    check(server)


@pytest.mark.parametrize("key", ["whole", "large"])
def test_c18_a_service_that_takes_a_copy_for_an_empty_object_replaces_nothing(
    server: OneServer, key: str
) -> None:
    """Its success names no copy: the old object is there until the bytes have been relayed."""
    server.client.put_object(Bucket=server.target_bucket, Key=key, Body=b"old")
    server.plan(key)
    for operation in ("CopyObject", "UploadPartCopy"):
        break_(server, operation, Replace(status=200, headers={"ETag": '"d41d8"'}))
    server.run(ONE_BY_ONE).raise_for_failures()
    assert server.seen("CopyObject") == []
    assert len(server.seen("UploadPartCopy")) == 1
    assert not server.outcomes()[key].by_service
    assert server.data(key) == {"whole": SINGLE, "large": LARGE}[key]
    [reason] = server.report().relayed_because
    assert reason.startswith("UploadPartCopy was refused: the answer names no copy")


def test_the_requests_name_the_very_source_and_replace_all_attributes(server: OneServer) -> None:
    """As the API reference has them."""
    server.client.put_object(
        Bucket=server.source_bucket, Key="a b+ü", Body=SINGLE, CacheControl="no-store"
    )
    etag = server.client.head_object(Bucket=server.source_bucket, Key="a b+ü")["ETag"]
    server.plan("a b+ü", "large")
    server.run().raise_for_failures()
    first = server.seen("CopyObject")[0].headers
    assert first["x-amz-copy-source"] == f"{server.source_bucket}/a%20b%2B%C3%BC"
    assert first["x-amz-copy-source-if-match"] == etag
    assert first["x-amz-metadata-directive"] == "REPLACE"
    assert first["x-amz-tagging-directive"] == "REPLACE"
    assert first["cache-control"] == "no-store"
    assert first["if-none-match"] == "*"
    whole = server.client.head_object(Bucket=server.source_bucket, Key="large")["ETag"]
    parts = {e.query["partNumber"]: e.headers for e in server.seen("UploadPartCopy")}
    assert {h["x-amz-copy-source-if-match"] for h in parts.values()} == {whole}
    assert [parts[n]["x-amz-copy-source-range"] for n in "123"] == [
        f"bytes=0-{PART - 1}",
        f"bytes={PART}-{2 * PART - 1}",
        f"bytes={2 * PART}-{2 * PART + 9}",
    ]


@pytest.mark.parametrize("meanwhile", [b"", b"somebody else's"])
def test_c18_an_empty_object_that_a_service_made_of_a_copy_is_replaced_by_the_bytes(
    server: OneServer, meanwhile: bytes
) -> None:
    """Nothing was there before: the bytes are written on condition that it still lies there."""
    server.plan("whole")

    def taken_for_put(exchange: Exchange) -> bool:
        is_copy = exchange.operation == "CopyObject"
        if is_copy:
            named = {"Bucket": server.target_bucket, "Key": "whole"}
            server.client.put_object(Body=meanwhile, **named)  # type: ignore[arg-type]
        return is_copy

    answer = Replace(status=200, headers={"ETag": '"d41d8cd98f00b204e9800998ecf8427e"'})
    server.wire.add(Rule(when=taken_for_put, action=answer))
    failures = server.run(ONE_BY_ONE).failures
    [written] = server.seen("PutObject")
    if meanwhile:
        assert [f.error_kind for f in failures] == ["TargetChangedError"]
        assert written.headers["if-none-match"] == "*"
        assert server.data("whole") == meanwhile
        return
    assert failures == ()
    assert written.headers["if-match"] == '"d41d8cd98f00b204e9800998ecf8427e"'
    assert server.data("whole") == SINGLE
    assert not server.outcomes()["whole"].by_service
    assert server.verify().failed == 0


def test_c16_a_lost_answer_is_settled_by_the_bytes_where_no_digest_tells(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str
) -> None:
    """ETags that are no MD5s, and no checksum: both objects are read, and no copy is made again."""
    extra = {**SEAWEED_EXTRA, "md5_etags": False}
    server = OneServer(seaweed_pair.source.endpoint, bucket, wire, extra)
    shown = dict.fromkeys([f"x-amz-checksum-{name}" for name in ("crc32", "crc32c", "crc64nvme")])
    break_(server, "HeadObject", Rewrite(headers=shown))
    server.put("whole", SINGLE)
    server.plan("whole")
    break_(server, "CopyObject", Reset(side="answer"), times=1)
    server.run().raise_for_failures()
    outcome = server.outcomes()["whole"]
    assert (outcome.status, outcome.by_service) == (Status.COPIED, True)
    assert outcome.proof is Proof.PARTS
    assert len(server.seen("CopyObject")) == 1
    read = {exchange.path for exchange in server.seen("GetObject")}
    assert read == {f"/{name}/whole" for name in (server.source_bucket, server.target_bucket)}
    assert server.data("whole") == SINGLE
    assert server.verify().failed == 0
