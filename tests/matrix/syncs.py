"""The Airflow of a cell at work: the nightly sync, and a copy that an event starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_s3resume.transfer.crew_shares import usable_processors
from tests.dags.fake_queue import notification
from tests.matrix.cells import Cell, CellError, Said
from tests.matrix.environments import Environment, run
from tests.matrix.servers import SOURCE_BUCKET, Servers, state_of
from tests.support.airflow_backend import API_SERVER, DAG_PROCESSOR, SCHEDULER, TRIGGERER
from tests.support.airflow_home import AirflowHome
from tests.support.processes import wait_until
from tests.support.stage import (
    DAGS,
    NIGHTLY,
    POOL,
    SEAWEED,
    SOURCE_CONN,
    TARGET_CONN,
    compare_buckets,
)

PROBE = Path(__file__).with_name("probe.py")
EVENTS = "s3_event_driven_copy"
QUEUE_CONN = "matrix_queue"
AGAIN = "readings/2026-02/day-0001.csv"
"""What is taken away from the target, for an event to bring it back."""
COPYING = {"memory_budget_mib": 256}
"""Has room for processes that copy small objects beside the larger ones."""

_DEADLINE_S = 300.0


class CellAirflow:
    """The Airflow of a cell, with a database, a target and a queue of its own."""

    def __init__(self, world: Servers, cell: Cell, environment: Environment) -> None:
        self._world = world
        self._name = cell.name.replace(".", "-")
        self._python = environment.python
        # A short path: sockets may lie in it.
        folder = world.folder / self._name
        self.airflow = AirflowHome(folder, DAGS, self._env(), python=environment.python)

    def _env(self) -> Mapping[str, str]:
        world = self._world
        seaweed = {SOURCE_CONN: world.source.endpoint, TARGET_CONN: world.target.endpoint}
        connections = {
            **{name: at.airflow_connection(s3resume=SEAWEED) for name, at in seaweed.items()},
            QUEUE_CONN: world.queues.endpoint.airflow_connection(),
        }
        return {
            **{f"AIRFLOW_CONN_{name.upper()}": text for name, text in connections.items()},
            "S3RESUME_SCHEDULE": "none",
            "S3RESUME_RETRY_DELAY_S": "1",
            "S3RESUME_SOURCE_CONN_ID": SOURCE_CONN,
            "S3RESUME_SOURCE_URI": f"s3://{SOURCE_BUCKET}/",
            "S3RESUME_TARGET_CONN_ID": TARGET_CONN,
            **{f"S3RESUME_{k.upper()}": v for k, v in _places(self._name).items()},
            "S3RESUME_QUEUE_CONN_ID": QUEUE_CONN,
            "S3RESUME_QUEUE_URL": world.queue_url(self._name),
            "S3RESUME_POKE_INTERVAL_S": "1",
        }

    def by_dag_test(self) -> Said:
        """Run the sync by ``dag.test()``, and return what the environment says of itself.

        :raises CellError: with what it said, if it fails.
        """
        self._world.make_places(self._name)
        self.airflow.prepare()
        home = self.airflow.home_dir
        file = home / "said.json"
        # Without the folder of the probe among what can be imported.
        run(self._python, "-P", PROBE, file, cwd=home, env=self.airflow.environment())
        return Said(**json.loads(file.read_text()))

    def by_scheduler(self, starts: str) -> None:
        """Run it by a scheduler, with all of Airflow's processes; then copies by an event.

        :param starts: what the environment says starts these.
        :raises CellError: if anything does not end as it should.
        """
        self._world.queues.sqs().create_queue(QueueName=self._name)
        with self.airflow:
            try:
                self._play(starts)
                self._look_for_secrets()
            except TimeoutError as error:
                names = (API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER)
                tails = [f"--- {name}\n{self.airflow.child(name).log_tail()}" for name in names]
                raise CellError("\n".join([str(error), *tails])) from error

    def _play(self, starts: str) -> None:
        self.airflow.wait_for_dag(NIGHTLY)
        self._name_missing_pool()
        body = {"name": POOL, "slots": 3, "description": "transfers"}
        self.airflow.api.call("POST", "pools", body)
        self._sync(f"{self._name}-scheduled")
        if starts == "asset watcher":
            self._copy_by_watcher()
        else:
            self._copy_by_sensor()

    def _look_for_secrets(self) -> None:
        """Look into all logs: the releases mask in different places."""
        secrets = [server.secret_key for server in (self._world.source, self._world.target)]
        files = [file for file in self.airflow.home_dir.rglob("*.log") if file.is_file()]
        told = [str(f) for f in files if any(s in f.read_text(errors="replace") for s in secrets)]
        if told or not files:
            raise CellError(f"logs with a secret: {told} of {len(files)}")

    def _name_missing_pool(self) -> None:
        run_id = self.airflow.api.trigger(NIGHTLY)
        self._expect(NIGHTLY, run_id, "failed")
        log = self.airflow.task_log(NIGHTLY, run_id, "list")
        if f"airflow pools set {POOL}" not in log:
            raise CellError(f"the log of `list` does not name the missing pool:\n{log[-3000:]}")

    def _sync(self, target: str) -> None:
        self._world.make_places(target)
        run_id = self.airflow.api.trigger(NIGHTLY, {**_places(target), **COPYING})
        self._expect(NIGHTLY, run_id, "success")
        self.compare(target)
        self._count_processes(target)
        asked = {"source_dag_id": NIGHTLY, "source_run_id": run_id}
        events = self.airflow.api.call("GET", "assets/events", **asked)["asset_events"]
        if [event["source_task_id"] for event in events] != ["report"]:
            raise CellError(f"asset events of the run: {events}")

    def _count_processes(self, target: str) -> None:
        """Look whether the task has forked on this Airflow and Python, where there are processors.

        In ``dag.test()`` it does not: Airflow itself has threads there.
        """
        paces = self._report(target)["paces"]
        if min(usable_processors(), 2) > 1 and not paces["processes"]:
            raise CellError(f"one process copied all small objects: {paces}")

    def _copy_by_watcher(self) -> None:
        """Let an event start a run."""
        self.airflow.api.unpause(EVENTS)
        self._announce()
        wait_until(lambda: bool(self._runs()), deadline_s=120, what="an event has started a run")
        first = self._runs()[0]
        if first["run_type"] != "asset_triggered":
            raise CellError(f"what an event started is {first}")
        self._expect(EVENTS, first["dag_run_id"], "success")
        self.compare(self._name)

    def _copy_by_sensor(self) -> None:
        """Let an event go on with a run that waits in the triggerer, in no worker."""
        self.airflow.api.unpause(EVENTS)
        wait_until(lambda: bool(self._runs()), deadline_s=120, what="a run waits for events")
        run_id = self._runs()[0]["dag_run_id"]
        self.airflow.api.wait_task(EVENTS, run_id, "wait", "deferred")
        self._announce()
        self._expect(EVENTS, run_id, "success")
        self.compare(self._name)

    def _announce(self) -> None:
        self._world.target.client().delete_object(Bucket=self._name, Key=AGAIN)
        self._world.queues.sqs().send_message(
            QueueUrl=self._world.queue_url(self._name),
            MessageBody=notification(AGAIN, bucket=SOURCE_BUCKET),
        )

    def _runs(self) -> list[dict[str, Any]]:
        path = f"dags/{EVENTS}/dagRuns"
        found = self.airflow.api.call("GET", path, limit=10, order_by="run_after")
        runs: list[dict[str, Any]] = found["dag_runs"]
        return runs

    def _expect(self, dag_id: str, run_id: str, wanted: str) -> None:
        state = self.airflow.api.wait_run(dag_id, run_id, _DEADLINE_S)
        if state != wanted:
            logs = self._logs(dag_id, run_id)
            raise CellError(f"{dag_id} ended as {state}, not {wanted}\n{logs}")

    def _logs(self, dag_id: str, run_id: str) -> str:
        texts = []
        for ti in self.airflow.api.task_instances(dag_id, run_id):
            if ti["state"] in {"success", "skipped", "upstream_failed", None}:
                continue
            task, index, tries = ti["task_id"], ti["map_index"], max(ti["try_number"], 1)
            log = self.airflow.task_log(dag_id, run_id, task, map_index=index, try_number=tries)
            texts.append(f"--- {task}[{index}] {ti['state']}\n{log[-3000:]}")
        return "\n".join(texts)

    def compare(self, target: str | None = None) -> None:
        """Let another program read both sides, and look into the run report.

        :param target: by default that of ``dag.test()``.
        :raises CellError: if a byte differs, or the report does not say that all is verified.
        """
        bucket = target or self._name
        report = self._report(bucket)
        if report["failed"] or not report["copied"] or report["copied"] != report["verified"]:
            raise CellError(f"the run report says {report}")
        sides = (
            (self._world.source.endpoint, SOURCE_BUCKET),
            (self._world.target.endpoint, bucket),
        )
        # The configuration of that program lies in the folder.
        compared = compare_buckets(self.airflow.home_dir, *sides)
        if compared.returncode != 0:
            raise CellError(f"rclone check: {compared.stdout[-3000:]}{compared.stderr[-3000:]}")

    def _report(self, target: str) -> dict[str, Any]:
        """Return the latest run report of a state location."""
        client, bucket = self._world.target.client(), state_of(target)
        listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        reports = [one for one in listed if one["Key"].endswith("/report.json")]
        if not reports:
            raise CellError(f"no run report in {bucket}")
        latest = max(reports, key=lambda one: one["LastModified"])
        body = client.get_object(Bucket=bucket, Key=latest["Key"])["Body"].read()
        found: dict[str, Any] = json.loads(body)
        return found


def _places(target: str) -> dict[str, str]:
    """Return the parameters of a run that name where a sync goes."""
    state = f"s3://{state_of(target)}/.s3resume/"
    return {"target_uri": f"s3://{target}/", "state_uri": state}
