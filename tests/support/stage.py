"""Two S3 servers and an Airflow with the example DAGs: where the demo and the e2e tests play."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from tests.support.airflow_api import ApiError
from tests.support.airflow_backend import Backend
from tests.support.airflow_home import AirflowHome
from tests.support.demo_data import ensure_bucket, seed
from tests.support.endpoints import S3Endpoint
from tests.support.ports import require_free
from tests.support.seaweed import SeaweedServer

ROOT = Path(__file__).resolve().parent.parent.parent
DAGS = ROOT / "dags"
RCLONE = Path(sys.executable).parent / "rclone"
NIGHTLY = "s3_to_s3_nightly_sync"
POOL = "s3resume_transfer"
POOL_SLOTS = 3
SOURCE_BUCKET, TARGET_BUCKET, STATE_BUCKET = "demo-source", "demo-target", "demo-state"
SOURCE_CONN, TARGET_CONN = "s3_source", "s3_target"
# SeaweedFS lists "a/b" before "a b", and takes "a//b" for "a/b".
SEAWEED: Mapping[str, object] = {"list_order": "unordered", "key_folding": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Ports to use; ``None`` finds free ones. SeaweedFS takes ten from the one given."""

    source: int | None = None
    target: int | None = None
    airflow: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedRun:
    """One run of a sync that has ended, with its stored report."""

    run_id: str
    state: str
    report: dict[str, Any]


class Server(Protocol):
    """Anything that is started and stopped."""

    def start(self) -> object:
        """Return once it answers."""

    def stop(self) -> None:
        """End it; its files stay."""


