"""Starts what docker-compose.yaml says, without containers, and runs a sync on it.

``python -m tests.support.compose_local``, or ``make compose-check``: makes an ``.env``, starts each
service by the file's own command and environment once those that it depends on are as the file
wants them, waits for its health check, fills the source, runs the nightly sync through the API,
compares the buckets, looks for secrets in logs and on command lines and for ports that are open to
other machines, and ends all of it. What stands in for containers is told in ``compose_places``.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.support import watchdog
from tests.support.airflow_api import AirflowApi
from tests.support.bootstrap import ROOT
from tests.support.compose_file import Check, Service, levels, read, variables_of
from tests.support.compose_places import Places
from tests.support.debian import COMPOSED, MissingProgramError, require
from tests.support.demo_data import UNEVEN_KEY, UNEVEN_PARTS, bytes_of, put_multipart, small_objects
from tests.support.endpoints import S3Endpoint
from tests.support.listening import exposed
from tests.support.postgres import PostgresServer
from tests.support.processes import Child, NotReadyError, wait_until
from tests.support.stage import NIGHTLY, SOURCE_BUCKET, TARGET_BUCKET, compare_buckets

COMPOSE_FILE = ROOT / "docker-compose.yaml"
STATE = ROOT / ".state" / "compose"
_ONCE_S, _PARSED_S, _RUN_S = 180.0, 120.0, 240.0


class CheckError(Exception):
    """What the file promises is not so."""


class _Playing(Protocol):
    """A service that runs."""

    def is_running(self) -> bool: ...

    def log_tail(self) -> str: ...


def make_env(file: Path) -> dict[str, str]:
    """Return what is in an ``.env`` that the project's own program makes, with nothing installed.

    No schedule: unpausing a DAG that has one starts a run beside the one that is wanted.
    """
    command = [sys.executable, "-I", "-S", ROOT / "docker" / "make_env.py", file]
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
    with file.open("a") as opened:
        opened.write("S3RESUME_SCHEDULE=none\n")
    return variables_of(file)


class Composed:
    """The services of the file, in ``folder``; as a context manager they run inside the block."""

    def __init__(self, folder: Path, file: Path = COMPOSE_FILE) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.variables = make_env(folder / ".env")
        self.services = read(file, self.variables)
        self.places = Places(folder, self.services)
        self.healthy: list[str] = []
        self._levels = levels(self.services)
        self._children: dict[str, Child] = {}
        self._postgres: PostgresServer | None = None
        self._ending = threading.Event()
        self._cause: BaseException | None = None

    def start(self) -> Self:
        """Return once every service is healthy, or has done what it is there for.

        :raises NotReadyError: with the end of its log, for the first that ends or stays ill.
        """
        require(*COMPOSED)
        try:
            with ThreadPoolExecutor(len(self.services)) as pool:
                self._bring_all_up(pool)
        except BaseException as error:
            self.stop()
            if self._cause is None or self._cause is error:
                raise
            raise self._cause from error
        return self

    def _bring_all_up(self, pool: ThreadPoolExecutor) -> None:
        ready: dict[str, Future[None]] = {}
        try:
            for name in [name for level in self._levels for name in level]:
                service = self.services[name]
                before = [ready[on] for on in service.depends_on]
                ready[name] = pool.submit(self._bring_up, service, before)
            ready["init"].result()
            self._fill_source()
            for waited in ready.values():
                waited.result()
        except BaseException:
            # Nothing is started any more, and nothing waited for.
            self._ending.set()
            raise

    def _bring_up(self, service: Service, before: list[Future[None]]) -> None:
        for waited in before:
            waited.result()
        try:
            if self._ending.is_set():
                raise NotReadyError(f"{service.name} is not started any more")  # noqa: TRY301
            playing = self._start(service)
            if service.check is None:
                self._wait_for_end(service)
            else:
                self._wait_for_health(service, service.check, playing)
        except BaseException as error:
            if not self._ending.is_set():
                self._cause = error
            self._ending.set()
            raise

    def _start(self, service: Service) -> _Playing:
        if self.places.is_postgres(service.name):
            return self._start_postgres(service)
        child = Child(
            service.name,
            self.places.started_as(service.name),
            log_file=self._log_of(service.name),
            env=self.places.environment(service.name),
            cwd=self.places.home(service.name),
            end_signal=signal.Signals[service.stop_signal],
        )
        self._children[service.name] = child
        return child

    def _log_of(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _start_postgres(self, service: Service) -> _Playing:
        """Do what the image's entrypoint does: make the database that the file names."""
        said = service.environment
        self._postgres = PostgresServer(
            self._log_of(service.name),
            port=self.places.port(service.name, 5432),
            user=said["POSTGRES_USER"],
            password=said["POSTGRES_PASSWORD"],
            database=said["POSTGRES_DB"],
        )
        return self._postgres.start()

    def _wait_for_end(self, service: Service) -> None:
        child, end = self._children[service.name], time.monotonic() + _ONCE_S
        while child.is_running() and not self._ending.is_set():
            if time.monotonic() > end:
                raise NotReadyError(f"{service.name} does not end\n{child.log_tail()}")
            self._ending.wait(0.1)
        if child.process.returncode != 0:
            raise NotReadyError(f"{service.name}: {child.process.returncode}\n{child.log_tail()}")

    def _wait_for_health(self, service: Service, check: Check, playing: _Playing) -> None:
        end = time.monotonic() + check.retries * check.interval_s
        while (answer := self._asked(service, check)) != "":
            if not playing.is_running() or self._ending.is_set() or time.monotonic() > end:
                raise NotReadyError(f"{service.name} is ill: {answer}\n{playing.log_tail()}")
            self._ending.wait(check.interval_s / 10)
        self.healthy.append(service.name)

    def _asked(self, service: Service, check: Check) -> str:
        """Return what a health check complains of; nothing, if the service is well."""
        try:
            done = subprocess.run(
                [self.places.here(service.name, word) for word in check.command],
                env=self.places.environment(service.name),
                cwd=self.places.home(service.name),
                timeout=check.timeout_s,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return str(error)
        return "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr}"

    def endpoint(self, name: str) -> S3Endpoint:
        """Return one of the S3 servers, with the keys of the ``.env``."""
        return S3Endpoint(
            endpoint_url=self.places.url(name, 8333),
            access_key=self.variables[f"{name.upper()}_ACCESS_KEY"],
            secret_key=self.variables[f"{name.upper()}_SECRET_KEY"],
        )

    def _fill_source(self) -> None:
        """Put objects into the bucket that the service ``init`` has made."""
        client = self.endpoint("source").client()
        for item in small_objects():
            client.put_object(Bucket=SOURCE_BUCKET, Key=item.key, Body=item.body)
        parts = [bytes_of(f"uneven-{n}", size) for n, size in enumerate(UNEVEN_PARTS)]
        put_multipart(client, SOURCE_BUCKET, UNEVEN_KEY, parts)

    def sync(self) -> str:
        """Run the nightly sync as the user ``admin``, and return the state it ends in.

        :raises CheckError: if a task's log cannot be read through the API server, or the buckets
            differ after a success.
        """
        url = self.places.url("api-server", 8080)
        api = AirflowApi(url, username="admin", password=self.variables["AIRFLOW_ADMIN_PASSWORD"])
        wait_until(lambda: api.has_dag(NIGHTLY), deadline_s=_PARSED_S, what=f"{NIGHTLY} is parsed")
        run_id = api.trigger(NIGHTLY)
        state = api.wait_run(NIGHTLY, run_id, _RUN_S)
        log = api.task_log(NIGHTLY, run_id, "list")
        if "Could not read" in log or str(self.places.volume("logs")) not in log:
            raise CheckError(f"the API server has no log of the worker:\n{log}")
        if state != "success":
            return state
        sides = (self.endpoint("source"), SOURCE_BUCKET), (self.endpoint("target"), TARGET_BUCKET)
        compared = compare_buckets(self.folder, *sides)
        if compared.returncode != 0:
            raise CheckError(f"rclone check: {compared.stdout}{compared.stderr}")
        return state

    def processes(self) -> set[int]:
        """Return all that runs, but for PostgreSQL."""
        return watchdog.members(child.pid for child in self._children.values())

    def secrets_told(self) -> list[str]:
        """Return which secret stands in which log or on which command line: none, it should be."""
        secret = secret_ones(self.variables)
        return sorted(
            f"{name} in {place}"
            for place, text in self._public()
            for name, value in secret.items()
            if value.encode() in text
        )

    def _public(self) -> Iterator[tuple[str, bytes]]:
        """Yield what others than the owner may come to read: logs, command lines."""
        for folder in (self.folder / "logs", self.folder / "homes", self.places.volume("logs")):
            for file in folder.rglob("*"):
                if file.is_file():
                    yield str(file), file.read_bytes()
        for pid in self.processes():
            yield f"the command line of {pid}", watchdog.command_of(pid).encode()

    def stop(self) -> None:
        """End all that runs, in the order against that of the start."""
        self._ending.set()
        for level in reversed(self._levels):
            some = [(self._children.pop(name), name) for name in level if name in self._children]
            for child, _ in some:
                child.ask_to_end()
            for child, name in some:
                child.end_within(self.services[name].grace_s)
        if self._postgres is not None:
            self._postgres.stop()

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


def secret_ones(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of an ``.env`` that nobody may see: names of keys and settings are no secret."""
    return {
        name: value
        for name, value in variables.items()
        if not name.endswith("_ACCESS_KEY") and not name.startswith("S3RESUME_")
    }


def check(folder: Path) -> str:
    """Play the file in a folder that is not there yet, and return the line that sums it up.

    :raises CheckError: if the sync does not arrive, a secret is told, or a port is open to others.
    :raises NotReadyError: for a service that does not come up.
    """
    with Composed(folder) as composed:
        lasting = [name for name, one in composed.services.items() if one.check is not None]
        state = composed.sync()
        if state != "success":
            raise CheckError(f"the sync ended as {state}")
        if told := composed.secrets_told():
            raise CheckError(f"told: {told}")
        if seen := exposed(composed.processes()):
            raise CheckError(f"listens on more than the loopback address: {sorted(seen)}")
    return f"compose: services={len(lasting)} healthy={len(composed.healthy)} sync={state}"


def main() -> None:
    """Play the file of the project."""
    shutil.rmtree(STATE, ignore_errors=True)
    try:
        print(check(STATE))
    except (CheckError, MissingProgramError, NotReadyError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
