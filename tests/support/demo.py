"""The demo: sync one S3 server to another through a real Airflow, and check the result.

``run`` starts two servers and an Airflow, runs the nightly sync, prints its report, compares both
buckets with rclone, and ends what it started; with ``KEEP=1`` everything stays up until Ctrl-C or
``stop``. The state stays in ``.state/demo`` (or in the folder ``DEMO_STATE``): run again, it copies
nothing.
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
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.airflow_home import USERNAME
from tests.support.ports import GRPC_OFFSET, PortInUseError, is_free
from tests.support.processes import NotReadyError, wait_until
from tests.support.stage import (
    NIGHTLY,
    SOURCE_BUCKET,
    SOURCE_CONN,
    TARGET_BUCKET,
    TARGET_CONN,
    FinishedRun,
    Ports,
    Stage,
)
from tests.support.watchdog import session_of

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = Path(os.environ.get("DEMO_STATE") or ROOT / ".state" / "demo").resolve()
PID = STATE / "pid"
PORTS = {"DEMO_PORT": 8080, "DEMO_SOURCE_PORT": 10300, "DEMO_TARGET_PORT": 10400}
PORTS_EACH = 10
LEFTOVER_S = 10.0
STOP_DEADLINE_S = 90.0


class _AskedToStopError(BaseException):
    """SIGTERM or Ctrl-C came."""


def say(line: str = "") -> None:
    """Tell the person at the terminal."""
    print(line, flush=True)


def port_of(variable: str) -> int:
    """Return a port as the environment sets it, else the default."""
    text = os.environ.get(variable, "")
    if not text:
        return PORTS[variable]
    if not text.isdigit() or not 1024 <= int(text) <= 55_000:
        sys.exit(f"error: {variable}: found {text!r}, accepted is a number from 1024 to 55000")
    return int(text)


def block(first: int) -> set[int]:
    """Return the ports that a server takes: ten, and the same ten for gRPC."""
    return {port + shift for port in range(first, first + PORTS_EACH) for shift in (0, GRPC_OFFSET)}


def check_ports(source: int, target: int, airflow: int) -> None:
    """End with a message if two parts want one port, or if another program has one."""
    if block(source) & block(target):
        sys.exit(
            f"error: DEMO_TARGET_PORT: found {target}, accepted is a number at least {PORTS_EACH} "
            f"away from DEMO_SOURCE_PORT ({source}); each server also takes its ports plus "
            f"{GRPC_OFFSET}"
        )
    if airflow in block(source) | block(target):
        sys.exit(f"error: DEMO_PORT: found {airflow}, accepted is a port that no server takes")
    wanted = {
        "DEMO_PORT": {airflow},
        "DEMO_SOURCE_PORT": block(source),
        "DEMO_TARGET_PORT": block(target),
    }
    for variable, numbers in wanted.items():
        # What a killed demo left behind ends by itself within seconds.
        with contextlib.suppress(TimeoutError):
            wait_until(
                functools.partial(all_free, numbers), deadline_s=LEFTOVER_S, what="ports are free"
            )
        taken = sorted(number for number in numbers if not is_free(number))
        if taken:
            error = PortInUseError(taken[0])
            sys.exit(f"error: {error} with {variable}=…")


def all_free(numbers: set[int]) -> bool:
    """Tell whether all these ports are free."""
    return all(is_free(number) for number in numbers)


def server_keys() -> dict[str, str]:
    """Return the servers' secrets, made with the first start and kept in the clone."""
    file = STATE / "server-keys.json"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(
            json.dumps({name: secrets.token_urlsafe(24) for name in ("source", "target")})
        )
    keys: dict[str, str] = json.loads(file.read_text())
    return keys


def print_places(stage: Stage) -> None:
    """Say where everything is, and how to get in."""
    home = stage.airflow
    say(f"Airflow:  {home.url}  (DAG {NIGHTLY})")
    say(f"Login:    {USERNAME} / {home.password}")
    say(f"Source:   {stage.source.endpoint_url}, bucket {SOURCE_BUCKET}, connection {SOURCE_CONN}")
    say(f"Target:   {stage.target.endpoint_url}, bucket {TARGET_BUCKET}, connection {TARGET_CONN}")


