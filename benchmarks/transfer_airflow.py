"""The same copy as a mapped task of a real Airflow, beside the bare engine.

Airflow (LocalExecutor, SQLite, and its own defaults) stays up for the whole case, so that what it
does on the side meets both. The task's time is that between its start and its end as Airflow
recorded them; the engine's is that of its whole process. The batch is made so large that the engine
has work for a minute and more.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.transfer_cases import ENGINE, GIB, KIB, PART, Case
from benchmarks.transfer_engine import REGION, SOURCE, STATE, STATE_PREFIX, TARGET, Place
from benchmarks.transfer_measure import busy_s
from benchmarks.transfer_programs import Figures, Programs
from benchmarks.transfer_worlds import NullWorld, null_world

if TYPE_CHECKING:
    from tests.support.airflow_home import AirflowHome

DAGS = Path(__file__).resolve().parent / "transfer_dags"
DAG_ID = "transfer_bench"
CONN = "bench"
BOUND = 1.05
SECONDS, QUICK_SECONDS = 75.0, 10.0
DEADLINE_S = 1_800.0
SETTLE_S = 15.0
POLL_S = 3.0
"""How often a run's state is asked for: it is work for the machine, so it is done beside both."""
AS_DEPLOYED = {
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "300",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
}
"""Airflow's own defaults; the tests let it look around at least five times as often."""
TRIES, ENOUGH = 4, 0.8
"""75 s are aimed at, and a minute is enough: what a run takes varies with the machine."""
CASES = (
    Case(name="airflow-large", shape="big", wire="tls", objects=1, size=GIB, part_size=PART),
    Case(name="airflow-small", shape="small", wire="http", objects=5_000, size=64 * KIB),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for.

    :param config: of the engine.
    :param seconds: how long the engine shall have work.
    """

    folder: Path
    config: Mapping[str, Any]
    rounds: int
    seconds: float

    def programs(self) -> Programs:
        """Return what runs the engine."""
        return Programs(self.folder, self.config)


def measure_airflow(plan: Plan, say: Callable[[str], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the results of each case, with its ratio."""
    for few in CASES:
        case = enlarged(few, plan)
        with null_world(case, plan.folder) as world, _airflow(plan.folder, world.place) as home:
            engine, task = _rounds(case, plan, world, home, say)
        ratio = statistics.median(t / e.wall for e, t in zip(engine, task, strict=True))
        verdict = "ok" if ratio <= BOUND else "short"
        name = f"{case.name}-wall-engine"
        say(f"ratio {name} {ratio:.3f} {BOUND:.2f} {verdict}")
        yield (
            case.name,
            {
                "title": case.title,
                "shape": "airflow",
                "objects": case.objects,
                "bytes": case.bytes,
                "flags": {},
                "rounds": {ENGINE: [asdict(one) for one in engine], "airflow": task},
                "ratios": {name: {"value": ratio, "bound": BOUND, "verdict": verdict}},
                "python": platform.python_version(),
                "cores": os.cpu_count(),
            },
        )


def enlarged(case: Case, plan: Plan) -> Case:
    """Return a case with as much in it as keeps the engine at work for the time that is wanted."""
    for _ in range(TRIES):
        with null_world(case, plan.folder) as world:
            found = plan.programs().run(ENGINE, case, world)
        if found.copy_wall >= plan.seconds * ENOUGH:
            break
        case = _times(case, plan.seconds / found.copy_wall)
    return case


def _times(case: Case, factor: float) -> Case:
    if case.part_size:
        return replace(case, size=max(1, round(case.size * factor / GIB)) * GIB)
    return replace(case, objects=max(1, round(case.objects * factor / 100)) * 100)


def _rounds(
    case: Case, plan: Plan, world: NullWorld, home: AirflowHome, say: Callable[[str], None]
) -> tuple[list[Figures], list[float]]:
    programs, batches = plan.programs(), _batches(case, world)
    engine, task = list[Figures](), list[float]()
    run_id = _settle(home)

    def run_engine() -> float:
        with _asking(home, run_id):
            engine.append(programs.run(ENGINE, case, world))
        return engine[-1].wall

    def run_task() -> float:
        with world.turn():
            task.append(_run_task(home, batches, plan.config))
        return task[-1]

    for number in range(plan.rounds):
        both = {"engine": run_engine, "task": run_task}
        for name in both if number % 2 == 0 else reversed(both):
            busy = busy_s()
            found = both[name]()
            say(
                f"  {case.name} round {number + 1} {name}: {found:.2f} s, "
                f"CPU of the machine {busy_s() - busy:.2f} s"
            )
    return engine, task


def _settle(home: AirflowHome) -> str:
    """Let Airflow end its start: for a while it parses and imports, which meets who comes first.

    :returns: the run that it did for that.
    """
    run_id = home.api.trigger(DAG_ID, {"batches": [], "config": {}})
    home.api.wait_run(DAG_ID, run_id)
    time.sleep(SETTLE_S)
    return run_id


@contextmanager
def _asking(home: AirflowHome, run_id: str) -> Iterator[None]:
    """Ask for a run's state all the while, as whoever waits for a task's end does."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(POLL_S):
            home.api.run_state(DAG_ID, run_id)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            yield
        finally:
            over.set()
        asked.result()


def _batches(case: Case, world: NullWorld) -> list[dict[str, Any]]:
    # What it imports wants a home of Airflow, which is there by now.
    from airflow_provider_s3resume.hooks.sides import PlanReference, Sides  # noqa: PLC0415

    sides = Sides(
        source_conn_id=CONN,
        source_uri=f"s3://{SOURCE}/{case.prefix}",
        target_conn_id=CONN,
        target_uri=f"s3://{TARGET}/{case.prefix}",
        state_uri=f"s3://{STATE}/{STATE_PREFIX}",
    )
    return PlanReference.of(sides, world.key, world.manifest).to_batches(world.manifest)


def _run_task(home: AirflowHome, batches: list[dict[str, Any]], config: Mapping[str, Any]) -> float:
    conf = {"batches": batches, "config": dict(config)}
    run_id = home.api.trigger(DAG_ID, conf)
    state = home.api.wait_run(DAG_ID, run_id, DEADLINE_S, poll_s=POLL_S)
    if state != "success":
        log = home.task_log(DAG_ID, run_id, "copy", map_index=0)
        raise RuntimeError(f"{DAG_ID} ended as {state}:\n{log[-4000:]}")
    found = home.api.task_instance(DAG_ID, run_id, "copy", map_index=0)
    start, end = (dt.datetime.fromisoformat(found[n]) for n in ("start_date", "end_date"))
    return (end - start).total_seconds()


@contextmanager
def _airflow(folder: Path, place: Place) -> Iterator[AirflowHome]:
    from tests.support.airflow_home import AirflowHome  # noqa: PLC0415 - as above

    home = folder / "airflow"
    os.environ["AIRFLOW_HOME"] = str(home)
    trusted = {"verify": place.ca_file} if place.ca_file else {}
    extra = {
        "endpoint_url": place.endpoint_url,
        "region_name": REGION,
        "s3resume": dict(place.extra),
        **trusted,
    }
    known = {"conn_type": "aws", "login": place.access_key, "password": place.secret_key}
    connection = json.dumps({**known, "extra": extra})
    env = {**AS_DEPLOYED, f"AIRFLOW_CONN_{CONN.upper()}": connection}
    with AirflowHome(home, DAGS, env) as running:
        running.wait_for_dag(DAG_ID)
        yield running
