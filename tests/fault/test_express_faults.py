"""Small objects between two servers over broken wires: what the lane gives up ends as ever."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from airflow_provider_s3resume.exceptions import CopyStoppedError
from airflow_provider_s3resume.plan.parts import KIB
from airflow_provider_s3resume.storage.layers import requests_of
from airflow_provider_s3resume.transfer import single
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig, OnSourceChange
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Proof, Status
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.conftest import SeaweedPair
from tests.support.lane import GET, HEAD, PUT, Ground, Opened, Scene, Watched
from tests.support.processes import wait_until
from tests.support.wire_rules import (
    EXPIRED_TOKEN,
    INTERNAL_ERROR,
    SLOW_DOWN,
    Action,
    CutHead,
    Edit,
    Exchange,
    Flip,
    Replace,
    Reset,
    Rewrite,
    Stall,
    Truncate,
)

OLD = b"the old object"
THEIRS = b"what somebody else wrote meanwhile"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
OTHER_ETAG = '"0123456789abcdef0123456789abcdef"'
DEADLINE_S = 30.0
WAYS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "threads"])


@pytest.fixture(scope="module")
def ground(seaweed_pair: SeaweedPair) -> Iterator[Ground]:
    """Give two buckets behind wires."""
    ends = seaweed_pair.source.endpoint, seaweed_pair.target.endpoint
    with Ground.of(*ends, "express-faults") as made:
        yield made


@pytest.fixture
def scene(ground: Ground) -> Scene:
    """Give a batch of its own."""
    return ground.scene()


@pytest.fixture(scope="module", autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Cut waits between tries short."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(single, "_FIRST_WAIT_S", 0.01)
        yield patched


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """See what a batch uses."""
    return Watched(monkeypatch)


def put_some(scene: Scene, count: int = 4, *, old: bool = True) -> Scene:
    """Put so many objects into the source, which replace others if told so."""
    for number in range(count):
        scene.put(f"k{number}", random.Random(number).randbytes(3000 + number))
        if old:
            scene.put_old(f"k{number}", OLD)
    return scene


# --- one fault for each object ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault of one object's calls.

    :param kind: what the object fails with, ``None`` if it lands in the same attempt.
    :param times: how often the fault comes, ``None`` for ever.
    """

    side: str
    action: Action
    kind: str | None = None
    times: int | None = 1


def source(action: Action, kind: str | None = None) -> Case:
    """Return a fault of a GET: once if it heals, for ever if it does not."""
    return Case(side="source", action=action, kind=kind, times=1 if kind is None else None)


def target(action: Action, kind: str | None = None) -> Case:
    """Return the same of a PUT."""
    return Case(side="target", action=action, kind=kind, times=1 if kind is None else None)


CASES: Mapping[str, Case] = {
    "source-resets-before": source(Reset(side="request")),
    "source-resets-behind": source(Reset(side="answer")),
    "source-half-a-head": source(CutHead()),
    "source-half-a-body": source(Truncate(1000)),
    "source-half-a-body-reset": source(Truncate(1000, by_reset=True)),
    "source-no-http": source(Rewrite(headers={"no name": "x"})),
    "source-500": source(Replace(status=500, body=INTERNAL_ERROR)),
    "target-resets-before": target(Reset(side="request")),
    "target-half-a-request": target(Truncate(1000, side="request")),
    "target-half-a-request-reset": target(Truncate(1000, side="request", by_reset=True)),
    "target-500": target(Replace(status=500, body=INTERNAL_ERROR)),
    "c12-206": source(Rewrite(status=206), "RangeMismatchError"),
    "c12-shorter": source(Edit(lambda body: body[:-1]), "RangeMismatchError"),
    "c12-longer": source(Edit(lambda body: body + b"x"), "RangeMismatchError"),
    "c12-no-length": source(Rewrite(headers={"Content-Length": None}), "RangeMismatchError"),
    "c12-range": source(Rewrite(headers={"Content-Range": "bytes 0-9/10"}), "RangeMismatchError"),
    "c12-other-etag": source(Rewrite(headers={"ETag": OTHER_ETAG}), "SourceChangedError"),
    "c18-source-flips-once": source(Flip(side="answer", offset=77)),
    "c18-source-flips": source(Flip(side="answer", offset=77), "VerificationError"),
    "c18-target-flips-once": target(Flip(side="request", offset=77)),
    "c18-target-flips": target(Flip(side="request", offset=77), "DigestRejectedError"),
    "c41-source-denies": source(Replace(status=403, body=DENIED), "AccessDeniedError"),
    "c41-target-denies": target(Replace(status=403, body=DENIED), "AccessDeniedError"),
    "c41-source-expired-once": source(Replace(status=400, body=EXPIRED_TOKEN)),
    "c41-target-expired-once": target(Replace(status=400, body=EXPIRED_TOKEN)),
}


