"""A running environment: Airflow in the layout, connections in Secrets Manager, two S3 servers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.mwaa.connections import PREFIX
from tests.matrix.cells import CellError
from tests.mwaa.layout import OF_MWAA, Layout, configured, exported
from tests.support.airflow_backend import CORE_PROGRAMS, Backend, LocalBackend, Program
from tests.support.airflow_home import AirflowHome
from tests.support.celery_backend import WORKERS, CeleryBackend
from tests.support.demo_data import ensure_bucket, seed
from tests.support.ministack import MinistackServer
from tests.support.seaweed import SeaweedServer
from tests.support.stage import POOL, SEAWEED, compare_buckets

SOURCE, TARGET, STATE = "mwaa-source", "mwaa-target", "mwaa-state"
PLACES = (f"s3://{SOURCE}/", f"s3://{TARGET}/", f"s3://{STATE}/.s3resume/")
_DEADLINE_S = 240.0


class MwaaBackend(CeleryBackend):
    """One worker, as an environment has when little is to do."""

    def programs(self) -> Sequence[Program]:
        """Return the three of every Airflow, and the worker."""
        return [*CORE_PROGRAMS, self._worker(WORKERS[0])]


BACKENDS: Mapping[str, type[Backend]] = {"celery": MwaaBackend, "local": LocalBackend}


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """What lies outside of the environment."""

    folder: Path
    source: SeaweedServer
    target: SeaweedServer
    secrets: MinistackServer

    def empty(self) -> None:
        """Take everything out of the target and of the state location."""
        client = self.target.client()
        for bucket in (TARGET, STATE):
            ensure_bucket(client, bucket)
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                for one in page.get("Contents", []):
                    client.delete_object(Bucket=bucket, Key=one["Key"])

    def compare(self) -> None:
        """Let another program read both sides, and look into the run report.

        :raises CellError: if a byte differs, or the report does not say that all is verified.
        """
        report = self._report()
        if report["failed"] or not report["copied"] or report["copied"] != report["verified"]:
            raise CellError(f"the run report says {report}")
        sides = (self.source.endpoint, SOURCE), (self.target.endpoint, TARGET)
        compared = compare_buckets(self.folder, *sides)
        if compared.returncode != 0:
            raise CellError(f"rclone check: {compared.stdout[-3000:]}{compared.stderr[-3000:]}")

    def left_by_smoke(self) -> list[str]:
        """Return what a smoke test has left in the state location, which should be nothing."""
        listed = self.target.client().list_objects_v2(Bucket=STATE, Prefix=".s3resume/smoke/")
        return [one["Key"] for one in listed.get("Contents", [])]

    def _report(self) -> dict[str, Any]:
        client = self.target.client()
        listed = client.list_objects_v2(Bucket=STATE).get("Contents", [])
        keys = [one["Key"] for one in listed if one["Key"].endswith("/report.json")]
        if len(keys) != 1:
            raise CellError(f"run reports: {keys}")
        found: dict[str, Any] = json.loads(
            client.get_object(Bucket=STATE, Key=keys[0])["Body"].read()
        )
        return found


@contextmanager
def services(folder: Path, kit: Path) -> Iterator[Services]:
    """Give all of them, running; the connections are where the kit's are meant to be.

    :raises CellError: if the kit has other connections.
    """
    source, target = (
        SeaweedServer(folder / name, f"{name}-user", secrets.token_urlsafe(24))
        for name in ("source", "target")
    )
    manager = MinistackServer(folder / "secrets", services=("secretsmanager",))
    with source, target, manager:
        seed(source.client(), SOURCE, big=False)
        said = {
            f"s3_{side}": server.endpoint.airflow_connection(s3resume=SEAWEED)
            for side, server in (("source", source), ("target", target))
        }
        templates = sorted(file.stem for file in (kit / "connections").glob("*.json"))
        if templates != sorted(said):
            raise CellError(f"templates of connections: {templates}")
        for conn_id, text in said.items():
            manager.secrets().create_secret(Name=f"{PREFIX}/{conn_id}", SecretString=text)
        yield Services(folder=folder, source=source, target=target, secrets=manager)


class Environment:
    """Airflow in a layout.

    :param executor: ``celery`` as on MWAA, or ``local``, which needs nothing but Python.
    """

    def __init__(
        self, world: Services, kit: Path, layout: Layout, python: Path, executor: str
    ) -> None:
        self._world = world
        env = {
            **OF_MWAA,
            **configured(kit),
            **exported(layout.startup),
            # Where an environment has its execution role, and AWS.
            "AWS_ACCESS_KEY_ID": world.secrets.access_key,
            "AWS_SECRET_ACCESS_KEY": world.secrets.secret_key,
            "AWS_DEFAULT_REGION": world.secrets.endpoint.region,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": world.secrets.endpoint_url,
            # The worker of this layout has a home of its own, for its logs.
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(layout.plugins),
        }
        backend = BACKENDS[executor]()
        self.airflow = AirflowHome(layout.home, layout.dags, env, python=python, backend=backend)

    def make_pool(self, slots: int) -> None:
        """Make the pool of the transfers, and make sure that no connection is Airflow's own.

        :raises CellError: if one is.
        """
        body = {"name": POOL, "slots": slots, "description": "transfers to one target"}
        self.airflow.api.call("POST", "pools", body)
        kept = self.airflow.api.call("GET", "connections")["connections"]
        own = [one["connection_id"] for one in kept if one["connection_id"].startswith("s3_")]
        if own:
            raise CellError(f"connections of the database: {own}")

    def run(self, dag_id: str) -> None:
        """Run a DAG by the scheduler.

        :raises CellError: with the logs of what failed, if it does not succeed.
        """
        self.airflow.wait_for_dag(dag_id)
        run_id = self.airflow.api.trigger(dag_id)
        state = self.airflow.api.wait_run(dag_id, run_id, _DEADLINE_S)
        if state != "success":
            raise CellError(f"{dag_id} ended as {state}\n{self._logs(dag_id, run_id)}")

    def _logs(self, dag_id: str, run_id: str) -> str:
        texts = []
        for found in self.airflow.api.task_instances(dag_id, run_id):
            name, index, state = found["task_id"], found["map_index"], found["state"]
            if state not in {"success", "skipped", None}:
                log = self.airflow.task_log(
                    dag_id, run_id, name, map_index=index, try_number=max(found["try_number"], 1)
                )
                texts.append(f"--- {name}[{index}] {state}\n{log[-3000:]}")
        return "\n".join(texts)
