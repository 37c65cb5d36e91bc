"""What the demos have in common: start a stage, run one DAG, compare, say so, end everything.

With ``KEEP=1`` everything stays up until Ctrl-C or the demo's ``stop``. The state stays in the
folder: run again, a demo copies nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.airflow_home import USERNAME
from tests.support.ports import GRPC_OFFSET, PortInUseError, is_free
from tests.support.processes import NotReadyError, wait_until
from tests.support.stage import FinishedRun, TargetStage
from tests.support.watchdog import session_of

ROOT = Path(__file__).resolve().parent.parent.parent
PORTS_EACH = 10
LEFTOVER_S = 10.0
STOP_DEADLINE_S = 90.0
_PRINTED = ("planned", "copied", "already_there", "gone", "failed", "verified")
_FIGURES = ("sent_parts", "kept_parts", "reread_parts", "bytes", "seconds")
_COUNTS = ("reasons", "skipped", "refused", "verified_by", "notes")


class _AskedToStopError(BaseException):
    """SIGTERM or Ctrl-C came."""


def say(line: str = "") -> None:
    """Tell the person at the terminal."""
    print(line, flush=True)


class Show:
    """One demo; a subclass says which.

    :param state: folder of the files that stay.
    """

    name: str
    """As in ``make demo``."""

    module: str
    """That is run with ``python -m``."""

    dag_id: str
    ports: Mapping[str, int]
    """Environment variable → default, Airflow's first."""

    singles: frozenset[str] = frozenset()
    """Those variables that stand for one port and not for ten."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.pid_file = state / "pid"

    def stage(self, ports: Mapping[str, int]) -> TargetStage:
        """Return the stage, not started yet."""
        raise NotImplementedError

    def places(self) -> list[str]:
        """Return a line for each server, once the stage has been started."""
        raise NotImplementedError

    def compare(self) -> list[str]:
        """Compare both sides with a program that is not ours.

        :returns: a line that says how, and one for each difference.
        """
        raise NotImplementedError

    def last_line(self, report: Mapping[str, Any]) -> str:
        """Return the line that sums up the run, from its report alone."""
        raise NotImplementedError

    # --- commands ---------------------------------------------------------------------------

    def run(self) -> None:
        """Run the demo and end what it started."""
        if self.running_pid() is not None:
            sys.exit(f"error: the demo is running already; `make {self.name}-stop` ends it")
        self.state.mkdir(parents=True, exist_ok=True)
        was_killed = self.pid_file.exists()
        self.pid_file.write_text(str(os.getpid()))
        keep = os.environ.get("KEEP", "") not in {"", "0"}
        ports = {variable: port_of(variable, default) for variable, default in self.ports.items()}
        check_ports(ports, self.singles, wait_s=LEFTOVER_S if was_killed else 0)
        say("Starting the servers and an Airflow …")
        try:
            with self.stage(ports) as stage:
                good = self._play(stage, keep=keep)
                line = self.last_line(stage.last.report) if stage.last else ""
        except _AskedToStopError:
            say("The demo has stopped.")
            return
        finally:
            self.pid_file.unlink(missing_ok=True)
        say(line)
        if not good:
            sys.exit("error: the sync failed, or the buckets differ; see above")

    def stop(self) -> None:
        """Ask a running demo to end, and wait until it has."""
        pid = self.running_pid()
        if pid is None:
            say("The demo is not running.")
            return
        os.kill(pid, signal.SIGTERM)
        wait_until(
            lambda: self.running_pid() is None,
            deadline_s=STOP_DEADLINE_S,
            what="the demo has ended",
        )
        say("The demo has stopped.")

    def running_pid(self) -> int | None:
        """Return the process id of a demo that runs."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        if pid == os.getpid() or session_of(pid) is None:
            return None
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:  # It has ended just now.
            return None
        return pid if self.module.encode() in command else None

    def keys(self, *names: str) -> dict[str, str]:
        """Return the servers' secrets, made with the first start and kept in the folder."""
        file = self.state / "server-keys.json"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(json.dumps({name: secrets.token_urlsafe(24) for name in names}))
        keys: dict[str, str] = json.loads(file.read_text())
        return keys

    def main(self) -> None:
        """Run the command named on the command line."""
        commands = {"run": self.run, "stop": self.stop}
        if len(sys.argv) != 2 or sys.argv[1] not in commands:
            sys.exit(f"usage: python -m {self.module} {' | '.join(commands)}")
        if sys.argv[1] == "run":
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _ask_to_stop)
        try:
            commands[sys.argv[1]]()
        except (PortInUseError, NotReadyError, TimeoutError, LookupError) as error:
            sys.exit(f"error: {error}")

    # --- what they say ----------------------------------------------------------------------

    def _play(self, stage: TargetStage, *, keep: bool) -> bool:
        """Run the sync, print, compare; returns whether all went well."""
        self._say_places(stage)
        for run_id in stage.ended:
            say(f"Run {run_id} was killed; it is marked failed, and the next one goes on from it.")
        say(f"Running the DAG {self.dag_id} through the scheduler …")
        run = stage.run(self.dag_id)
        print_report(run)
        how, *differences = self.compare()
        say(f"{how}: {'DIFFERENCES' if differences else 'no difference'}")
        for line in differences:
            say(line)
        good = run.state == "success" and not differences
        if not keep:
            return good
        self._say_places(stage)
        say(f"Everything stays up until Ctrl-C or `make {self.name}-stop`.")
        say(self.last_line(run.report))
        threading.Event().wait()
        return good

    def _say_places(self, stage: TargetStage) -> None:
        home = stage.airflow
        say(f"Airflow:  {home.url}  (DAG {self.dag_id})")
        say(f"Login:    {USERNAME} / {home.password}")
        for line in self.places():
            say(line)
        say("The connections come from Airflow's environment: its page of connections is empty.")