@dataclass(frozen=True, kw_only=True)
class Struck:
    """A batch of which each object had a fault of its own, and one had none.

    :param there: what was at the target after the first attempt.
    """

    scene: Scene
    first: BatchResult
    outcomes: Mapping[str, Outcome]
    there: Mapping[str, bytes]
    unused: frozenset[str]


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "threads"])
def struck(request: pytest.FixtureRequest, ground: Ground) -> Struck:
    """Give what became of a batch, in the lane and in the threads."""
    scene = ground.scene()
    for number, key in enumerate([*CASES, "untouched"]):
        scene.put(key, random.Random(number).randbytes(3000 + number)).put_old(key, OLD)
    scene.plan()
    rules = {
        key: scene.break_(
            case.side, GET if case.side == "source" else PUT, key, case.action, times=case.times
        )
        for key, case in CASES.items()
    }
    renewing = Opened(refresh=lambda: None)
    with pytest.MonkeyPatch.context() as patched:
        watched = Watched(patched)
        first = scene.run(lane=request.param, source=renewing, target=renewing)
        assert len(watched.lanes) == request.param
        watched.check_memory()
    found = Struck(
        scene=scene,
        first=first,
        outcomes=scene.outcomes(),
        there={key: scene.target.data(scene.prefix + key) for key in scene.planned},
        unused=frozenset(key for key, rule in rules.items() if not rule.used),
    )
    scene.mend()
    scene.run().raise_for_failures()
    return found


def check_struck(struck: Struck, name: str) -> None:
    """See that an object ended as its case says, and harmed nothing."""
    case, outcome = CASES[name], struck.outcomes[name]
    assert name not in struck.unused
    assert outcome.error_kind == case.kind
    landed = case.kind is None
    assert outcome.status is (Status.COPIED if landed else Status.FAILED)
    assert struck.there[name] == (struck.scene.planned[name] if landed else OLD)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("c")])
def test_c16_a_passing_fault_of_an_object_is_healed_within_the_attempt(
    struck: Struck, name: str
) -> None:
    """Resets before and behind each request, half heads and bodies, 500: the bytes are right."""
    check_struck(struck, name)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("c12")])
def test_c12_an_answer_that_is_not_the_object_is_refused(struck: Struck, name: str) -> None:
    """Another status, length or ETag fails the object with its reason; the old target stays."""
    check_struck(struck, name)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("c18")])
def test_c18_a_flipped_byte_never_lands(struck: Struck, name: str) -> None:
    """A byte changed on either leg is healed if it was once, else the old target stays."""
    check_struck(struck, name)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("c41")])
def test_c41_what_one_object_is_refused_with_is_its_own_affair(struck: Struck, name: str) -> None:
    """It fails with that reason if no retry helps; expired credentials are renewed."""
    check_struck(struck, name)


