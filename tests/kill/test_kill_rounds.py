"""A few rounds of kills at moments drawn from a seed; ``make kill-rounds`` plays many more."""

from __future__ import annotations

import pytest

from tests.support.distributed_stage import DistributedStage
from tests.support.kill_rounds import DAG_ID, play, slow_reads
from tests.support.kill_script import MOST_STRIKES, script_of

SEEDS = (38, 21, 35)
"""Their rounds hit every kind of victim."""


def test_a_seed_tells_its_round() -> None:
    """The same objects and the same strikes, whenever it is asked; the chosen ones hit all."""
    assert script_of(7) == script_of(7)
    assert script_of(7) != script_of(8)
    scripts = [script_of(seed) for seed in SEEDS]
    struck = {strike.victim for script in scripts for strike in script.strikes}
    assert struck == {"task", "pair", "worker", "scheduler", "terminated"}
    for script in scripts:
        assert 1 <= len(script.strikes) <= MOST_STRIKES
        assert len(list(script.small_objects())) + len(list(script.large_objects())) == (
            script.objects
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_c17_a_sync_whose_processes_are_killed_ends_by_airflows_own_retries(
    stage: DistributedStage, seed: int
) -> None:
    """The buckets are equal, no acknowledged part is sent again, no upload is left unnamed.

    And the report is true.
    """
    stage.airflow.wait_for_dag(DAG_ID)
    slow_reads(stage)
    try:
        verdict = play(stage, seed)
    finally:
        stage.source_wire.clear()
    assert verdict.is_good, verdict.line(1, 0)
    assert verdict.resent == 0
    assert verdict.strikes
