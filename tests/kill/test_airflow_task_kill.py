"""The task that copies the large object is killed in the middle, and Airflow tries it again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.demo_data import BIG_KEY, BIG_PARTS
from tests.support.processes import wait_until
from tests.support.stage import NIGHTLY, TARGET_BUCKET
from tests.support.watchdog import session_of
from tests.support.wire_rules import Exchange, Match, Rule, Side, Throttle
from tests.support.wired_stage import WiredStage

TASK = "transfer"
IN_FLIGHT = 8
"""Parts that a task sends at a time."""
SENDS = Match(operation="UploadPart", path=f"^/{TARGET_BUCKET}/{BIG_KEY}$")
READS = Match(operation="GetObject", path=f"/{BIG_KEY}$")
ALL_PARTS = frozenset(range(1, BIG_PARTS + 1))
SLOW = 1024 * 1024


class AfterFirst:
    """Picks what another predicate picks, but for the first few."""

    def __init__(self, passing: int, predicate: Match) -> None:
        self._passing = passing
        self._predicate = predicate
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> bool:
        """Count the request if it is one of those meant, and return whether to pick it."""
        if not self._predicate(exchange):
            return False
        with self._lock:
            self._passing -= 1
            return self._passing < 0


@dataclass(kw_only=True)
class Copy:
    """A run of the nightly sync that copies the large object, and what the wire saw of it."""

    stage: WiredStage
    before: int
    """Requests on the target's wire before this run."""
    run_id: str
    landed: set[int] = field(default_factory=set)
    """Parts that the target had answered for when the first attempt ended."""
    acknowledged: set[int] = field(default_factory=set)
    """Those of them whose answer the task was given in full."""
    ended: int = 0
    """Requests on the target's wire until then."""

    @classmethod
    def begin(cls, stage: WiredStage) -> Copy:
        """Take the object away from the target, and start a run."""
        stage.airflow.wait_for_dag(NIGHTLY)
        stage.target.client().delete_object(Bucket=TARGET_BUCKET, Key=BIG_KEY)
        before = len(stage.target_wire.exchanges)
        return cls(stage=stage, before=before, run_id=stage.airflow.api.trigger(NIGHTLY))

    def sent(self, *, after: int | None = None) -> list[Exchange]:
        """Return the parts sent by this run, or by its later attempts."""
        first = self.before if after is None else after
        return [e for e in self.stage.target_wire.seen(SENDS) if e.number > first]

    def wait_acknowledged(self, count: int) -> None:
        """Return once so many parts were answered in full."""
        self.stage.target_wire.wait_for(
            lambda e: SENDS(e) and e.number > self.before and _is_answered(e),
            count=count,
            deadline_s=60,
        )

    def task_process(self) -> int:
        """Return the process of the transfer, having seen that it is this one and no other."""
        found = self.stage.airflow.api.wait_task(NIGHTLY, self.run_id, TASK, "running", map_index=0)
        pid: int = found["pid"]
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
        assert title == f"airflow worker -- {found['id']}"
        assert session_of(pid) == self.stage.airflow.child("scheduler").pid
        return pid

    def note_end(self, pid: int) -> None:
        """Wait for the process to be gone, and note what the target had answered for."""
        wait_until(lambda: session_of(pid) is None, deadline_s=30, what=f"{pid} has ended")
        self.ended = len(self.stage.target_wire.exchanges)
        self.landed = {_part(e) for e in self.sent() if e.upstream_status == 200}
        self.acknowledged = {_part(e) for e in self.sent() if _is_answered(e)}

    def finish(self) -> dict[str, Any]:
        """Wait until the run has ended well, and return its report."""
        api = self.stage.airflow.api
        state = api.wait_run(NIGHTLY, self.run_id)
        assert state == "success", self.stage.logs(self.run_id)
        return self.stage.report(self.run_id)

    def log(self, try_number: int) -> str:
        """Return the log of one attempt of the transfer."""
        return self.stage.airflow.api.task_log(
            NIGHTLY, self.run_id, TASK, map_index=0, try_number=try_number
        )

    def check_resumed(self, report: dict[str, Any], *, attempt: int = 2) -> None:
        """Check that the object is right, and that nothing was sent twice."""
        assert {e.query["uploadId"] for e in self.sent()} == {self.sent()[0].query["uploadId"]}
        again = [_part(e) for e in self.sent(after=self.ended)]
        assert self.acknowledged.isdisjoint(again)
        assert sorted(again) == sorted(ALL_PARTS - self.landed)
        assert f"kept {len(self.landed)} of {BIG_PARTS} parts" in self.log(attempt)
        assert report["kept_parts"] == len(self.landed)
        assert report["sent_parts"] == len(again)
        assert report["planned"] == report["copied"] == report["verified"] == 1
        assert report["failed"] == 0
        check = self.stage.rclone_check()
        assert check.returncode == 0, check.stderr
        uploads = self.stage.target.client().list_multipart_uploads(Bucket=TARGET_BUCKET)
        assert uploads.get("Uploads", []) == []