def test_c40_one_object_s_fault_hides_no_other(struck: Struck) -> None:
    """All others land, the counts add up, and the next attempt lands the rest."""
    failed = sum(case.kind is not None for case in CASES.values())
    assert struck.first.counts == {"copied": len(CASES) + 1 - failed, "failed": failed}
    figures = struck.first.figures
    assert (figures.objects_done, figures.objects_failed) == (len(CASES) + 1 - failed, failed)
    assert struck.outcomes.keys() == struck.scene.planned.keys()
    assert struck.outcomes["untouched"].status is Status.COPIED
    struck.scene.check_landed()
    assert {outcome.status for outcome in struck.scene.outcomes().values()} <= LANDED


@pytest.mark.parametrize("header", ["x-amz-missing-meta", "x-amz-tagging-count"])
def test_c40_an_answer_that_nobody_can_read_fails_its_object_alone(
    scene: Scene, header: str
) -> None:
    """A header whose value is no number is that object's affair, and no end of the batch."""
    put_some(scene).plan()
    scene.break_("source", GET, "k1", Rewrite(headers={header: "many"}))
    result = scene.run()
    assert sum(result.counts.values()) == 4
    assert [outcome.key for outcome in result.failures] == [scene.prefix + "k1"]
    scene.check_landed(but=["k1"])


def test_c40_answers_that_nobody_can_read_lose_no_object(scene: Scene) -> None:
    """One is read to its end, and another one is half there: all that follow have an outcome."""
    put_some(scene, 8)
    scene.put("k0", random.Random(0).randbytes(200 * KIB)).plan()
    unreadable = Rewrite(headers={"x-amz-missing-meta": "many"})
    stalled = scene.break_("source", GET, "k0", Stall(after_bytes=100 * KIB), times=1)
    scene.break_("source", GET, "k0", unreadable)
    scene.break_("source", GET, "k1", unreadable)
    half_there = scene.match(GET, "k0")

    def is_half_there(exchange: Exchange) -> bool:
        return half_there(exchange) and exchange.response_bytes > 0

    stop = StopSignal()
    with (
        ThreadPoolExecutor(1) as pool,
        scene.source.wire.hold(scene.match(GET, "k1"), side="answer") as hold,
    ):
        end = pool.submit(scene.run, CopyConfig(object_concurrency=2), stop=stop)
        hold.wait()
        wire = scene.source.wire
        wait_until(lambda: bool(wire.seen(is_half_there)), deadline_s=DEADLINE_S, what="half of k0")
        hold.release()
        result = end.result(DEADLINE_S)
    assert stalled.used == 1
    assert scene.outcomes().keys() == scene.planned.keys()
    assert sum(result.counts.values()) == 8
    scene.check_landed(but=["k0", "k1"])


@pytest.mark.parametrize(("side", "operation"), [("source", GET), ("target", PUT)])
def test_c41_a_hopeless_refusal_costs_one_request(scene: Scene, side: str, operation: str) -> None:
    """What no retry helps is not asked for again in another way."""
    put_some(scene).plan()
    scene.break_(side, operation, "k1", Replace(status=403, body=DENIED))
    assert scene.run().counts == {"copied": 3, "failed": 1}
    assert len(scene.seen(side, operation, "k1")) == 1


# --- a PUT whose answer was lost ----------------------------------------------------------------

LOST: Mapping[str, Action] = {
    "reset": Reset(side="answer"),
    "half-a-head": CutHead(),
    "500-but-done": Replace(status=500, body=INTERNAL_ERROR, forward=True),
}


