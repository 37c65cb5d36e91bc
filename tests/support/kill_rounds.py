"""Rounds of a sync whose processes are killed at moments drawn from a seed.

``python -m tests.support.kill_rounds --rounds 50`` plays new rounds; ``--seed N`` plays one again:
the same objects, the same victims, struck after as many requests. What the machine does in between
is its own, so a round that was played again may still take another course.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import watchdog
from tests.support.airflow_backend import SCHEDULER
from tests.support.demo_data import put_multipart
from tests.support.distributed_stage import DistributedStage
from tests.support.kill_judge import (
    SENDS,
    Verdict,
    attempts_of,
    leftovers,
    resent_parts,
    strays,
    untrue,
)
from tests.support.kill_script import PART_SIZE, Script, Strike, script_of
from tests.support.processes import wait_until
from tests.support.stage import SOURCE_BUCKET, STATE_BUCKET, TARGET_BUCKET
from tests.support.wire_rules import Match, Rule, Throttle

DAG_ID = "batched_sync"
DAGS = Path(__file__).resolve().parent.parent / "kill" / "dags"
RUN_DEADLINE_S = 420.0
READS = Match(operation="GetObject", path="/large/")
SLOW = 2 * 1024 * 1024
"""Bytes a second of each connection that reads a large object: a copy has to last to be hit."""


@dataclass(kw_only=True)
class Round:
    """A round that is being played."""

    stage: DistributedStage
    script: Script
    drawn: random.Random
    run_id: str = ""
    begun: int = 0
    struck: list[str] = field(default_factory=list)

    def play(self) -> Verdict:
        """Fill the source, start the sync, strike, wait for its end, and judge."""
        self._fill()
        self.begun = len(self.stage.target_wire.exchanges)
        places = {"source_uri": SOURCE_BUCKET, "target_uri": TARGET_BUCKET}
        conf = {name: f"s3://{bucket}/{self.script.prefix}" for name, bucket in places.items()}
        self.run_id = self.stage.airflow.api.trigger(DAG_ID, conf)
        for strike in self.script.strikes:
            if self._wait_moment(strike) and self._strike(strike):
                self.struck.append(str(strike))
        with contextlib.suppress(TimeoutError):
            self.stage.airflow.api.wait_run(DAG_ID, self.run_id, RUN_DEADLINE_S)
        return self._judge()

    def clear(self) -> None:
        """Remove the round's objects from both servers."""
        for server, bucket in (
            (self.stage.source, SOURCE_BUCKET),
            (self.stage.target, TARGET_BUCKET),
        ):
            client = server.client()
            found = client.list_objects_v2(Bucket=bucket, Prefix=self.script.prefix)
            for entry in found.get("Contents", []):
                client.delete_object(Bucket=bucket, Key=entry["Key"])

    def _fill(self) -> None:
        client = self.stage.source.client()
        for item in self.script.small_objects():
            client.put_object(Bucket=SOURCE_BUCKET, Key=item.key, Body=item.body)
        for key, parts in self.script.large_objects():
            put_multipart(client, SOURCE_BUCKET, key, parts)

    # --- striking ---------------------------------------------------------------------------

    def _has_ended(self) -> bool:
        return self.stage.airflow.api.run_state(DAG_ID, self.run_id) in {"success", "failed"}

    def _wait_moment(self, strike: Strike) -> bool:
        """Return whether the wire has seen so many before the run ended."""
        next_look = time.monotonic()

        def is_time() -> bool:
            nonlocal next_look
            if self._count(strike) >= strike.after:
                return True
            if time.monotonic() < next_look:
                return False
            next_look = time.monotonic() + 1
            return self._has_ended()

        wait_until(is_time, deadline_s=RUN_DEADLINE_S, what=f"the moment of {strike}")
        return self._count(strike) >= strike.after

    def _count(self, strike: Strike) -> int:
        seen = self.stage.target_wire.exchanges[self.begun :]
        if strike.of == "requests":
            return len(seen)
        return len([e for e in seen if SENDS(e) and e.upstream_status == 200])

    def _strike(self, strike: Strike) -> bool:
        """Kill the victim; return whether there was one."""
        if strike.victim == "scheduler":
            self.stage.scheduler().kill()
            self.stage.restart(SCHEDULER)
            return True
        task = self._running_task(large=strike.of == "parts")
        if task is None:
            return False
        try:
            worker = self.stage.airflow.owner_of(task)
            victims = [task]
            if strike.victim == "pair":
                victims.insert(0, watchdog.parent_of(task))
        except (LookupError, ProcessLookupError):  # It has ended since it was drawn.
            return False
        if strike.victim == "worker":
            self.stage.worker(worker).kill()
            self.stage.restart(worker)
            return True
        number = signal.SIGTERM if strike.victim == "terminated" else signal.SIGKILL
        watchdog.signal_all(victims, number)
        return True

    def _running_task(self, *, large: bool) -> int | None:
        """Return the process of a task of the run, drawn from those that run; wait for one."""
        found: list[int] = []

        def is_there() -> bool:
            found[:] = self._task_processes(large=large)
            return bool(found) or self._has_ended()

        wait_until(is_there, deadline_s=RUN_DEADLINE_S, what="a task that runs")
        return self.drawn.choice(sorted(found)) if found else None

    def _task_processes(self, *, large: bool) -> list[int]:
        running = self.stage.airflow.api.task_instances(DAG_ID, self.run_id)
        return [
            one["pid"]
            for one in running
            if one["state"] == "running"
            and one["pid"]
            and (not large or _bytes_of(one) > PART_SIZE)
            and watchdog.command_of(one["pid"]) == f"airflow worker -- {one['id']}"
        ]

    # --- judging ----------------------------------------------------------------------------

    def _judge(self) -> Verdict:
        api, script = self.stage.airflow.api, self.script
        state = api.run_state(DAG_ID, self.run_id)
        seen = self.stage.target_wire.exchanges[self.begun :]
        resent = resent_parts(seen)
        problems = [*resent]
        if state != "success":
            problems.append(f"the run is {state}:\n{self.stage.logs(self.run_id, DAG_ID)}")
        problems += self._of_servers()
        report = self._report()
        problems += untrue(report, script) if report is not None else ["there is no report"]
        check = self._compare()
        if check.returncode != 0:
            problems.append(f"rclone check: {check.stderr}")
        return Verdict(
            seed=script.seed,
            state=state,
            equal=check.returncode == 0,
            resent=len(resent),
            sent=len([e for e in seen if e.operation == "UploadPart" and e.upstream_status == 200]),
            kept=report["kept_parts"] if report is not None else 0,
            requests=len(seen),
            strikes=tuple(self.struck),
            attempts=attempts_of(api.task_instances(DAG_ID, self.run_id)),
            problems=tuple(problems),
        )

    def _of_servers(self) -> list[str]:
        client, prefix = self.stage.target.client(), self.script.prefix
        return [
            *strays(client, TARGET_BUCKET, STATE_BUCKET, prefix),
            *leftovers(client, STATE_BUCKET, prefix),
        ]

    def _report(self) -> dict[str, Any] | None:
        try:
            return self.stage.report(self.run_id, DAG_ID)
        except LookupError:
            return None

    def _compare(self) -> subprocess.CompletedProcess[str]:
        return self.stage.rclone_check(self.script.prefix)


