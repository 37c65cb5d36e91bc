"""An Airflow of several machines: PostgreSQL, Redis and Celery workers, each a tree of its own.

Timeouts are lowered, so that a test of a dead worker takes seconds: a task whose worker says
nothing for 20 s is tried again (Airflow's default: 300 s), one that no worker has begun after 40 s
is queued again (600 s), and tasks of a dead scheduler are looked for every 10 s (300 s).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from celery import Celery

from tests.support.airflow_backend import CORE_PROGRAMS, Program
from tests.support.postgres import PostgresServer
from tests.support.redis_server import RedisServer

HEARTBEAT_TIMEOUT_S = 20
QUEUED_TIMEOUT_S = 40
WORKERS = ("worker-1", "worker-2")
SLOTS = 2
"""Tasks that one worker runs at a time."""
_TIMEOUTS = {
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT_S),
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "SCHEDULER__TASK_QUEUED_TIMEOUT": str(QUEUED_TIMEOUT_S),
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
}


class CeleryBackend:
    """PostgreSQL for the runs and the results, Redis for the queue, two Celery workers.

    Each worker has an ``AIRFLOW_HOME``, a host name and logs of its own, as machines have. There is
    no triggerer: deferred tasks would wait for ever.
    """

    health = ("metadatabase", "scheduler", "dag_processor")

    def __init__(self) -> None:
        self._home_dir = Path()
        self._servers = ExitStack()
        self.postgres: PostgresServer
        self.redis: RedisServer

    def start(self, home_dir: Path) -> None:
        """Start both servers.

        :raises MissingProgramError: naming the Debian packages.
        """
        self._home_dir = home_dir
        self.postgres = PostgresServer(home_dir / "logs" / "postgres.log")
        self.redis = RedisServer(home_dir / "redis")
        with ExitStack() as stack:
            stack.enter_context(self.postgres)
            stack.enter_context(self.redis)
            self._servers = stack.pop_all()
        for name in WORKERS:
            self._name_worker(name)

    def stop(self) -> None:
        """End both servers; what was in them is gone."""
        self._servers.close()

    def settings(self) -> Mapping[str, str]:
        """Return the settings of the servers, and the timeouts."""
        database = self.postgres.address.replace("postgresql:", "postgresql+psycopg2:", 1)
        return {
            "CELERY__BROKER_URL": self.redis.url,
            "CELERY__RESULT_BACKEND": f"db+{database}",
            "CELERY__SYNC_PARALLELISM": "1",
            "CELERY__WORKER_CONCURRENCY": str(SLOTS),
            "CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
            # The default, said aloud: a task may run for a day before Redis gives it out again.
            "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
            "CORE__EXECUTOR": "CeleryExecutor",
            "CORE__PARALLELISM": "8",
            "DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",
            "DATABASE__SQL_ALCHEMY_CONN": database,
            "WORKERS__EXECUTION_API_TIMEOUT": "30",
            **_TIMEOUTS,
        }

    def programs(self) -> Sequence[Program]:
        """Return the three of every Airflow, and the workers."""
        return [*CORE_PROGRAMS, *map(self._worker, WORKERS)]

    def is_at_work(self, name: str) -> bool:
        """Return whether a worker answers a ping over the queue; true for what is no worker."""
        if name not in WORKERS:
            return True
        with Celery(broker=self.redis.url) as app:
            answers = app.control.ping(destination=[f"celery@{name}"], timeout=1.0)
        return bool(answers)

    def log_folders(self) -> Sequence[Path]:
        """Return the workers' folders: a server of logs would listen on every address."""
        return [self._worker_home(name) / "logs" for name in WORKERS]

    def _worker_home(self, name: str) -> Path:
        return self._home_dir / name

    def _name_worker(self, name: str) -> None:
        # Airflow takes modules from this folder of its home.
        folder = self._worker_home(name) / "config"
        folder.mkdir(parents=True, exist_ok=True)
        source = f'"""Who this worker is."""\n\n\ndef name():\n    return "{name}"\n'
        (folder / "machine.py").write_text(source)

    def _worker(self, name: str) -> Program:
        home = self._worker_home(name)
        return Program(
            name=name,
            arguments=[
                *("celery", "worker", "--celery-hostname", name),
                *("--skip-serve-logs", "--without-mingle", "--without-gossip"),
            ],
            grace_s=10,
            env={
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__HOSTNAME_CALLABLE": "machine.name",
                "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            },
        )
