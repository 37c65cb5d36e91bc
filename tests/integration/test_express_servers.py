"""Many small objects between real servers, through the lane for them and past it."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider_s3resume.plan.parts import KIB, MIB
from airflow_provider_s3resume.storage.express import express_of
from airflow_provider_s3resume.storage.layers import Budget, RateLimited, Rates, requests_of
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.conformance.keys import ODD_KEYS, PREFIXES_OF_OTHERS
from tests.conftest import SeaweedPair
from tests.integration.test_expiring_credentials import Copy, Side
from tests.support.lane import GET, HEAD, MINISTACK, PUT, Ground, Opened, Scene, Watched
from tests.support.ministack import MinistackServer
from tests.support.processes import wait_until
from tests.support.sts_server import RoleSeaweedServer, StsServer
from tests.support.tls import make_certificate
from tests.support.wire import Wire
from tests.support.wire_rules import Match

SIZES = (0, 1, 1000, 64 * KIB, 256 * KIB)
DEADLINE_S = 20.0
EXPIRES = "Thu, 01 Jan 2032 00:00:00 GMT"
HEADERS: dict[str, Any] = {
    "ContentType": "text/x-test",
    "CacheControl": "no-store",
    "ContentDisposition": 'attachment; filename="a b.txt"',
    "ContentEncoding": "identity",
    "ContentLanguage": "de",
    "Metadata": {"some": "thing", "other": "x" * 500},
}


@pytest.fixture(scope="module")
def ground(seaweed_pair: SeaweedPair) -> Iterator[Ground]:
    """Give two buckets behind wires."""
    ends = seaweed_pair.source.endpoint, seaweed_pair.target.endpoint
    with Ground.of(*ends, "express-servers") as made:
        yield made


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """See what a batch uses."""
    return Watched(monkeypatch)


def put_mixed(scene: Scene) -> Scene:
    """Put plain objects of all sizes, and others with headers, metadata and tags."""
    chance = random.Random(3)
    for number in range(40):
        key = f"plain/{number:02d}"
        scene.put(key, chance.randbytes(SIZES[number % len(SIZES)]))
        if number % 3 == 0:
            scene.put_old(key, b"older")
    scene.put("headers", b"with headers", **HEADERS)
    scene.put("type", b"with a type alone", ContentType="image/x-test")
    scene.put("expires", b"until then", Expires=EXPIRES)
    scene.put("tags", b"with tags", Tagging="a=1&b=two%20words", Metadata={"some": "thing"})
    scene.put("dir/marker/", b"")
    return scene.plan()


def without_keys(scene: Scene) -> dict[str, Outcome]:
    """Return the outcomes by name, with the scene's own prefix taken out of their keys."""
    found = scene.outcomes()
    return {
        name: Outcome.from_line(outcome.to_line().replace(scene.prefix, ""))
        for name, outcome in found.items()
    }


def test_c08_c19_a_mixed_batch_ends_as_in_the_thread_path(ground: Ground, watched: Watched) -> None:
    """Bytes, headers and tags; outcomes, proofs, counts and figures: all is the same."""
    ends = []
    for lane in (True, False):
        scene = put_mixed(ground.scene())
        result = scene.run(lane=lane)
        result.raise_for_failures()
        scene.check_landed()
        check_attributes(scene)
        watched.check_memory()
        ends.append((without_keys(scene), result.counts, result.figures))
    assert len(watched.lanes) == 1
    assert ends[0] == ends[1]
    outcomes, counts, _ = ends[0]
    assert counts == {"copied": 45}
    assert {outcome.proof for outcome in outcomes.values()} == {Proof.ETAG}
    assert [outcome.notes for outcome in outcomes.values() if outcome.notes] == []


def check_attributes(scene: Scene) -> None:
    """Compare what the target says of objects with what was put."""
    side = scene.target

    def head(key: str) -> Any:
        return side.client.head_object(Bucket=side.bucket, Key=scene.prefix + key)

    found = head("headers")
    assert {name: found[name] for name in HEADERS} == HEADERS
    assert head("type")["ContentType"] == "image/x-test"
    assert head("expires")["ExpiresString"] == EXPIRES
    assert head("tags")["Metadata"] == {"some": "thing"}
    tags = side.client.get_object_tagging(Bucket=side.bucket, Key=scene.prefix + "tags")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "two words"}