@WAYS
@pytest.mark.parametrize("old", [True, False], ids=["replaces", "new"])
@pytest.mark.parametrize("how", LOST)
def test_c16_a_put_whose_answer_was_lost_is_looked_at(
    scene: Scene, how: str, *, old: bool, lane: bool
) -> None:
    """The target is asked what it has; nothing is written over it without a condition."""
    put_some(scene, 2, old=old).plan()
    scene.break_("target", PUT, "k1", LOST[how], times=1)
    scene.run(lane=lane).raise_for_failures()
    scene.check_landed()
    outcome = scene.outcomes()["k1"]
    assert outcome.status in LANDED
    assert outcome.proof is Proof.ETAG
    assert len(scene.seen("target", HEAD, "k1")) == 1
    named = "if-match" if old else "if-none-match"
    for exchange in scene.seen("target", PUT, "k1"):
        assert named in exchange.headers


PORTAL = b"<html><body>Please log in</body></html>"
LONG = INTERNAL_ERROR + b" " * (64 * KIB)


@WAYS
@pytest.mark.parametrize("forward", [True, False], ids=["done", "not-done"])
@pytest.mark.parametrize("body", [b"", PORTAL], ids=["empty", "portal"])
def test_c16_a_success_that_shows_nothing_is_looked_at(
    scene: Scene, body: bytes, *, forward: bool, lane: bool
) -> None:
    """Something answers a PUT in the place of the service: the target says whether it was done."""
    put_some(scene, 2).plan()
    scene.break_("target", PUT, "k1", Replace(status=200, body=body, forward=forward))
    result = scene.run(lane=lane)
    assert scene.seen("target", HEAD, "k1")
    if forward:
        result.raise_for_failures()
        scene.check_landed()
        return
    assert result.counts == {"copied": 1, "failed": 1}
    assert [outcome.retryable for outcome in result.failures] == [True]
    scene.check_landed(but=["k1"])
    assert scene.target.data(scene.prefix + "k1") == OLD


@WAYS
@pytest.mark.parametrize("times", [1, None], ids=["once", "ever"])
@pytest.mark.parametrize("body", [INTERNAL_ERROR, LONG], ids=["short", "long"])
def test_c16_a_success_that_says_that_it_is_none_is_none(
    scene: Scene, body: bytes, times: int | None, *, lane: bool
) -> None:
    """However long it is, and though it shows an ETag."""
    put_some(scene, 2).plan()
    said = Replace(status=200, body=body, headers={"ETag": '"made-up"'})
    scene.break_("target", PUT, "k1", said, times=times)
    result = scene.run(lane=lane)
    if times:
        result.raise_for_failures()
        scene.check_landed()
        return
    assert result.counts == {"copied": 1, "failed": 1}
    assert scene.target.data(scene.prefix + "k1") == OLD


def test_c16_what_somebody_wrote_over_an_unheard_put_stays(scene: Scene) -> None:
    """The answer is lost, somebody else replaces the object, and it is not replaced again."""
    put_some(scene, 2).plan()
    scene.break_("target", PUT, "k1", Reset(side="answer"), times=1)
    path = scene.match(None, "k1")
    later = {PUT, HEAD}

    def is_next(exchange: Exchange) -> bool:
        first = min((e.number for e in scene.target.wire._exchanges if path(e)), default=0)
        return path(exchange) and exchange.operation in later and exchange.number > first

    with ThreadPoolExecutor(1) as pool, scene.target.wire.hold(is_next) as hold:
        end = pool.submit(scene.run)
        hold.wait()
        scene.put_old("k1", THEIRS)
        hold.release()
        result = end.result(DEADLINE_S)
    assert [outcome.error_kind for outcome in result.failures] == ["TargetChangedError"]
    assert scene.target.data(scene.prefix + "k1") == THEIRS


# --- objects that are not what the plan saw -----------------------------------------------------