def state_of(name: str) -> Path:
    """Return a demo's folder: inside the clone, or what ``DEMO_STATE`` says."""
    return Path(os.environ.get("DEMO_STATE") or ROOT / ".state" / name).resolve()


def port_of(variable: str, default: int) -> int:
    """Return a port as the environment sets it, else the default."""
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not text.isdigit() or not 1024 <= int(text) <= 55_000:
        sys.exit(f"error: {variable}: found {text!r}, accepted is a number from 1024 to 55000")
    return int(text)


def block(first: int) -> set[int]:
    """Return the ports that a server takes: ten, and the same ten for gRPC."""
    return {port + shift for port in range(first, first + PORTS_EACH) for shift in (0, GRPC_OFFSET)}


def check_ports(ports: Mapping[str, int], singles: frozenset[str], *, wait_s: float) -> None:
    """End with a message if two parts want one port, or if another program has one.

    :param wait_s: what a killed demo left behind ends by itself within seconds.
    """
    wanted = {name: {port} if name in singles else block(port) for name, port in ports.items()}
    names = list(wanted)
    for at, name in enumerate(names):
        for other in names[:at]:
            if wanted[name] & wanted[other]:
                sys.exit(
                    f"error: {name}: found {ports[name]}, accepted is a port that {other} "
                    f"({ports[other]}) does not take; a server takes {PORTS_EACH} ports from the "
                    f"one given, and these plus {GRPC_OFFSET}"
                )
    for variable, numbers in wanted.items():
        with contextlib.suppress(TimeoutError):
            wait_until(
                functools.partial(all_free, numbers), deadline_s=wait_s, what="ports are free"
            )
        taken = sorted(number for number in numbers if not is_free(number))
        if taken:
            error = PortInUseError(taken[0])
            sys.exit(f"error: {error} with {variable}=…")


def all_free(numbers: set[int]) -> bool:
    """Tell whether all these ports are free."""
    return all(is_free(number) for number in numbers)


def print_report(run: FinishedRun) -> None:
    """Print the run report in short."""
    report = run.report
    say(f"Run {run.run_id}: {run.state}")
    for name in _PRINTED:
        say(f"  {name:15} {report[name]}")
    for name in _FIGURES:
        value = report[name]
        say(f"  {name:15} {value:.1f}" if isinstance(value, float) else f"  {name:15} {value}")
    for name in _COUNTS:
        say(f"  {name:15} {json.dumps(report[name], sort_keys=True)}")
    if report["planned"] == 0:
        say(f"  Nothing differs: {sum(report['skipped'].values())} objects were left as they are.")
    for failure in report["failures"][:10]:
        say(f"  failed: {failure['key']}: {failure['error']}")
    say(f"  report          {report['report_key']}")


def _ask_to_stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # Once is enough: what follows is the tidying up.
    raise _AskedToStopError
