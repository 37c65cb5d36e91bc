"""A person, or another program, ends a copy through Airflow's API while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.kill.large_copy import (
    TASK,
    Copy,
    check_copied,
    check_right,
    check_unfinished_is_named,
    moving,
)
from tests.support.demo_data import BIG_PARTS
from tests.support.distributed_stage import DistributedStage

ENDS_WITHIN_S = 15.0
"""From the answer of the API until the process is gone: asked of every way to end a task."""


def mark_task(copy: Copy, state: str) -> None:
    """“Mark state as …” of the task."""
    api = copy.stage.airflow.api
    api.set_task_state(copy.dag_id, copy.run_id, TASK, state, map_index=0)


def mark_run(copy: Copy, state: str) -> None:
    """“Mark run as …”."""
    copy.stage.airflow.api.set_run_state(copy.dag_id, copy.run_id, state)


def clear(copy: Copy) -> None:
    """“Clear” of the task and what follows it."""
    copy.stage.airflow.api.clear_task(copy.dag_id, copy.run_id, TASK)


def interrupted(stage: DistributedStage, call: Callable[[Copy], None]) -> Copy:
    """Return a copy that a call to the API has ended within its time, while bytes moved."""
    with moving(stage, 6) as copy:
        processes = copy.processes()
        call(copy)
        copy.note_end(processes, deadline_s=ENDS_WITHIN_S)
    assert len(copy.landed) in range(6, BIG_PARTS)
    return copy


@pytest.mark.parametrize("mark", [mark_task, mark_run], ids=["task", "run"])
def test_c14_a_copy_marked_failed_ends_and_goes_on_when_it_is_cleared(
    stage: DistributedStage, mark: Callable[[Copy, str], None]
) -> None:
    """It ends while bytes move and sends nothing more; its upload stays, named by a checkpoint."""
    copy = interrupted(stage, lambda copy: mark(copy, "failed"))
    assert stage.airflow.api.wait_run(copy.dag_id, copy.run_id) == "failed"
    assert copy.sent(after=copy.ended) == []
    check_unfinished_is_named(stage)

    clear(copy)
    copy.check_resumed(copy.finish())


def test_c14_a_copy_cleared_while_it_runs_ends_and_goes_on_by_itself(
    stage: DistributedStage,
) -> None:
    """The same run succeeds, and its next attempt sends what is missing."""
    copy = interrupted(stage, clear)
    copy.check_resumed(copy.finish())


def test_c40_a_copy_marked_successful_ends_and_its_run_does_not_say_that_it_was_done(
    stage: DistributedStage,
) -> None:
    """What is half-way stays for the next run, which sends only what is missing."""
    copy = interrupted(stage, lambda copy: mark_task(copy, "success"))
    report = copy.finish("failed")
    assert report["planned"] == 1
    assert report["copied"] == report["verified"] == 0
    assert copy.sent(after=copy.ended) == []
    check_unfinished_is_named(stage)
    following(copy)


def test_c14_the_run_of_a_copy_is_marked_successful_and_the_next_run_goes_on(
    stage: DistributedStage,
) -> None:
    """Nothing of that run is begun any more, and nothing more of it is sent."""
    copy = interrupted(stage, lambda copy: mark_run(copy, "success"))
    assert stage.airflow.api.wait_run(copy.dag_id, copy.run_id) == "success"
    assert copy.sent(after=copy.ended) == []
    check_unfinished_is_named(stage)
    following(copy)


def following(copy: Copy) -> Mapping[str, Any]:
    """Check that the next run sends what an ended one left, and return its report."""
    after = Copy.begin(copy.stage, copy.dag_id, anew=False)
    report = after.finish()
    check_copied(report)
    check_right(copy.stage)
    assert report["kept_parts"] == len(copy.landed)
    assert report["sent_parts"] == len(after.sent()) == BIG_PARTS - len(copy.landed)
    return report