def _bytes_of(instance: Mapping[str, Any]) -> int:
    """Return the bytes of a task's batch, as its label says; 0 for a task without one."""
    found = re.search(r"(\d+) bytes$", instance.get("rendered_map_index") or "")
    return int(found[1]) if found else 0


@contextlib.contextmanager
def rounds_stage(folder: Path) -> Iterator[DistributedStage]:
    """Give the stage that rounds are played on."""
    with DistributedStage(folder, fill=False, dags=DAGS) as stage:
        slow_reads(stage)
        stage.airflow.wait_for_dag(DAG_ID)
        yield stage


def slow_reads(stage: DistributedStage) -> Rule:
    """Let large objects come slowly from the source."""
    return stage.source_wire.add(Rule(when=READS, action=Throttle(SLOW)))


def play(stage: DistributedStage, seed: int) -> Verdict:
    """Play the round of a seed, and leave nothing of it behind."""
    script = script_of(seed)
    one = Round(stage=stage, script=script, drawn=random.Random(f"victims of {seed}"))
    try:
        return one.play()
    finally:
        stage.revive()
        one.clear()


@dataclass(kw_only=True)
class Totals:
    """What all rounds came to."""

    rounds: int = 0
    equal: int = 0
    parts_sent: int = 0
    parts_resent: int = 0
    parts_kept: int = 0
    strikes: int = 0
    attempts: int = 0
    bad: list[int] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """Add one round."""
        self.rounds += 1
        self.equal += verdict.equal
        self.parts_sent += verdict.sent
        self.parts_resent += verdict.resent
        self.parts_kept += verdict.kept
        self.strikes += len(verdict.strikes)
        self.attempts += verdict.attempts
        if not verdict.is_good:
            self.bad.append(verdict.seed)

    def line(self, name: str = "kill-rounds") -> str:
        """Return the last line."""
        return f"{name}: rounds={self.rounds} equal={self.equal} parts_resent={self.parts_resent}"

    def more(self) -> str:
        """Return what the last line does not say."""
        return (
            f"parts sent {self.parts_sent}, kept by later attempts {self.parts_kept}; "
            f"kills {self.strikes}; tasks begun again {self.attempts}; "
            f"rounds with a problem {len(self.bad)}"
        )


def seeds(first: int | None) -> Iterator[int]:
    """Yield seeds: counted from a first one, or new ones for ever."""
    fresh = random.SystemRandom()
    number = first if first is not None else fresh.randrange(100_000_000)
    while True:
        yield number
        number = (number + 1) % 100_000_000


def play_rounds(
    *, rounds: int | None, minutes: float | None, seed: int | None, name: str, replay: str
) -> int:
    """Play rounds until there were so many, or so many minutes have passed; return an exit code."""
    totals = Totals()
    end = time.monotonic() + minutes * 60 if minutes is not None else None
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, rounds_stage(Path(folder)) as at:
        for number, one in enumerate(seeds(seed), 1):
            began = time.monotonic()
            verdict = play(at, one)
            totals.add(verdict)
            print(verdict.line(number, time.monotonic() - began), flush=True)
            if not verdict.is_good:
                print(f"  once more: {replay.format(seed=one)}", flush=True)
            if number == rounds or (end is not None and time.monotonic() >= end):
                break
    print(totals.more())
    print(totals.line(name), flush=True)
    return 1 if totals.bad else 0


def main(argv: list[str] | None = None) -> int:
    """Read the command line and play."""
    parser = argparse.ArgumentParser(description="Kill workers in the middle of syncs.")
    parser.add_argument("--rounds", type=int, default=None, help="how many (1 with --seed)")
    parser.add_argument("--seed", type=int, default=None, help="the first round's")
    given: Any = parser.parse_args(argv)
    rounds = given.rounds or (1 if given.seed is not None else 5)
    return play_rounds(
        rounds=rounds,
        minutes=None,
        seed=given.seed,
        name="kill-rounds",
        replay="make kill-rounds SEED={seed}",
    )


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.exit(main())
