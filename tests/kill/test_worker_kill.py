"""Processes of a worker are killed in the middle of a large object, and Airflow tries again."""

from __future__ import annotations

import os
import signal
from collections import Counter

from tests.kill.large_copy import (
    IN_FLIGHT,
    check_copied,
    check_right,
    halted,
    moving,
    part_of,
)
from tests.support import watchdog
from tests.support.celery_backend import WORKERS
from tests.support.distributed_stage import DistributedStage
from tests.support.stage import NIGHTLY


def test_c17_a_killed_task_goes_on_where_it_was(stage: DistributedStage) -> None:
    """Not even those parts are sent again that the target had taken, unheard."""
    with halted(stage, 12, "answer") as copy:
        processes = copy.processes()
        os.kill(processes.task, signal.SIGKILL)
        copy.note_end(processes)
    assert len(copy.acknowledged) == 12
    assert len(copy.landed) == 12 + IN_FLIGHT

    report = copy.finish()
    copy.check_resumed(report)
    assert report["reread_parts"] >= IN_FLIGHT


def test_c17_a_task_killed_with_its_supervisor_goes_on_where_it_was(
    stage: DistributedStage,
) -> None:
    """Nobody is left to tell Airflow that the task has ended; the worker itself lives on."""
    with halted(stage, 5) as copy:
        processes = copy.processes()
        os.kill(processes.supervisor, signal.SIGKILL)
        os.kill(processes.task, signal.SIGKILL)
        copy.note_end(processes)
    assert len(copy.acknowledged) == 5

    report = copy.finish()
    copy.check_resumed(report)
    assert stage.worker(processes.worker).is_running()
    assert stage.worker(processes.worker).pid == processes.main


def test_c17_what_a_dead_worker_was_copying_goes_on_at_the_other(stage: DistributedStage) -> None:
    """All its processes die at once, as a machine does; it stays away until the run has ended."""
    with halted(stage, 9) as copy:
        processes = copy.processes()
        stage.worker(processes.worker).kill()
        copy.note_end(processes)
    second = copy.processes(try_number=2)
    assert {processes.worker, second.worker} == set(WORKERS)

    copy.check_resumed(copy.finish())
    assert copy.transfer()["hostname"] == second.worker


def test_c15_a_task_that_outlives_its_supervisor_ends_by_itself(stage: DistributedStage) -> None:
    """Within seconds, though its requests hang; the next attempt may begin before that."""
    with halted(stage, 6) as copy:
        processes = copy.processes()
        os.kill(processes.supervisor, signal.SIGKILL)
        copy.note_end(processes)
    report = copy.finish()
    check_copied(report)
    check_right(stage)
    assert report["kept_parts"] == len(copy.acknowledged) == 6
    sent = Counter(part_of(e) for e in copy.sent())
    assert {sent[part] for part in copy.acknowledged} == {1}


def test_c14_a_terminated_task_fails_and_the_next_attempt_sends_what_is_missing(
    stage: DistributedStage,
) -> None:
    """SIGTERM ends it although its requests hang; all that was acknowledged is recorded."""
    with halted(stage, 9) as copy:
        processes = copy.processes()
        os.kill(processes.task, signal.SIGTERM)
        copy.note_end(processes)
    assert len(copy.landed) == 9

    report = copy.finish()
    copy.check_resumed(report)
    assert report["reread_parts"] == 0
    assert "CopyStoppedError" in copy.log(1)


def test_c14_a_worker_told_to_end_finishes_its_copy_and_takes_no_other_task(
    stage: DistributedStage,
) -> None:
    """SIGTERM to a Celery worker is a warm shutdown: the copy is not interrupted."""
    with moving(stage, 6) as copy:
        processes = copy.processes()
        stage.worker(processes.worker).ask_to_end()
        copy.wait_acknowledged(8)
    copy.note_end(processes)
    report = copy.finish()
    stage.wait_ended(processes.worker)
    check_copied(report)
    check_right(stage)
    assert copy.transfer()["try_number"] == 1
    assert report["sent_parts"] == len(copy.sent())
    (other,) = set(WORKERS) - {processes.worker}
    after = {t["hostname"] for t in tasks_after(stage, copy.run_id)}
    assert after == {other}


def test_c17_a_worker_that_is_not_given_the_time_to_finish_goes_on_at_the_other(
    stage: DistributedStage,
) -> None:
    """A scale-in: SIGTERM to the worker, and SIGKILL to all of it while the copy still runs."""
    with halted(stage, 7) as copy:
        processes = copy.processes()
        worker = stage.worker(processes.worker)
        worker.ask_to_end()
        stage.wait_log(processes.worker, "Warm shutdown")
        assert worker.is_running()
        worker.kill()
        copy.note_end(processes)
    copy.check_resumed(copy.finish())


def test_c14_a_worker_that_ends_at_once_leaves_a_copy_that_goes_on_at_the_other(
    stage: DistributedStage,
) -> None:
    """SIGQUIT is Celery's cold shutdown: it ends its tasks, and gives their messages back."""
    with halted(stage, 11) as copy:
        processes = copy.processes()
        os.kill(processes.main, signal.SIGQUIT)
        copy.note_end(processes)
    stage.wait_ended(processes.worker)
    copy.check_resumed(copy.finish())
    assert "CopyStoppedError" in copy.log(1)


def test_c14_a_worker_whose_processes_are_all_told_to_end_leaves_a_copy_that_goes_on(
    stage: DistributedStage,
) -> None:
    """SIGTERM to each of them, as systemd stops a service: the task is told more than once."""
    with halted(stage, 8) as copy:
        processes = copy.processes()
        watchdog.signal_all(watchdog.members({processes.main}), signal.SIGTERM)
        copy.note_end(processes)
    stage.wait_ended(processes.worker)
    copy.check_resumed(copy.finish())
    assert "CopyStoppedError" in copy.log(1)


def tasks_after(stage: DistributedStage, run_id: str) -> list[dict[str, object]]:
    """Return the tasks of a nightly run that follow the transfer."""
    found = stage.airflow.api.task_instances(NIGHTLY, run_id)
    return [task for task in found if task["task_id"] in {"verify", "report"}]