class TargetStage:
    """A target server and an Airflow, with their files in ``folder``, which outlive them.

    :param secret: of the target's identity.
    :param fill: put the data of the demo into the source.
    :param backend: what Airflow runs on; SQLite, if not told otherwise.
    :param dags: folder of the DAGs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        target_port: int | None = None,
        airflow_port: int | None = None,
        secret: str = "target-secret",
        all_admins: bool = True,
        fill: bool = True,
        env: Mapping[str, str] | None = None,
        backend: Backend | None = None,
        dags: Path = DAGS,
    ) -> None:
        self.folder = folder
        self.target = SeaweedServer(folder / "target", "target-user", secret, target_port)
        self._airflow_port = airflow_port
        self._all_admins = all_admins
        self._fill = fill
        self._env = dict(env or {})
        self._backend = backend
        self._dags = dags
        self._stack = ExitStack()
        self.airflow: AirflowHome
        self.last: FinishedRun | None = None
        self.ended: list[str] = []

    def servers(self) -> list[Server]:
        """Return what has to run before Airflow does; a subclass adds its source."""
        return [self.target]

    def env_for_airflow(self) -> dict[str, str]:
        """Return connections and parameters; a subclass adds those of its source."""
        raise NotImplementedError

    def fill_source(self) -> None:
        """Put the data of the demo into the source."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start all servers, fill the source while Airflow starts, and make the pool."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._airflow_port is not None:
            require_free(self._airflow_port)  # Before the servers start for nothing.
        with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
            servers = self.servers()
            for server in servers:
                stack.callback(server.stop)
            for started in [pool.submit(server.start) for server in servers]:
                started.result()
            filled = pool.submit(self._prepare_buckets)
            self.airflow = AirflowHome(
                self.folder / "airflow",
                self._dags,
                {**self.env_for_airflow(), **self._env},
                port=self._airflow_port,
                all_admins=self._all_admins,
                backend=self._backend,
            )
            stack.enter_context(self.airflow)
            filled.result()
            self._make_pool()
            self.ended = self.end_runs()
            self._stack = stack.pop_all()
        return self

    def _prepare_buckets(self) -> None:
        for name in (TARGET_BUCKET, STATE_BUCKET):
            ensure_bucket(self.target.client(), name)
        self.fill_source()

    def _make_pool(self) -> None:
        body = {"name": POOL, "slots": POOL_SLOTS, "description": "transfers to one target"}
        try:
            self.airflow.api.call("POST", "pools", body)
        except ApiError as error:
            if error.status != 409:
                raise

    def end_runs(self) -> list[str]:
        """Fail runs that an earlier, killed Airflow left active; the next run goes on from them.

        They would wait for a heartbeat of dead tasks, and with ``max_active_runs`` all others too.
        """
        found = self.airflow.api.call("GET", "dags/~/dagRuns", state="running", limit=100)
        queued = self.airflow.api.call("GET", "dags/~/dagRuns", state="queued", limit=100)
        names = []
        for left in [*found["dag_runs"], *queued["dag_runs"]]:
            run_id = urllib.parse.quote(left["dag_run_id"], safe="")
            path = f"dags/{left['dag_id']}/dagRuns/{run_id}"
            self.airflow.api.call("PATCH", path, {"state": "failed"})
            names.append(left["dag_run_id"])
        return names

    def stop(self) -> None:
        """Stop everything; the files stay."""
        self._stack.close()

    def run(
        self, dag_id: str, conf: Mapping[str, object] | None = None, *, deadline_s: float = 240
    ) -> FinishedRun:
        """Run a DAG through the scheduler and return how it ended."""
        self.airflow.wait_for_dag(dag_id)
        run_id = self.airflow.api.trigger(dag_id, conf)
        state = self.airflow.api.wait_run(dag_id, run_id, deadline_s)
        self.last = FinishedRun(run_id=run_id, state=state, report=self.report(run_id, dag_id))
        return self.last

    def report(self, run_id: str, dag_id: str = NIGHTLY) -> dict[str, Any]:
        """Return the run report from the state location, found by what the diff task pushed.

        :raises LookupError: with the end of each task's log, if the run made no report.
        """
        try:
            plan = self.airflow.api.xcom(dag_id, run_id, "diff", "plan")
            key = f".s3resume/{plan['manifest'].rpartition('/')[0]}/report.json"
            body = self.target.client().get_object(Bucket=STATE_BUCKET, Key=key)["Body"]
            found: dict[str, Any] = json.loads(body.read())
        except (ApiError, self.target.client().exceptions.NoSuchKey) as error:
            raise LookupError(f"no report of {run_id}:\n{self.logs(run_id, dag_id)}") from error
        return found

    def logs(self, run_id: str, dag_id: str = NIGHTLY) -> str:
        """Return the end of the log of every task of a run that did not succeed."""
        texts = []
        for found in self.airflow.api.task_instances(dag_id, run_id):
            if found["state"] in {"success", "skipped", None}:
                continue
            name, index = found["task_id"], found["map_index"]
            try:
                log = self.airflow.task_log(
                    dag_id, run_id, name, map_index=index, try_number=max(found["try_number"], 1)
                )
            except ApiError as error:
                log = str(error)
            texts.append(f"--- {name}[{index}] {found['state']}\n{log[-3000:]}")
        return "\n".join(texts)

    def __enter__(self) -> Self:
        """Start everything."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        self.stop()


class Stage(TargetStage):
    """A second server as the source, for the nightly sync.

    :param keys: secrets of the servers' identities.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Ports | None = None,
        all_admins: bool = True,
        fill: bool = True,
        env: Mapping[str, str] | None = None,
        keys: Mapping[str, str] | None = None,
        backend: Backend | None = None,
        dags: Path = DAGS,
    ) -> None:
        ports = ports or Ports()
        secrets = keys or {"source": "source-secret", "target": "target-secret"}
        super().__init__(
            folder,
            target_port=ports.target,
            airflow_port=ports.airflow,
            secret=secrets["target"],
            all_admins=all_admins,
            fill=fill,
            env=env,
            backend=backend,
            dags=dags,
        )
        self.source = SeaweedServer(
            folder / "source", "source-user", secrets["source"], ports.source
        )

    def servers(self) -> list[Server]:
        """Return both servers."""
        return [self.source, self.target]

    def endpoints_for_airflow(self) -> tuple[S3Endpoint, S3Endpoint]:
        """Return where Airflow finds source and target; a subclass may put proxies in between."""
        return self.source.endpoint, self.target.endpoint

    def env_for_airflow(self) -> dict[str, str]:
        """Return connections and parameters of the nightly sync."""
        source, target = self.endpoints_for_airflow()
        return {
            **target_env(target),
            f"AIRFLOW_CONN_{SOURCE_CONN.upper()}": source.airflow_connection(s3resume=SEAWEED),
            "S3RESUME_SOURCE_CONN_ID": SOURCE_CONN,
            "S3RESUME_SOURCE_URI": f"s3://{SOURCE_BUCKET}/",
        }

    def fill_source(self) -> None:
        """Put the data of the demo into the source, once."""
        ensure_bucket(self.source.client(), SOURCE_BUCKET)
        filled = self.folder / "filled"
        if self._fill and not filled.exists():
            seed(self.source.client(), SOURCE_BUCKET)
            filled.touch()

    def nightly(
        self, conf: Mapping[str, object] | None = None, *, deadline_s: float = 240
    ) -> FinishedRun:
        """Run the nightly sync through the scheduler and return how it ended."""
        return self.run(NIGHTLY, conf, deadline_s=deadline_s)

    def rclone_check(self, prefix: str = "") -> subprocess.CompletedProcess[str]:
        """Compare both buckets, or what is below a prefix, byte for byte: by another program."""
        sides = (self.source.endpoint, SOURCE_BUCKET), (self.target.endpoint, TARGET_BUCKET)
        return compare_buckets(self.folder, *sides, prefix)