@WAYS
@pytest.mark.parametrize("change", OnSourceChange)
def test_c10_a_source_replaced_since_the_plan(
    scene: Scene, change: OnSourceChange, *, lane: bool
) -> None:
    """Copied as it is now or failed, as configured; one that is gone is reported as gone."""
    put_some(scene, 4).plan()
    new = random.Random(9).randbytes(len(scene.planned["k1"]))
    client, bucket = scene.source.client, scene.source.bucket
    client.put_object(Bucket=bucket, Key=scene.prefix + "k1", Body=new)
    client.put_object(Bucket=bucket, Key=scene.prefix + "k2", Body=new + b"longer")
    client.delete_object(Bucket=bucket, Key=scene.prefix + "k3")
    result = scene.run(CopyConfig(on_source_change=change), lane=lane)
    outcomes = scene.outcomes()
    data = [scene.target.data(f"{scene.prefix}k{number}") for number in range(4)]
    if change is OnSourceChange.FAIL:
        assert result.counts == {"copied": 1, "failed": 3}
        assert {outcome.error_kind for outcome in result.failures} == {"SourceChangedError"}
        assert data == [scene.planned["k0"], OLD, OLD, OLD]
        return
    assert result.counts == {"copied": 3, "gone": 1}
    assert data == [scene.planned["k0"], new, new + b"longer", OLD]
    assert outcomes["k3"].status is Status.GONE
    for key, size in (("k1", len(new)), ("k2", len(new) + 6)):
        assert outcomes[key].size == size
        assert "the source was replaced since the plan" in outcomes[key].notes


@WAYS
def test_c18_a_target_changed_since_the_plan_stays(scene: Scene, *, lane: bool) -> None:
    """A new, another, a vanished and an equal object: none is written over."""
    put_some(scene, 4)
    scene.put("new", b"planned for an empty place" * 100).plan()
    client, bucket = scene.target.client, scene.target.bucket
    scene.put_old("new", THEIRS).put_old("k1", THEIRS).put_old("k2", scene.planned["k2"])
    client.delete_object(Bucket=bucket, Key=scene.prefix + "k3")
    result = scene.run(lane=lane)
    outcomes = scene.outcomes()
    assert {key: outcomes[key].error_kind for key in outcomes} == {
        "new": "TargetChangedError",
        "k0": None,
        "k1": "TargetChangedError",
        "k2": None,
        "k3": "TargetChangedError",
    }
    assert outcomes["k2"].status is Status.ALREADY_THERE
    assert result.counts == {"copied": 1, "already_there": 1, "failed": 3}
    names = [key.removeprefix(scene.prefix) for key in scene.target.keys(scene.prefix)]
    assert names == ["k0", "k1", "k2", "new"]
    assert scene.target.data(scene.prefix + "new") == THEIRS
    assert scene.target.data(scene.prefix + "k1") == THEIRS
    scene.check_landed(but=["new", "k1", "k3"])


@WAYS
def test_c18_a_target_without_conditions_is_reported_as_unprotected(
    scene: Scene, *, lane: bool
) -> None:
    """What cannot be made conditional says so."""
    put_some(scene, 2).plan()
    scene.put_old("k1", THEIRS)
    scene.run(lane=lane, target=Opened(extra={"conditional_writes": False})).raise_for_failures()
    assert [outcome.unprotected for outcome in scene.outcomes().values()] == [True, True]
    scene.check_landed()
    sent = scene.seen("target", PUT)
    assert len(sent) == 2
    assert not [e for e in sent if {"if-match", "if-none-match"} & e.headers.keys()]


@WAYS
def test_c18_a_target_that_checks_nothing_gets_bytes_that_were_compared_before(
    scene: Scene, *, lane: bool
) -> None:
    """The MD5 that the source's ETag is, is then taken here: a flipped byte is read again."""
    put_some(scene, 2).plan()
    scene.break_("source", GET, "k1", Flip(side="answer", offset=5), times=1)
    scene.run(lane=lane, target=Opened(extra={"checksums": "none"})).raise_for_failures()
    scene.check_landed()
    assert len(scene.seen("target", PUT, "k1")) == 1


