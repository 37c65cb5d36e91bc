"""Objects that are written while they are read, between real servers over broken wires."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from airflow_provider_s3resume.exceptions import CopyStoppedError
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.transfer import batch
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Proof, Status
from airflow_provider_s3resume.transfer.pool import MemoryBudget
from airflow_provider_s3resume.transfer.reading import STREAM_BUFFER
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.conftest import SeaweedPair
from tests.support.transfer_servers import Job, Pair
from tests.support.wire import Wire
from tests.support.wire_rules import (
    EXPIRED_TOKEN,
    INTERNAL_ERROR,
    SLOW_DOWN,
    Action,
    CutHead,
    Exchange,
    Flip,
    Match,
    Replace,
    Reset,
    Rule,
    Stall,
    Truncate,
)

KEY, OLD = "whole", b"the old object"
DATA = random.Random(1).randbytes(3 * MIB + 1000)
NEW = random.Random(2).randbytes(len(DATA))
GET = Match(operation="GetObject", path=f"/{KEY}")
PUT = Match(operation="PutObject", path=f"/{KEY}")
THRESHOLD = 8 * MIB
STOP_DEADLINE_S = 15.0
DENIED = b"<Error><Code>AccessDenied</Code><Message>on purpose</Message></Error>"
INVALID = b"<Error><Code>InvalidRequest</Code><Message>on purpose</Message></Error>"


@pytest.fixture
def pair(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Pair:
    """Give two buckets behind wires."""
    return Pair(seaweed_pair.source.endpoint, seaweed_pair.target.endpoint, bucket, wire)


def planned(pair: Pair, data: bytes = DATA) -> Job:
    """Plan an object that is written in one request, over an old one."""
    job = pair.put(KEY, data).put_old(KEY, OLD).plan(KEY)
    return replace(job, threshold=THRESHOLD)


def attempt(pair: Pair, *rules: tuple[str, Rule]) -> tuple[Outcome, list[Exchange], int]:
    """Copy over wires with these rules; return what came of it, the PUTs, and how many GETs."""
    job = planned(pair)
    wires = {"source": pair.source_wire, "target": pair.target_wire}
    for side, rule in rules:
        wires[side].add(rule)
    job.run()
    puts, gets = pair.target_wire.seen(PUT), len(pair.source_wire.seen(GET))
    assert all(one.is_over for one in pair.target_wire.wait_for(lambda e: PUT(e) and e.is_over))
    for wire in wires.values():
        wire.clear()
    first = pair.outcomes(job)[KEY]
    if first.status is Status.FAILED:
        assert pair.data(KEY) == OLD
        job.run()
    last = pair.outcomes(job)[KEY]
    assert last.status in LANDED, last.error
    assert pair.data(KEY) == DATA
    assert pair.open_uploads() == []
    return first, puts, gets


def test_c18_an_object_is_sent_as_it_comes(pair: Pair) -> None:
    """One GET, one conditional PUT with the MD5 that the server compares, and nothing else."""
    outcome, [put], gets = attempt(pair)
    assert (outcome.status, outcome.proof, outcome.unprotected) == (
        Status.COPIED,
        Proof.ETAG,
        False,
    )
    digest = hashlib.md5(DATA, usedforsecurity=False).digest()
    assert put.headers["content-md5"] == base64.b64encode(digest).decode()
    assert put.headers["content-length"] == str(len(DATA))
    assert "if-match" in put.headers
    assert not [name for name in put.headers if name.startswith("x-amz-checksum")]
    assert (put.status, gets) == (200, 1)
    heads = pair.target_wire.seen(Match(operation="HeadObject", path=f"/{KEY}"))
    assert [head for head in heads if head.number > put.number] == []


@dataclass(frozen=True, kw_only=True)
class Passing:
    """A fault that passes.

    :param puts: requests that the target gets in all.
    :param gets: requests that the source gets in all.
    """

    side: str
    action: Action
    times: int
    puts: int
    gets: int


HEALED = {
    "source-resets": Passing(side="source", action=Reset(side="request"), times=2, puts=1, gets=3),
    "source-cuts-bodies": Passing(
        side="source", action=Truncate(1_100_000), times=2, puts=1, gets=3
    ),
    "source-resets-in-the-body": Passing(
        side="source", action=Truncate(2_500_000, by_reset=True), times=1, puts=1, gets=2
    ),
    "source-503-burst": Passing(
        side="source", action=Replace(status=503, body=SLOW_DOWN), times=3, puts=1, gets=4
    ),
    "source-500-burst": Passing(
        side="source", action=Replace(status=500, body=INTERNAL_ERROR), times=2, puts=1, gets=3
    ),
    "source-flips-a-bit": Passing(
        side="source", action=Flip(side="answer", offset=2_000_000), times=1, puts=2, gets=2
    ),
    "target-resets": Passing(side="target", action=Reset(side="request"), times=1, puts=2, gets=2),
    "target-resets-in-the-body": Passing(
        side="target",
        action=Truncate(1_500_000, side="request", by_reset=True),
        times=1,
        puts=2,
        gets=2,
    ),
    "target-flips-a-bit": Passing(
        side="target", action=Flip(side="request", offset=2_000_000), times=1, puts=2, gets=2
    ),
    # The object is read again, to be compared with what is there; it is not sent again.
    "target-loses-the-answer": Passing(
        side="target", action=Reset(side="answer"), times=1, puts=1, gets=2
    ),
    "target-cuts-the-answer": Passing(side="target", action=CutHead(), times=1, puts=1, gets=2),
    "target-503-burst": Passing(
        side="target", action=Replace(status=503, body=SLOW_DOWN), times=3, puts=4, gets=2
    ),
    "target-500-burst": Passing(
        side="target", action=Replace(status=500, body=INTERNAL_ERROR), times=2, puts=3, gets=2
    ),
    "target-500-though-done": Passing(
        side="target",
        action=Replace(status=500, body=INTERNAL_ERROR, forward=True),
        times=1,
        puts=1,
        gets=2,
    ),
    "target-says-expired": Passing(
        side="target", action=Replace(status=403, body=EXPIRED_TOKEN), times=1, puts=2, gets=2
    ),
}


@pytest.mark.parametrize("fault", HEALED)
def test_c16_a_passing_fault_is_healed_within_the_attempt(pair: Pair, fault: str) -> None:
    """The right bytes at the first attempt, and no request more than that takes."""
    what = HEALED[fault]
    match = GET if what.side == "source" else PUT
    rule = Rule(when=match, action=what.action, times=what.times)
    outcome, puts, gets = attempt(pair, (what.side, rule))
    assert outcome.status is Status.COPIED, outcome.error
    assert rule.used == what.times
    assert (len(puts), gets) == (what.puts, what.gets)
    assert (outcome.proof, outcome.bytes_moved) == (Proof.ETAG, len(DATA))


LASTING: dict[str, tuple[str, Action, str]] = {
    "source-flips-bits": ("source", Flip(side="answer", offset=77), "VerificationError"),
    "target-flips-bits": ("target", Flip(side="request", offset=77), "DigestRejectedError"),
    "denied": ("target", Replace(status=403, body=DENIED), "AccessDeniedError"),
    "bad-request": ("target", Replace(status=400, body=INVALID), "StoreError"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_c18_c41_what_stays_fails_the_object_and_leaves_the_old_one(pair: Pair, fault: str) -> None:
    """What no other try helps against is asked once."""
    side, action, kind = LASTING[fault]
    rule = Rule(when=GET if side == "source" else PUT, action=action)
    outcome, puts, gets = attempt(pair, (side, rule))
    assert outcome.error_kind == kind
    if side == "target" and isinstance(action, Replace):
        assert (len(puts), gets) == (1, 1)


def test_c10_a_source_replaced_in_the_middle_starts_over(pair: Pair) -> None:
    """The connection breaks, and the object is another one: the write is broken off, too."""
    job = planned(pair)
    pair.source_wire.add(Rule(when=GET, action=Truncate(1_500_000), times=1))
    again = Match(operation="GetObject", path=f"/{KEY}", header="range")
    with ThreadPoolExecutor(1) as threads, pair.source_wire.hold(again) as hold:
        end = threads.submit(job.run)
        hold.wait()
        pair.put(KEY, NEW)
        assert pair.data(KEY) == OLD
        hold.release()
        end.result(60)
    outcome = pair.outcomes(job)[KEY]
    assert outcome.status is Status.COPIED, outcome.error
    assert "the source was replaced since the plan" in outcome.notes
    assert pair.data(KEY) == NEW
    first, second = pair.target_wire.seen(PUT)
    assert (first.status, second.status) == (None, 200)


def test_c17_a_stop_ends_a_write_whose_source_stalls(pair: Pair) -> None:
    """Soon, with nothing at the target; the next attempt copies it."""
    job = planned(pair)
    stall = Rule(when=GET, action=Stall(side="answer", after_bytes=1_500_000))
    pair.source_wire.add(stall)
    stop = StopSignal()
    with ThreadPoolExecutor(1) as threads:
        end = threads.submit(job.run, stop)
        pair.target_wire.wait_for(PUT)
        assert stall.used == 1
        stop.stop("SIGTERM")
        with pytest.raises(CopyStoppedError, match="SIGTERM"):
            end.result(STOP_DEADLINE_S)
    [put] = pair.target_wire.wait_for(lambda e: PUT(e) and e.is_over)
    assert put.status is None
    assert pair.data(KEY) == OLD
    pair.source_wire.clear()
    job.run()
    assert pair.outcomes(job)[KEY].status is Status.COPIED
    assert pair.data(KEY) == DATA


@pytest.mark.parametrize("busy", [False, True])
def test_c20_objects_take_a_buffer_each_of_the_budget(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, *, busy: bool
) -> None:
    """Those that have to be held wait for room: the budget is kept to, whatever fails."""
    budgets: list[MemoryBudget] = []

    def made(total: int) -> MemoryBudget:
        budgets.append(MemoryBudget(total))
        return budgets[-1]

    monkeypatch.setattr(batch, "MemoryBudget", made)
    keys = [f"{KEY}{n}" for n in range(4)]
    bodies = {key: random.Random(n).randbytes(8 * MIB) for n, key in enumerate(keys)}
    for key, data in bodies.items():
        pair.put(key, data)
    job = replace(pair.plan(*keys), threshold=THRESHOLD, memory_budget=16 * MIB)
    if busy:
        reset = Truncate(3_000_000, side="request", by_reset=True)
        pair.target_wire.add(Rule(when=PUT, action=reset, times=3))
    job.run().raise_for_failures()
    assert {key: pair.data(key) for key in keys} == bodies
    [budget] = budgets
    assert budget.peak <= (16 * MIB if busy else 2 * STREAM_BUFFER)
    assert budget._used == 0
    assert len(pair.target_wire.seen(PUT)) == len(keys) + 3 * busy
