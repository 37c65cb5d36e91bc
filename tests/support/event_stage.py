"""An S3 whose events go to a queue, an S3 to copy to, and an Airflow that the queue starts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.support.airflow_api import ApiError
from tests.support.endpoints import S3Endpoint
from tests.support.ministack import MinistackServer
from tests.support.ports import free_port
from tests.support.processes import wait_until
from tests.support.stage import SOURCE_BUCKET, SOURCE_CONN, Server, TargetStage, target_env
from tests.support.wire import Wire

EVENTS = "s3_event_driven_copy"
QUEUE, DEAD = "events", "dead"


class EventStage(TargetStage):
    """MiniStack is the source and has the queues; what it holds ends with it.

    ``target_wire`` records what Airflow writes to the target.

    :param by: ``watcher`` or ``sensor``: what starts the runs.
    """

    def __init__(
        self, folder: Path, *, by: str = "watcher", env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder, env={"S3RESUME_EVENTS_BY": by, **(env or {})}, fill=False)
        self.source = MinistackServer(folder / "source", port=free_port())
        self._wires = ExitStack()
        self.target_wire: Wire

    def servers(self) -> list[Server]:
        """Return both servers."""
        return [self.source, self.target]

    def url_of(self, name: str) -> str:
        """Return the address of a queue."""
        return f"{self.source.endpoint_url}/000000000000/{name}"

    def env_for_airflow(self) -> dict[str, str]:
        """Return connections and parameters of the copies that events start."""
        target = self.target.endpoint
        self.target_wire = self._wires.enter_context(Wire(target.endpoint_url))
        through: S3Endpoint = target.through(self.target_wire.url)
        return {
            **target_env(through),
            f"AIRFLOW_CONN_{SOURCE_CONN.upper()}": self.source.endpoint.airflow_connection(),
            "S3RESUME_SOURCE_CONN_ID": SOURCE_CONN,
            "S3RESUME_SOURCE_URI": f"s3://{SOURCE_BUCKET}/in/",
            "S3RESUME_QUEUE_URL": self.url_of(QUEUE),
            "S3RESUME_DEAD_LETTER_URL": self.url_of(DEAD),
        }

    def fill_source(self) -> None:
        """Make the bucket and both queues, and let the one tell the other."""
        self.source.client().create_bucket(Bucket=SOURCE_BUCKET)
        sqs = self.source.sqs()
        for name in (QUEUE, DEAD):
            made = sqs.create_queue(QueueName=name)["QueueUrl"]
            if made != self.url_of(name):
                raise RuntimeError(f"the queue {name} is at {made}")
        self.source.notify(SOURCE_BUCKET, self.url_of(QUEUE))

    def start(self) -> Self:
        """Start everything; the wire ends with it."""
        try:
            return super().start()
        except BaseException:
            self._wires.close()
            raise

    def stop(self) -> None:
        """Stop everything."""
        super().stop()
        self._wires.close()

    def counts(self, name: str) -> tuple[int, int]:
        """Return how many messages of a queue are visible, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        asked = self.source.sqs().get_queue_attributes(
            QueueUrl=self.url_of(name), AttributeNames=names
        )["Attributes"]
        return int(asked[names[0]]), int(asked[names[1]])

    def wait_empty(self, deadline_s: float = 120) -> None:
        """Return once the queue holds no message at all, and no run is at work."""

        def is_done() -> bool:
            # An event may be waiting for the run that is at work to end, to start one of its own.
            is_quiet = self.counts(QUEUE) == (0, 0) and not self.events_queued()
            return is_quiet and not self.unfinished()

        wait_until(is_done, deadline_s=deadline_s, what="the queue is empty and no run is at work")

    def events_queued(self) -> bool:
        """Tell whether an asset's event waits to start a run."""
        try:
            found = self.airflow.api.call("GET", f"dags/{EVENTS}/assets/queuedEvents")
        except ApiError as error:
            if error.status != 404:  # Airflow's way to say that there are none.
                raise
            return False
        return bool(found["queued_events"])

    def unfinished(self) -> list[dict[str, Any]]:
        """Return the runs that have not ended."""
        return [run for run in self.runs() if run["state"] in {"queued", "running"}]

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs, the latest last."""
        path = f"dags/{EVENTS}/dagRuns"
        found = self.airflow.api.call("GET", path, limit=100, order_by="run_after")
        runs: list[dict[str, Any]] = found["dag_runs"]
        return runs