@WAYS
def test_c18_bytes_that_nobody_vouches_for_are_proven_by_no_more_than_was_sent(
    scene: Scene, *, lane: bool
) -> None:
    """Of a source whose ETags say nothing, a flipped byte cannot be seen; none is claimed to be."""
    put_some(scene, 2).plan()
    scene.break_("source", GET, "k1", Flip(side="answer", offset=5), times=1)
    scene.run(lane=lane, source=Opened(extra={"md5_etags": False})).raise_for_failures()
    outcomes = scene.outcomes()
    assert outcomes["k0"].proof is Proof.ETAG
    assert outcomes["k1"].proof is Proof.PARTS
    assert not [e for e in scene.seen("target", PUT) if "content-md5" in e.headers]


# --- connections --------------------------------------------------------------------------------


def test_an_idle_line_that_the_peer_closed_is_replaced(scene: Scene) -> None:
    """The source closes its kept connections between two objects: nothing is asked for twice."""
    put_some(scene, 2).plan()
    one_by_one = CopyConfig(object_concurrency=1)
    with ThreadPoolExecutor(1) as pool, scene.target.wire.hold(scene.match(PUT)) as hold:
        end = pool.submit(scene.run, one_by_one)
        hold.wait()
        scene.source.wire.leave(None)
        scene.source.wire.come_back()
        hold.release()
        end.result(DEADLINE_S).raise_for_failures()
    scene.check_landed()
    assert scene.asked() == {"source GetObject": 2, "target PutObject": 2}


@pytest.mark.parametrize("side", ["source", "target"])
def test_refused_connections_are_left_to_those_who_can_wait(scene: Scene, side: str) -> None:
    """Nobody listens when the lane begins; when the server is back, all objects land."""
    put_some(scene, 6).plan()
    wire = getattr(scene, side).wire
    wire.leave(None)

    def come_back(_seconds: float) -> bool:
        wire.come_back()
        return False

    patient = Opened(wait=come_back)
    how = {side: patient}
    scene.run(source=how.get("source"), target=how.get("target")).raise_for_failures()
    scene.check_landed()


def test_connections_that_stay_refused_fail_all_objects(scene: Scene, watched: Watched) -> None:
    """Each has the reason, and another attempt can help."""
    put_some(scene, 3).plan()
    scene.target.wire.leave(None)
    result = scene.run()
    assert result.counts == {"failed": 3}
    assert all(o.retryable and "EndpointConnectionError" in str(o.error) for o in result.failures)
    watched.check_memory()
    scene.target.wire.come_back()
    scene.run().raise_for_failures()
    scene.check_landed()


@pytest.mark.parametrize(("side", "operation"), [("source", GET), ("target", PUT)])
def test_a_line_on_which_nothing_comes_is_given_up(scene: Scene, side: str, operation: str) -> None:
    """After the time that a byte may take, the object is copied in the ordinary way."""
    put_some(scene, 3).plan()
    stalls = {
        "source": Stall(side="answer", after_bytes=100),
        "target": Stall(side="request", after_bytes=100),
    }
    rule = scene.break_(side, operation, "k1", stalls[side], times=1)
    hasty = Opened(extra={"read_timeout_s": 3})
    scene.run(source=hasty, target=hasty).raise_for_failures()
    assert rule.used == 1
    assert len(scene.seen(side, operation, "k1")) == 2
    scene.check_landed()


# --- throttling ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "operation"), [("source", GET), ("target", PUT)])
def test_c41_a_service_that_throttles_closes_the_lane_and_loses_nothing(
    scene: Scene, side: str, operation: str
) -> None:
    """All requests count for the pace of that store, those of the lane too."""
    put_some(scene, 30, old=False).plan()
    scene.break_(side, operation, None, Replace(status=503, body=SLOW_DOWN), times=12)
    scene.run(CopyConfig(object_concurrency=8)).raise_for_failures()
    scene.check_landed()
    asked = scene.asked()
    for store, name in zip(scene.stores, ("source", "target"), strict=True):
        made = sum(count for what, count in asked.items() if what.startswith(name))
        refused = 12 if name == side else 0
        assert requests_of(store).made == made
        assert requests_of(store).refused == refused
    # Those that were under way when it began go on in threads, where each is tried until it lands.
    assert asked[f"{side} {operation}"] == 30 + 12


