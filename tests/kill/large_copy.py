"""A run that copies one large object, and what the target's wire saw of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.demo_data import BIG_KEY, BIG_PARTS
from tests.support.distributed_stage import DistributedStage, TaskProcesses
from tests.support.kill_judge import strays
from tests.support.stage import NIGHTLY, STATE_BUCKET, TARGET_BUCKET
from tests.support.wire_rules import Exchange, Match, Rule, Side, Throttle

TASK = "transfer"
IN_FLIGHT = 8
"""Parts that a task sends at a time."""
SENDS = Match(operation="UploadPart", path=f"^/{TARGET_BUCKET}/{BIG_KEY}$")
READS = Match(operation="GetObject", path=f"/{BIG_KEY}$")
ALL_PARTS = frozenset(range(1, BIG_PARTS + 1))
SLOW = 1024 * 1024
"""Bytes a second of each connection, so that a part takes 8 s and the parts in flight overlap."""
RUN_DEADLINE_S = 120.0


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
    """A run of a sync that copies the large object, and what the wire saw of it."""

    stage: DistributedStage
    dag_id: str
    before: int
    """Requests on the target's wire before this run."""
    run_id: str
    landed: set[int] = field(default_factory=set)
    """Parts that the target had answered for when the attempt ended."""
    acknowledged: set[int] = field(default_factory=set)
    """Those of them whose answer the task was given in full."""
    ended: int = 0
    """Requests on the target's wire until then."""

    @classmethod
    def begin(cls, stage: DistributedStage, dag_id: str = NIGHTLY, *, anew: bool = True) -> Copy:
        """Start a run; ``anew`` takes the object away from the target before."""
        stage.airflow.wait_for_dag(dag_id)
        if anew:
            stage.target.client().delete_object(Bucket=TARGET_BUCKET, Key=BIG_KEY)
        before = len(stage.target_wire.exchanges)
        run_id = stage.airflow.api.trigger(dag_id)
        return cls(stage=stage, dag_id=dag_id, before=before, run_id=run_id)

    def sent(self, *, after: int | None = None) -> list[Exchange]:
        """Return the parts sent since this run began, or by its later attempts."""
        first = self.before if after is None else after
        return [e for e in self.stage.target_wire.seen(SENDS) if e.number > first]

    def wait_acknowledged(self, count: int) -> None:
        """Return once so many parts were answered in full."""
        self.stage.target_wire.wait_for(
            lambda e: SENDS(e) and e.number > self.before and is_answered(e),
            count=count,
            deadline_s=60,
        )

    def processes(self, *, try_number: int = 1) -> TaskProcesses:
        """Return the processes of the transfer."""
        return self.stage.processes(
            self.dag_id, self.run_id, TASK, map_index=0, try_number=try_number
        )

    def note_end(self, processes: TaskProcesses, deadline_s: float = RUN_DEADLINE_S) -> None:
        """Wait for the task's process to be gone, and note what the target had answered for."""
        processes.wait_gone(deadline_s)
        self.ended = len(self.stage.target_wire.exchanges)
        self.landed = {part_of(e) for e in self.sent() if e.upstream_status == 200}
        self.acknowledged = {part_of(e) for e in self.sent() if is_answered(e)}

    def finish(self, state: str = "success") -> dict[str, Any]:
        """Wait until the run has ended as it must, and return its report."""
        found = self.stage.airflow.api.wait_run(self.dag_id, self.run_id, RUN_DEADLINE_S)
        assert found == state, self.stage.logs(self.run_id, self.dag_id)
        return self.stage.report(self.run_id, self.dag_id)

    def log(self, try_number: int) -> str:
        """Return the log of one attempt of the transfer."""
        return self.stage.airflow.task_log(
            self.dag_id, self.run_id, TASK, map_index=0, try_number=try_number
        )

    def transfer(self) -> Mapping[str, Any]:
        """Return the task instance of the transfer, as it is now."""
        return self.stage.airflow.api.task_instance(self.dag_id, self.run_id, TASK, map_index=0)

    def check_resumed(self, report: Mapping[str, Any], *, attempt: int | None = None) -> None:
        """Check that the object is right, and that nothing the target had was sent again.

        :param attempt: the one that went on; the second, if not told otherwise.
        """
        again = [part_of(e) for e in self.sent(after=self.ended)]
        assert sorted(again) == sorted(ALL_PARTS - self.landed)
        assert {e.query["uploadId"] for e in self.sent()} == {self.sent()[0].query["uploadId"]}
        assert f"kept {len(self.landed)} of {BIG_PARTS} parts" in self.log(attempt or 2)
        assert report["kept_parts"] == len(self.landed)
        assert report["sent_parts"] == len(again)
        check_copied(report)
        check_right(self.stage)


def check_copied(report: Mapping[str, Any]) -> None:
    """Check that a report says that the object was copied, and nothing else."""
    assert report["planned"] == report["copied"] == report["verified"] == 1
    assert report["failed"] == 0


def check_right(stage: DistributedStage) -> None:
    """Check that the target holds the right bytes, and no unfinished upload."""
    check = stage.rclone_check()
    assert check.returncode == 0, check.stderr
    uploads = stage.target.client().list_multipart_uploads(Bucket=TARGET_BUCKET)
    assert uploads.get("Uploads", []) == []


def check_unfinished_is_named(stage: DistributedStage) -> None:
    """Check that there is one unfinished upload, and that a checkpoint names it."""
    client = stage.target.client()
    uploads = client.list_multipart_uploads(Bucket=TARGET_BUCKET).get("Uploads", [])
    assert [upload["Key"] for upload in uploads] == [BIG_KEY]
    assert strays(client, TARGET_BUCKET, STATE_BUCKET, BIG_KEY) == []


def part_of(exchange: Exchange) -> int:
    """Return the number of the part that was sent."""
    return int(exchange.query["partNumber"])


def is_answered(exchange: Exchange) -> bool:
    """Return whether the client was given the answer in full."""
    return exchange.status == 200 and exchange.is_over


@contextmanager
def halted(stage: DistributedStage, acknowledged: int, side: Side = "request") -> Iterator[Copy]:
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


@contextmanager
def moving(
    stage: DistributedStage,
    acknowledged: int,
    begin: Callable[[DistributedStage], Copy] | None = None,
) -> Iterator[Copy]:
    """Give a copy of which at least so many parts are acknowledged, while slow bytes move.

    They move at full speed again after the block.
    """
    slow = Rule(when=AfterFirst(acknowledged, READS), action=Throttle(SLOW))
    stage.source_wire.add(slow)
    try:
        copy = (begin or Copy.begin)(stage)
        copy.wait_acknowledged(acknowledged)
        yield copy
    finally:
        stage.source_wire.clear()
