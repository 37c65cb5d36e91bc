"""Two runs of one DAG on the same pair of buckets (c15)."""

from __future__ import annotations

from collections import Counter

from tests.kill.large_copy import (
    IN_FLIGHT,
    SENDS,
    AfterFirst,
    Copy,
    check_right,
    is_answered,
    part_of,
)
from tests.support.distributed_stage import DistributedStage
from tests.support.stage import NIGHTLY

TWO_AT_ONCE = "batched_sync"
"""A sync that allows two runs at once."""


def test_c15_a_second_run_waits_for_the_first_and_copies_nothing(stage: DistributedStage) -> None:
    """What the example DAG does by itself: ``max_active_runs=1``."""
    api = stage.airflow.api
    with stage.target_wire.hold(AfterFirst(4, SENDS)) as hold:
        first = Copy.begin(stage)
        hold.wait(deadline_s=60)
        second = api.trigger(NIGHTLY)
        assert api.run_state(NIGHTLY, second) == "queued"
        hold.release()
        report = first.finish()
    assert report["copied"] == 1
    assert api.wait_run(NIGHTLY, second) == "success"
    again = stage.report(second)
    assert again["planned"] == again["copied"] == again["sent_parts"] == 0
    check_right(stage)
    assert max(Counter(part_of(e) for e in first.sent()).values()) == 1


def test_c15_two_runs_at_once_make_one_right_object(stage: DistributedStage) -> None:
    """Both plan the same copy, and have parts of it under way at once, in one upload.

    What the first had landed when the second began is not sent again.
    """
    with stage.target_wire.hold(AfterFirst(4, SENDS)) as hold:
        first = Copy.begin(stage, TWO_AT_ONCE)
        hold.wait(count=IN_FLIGHT, deadline_s=60)
        first.wait_acknowledged(4)
        landed = {part_of(e) for e in first.sent() if is_answered(e)}
        second = Copy.begin(stage, TWO_AT_ONCE, anew=False)
        # The ninth that waits is the second's.
        hold.wait(count=IN_FLIGHT + 1, deadline_s=60)
        pids = {copy.processes().task for copy in (first, second)}
        hold.release()
        reports = [first.finish(), second.finish()]
    assert len(pids) == 2
    for report in reports:
        assert report["planned"] == report["verified"] == 1
        assert report["failed"] == 0
    # One completed it, the other found it done.
    assert sorted((r["copied"], r["already_there"]) for r in reports) == [(0, 1), (1, 0)]
    check_right(stage)
    assert {e.query["uploadId"] for e in first.sent()} == {first.sent()[0].query["uploadId"]}
    sent = Counter(part_of(e) for e in first.sent())
    assert len(landed) == 4
    assert {sent[part] for part in landed} == {1}