def test_c41_a_throttled_lane_begins_no_more(scene: Scene, watched: Watched) -> None:
    """After the first refusal nothing more is begun there: the rest waits its turn in threads."""
    put_some(scene, 20, old=False).plan()
    scene.break_("source", GET, "k0", Replace(status=503, body=SLOW_DOWN), times=1)
    scene.run(CopyConfig(object_concurrency=1)).raise_for_failures()
    scene.check_landed()
    (lane,) = watched.lanes
    assert not lane._todo
    assert lane._context.objects.allowed == 1
    assert not lane._source.express.is_open()


# --- how much is under way ----------------------------------------------------------------------


@pytest.mark.parametrize(("side", "operation"), [("source", GET), ("target", PUT)])
def test_c20_object_concurrency_bounds_what_is_under_way(
    scene: Scene, side: str, operation: str
) -> None:
    """With three at once, three requests wait at the wire, and no fourth one comes."""
    put_some(scene, 12, old=False).plan()
    stop = StopSignal()
    wire = getattr(scene, side).wire
    with ThreadPoolExecutor(1) as pool, wire.hold(scene.match(operation)) as hold:
        end = pool.submit(scene.run, CopyConfig(object_concurrency=3), stop=stop)
        hold.wait(count=3)
        stop.stop("enough seen")
        with pytest.raises(CopyStoppedError):
            end.result(DEADLINE_S)
        assert len(hold.held) == 3
    assert scene.asked()["source GetObject"] == 3


# --- stop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["source", "target"])
def test_stop_ends_the_lane_and_keeps_what_was_acknowledged(
    scene: Scene, watched: Watched, side: str
) -> None:
    """A stop ends as such while answers are awaited; a second attempt does just the rest."""
    put_some(scene, 10, old=False).plan()
    slow = {f"k{number}" for number in range(6, 10)}
    operation = GET if side == "source" else PUT
    wire = getattr(scene, side).wire

    def is_slow(exchange: Exchange) -> bool:
        name = exchange.path.rpartition("/")[2]
        return scene.match(operation)(exchange) and name in slow

    stop = StopSignal()
    with ThreadPoolExecutor(1) as pool, wire.hold(is_slow) as hold:
        end = pool.submit(scene.run, stop=stop)
        hold.wait(count=4)
        wait_until(lambda: len(watched.noted) == 6, deadline_s=DEADLINE_S, what="six objects land")
        stop.stop("SIGTERM")
        with pytest.raises(CopyStoppedError, match="SIGTERM"):
            end.result(DEADLINE_S)
        hold.drop()
    assert scene.outcomes().keys() == scene.planned.keys() - slow
    before = scene.asked()
    result = scene.run()
    result.raise_for_failures()
    assert sum(result.counts.values()) == 10
    scene.check_landed()
    assert (scene.asked() - before)["source GetObject"] == 4
    assert len(scene.seen("target", PUT, "k0")) == 1


def test_c15_two_workers_with_a_lane_each_on_one_batch(scene: Scene) -> None:
    """Both end well, whoever writes an object first; each object is whole."""
    put_some(scene, 12).plan()
    other = replace_worker(scene)
    with ThreadPoolExecutor(2) as pool:
        for end in [pool.submit(scene.run), pool.submit(other.run)]:
            end.result(DEADLINE_S).raise_for_failures()
    scene.check_landed()


def replace_worker(scene: Scene) -> Scene:
    """Return another worker's view of the same plan."""
    other = Scene(scene.ground, scene.prefix)
    other.state, other.planned, other._ref = scene.state, scene.planned, scene._ref
    return other
