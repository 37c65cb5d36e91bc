"""A real Airflow in a folder: scheduler, DAG processor, triggerer and API server with SQLite."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.airflow_api import AirflowApi
from tests.support.ports import LOOPBACK, free_port, require_free
from tests.support.processes import Child, NotReadyError, wait_until

START_DEADLINE_S = 180.0
# In the order of their end: the scheduler waits for its tasks, which talk to the API server; a
# triggerer that is idle takes 10 s to end by itself, and loses nothing when it is killed.
STOP_GRACE_S = {"triggerer": 1.0, "dag-processor": 5.0, "scheduler": 15.0, "api-server": 10.0}
USERNAME = "admin"
# What the person running this has set for other Airflows and other clouds must not leak in.
_FOREIGN = ("AIRFLOW", "AWS_", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV")


def generated_secrets(file: Path) -> dict[str, str]:
    """Return the secrets of a home, made with its first start and kept in it."""
    if not file.exists():
        names = ("JWT", "API", "PASSWORD")
        made = {name: secrets.token_urlsafe(24) for name in names}
        made["FERNET"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        file.touch(mode=0o600)
        file.write_text(json.dumps(made))
    kept: dict[str, str] = json.loads(file.read_text())
    return kept


class AirflowHome:
    """An Airflow with its files in ``home_dir`` and the DAGs of ``dags_folder``.

    ``env`` is added to the environment of all its processes: connections as JSON
    (``AIRFLOW_CONN_…``), more settings (``AIRFLOW__…``). With ``all_admins`` nobody has to log in;
    without it ``password`` of the user ``admin`` is generated at the first start. The second
    start on a folder keeps its runs.
    """

    def __init__(
        self,
        home_dir: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        all_admins: bool = True,
    ) -> None:
        self.home_dir = home_dir.resolve()
        self.dags_folder = dags_folder.resolve()
        self.port = port if port is not None else free_port()
        self.all_admins = all_admins
        self._extra = dict(env or {})
        self._children: dict[str, Child] = {}
        self.home_dir.mkdir(parents=True, exist_ok=True)
        self._secrets = generated_secrets(self.home_dir / "secrets.json")
        username = None if all_admins else USERNAME
        self.api = AirflowApi(self.url, username=username, password=self.password)

    @property
    def url(self) -> str:
        """The address of the user interface and the API."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def password(self) -> str:
        """The password of the user ``admin``, where one is asked for."""
        return self._secrets["PASSWORD"]

    def environment(self) -> dict[str, str]:
        """Return the environment of every process of this Airflow."""
        own = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        bin_dir = str(Path(sys.executable).parent)
        path = os.pathsep.join([bin_dir, os.environ.get("PATH", os.defpath)])
        return {**own, **self._settings(), "PATH": path, **self._extra}

    def _settings(self) -> dict[str, str]:
        settings = {
            "API__BASE_URL": f"{self.url}/",
            "API__HOST": LOOPBACK,
            "API__PORT": str(self.port),
            "API__SECRET_KEY": self._secrets["API"],
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": self._secrets["JWT"],
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__FERNET_KEY": self._secrets["FERNET"],
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__PARALLELISM": "4",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": str(self.all_admins),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home_dir / "passwords.json"),
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin",
            "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home_dir / 'airflow.db'}",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
            # On SQLite the first answer of a busy server may take longer than the default 5 s.
            "WORKERS__EXECUTION_API_TIMEOUT": "30",
        }
        named = {f"AIRFLOW__{name}": value for name, value in settings.items()}
        # Without it, an SDK that finds no credentials asks the network for some.
        quiet = {"AWS_EC2_METADATA_DISABLED": "true", "DO_NOT_TRACK": "1"}
        return {"AIRFLOW_HOME": str(self.home_dir), **quiet, **named}

    def start(self) -> Self:
        """Make or migrate the database, start all processes, and return once they are healthy."""
        require_free(self.port)
        passwords = self.home_dir / "passwords.json"
        passwords.write_text(json.dumps({USERNAME: self.password}))
        self._migrate()
        try:
            self._start_processes()
        except BaseException:
            self.stop()
            raise
        return self

    def _migrate(self) -> None:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise NotReadyError(f"airflow db migrate failed:\n{done.stdout}{done.stderr}")

    def _start_processes(self) -> None:
        # The logs are read from the folder: nothing has to serve them.
        programs = {
            "api-server": ["api-server"],
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
            "triggerer": ["triggerer", "--skip-serve-logs"],
        }
        for name, arguments in programs.items():
            self._children[name] = Child(
                f"airflow {name}",
                [sys.executable, "-m", "airflow", *arguments],
                log_file=self.home_dir / "logs" / f"{name}.log",
                env=self.environment(),
                cwd=self.home_dir,
            )
        self._children["api-server"].wait_ready(self._is_ready, deadline_s=START_DEADLINE_S)

    def _is_ready(self) -> bool:
        for child in self._children.values():
            if not child.is_running():
                raise NotReadyError(f"{child.name} ended\n{child.log_tail()}")
        return self.api.is_healthy()

    def wait_for_dag(self, dag_id: str, deadline_s: float = 60) -> None:
        """Return once a DAG is parsed; RuntimeError when a file of the folder does not import."""
        wait_until(
            lambda: self.api.has_dag(dag_id), deadline_s=deadline_s, what=f"DAG {dag_id} is parsed"
        )

    def child(self, name: str) -> Child:
        """Return one of the processes: api-server, scheduler, dag-processor, triggerer."""
        return self._children[name]

    def stop(self) -> None:
        """End all processes; tasks that run may end within 15 s, then they are killed."""
        children, self._children = self._children, {}
        for name in STOP_GRACE_S.keys() & children.keys() - {"api-server"}:
            children[name].ask_to_end()
        for name, grace_s in STOP_GRACE_S.items():
            if name == "api-server" and name in children:
                children[name].ask_to_end()
            if name in children:
                children[name].end_within(grace_s)

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()
