"""A private PostgreSQL: the server of the Debian package, in a folder that goes with it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.accounts import Account, as_account, unprivileged
from tests.support.debian import require
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import Child, NotReadyError, folder_of_its_own

START_DEADLINE_S = 60.0
USER = "airflow"
DATABASE = "postgres"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    # What a crash of the machine would lose is of no worth here.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class PostgresServer:
    """One PostgreSQL on the loopback address; as a context manager it runs inside the block.

    It refuses to be run by root, who runs it as an account without privileges instead. Its data
    lie in a folder of its own, since that account cannot look into ours, and end with it. What is
    not given is found or made up.
    """

    def __init__(
        self,
        log_file: Path,
        *,
        port: int | None = None,
        user: str = USER,
        password: str | None = None,
        database: str = DATABASE,
    ) -> None:
        self.port = free_port() if port is None else port
        self.folder = Path()
        self._log_file = log_file
        self._user = user
        self._password = secrets.token_urlsafe(24) if password is None else password
        self._database = database
        self._child: Child | None = None
        self._stack = ExitStack()

    @property
    def address(self) -> str:
        """The database as SQLAlchemy writes it, without the driver: ``postgresql://…``."""
        return f"postgresql://{self._user}:{self._password}@{LOOPBACK}:{self.port}/{self._database}"

    def start(self) -> Self:
        """Make the database, and return once it takes connections.

        :raises MissingProgramError: naming the Debian package.
        """
        initdb, postgres, pg_isready = require("initdb", "postgres", "pg_isready")
        account = unprivileged()
        with ExitStack() as stack:
            self.folder = stack.enter_context(folder_of_its_own("s3resume-pg-"))
            data = self._make(initdb, account)
            command = [str(postgres), "-D", str(data), "-p", str(self.port)]
            command += [f"--{name}={value}" for name, value in _SETTINGS.items()]
            child = Child(
                "postgres",
                command,
                log_file=self._log_file,
                cwd=self.folder,
                user=account,
                # SIGTERM would wait for the clients to go.
                end_signal=signal.SIGINT,
            )
            self._child = stack.enter_context(child)
            asked = [str(pg_isready), "-h", LOOPBACK, "-p", str(self.port), "-q"]
            child.wait_ready(
                lambda: subprocess.run(asked, check=False).returncode == 0,
                deadline_s=START_DEADLINE_S,
            )
            if self._database != DATABASE:
                self._create_database()
            self._stack = stack.pop_all()
        return self

    def _create_database(self) -> None:
        (createdb,) = require("createdb")
        command = [createdb, "-h", LOOPBACK, "-p", self.port, "-U", self._user, self._database]
        env = {**os.environ, "PGPASSWORD": self._password}
        subprocess.run(list(map(str, command)), check=True, env=env)

    def is_running(self) -> bool:
        """Return whether it was started and has not ended."""
        return self._child is not None and self._child.is_running()

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def _make(self, initdb: Path, account: Account | None) -> Path:
        password, data = self.folder / "password", self.folder / "data"
        password.touch(mode=0o600)
        password.write_text(self._password)
        if account is not None:
            for path in (password, self.folder):
                os.chown(path, account.uid, account.gid)
        command = [initdb, "-D", data, "-U", self._user, "--pwfile", password, "--no-sync"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **as_account(account),
        )
        password.unlink()
        if done.returncode != 0:
            raise NotReadyError(f"initdb failed:\n{done.stdout}{done.stderr}")
        return data

    def stop(self) -> None:
        """End it, and remove its data."""
        self._stack.close()

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