def _part(exchange: Exchange) -> int:
    return int(exchange.query["partNumber"])


def _is_answered(exchange: Exchange) -> bool:
    return exchange.status == 200 and exchange.is_over


@contextmanager
def halted(stage: WiredStage, acknowledged: int, side: Side = "request") -> Iterator[Copy]:
    """Give a copy of which exactly so many parts are acknowledged, and no more can be.

    The other parts under way are held before they reach the target, or (``answer``) with the
    target's answer to them; what is still held at the end of the block is cut off.
    """
    with stage.target_wire.hold(AfterFirst(acknowledged, SENDS), side=side) as hold:
        copy = Copy.begin(stage)
        hold.wait(count=min(IN_FLIGHT, BIG_PARTS - acknowledged), deadline_s=60)
        copy.wait_acknowledged(acknowledged)
        yield copy
        hold.drop()


@pytest.mark.parametrize(
    ("acknowledged", "side"), [(5, "request"), (12, "answer"), (20, "request")]
)
def test_c17_a_task_killed_in_the_middle_of_a_large_object_goes_on_where_it_was(
    airflow_stage: WiredStage, acknowledged: int, side: Side
) -> None:
    """Airflow tries again by itself; the parts that the target holds are not sent again.

    Neither are those (``answer``) that it had taken when the task was killed, unheard.
    """
    with halted(airflow_stage, acknowledged, side) as copy:
        pid = copy.task_process()
        os.kill(pid, signal.SIGKILL)
        copy.note_end(pid)
    unheard = IN_FLIGHT if side == "answer" else 0
    assert len(copy.acknowledged) == acknowledged
    assert len(copy.landed) == acknowledged + unheard

    report = copy.finish()
    copy.check_resumed(report)
    assert report["reread_parts"] >= unheard


def test_c14_a_terminated_task_fails_and_the_next_attempt_sends_what_is_missing(
    airflow_stage: WiredStage,
) -> None:
    """SIGTERM ends it although its requests hang; all that was acknowledged is recorded."""
    with halted(airflow_stage, 9) as copy:
        pid = copy.task_process()
        os.kill(pid, signal.SIGTERM)
        copy.note_end(pid)
    assert len(copy.landed) == 9

    report = copy.finish()
    copy.check_resumed(report)
    assert report["reread_parts"] == 0
    assert "CopyStoppedError" in copy.log(1)


def test_c14_a_task_marked_failed_stops_and_goes_on_when_it_is_cleared(
    airflow_stage: WiredStage,
) -> None:
    """The transfer ends while bytes move, sends no part after that, and its run is failed.

    Cleared with all that follows it, the task sends the rest, and the run succeeds.
    """
    api = airflow_stage.airflow.api
    slow = Rule(when=AfterFirst(6, READS), action=Throttle(SLOW))
    airflow_stage.source_wire.add(slow)
    try:
        copy = Copy.begin(airflow_stage)
        copy.wait_acknowledged(6)
        pid = copy.task_process()
        api.set_task_state(NIGHTLY, copy.run_id, TASK, "failed", map_index=0)
        copy.note_end(pid)
        assert api.wait_run(NIGHTLY, copy.run_id) == "failed"
    finally:
        airflow_stage.source_wire.clear()
    assert copy.sent(after=copy.ended) == []
    assert len(copy.landed) in range(6, BIG_PARTS)

    api.call(
        "POST",
        f"dags/{NIGHTLY}/clearTaskInstances",
        {
            "dag_run_id": copy.run_id,
            "task_ids": [TASK],
            "include_downstream": True,
            "only_failed": False,
            "dry_run": False,
            "reset_dag_runs": True,
        },
    )
    copy.check_resumed(copy.finish())
