"""Copies between real servers over broken wires: the right bytes, or a failed object."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_s3resume.exceptions import CopyStoppedError
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Status
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.conftest import SeaweedPair
from tests.support.transfer_servers import PART, Pair, acknowledged, part_number
from tests.support.wire import Wire
from tests.support.wire_rules import (
    INTERNAL_ERROR,
    SLOW_DOWN,
    Action,
    Flip,
    Match,
    Replace,
    Reset,
    Rewrite,
    Rule,
    Stall,
    Truncate,
)

KEY, OLD = "large", b"the old object"
STOP_DEADLINE_S = 15.0
DATA = random.Random(1).randbytes(3 * PART + 1000)
SIZES = [PART, PART, PART, 1000]
GET = Match(operation="GetObject", path=KEY)
UPLOAD = Match(operation="UploadPart")
COMPLETE = Match(operation="CompleteMultipartUpload")
BROKEN = b"<Error><Code>InternalError</Code><Message>broken</Message></Error>"


@pytest.fixture
def pair(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Pair:
    """Give two buckets behind wires."""
    return Pair(seaweed_pair.source.endpoint, seaweed_pair.target.endpoint, bucket, wire)


def attempt(pair: Pair, *rules: tuple[str, Rule], in_parts: bool = True) -> Outcome:
    """Copy over wires with these rules, and judge what must hold whatever happens."""
    job = pair.put(KEY, DATA, SIZES if in_parts else ()).put_old(KEY, OLD).plan(KEY)
    wires = {"source": pair.source_wire, "target": pair.target_wire}
    for side, rule in rules:
        wires[side].add(rule)
    job.run()
    for wire in wires.values():
        wire.clear()
    first = pair.outcomes(job)[KEY]
    if first.status is Status.FAILED:
        assert pair.data(KEY) == OLD
        assert first.retryable
        job.run()
    last = pair.outcomes(job)[KEY]
    assert last.status in LANDED
    assert pair.data(KEY) == DATA
    assert pair.open_uploads() == []
    return first


HEALED: dict[str, tuple[str, Match, Action, int]] = {
    "source-resets": ("source", GET, Reset(side="request"), 3),
    "source-cuts-bodies": ("source", GET, Truncate(100_000), 4),
    "source-503-burst": ("source", GET, Replace(status=503, body=SLOW_DOWN), 4),
    "source-500-burst": ("source", GET, Replace(status=500, body=INTERNAL_ERROR), 2),
    "target-resets-requests": ("target", UPLOAD, Reset(side="request"), 2),
    "target-loses-answers": ("target", UPLOAD, Reset(side="answer"), 2),
    "target-503-burst": ("target", UPLOAD, Replace(status=503, body=SLOW_DOWN), 4),
    "target-sees-other-bytes": ("target", UPLOAD, Flip(side="request", offset=1000), 2),
    "complete-request-lost": ("target", COMPLETE, Reset(side="request"), 1),
    "complete-answer-lost": ("target", COMPLETE, Reset(side="answer"), 1),
    "complete-error-in-200": ("target", COMPLETE, Replace(status=200, body=BROKEN), 1),
    "complete-done-but-error-in-200": (
        "target",
        COMPLETE,
        Replace(status=200, body=BROKEN, forward=True),
        1,
    ),
}


@pytest.mark.parametrize("fault", HEALED)
def test_c16_a_passing_fault_is_healed_within_the_attempt(pair: Pair, fault: str) -> None:
    """Bursts, resets, cut bodies and lost answers end in the right bytes, at the first attempt."""
    side, when, action, times = HEALED[fault]
    outcome = attempt(pair, (side, Rule(when=when, action=action, times=times)))
    assert outcome.status is Status.COPIED, outcome.error
    assert outcome.sent_parts == len(SIZES)


@pytest.mark.parametrize("side", ["source", "target"])
def test_c18_a_flipped_byte_never_replaces_the_old_target(pair: Pair, side: str) -> None:
    """Bytes that always change on a leg fail the object; without it the next attempt lands."""
    rules = {
        "source": Rule(when=GET, action=Flip(side="answer", offset=77)),
        "target": Rule(when=UPLOAD, action=Flip(side="request", offset=77)),
    }
    outcome = attempt(pair, (side, rules[side]))
    assert outcome.status is Status.FAILED
    kinds = {"source": "VerificationError", "target": "DigestRejectedError"}
    assert outcome.error_kind == kinds[side]


@pytest.mark.parametrize("fault", ["status-200", "other-range", "other-size"])
def test_c12_a_misanswered_range_fails_the_object(pair: Pair, fault: str) -> None:
    """A range answered with another status, place or object size is not copied."""
    actions: dict[str, Action] = {
        "status-200": Rewrite(status=200),
        "other-range": Rewrite(headers={"Content-Range": f"bytes 1-{PART}/{len(DATA)}"}),
        "other-size": Rewrite(headers={"Content-Range": f"bytes 0-{PART - 1}/{len(DATA) + 1}"}),
    }
    outcome = attempt(pair, ("source", Rule(when=GET, action=actions[fault])))
    assert outcome.error_kind == "RangeMismatchError"


def test_c14_a_part_that_keeps_failing_fails_the_object_and_is_all_that_is_sent_again(
    pair: Pair,
) -> None:
    """What the target acknowledged before is not sent by the next attempt."""
    third = Match(operation="UploadPart", query={"partNumber": "3"})
    outcome = attempt(pair, ("target", Rule(when=third, action=Reset(side="request"))))
    assert outcome.status is Status.FAILED
    counts = [part_number(e) for e in pair.sent_parts(KEY) if e.status is not None]
    assert acknowledged(pair.sent_parts(KEY)) == {1, 2, 3, 4}
    assert sorted(counts) == [1, 2, 3, 4]


def test_c10_a_source_replaced_while_it_is_copied(pair: Pair) -> None:
    """The second object is copied whole; no byte of the first is at the target."""
    job = pair.put(KEY, DATA, SIZES).put_old(KEY, OLD).plan(KEY, concurrency=1)
    new = random.Random(2).randbytes(len(DATA))
    second = Match(operation="UploadPart", query={"partNumber": "2"})
    with (
        ThreadPoolExecutor(1) as pool,
        pair.target_wire.hold(second) as hold,
    ):
        end = pool.submit(job.run)
        hold.wait()
        pair.put(KEY, new, SIZES)
        assert pair.data(KEY) == OLD
        hold.release()
        end.result(60)
    outcome = pair.outcomes(job)[KEY]
    assert outcome.status is Status.COPIED
    assert "the source was replaced since the plan" in outcome.notes
    assert pair.data(KEY) == new
    assert pair.open_uploads() == []


def test_stop_breaks_a_stalled_source_connection(pair: Pair) -> None:
    """A read that will never end is broken by a stop; what was acknowledged is kept."""
    job = pair.put(KEY, DATA, SIZES).put_old(KEY, OLD).plan(KEY, concurrency=1)
    third = Match(operation="GetObject", path=KEY)
    stall = Rule(when=third, action=Stall(side="answer", after_bytes=200_000), nth=3)
    pair.source_wire.add(stall)
    stop = StopSignal()
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(job.run, stop)
        pair.source_wire.wait_for(
            lambda e: GET(e) and e.response_bytes >= 100_000 and not e.is_over and stall.used == 1
        )
        stop.stop("SIGTERM")
        with pytest.raises(CopyStoppedError, match="SIGTERM"):
            end.result(STOP_DEADLINE_S)
    before = acknowledged(pair.sent_parts(KEY))
    assert before == {1, 2}
    pair.source_wire.clear()
    job.run()
    outcome = pair.outcomes(job)[KEY]
    assert (outcome.kept_parts, outcome.reread_parts, outcome.sent_parts) == (2, 0, 2)
    assert pair.data(KEY) == DATA


def test_c15_two_workers_on_real_servers(pair: Pair) -> None:
    """Two workers that begin together both end well; the target is whole, no upload stays."""
    job = pair.put(KEY, DATA, SIZES).put_old(KEY, OLD).plan(KEY)
    start = threading.Barrier(2)

    def work() -> None:
        start.wait(30)
        job.run().raise_for_failures()

    with ThreadPoolExecutor(2) as pool:
        for end in [pool.submit(work), pool.submit(work)]:
            end.result(120)
    assert pair.data(KEY) == DATA
    assert pair.open_uploads() == []