def test_a_plain_object_takes_one_get_and_one_put(ground: Ground, watched: Watched) -> None:
    """Nobody asks for headers, and nobody looks again; one with headers is looked at once."""
    scene = ground.scene()
    for number in range(60):
        scene.put(f"k{number}", random.Random(number).randbytes(SIZES[number % len(SIZES)]))
    scene.put("headers", b"with headers", **HEADERS).plan()
    scene.run().raise_for_failures()
    asked = scene.asked()
    assert asked == {"source GetObject": 61, "target PutObject": 61, "target HeadObject": 1}
    assert len(scene.seen("target", HEAD, "headers")) == 1
    for number in range(60):
        assert len(scene.seen("source", GET, f"k{number}")) == 1
        assert len(scene.seen("target", PUT, f"k{number}")) == 1
    for store in scene.stores:
        assert requests_of(store).refused == 0
    assert requests_of(scene.stores[0]).made == 61
    assert requests_of(scene.stores[1]).made == 62
    assert len(watched.lanes) == 1


def test_c10_c18_each_request_names_what_it_means(ground: Ground) -> None:
    """GETs have If-Match; PUTs a checksum, the MD5 that the source vouches for, and a condition."""
    scene = ground.scene()
    for key in ("new", "old"):
        scene.put(key, key.encode() * 100)
    scene.put_old("old", b"older")
    scene.plan()
    scene.run().raise_for_failures()
    for key in ("new", "old"):
        (read,) = scene.seen("source", GET, key)
        assert read.headers["if-match"] == f'"{scene.outcomes()[key].source_etag}"'
        assert "range" not in read.headers
    (new,), (old,) = (scene.seen("target", PUT, key) for key in ("new", "old"))
    assert new.headers["if-none-match"] == "*"
    assert old.headers["if-match"].strip('"') != scene.outcomes()["old"].target_etag
    for sent in (new, old):
        assert sent.headers["content-md5"]
        assert sent.headers["x-amz-checksum-crc64nvme"]


def test_c04_odd_keys_arrive_as_they_are(ministack_server: MinistackServer, bucket: str) -> None:
    """Slashes, dots, blanks, control characters, 1,024 bytes: each under exactly its key."""
    endpoint = ministack_server.endpoint
    with Ground.of(endpoint, endpoint, bucket, known=MINISTACK) as ground:
        scene = ground.scene(prefix="")
        for number, key in enumerate((*ODD_KEYS, *PREFIXES_OF_OTHERS)):
            scene.put(key, f"{number} {key!r}".encode())
        scene.plan()
        scene.run().raise_for_failures()
        scene.check_landed()
        assert scene.target.keys() == sorted(scene.planned)
        count = len(scene.planned)
        assert scene.asked()["source GetObject"] == scene.asked()["target PutObject"] == count


