"""Copies that SeaweedFS and MiniStack make by themselves."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from airflow_provider_s3resume.transfer.outcomes import Status
from tests.conformance.cases import MINISTACK_EXTRA, SEAWEED_EXTRA
from tests.conftest import SeaweedPair
from tests.support.ministack import MinistackServer
from tests.support.one_server import CONFIG, NEVER, REQUIRE, WHOLE, OneServer
from tests.support.transfer_servers import PART
from tests.support.wire import Wire

OBJECTS: dict[str, tuple[int, tuple[int, ...]]] = {
    "empty": (0, ()),
    "small": (1000, ()),
    "a b+c%20d?&=.txt": (1000, ()),
    "ümlaut/日本": (5000, ()),
    "above-the-threshold": (PART + 1, ()),
    "uniform-parts": (2 * PART + 10, (PART, PART, 10)),
    "odd-parts": (2 * PART + 150, (PART + 100, PART, 50)),
}


@pytest.fixture(params=["seaweed", "ministack"])
def server(
    request: pytest.FixtureRequest,
    seaweed_pair: SeaweedPair,
    ministack_server: MinistackServer,
    wire: Callable[..., Wire],
    bucket: str,
) -> OneServer:
    """Give each server with two buckets."""
    if request.param == "seaweed":
        return OneServer(seaweed_pair.source.endpoint, bucket, wire, SEAWEED_EXTRA)
    return OneServer(ministack_server.endpoint, bucket, wire, MINISTACK_EXTRA)


def test_a_mixed_batch_is_copied_by_the_service(server: OneServer) -> None:
    """Every kind of object arrives, no byte of one goes over the wire, and all is verified."""
    chance = random.Random(3)
    data = {key: chance.randbytes(size) for key, (size, _) in OBJECTS.items()}
    for key, (_, parts) in OBJECTS.items():
        server.put(key, data[key], parts)
    server.plan(*OBJECTS)
    before = len(server.bodies())
    server.run(REQUIRE).raise_for_failures()
    outcomes = server.outcomes()
    assert {o.status for o in outcomes.values()} == {Status.COPIED}
    assert {key for key, o in outcomes.items() if not o.by_service} == set()
    assert server.bodies()[before:] == []
    assert {key: server.data(key) for key in OBJECTS} == data
    assert server.open_uploads() == []
    summary = server.verify()
    assert (summary.verified, summary.failed) == (len(OBJECTS), 0)
    report = server.report()
    assert (report.by_service, report.bytes, report.relayed_because) == (len(OBJECTS), 0, {})


def test_c07_a_second_attempt_copies_nothing(server: OneServer) -> None:
    """What the service has copied is found at the target."""
    for key, (size, parts) in OBJECTS.items():
        server.put(key, bytes(size), parts)
    server.plan(*OBJECTS)
    server.run(REQUIRE).raise_for_failures()
    copied = len(server.seen("CopyObject")), len(server.seen("UploadPartCopy"))
    server.run(REQUIRE).raise_for_failures()
    assert (len(server.seen("CopyObject")), len(server.seen("UploadPartCopy"))) == copied


def test_small_objects_go_through_the_lane_where_the_service_need_not_copy(
    server: OneServer,
) -> None:
    """That takes less than two calls of an SDK for each; the report says so."""
    server.put("small", b"small")
    server.put("whole", bytes(WHOLE))
    server.plan("small", "whole")
    server.run().raise_for_failures()
    assert {key: o.by_service for key, o in server.outcomes().items()} == {
        "small": False,
        "whole": True,
    }
    [reason] = server.report().relayed_because
    assert reason == "objects of up to 262144 bytes are copied faster so"


def test_c19_attributes_arrive_as_in_a_relayed_copy(server: OneServer) -> None:
    """Headers and metadata of the source, and nothing of an object that was there before."""
    for key, size in (("whole", WHOLE), ("large", PART + 1)):
        server.put(
            key,
            bytes(size),
            ContentType="text/x-test",
            CacheControl="no-store",
            ContentDisposition="attachment",
            Metadata={"some": "thing"},  # type: ignore[arg-type]
        )
        server.client.put_object(
            Bucket=server.target_bucket, Key=key, Body=b"old", Metadata={"old": "one"}
        )
    found = []
    for config in (CONFIG, NEVER):
        server.plan("whole", "large")
        server.run(config).raise_for_failures()
        assert {o.by_service for o in server.outcomes().values()} == {config is CONFIG}
        heads = [
            server.client.head_object(Bucket=server.target_bucket, Key=key)
            for key in ("whole", "large")
        ]
        names = ("ContentType", "CacheControl", "ContentDisposition", "Metadata", "ContentLength")
        found.append([{name: head[name] for name in names} for head in heads])  # type: ignore[literal-required]
    assert found[0] == found[1]
    assert found[0][0]["Metadata"] == {"some": "thing"}
