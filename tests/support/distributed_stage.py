"""A stage of several machines' worth of processes: two workers between two wired S3 servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import watchdog
from tests.support.airflow_backend import SCHEDULER
from tests.support.celery_backend import WORKERS, CeleryBackend
from tests.support.processes import Child, wait_until
from tests.support.stage import DAGS
from tests.support.wired_stage import WiredStage

GONE_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskProcesses:
    """The processes of a task instance that runs.

    ``task`` runs the operator; ``supervisor``, its parent, speaks to Airflow for it, and is one of
    the slots of the worker, whose main process is ``main``.
    """

    worker: str
    main: int
    supervisor: int
    task: int

    def wait_gone(self, deadline_s: float = GONE_S) -> None:
        """Return once the task's own process has ended."""
        wait_until(
            lambda: watchdog.session_of(self.task) is None,
            deadline_s=deadline_s,
            what=f"the task's process {self.task} has ended",
        )


class DistributedStage(WiredStage):
    """Airflow with Celery, PostgreSQL and Redis, two workers, and two S3 servers behind wires.

    Everything is private and ends with it: see :class:`CeleryBackend`, which says the timeouts.
    ``source_wire`` and ``target_wire`` record what all workers do.

    :param fill: put the data of the demo into the source.
    :param env: more of the environment of all of Airflow's processes.
    :param dags: folder of the DAGs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fill: bool = True,
        env: Mapping[str, str] | None = None,
        dags: Path = DAGS,
    ) -> None:
        super().__init__(folder, fill=fill, env=env, backend=CeleryBackend(), dags=dags)

    def processes(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        map_index: int = -1,
        try_number: int = 1,
        deadline_s: float = 180,
    ) -> TaskProcesses:
        """Wait for a task instance to run, and return its processes.

        Airflow says that it runs before its process has taken the title of a task.

        :param try_number: or a later one.
        :raises TimeoutError: also if the process that Airflow names never is this task's.
        """
        pid = 0

        def is_there() -> bool:
            nonlocal pid
            found = self.airflow.api.wait_task(
                dag_id,
                run_id,
                task_id,
                "running",
                deadline_s,
                map_index=map_index,
                try_number=try_number,
            )
            pid = found["pid"]
            return watchdog.command_of(pid) == f"airflow worker -- {found['id']}"

        wait_until(is_there, deadline_s=deadline_s, what=f"the process of {task_id}[{map_index}]")
        worker = self.airflow.owner_of(pid)
        return TaskProcesses(
            worker=worker,
            main=self.worker(worker).pid,
            supervisor=watchdog.parent_of(pid),
            task=pid,
        )

    def worker(self, name: str) -> Child:
        """Return the main process of a worker: ``kill()`` ends all of it, as a machine dies."""
        if name not in WORKERS:
            raise LookupError(f"{name} is none of {', '.join(WORKERS)}")
        return self.airflow.child(name)

    def scheduler(self) -> Child:
        """Return the scheduler."""
        return self.airflow.child(SCHEDULER)

    def restart(self, name: str) -> Child:
        """Start a worker or the scheduler again, killed if it still runs; return it at work."""
        return self.airflow.restart(name)

    def wait_log(self, name: str, words: str, deadline_s: float = GONE_S) -> None:
        """Return once a process of Airflow has logged these words."""
        child = self.airflow.child(name)
        wait_until(
            lambda: words in child.log_tail(), deadline_s=deadline_s, what=f"{name} says {words!r}"
        )

    def wait_ended(self, name: str, deadline_s: float = GONE_S) -> None:
        """Return once a worker that was told to end has ended: until then it seems to be there."""
        wait_until(
            lambda: not self.worker(name).is_running(),
            deadline_s=deadline_s,
            what=f"{name} has ended",
        )

    def revive(self) -> None:
        """Start all processes of Airflow that have ended, and wait until they are at work.

        Whoever told a worker to end has to wait for that first (:meth:`wait_ended`).
        """
        for name in (SCHEDULER, *WORKERS):
            if not self.airflow.child(name).is_running():
                self.restart(name)
