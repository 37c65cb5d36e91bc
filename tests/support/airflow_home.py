"""A real Airflow in a folder: SQLite and LocalExecutor, or whatever else its backend says."""

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

from tests.support import watchdog
from tests.support.airflow_api import AirflowApi
from tests.support.airflow_backend import API_SERVER, Backend, LocalBackend, Program
from tests.support.ports import LOOPBACK, free_port, require_free
from tests.support.processes import Child, NotReadyError, wait_until

START_DEADLINE_S = 180.0
# For all DAGs of the folder; Airflow's defaults give one file 30 s and its process 50.
_PARSE_S = 180
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
    start on a folder keeps its runs. ``backend`` is SQLite, if not told otherwise. ``python`` is
    the interpreter of another environment's Airflow; by default it is that of this process.
    """

    def __init__(
        self,
        home_dir: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        all_admins: bool = True,
        backend: Backend | None = None,
        python: Path | None = None,
    ) -> None:
        self.home_dir = home_dir.resolve()
        # Not resolved: the interpreter of an environment is a link, by which it knows itself.
        self.python = python or Path(sys.executable)
        self.dags_folder = dags_folder.resolve()
        self.port = port if port is not None else free_port()
        self.all_admins = all_admins
        self._extra = dict(env or {})
        self._backend: Backend = backend or LocalBackend()
        self._programs: dict[str, Program] = {}
        self._children: dict[str, Child] = {}
        self._is_migrated = False
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
        bin_dir = str(self.python.parent)
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
            "CORE__DAGBAG_IMPORT_TIMEOUT": str(_PARSE_S),
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__FERNET_KEY": self._secrets["FERNET"],
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": str(self.all_admins),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home_dir / "passwords.json"),
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin",
            "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": str(_PARSE_S),
            "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
            **self._backend.settings(),
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
        try:
            self._backend.start(self.home_dir)
            self._programs = {program.name: program for program in self._backend.programs()}
            self._migrate()
            for name in self._programs:
                self.start_child(name)
            self._children[API_SERVER].wait_ready(self._is_ready, deadline_s=START_DEADLINE_S)
        except BaseException:
            self.stop()
            raise
        return self

    def prepare(self) -> None:
        """Make or migrate the database, for commands alone: nothing is started, and no server.

        :raises NotReadyError: with what it said, if that fails.
        """
        self._backend.start(self.home_dir)
        self._migrate()

    def _migrate(self) -> None:
        if self._is_migrated:
            return
        done = self.cli("db", "migrate")
        if done.returncode != 0:
            raise NotReadyError(f"airflow db migrate failed:\n{done.stdout}{done.stderr}")
        self._is_migrated = True

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``airflow`` with what all processes of this Airflow are told."""
        command = [str(self.python), "-m", "airflow", *arguments]
        return subprocess.run(
            command,
            env=self.environment(),
            cwd=self.home_dir,
            capture_output=True,
            text=True,
            check=False,
        )

    def start_child(self, name: str) -> Child:
        """Start one of the processes, the first time or again, and return it at once."""
        program = self._programs[name]
        child = Child(
            f"airflow {name}",
            [str(self.python), "-m", "airflow", *program.arguments],
            log_file=self.home_dir / "logs" / f"{name}.log",
            env={**self.environment(), **program.env},
            cwd=self.home_dir,
        )
        self._children[name] = child
        return child

    def _is_ready(self) -> bool:
        for child in self._children.values():
            if not child.is_running():
                raise NotReadyError(f"{child.name} ended\n{child.log_tail()}")
        if not self.api.is_healthy(self._backend.health):
            return False
        return all(map(self._backend.is_at_work, self._children))

    def wait_for_dag(self, dag_id: str, deadline_s: float = _PARSE_S) -> None:
        """Return once a DAG is parsed; RuntimeError when a file of the folder does not import."""
        wait_until(
            lambda: self.api.has_dag(dag_id), deadline_s=deadline_s, what=f"DAG {dag_id} is parsed"
        )

    def restart(self, name: str) -> Child:
        """End what is left of one process by force; return it, started again and at work."""
        self._children[name].kill()
        child = self.start_child(name)
        child.wait_ready(lambda: self._backend.is_at_work(name), deadline_s=START_DEADLINE_S)
        return child

    def owner_of(self, pid: int) -> str:
        """Return which of the processes started another one; LookupError if none of them did."""
        session = watchdog.session_of(pid)
        for name, child in self._children.items():
            if child.pid == session:
                return name
        raise LookupError(f"{pid} runs in no session of this Airflow")

    def child(self, name: str) -> Child:
        """Return one of the processes: api-server, scheduler, dag-processor, …."""
        return self._children[name]

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, try_number: int = 1
    ) -> str:
        """Return the log of one try, wherever it was written, a line for each event."""
        folders = self._backend.log_folders()
        if not folders:
            return self.api.task_log(
                dag_id, run_id, task_id, map_index=map_index, try_number=try_number
            )
        place = Path(f"dag_id={dag_id}", f"run_id={run_id}", f"task_id={task_id}")
        place /= f"map_index={map_index}" if map_index >= 0 else ""
        files = [folder / place / f"attempt={try_number}.log" for folder in folders]
        return "".join(f.read_text(errors="replace") for f in files if f.exists())

    def stop(self) -> None:
        """End all processes; tasks that run may end within 15 s, then they are killed.

        The API server is the last: the others talk to it.
        """
        children, self._children = self._children, {}
        server = {API_SERVER: children.pop(API_SERVER)} if API_SERVER in children else {}
        for some in (children, server):
            for child in some.values():
                child.ask_to_end()
            for name, child in some.items():
                child.end_within(self._programs[name].grace_s)
        self._backend.stop()

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