def print_report(run: FinishedRun) -> None:
    """Print the run report in short."""
    report = run.report
    say(f"Run {run.run_id}: {run.state}")
    for name in ("planned", "copied", "already_there", "gone", "failed", "verified"):
        say(f"  {name:15} {report[name]}")
    for name in ("sent_parts", "kept_parts", "reread_parts", "bytes", "seconds"):
        value = report[name]
        say(f"  {name:15} {value:.1f}" if isinstance(value, float) else f"  {name:15} {value}")
    for name in ("reasons", "skipped", "refused", "verified_by", "notes"):
        say(f"  {name:15} {json.dumps(report[name], sort_keys=True)}")
    for failure in report["failures"][:10]:
        say(f"  failed: {failure['key']}: {failure['error']}")
    say(f"  report          {report['report_key']}")


def last_line(report: dict[str, Any]) -> str:
    """Return the line that sums up the run, from its report alone."""
    names = ("planned", "copied", "kept_parts", "failed", "verified", "bytes")
    return "demo: " + " ".join(f"{name}={report[name]}" for name in names)


def play(stage: Stage, *, keep: bool) -> bool:
    """Run the sync, print, compare; returns whether all went well."""
    print_places(stage)
    for run_id in stage.ended:
        say(f"Run {run_id} was killed; it is marked failed, and the next one goes on from it.")
    say("Running the nightly sync through the scheduler …")
    run = stage.nightly()
    print_report(run)
    check = stage.rclone_check()
    verdict = "no difference" if check.returncode == 0 else "DIFFERENCES"
    say(f"rclone check --download: {verdict}")
    if check.returncode != 0:
        say(check.stderr)
    good = run.state == "success" and check.returncode == 0
    if not keep:
        return good
    print_places(stage)
    say("Everything stays up until Ctrl-C or `make demo-stop`.")
    say(last_line(run.report))
    threading.Event().wait()
    return good


def run() -> None:
    """Run the demo and end what it started."""
    if running_pid() is not None:
        sys.exit("error: the demo is running already; `make demo-stop` ends it")
    STATE.mkdir(parents=True, exist_ok=True)
    PID.write_text(str(os.getpid()))
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    names = ("DEMO_SOURCE_PORT", "DEMO_TARGET_PORT", "DEMO_PORT")
    source, target, airflow = (port_of(name) for name in names)
    check_ports(source, target, airflow)
    ports = Ports(source=source, target=target, airflow=airflow)
    say("Starting two S3 servers and an Airflow …")
    try:
        with Stage(STATE, ports=ports, all_admins=False, keys=server_keys()) as stage:
            good = play(stage, keep=keep)
            line = last_line(stage.last.report) if stage.last else ""
    except _AskedToStopError:
        say("The demo has stopped.")
        return
    finally:
        PID.unlink(missing_ok=True)
    say(line)
    if not good:
        sys.exit("error: the sync failed, or the buckets differ; see above")


def running_pid() -> int | None:
    """Return the process id of a demo that runs."""
    try:
        pid = int(PID.read_text())
    except (OSError, ValueError):
        return None
    if pid == os.getpid() or session_of(pid) is None:
        return None
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return pid if b"tests.support.demo" in command else None


def stop() -> None:
    """Ask a running demo to end, and wait until it has."""
    pid = running_pid()
    if pid is None:
        say("The demo is not running.")
        return
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: running_pid() is None, deadline_s=STOP_DEADLINE_S, what="the demo has ended")
    say("The demo has stopped.")


def _ask_to_stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # Once is enough: what follows is the tidying up.
    raise _AskedToStopError


def main() -> None:
    """Run the command named on the command line."""
    commands = {"run": run, "stop": stop}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python -m tests.support.demo {' | '.join(commands)}")
    if sys.argv[1] == "run":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _ask_to_stop)
    try:
        commands[sys.argv[1]]()
    except (PortInUseError, NotReadyError, TimeoutError, LookupError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