def compare_buckets(
    folder: Path, source: tuple[S3Endpoint, str], target: tuple[S3Endpoint, str], prefix: str = ""
) -> subprocess.CompletedProcess[str]:
    """Let rclone compare two buckets of SeaweedFS, or what is below a prefix, byte for byte.

    :param folder: for rclone's configuration.
    """
    config = folder / "rclone.conf"
    config.touch(mode=0o600)
    config.write_text(_remote("source", source[0]) + _remote("target", target[0]))
    command = [RCLONE, "--config", config, "check", "--download", "--checkers", "8"]
    # A flat listing: the server clears folders of deleted objects away while they are walked.
    command += ["--fast-list", "--s3-directory-markers"]
    return subprocess.run(
        [*map(str, command), f"source:{source[1]}/{prefix}", f"target:{target[1]}/{prefix}"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "RCLONE_CONFIG": str(config)},
    )


def target_env(target: S3Endpoint) -> dict[str, str]:
    """Return what every DAG of a stage is told: the target, the state location, no schedule."""
    return {
        f"AIRFLOW_CONN_{TARGET_CONN.upper()}": target.airflow_connection(s3resume=SEAWEED),
        # Unpausing a scheduled DAG starts the run of the last interval, beside the one wanted.
        "S3RESUME_SCHEDULE": "none",
        "S3RESUME_TARGET_CONN_ID": TARGET_CONN,
        "S3RESUME_TARGET_URI": f"s3://{TARGET_BUCKET}/",
        "S3RESUME_STATE_URI": f"s3://{STATE_BUCKET}/.s3resume/",
    }


def _remote(name: str, endpoint: S3Endpoint) -> str:
    if not urlsplit(endpoint.endpoint_url).hostname == "127.0.0.1":
        raise ValueError("the check compares servers of this machine only")
    return (
        f"[{name}]\ntype = s3\nprovider = SeaweedFS\nendpoint = {endpoint.endpoint_url}\n"
        f"access_key_id = {endpoint.access_key}\nsecret_access_key = {endpoint.secret_key}\n"
        "force_path_style = true\n"
    )