def test_the_lane_goes_over_tls(
    seaweed_pair: SeaweedPair, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its lines are encrypted like all other connections, and verified."""
    certificate = make_certificate(tmp_path_factory.mktemp("express"))
    ends = seaweed_pair.source.endpoint, seaweed_pair.target.endpoint
    with Ground.of(*ends, bucket, certificate=certificate) as ground:
        scene = ground.scene()
        for number in range(20):
            scene.put(f"k{number}", random.Random(number).randbytes(SIZES[number % len(SIZES)]))
        scene.plan()
        scene.run().raise_for_failures()
        scene.check_landed()
        assert scene.asked() == {"source GetObject": 20, "target PutObject": 20}


def test_larger_objects_are_copied_beside_the_lane(ground: Ground, watched: Watched) -> None:
    """In the same batch, by the threads for them."""
    scene = ground.scene()
    for number in range(6):
        scene.put(f"small{number}", random.Random(number).randbytes(1000))
    scene.put("large", random.Random(9).randbytes(256 * KIB + 1))
    scene.put("parts", random.Random(8).randbytes(6 * MIB)).plan()
    config = CopyConfig(part_size=5 * MIB, multipart_threshold=5 * MIB)
    result = scene.run(config)
    result.raise_for_failures()
    scene.check_landed()
    assert result.counts == {"copied": 8}
    assert result.figures.parts_sent == 9
    (lane,) = watched.lanes
    assert len(scene.seen("target", "UploadPart")) == 2
    assert lane._copies == set()


@pytest.mark.parametrize("rates", [Rates(requests_per_s=500.0), Rates(bytes_per_s=1e9)])
def test_a_store_with_an_agreed_rate_has_no_lane(
    ground: Ground, watched: Watched, rates: Rates
) -> None:
    """It knows no rates; the threads keep to them."""
    scene = ground.scene()
    for number in range(5):
        scene.put(f"k{number}", b"x" * number)
    scene.plan()
    scene.run(source=Opened(rates=rates)).raise_for_failures()
    scene.check_landed()
    assert watched.lanes == []
    assert express_of(scene.stores[0]) is None
    assert express_of(scene.stores[1]) is not None


def test_a_task_with_a_budget_of_its_own_has_no_lane(ground: Ground) -> None:
    """Neither of requests nor of bytes; a budget without numbers limits nothing."""
    inner = ground.source.open(StopSignal(), wired=False)
    limited = Budget(requests_per_s=10.0), Budget(bytes_per_s=1e6)
    assert [express_of(RateLimited(inner, Rates(), budget)) for budget in limited] == [None, None]
    assert express_of(RateLimited(inner, Rates(), Budget())) is not None


def test_a_second_attempt_asks_for_nothing_that_landed(ground: Ground) -> None:
    """What an earlier attempt copied is found, and not read again."""
    scene = ground.scene()
    for number in range(10):
        scene.put(f"k{number}", random.Random(number).randbytes(100))
    scene.plan()
    scene.run().raise_for_failures()
    side = scene.target
    side.client.delete_object(Bucket=side.bucket, Key=scene.prefix + "k3")
    before = scene.asked()
    scene.run().raise_for_failures()
    assert (scene.asked() - before)["source GetObject"] == 1
    scene.check_landed()
    assert {outcome.status for outcome in scene.outcomes().values()} == {Status.COPIED}


def test_no_line_of_a_lane_outlives_it(ground: Ground) -> None:
    """Both servers see every connection of the lane end with the batch."""
    scene = ground.scene()
    for number in range(30):
        scene.put(f"k{number}", random.Random(number).randbytes(2000))
    scene.plan()
    before = [set(side.wire._connections) for side in ground.sides]
    scene.run().raise_for_failures()
    for side, known in zip(ground.sides, before, strict=True):
        wait_until(
            lambda side=side, known=known: side.wire._connections <= known,  # type: ignore[misc]
            deadline_s=DEADLINE_S,
            what=f"the {side.name} sees the end of each",
        )


# --- credentials that end meanwhile -------------------------------------------------------------


@pytest.fixture
def expiring(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> Iterator[Copy]:
    """Give two buckets that are reached with roles, over wires that refuse what has ended."""
    folder = tmp_path_factory.mktemp("express-roles")
    with ExitStack() as stack:
        server = stack.enter_context(RoleSeaweedServer(folder, "a-key", secrets.token_hex(12)))
        sides = []
        for name in ("source", "target"):
            wire = stack.enter_context(Wire(server.endpoint_url))
            sts = stack.enter_context(StsServer(server, lasts_s=900))
            sides.append(Side(server, wire, sts, f"{bucket}-{name}", f"express_{name}"))
        copy = Copy(sides[0], sides[1], monkeypatch.setenv)
        for side in sides:
            copy.connect(side, side.by_role())
        yield copy


def test_c41_credentials_that_end_in_the_lane_are_renewed_once(
    expiring: Copy, watched: Watched
) -> None:
    """Those under way are refused and copied in the ordinary way, all that follow have new ones."""
    copy, keys = expiring, [f"k{number:02d}" for number in range(24)]
    for key in keys:
        copy.source.client.put_object(Bucket=copy.source.bucket, Key=key, Body=b"data of all")
    gets = Match(operation=GET, path="/k1.$")
    puts = Match(operation=PUT, path="/k.*1$")
    copy.source.expire_at(gets)
    copy.target.expire_at(puts)
    copy.run(*keys, object_concurrency=6).raise_for_failures()
    copy.check(*keys, data=b"data of all")
    assert len(watched.lanes) == 1
    assert copy.source.refused
    assert copy.target.refused
    assert {e.operation for e in copy.source.refused} == {GET}
    assert (copy.source.sts.calls, copy.target.sts.calls) == (2, 2)
