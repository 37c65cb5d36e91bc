"""Two runs of one DAG on the same pair of buckets (c15)."""

from __future__ import annotations

from collections import Counter

from tests.kill.large_copy import SENDS, AfterFirst, Copy, check_right, part_of
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
    """Both plan the same copy before either has made it, and both are under way at once."""
    with stage.target_wire.hold(AfterFirst(4, SENDS)) as hold:
        first = Copy.begin(stage, TWO_AT_ONCE)
        second = Copy.begin(stage, TWO_AT_ONCE, anew=False)
        pids = {copy.processes().task for copy in (first, second)}
        hold.wait(count=9, deadline_s=60)
        hold.release()
        reports = [first.finish(), second.finish()]
    assert len(pids) == 2
    for report in reports:
        assert report["planned"] == 1
        assert report["failed"] == 0
        assert report["verified"] == 1
    check_right(stage)
