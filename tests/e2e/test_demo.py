"""The demo as a person runs it: what it says when it cannot start, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.support.airflow_api import AirflowApi
from tests.support.demo import SHOW
from tests.support.demo_data import BIG_KEY
from tests.support.endpoints import S3Endpoint
from tests.support.ports import LOOPBACK, free_block, free_port
from tests.support.processes import Child, wait_until
from tests.support.stage import NIGHTLY, TARGET_BUCKET
from tests.support.watchdog import PROC, session_of

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = [sys.executable, "-m", "tests.support.demo"]
UP_DEADLINE_S = 180.0
END_DEADLINE_S = 180.0


def environment(state: Path) -> dict[str, str]:
    """Return the environment of a demo with a state and ports of its own."""
    ports = {
        "DEMO_PORT": free_port(),
        "DEMO_SOURCE_PORT": free_block(10, with_grpc=True),
        "DEMO_TARGET_PORT": free_block(10, with_grpc=True),
    }
    numbers = {name: str(port) for name, port in ports.items()}
    return {**os.environ, **numbers, "DEMO_STATE": str(state)}


def demo(command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run(
        [*COMMAND, command], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )


def processes_of(state: Path) -> set[int]:
    """Return the processes that have a demo's state folder in their environment."""
    found = set()
    for entry in PROC.iterdir():
        if entry.name.isdigit() and session_of(int(entry.name)) is not None:
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(state).encode() in environ:
                found.add(int(entry.name))
    return found


def has_run(api: AirflowApi) -> bool:
    """Tell whether the nightly sync was started."""
    return bool(api.call("GET", f"dags/{NIGHTLY}/dagRuns")["dag_runs"])


def wait_for_nothing_left(state: Path) -> None:
    """Return once no process of a demo is left."""
    wait_until(lambda: not processes_of(state), deadline_s=60, what="no process is left")


@pytest.mark.parametrize("variable", sorted(SHOW.ports))
def test_a_port_in_use_is_named(tmp_path: Path, variable: str) -> None:
    """The demo says which port it is and how to choose another one, and leaves nothing running."""
    env = environment(tmp_path)
    with socket.create_server((LOOPBACK, int(env[variable]))):
        ended = demo("run", env)
    assert ended.returncode == 1
    assert f"error: port {env[variable]} on {LOOPBACK} is in use" in ended.stderr
    assert variable in ended.stderr
    assert "Traceback" not in ended.stderr
    wait_for_nothing_left(tmp_path)


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    """The message names the variable, what was found and what is accepted."""
    ended = demo("run", {**environment(tmp_path), "DEMO_PORT": "eighty"})
    assert ended.returncode == 1
    expected = "error: DEMO_PORT: found 'eighty', accepted is a number from 1024 to 55000"
    assert ended.stderr.strip() == expected


def test_the_demo_asks_for_a_login_runs_once_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    """A second demo says that one runs; Ctrl-C in the middle of the sync ends every process."""
    env = environment(tmp_path)
    log = tmp_path / "demo.log"
    with Child("demo", [*COMMAND, "run"], log_file=log, env=env, cwd=ROOT) as running:
        running.wait_ready(lambda: "Running the DAG" in log.read_text(), deadline_s=UP_DEADLINE_S)
        url = f"http://{LOOPBACK}:{env['DEMO_PORT']}"
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(f"{url}/api/v2/dags")  # noqa: S310 - ours
        with refused.value:
            assert refused.value.code == 401
        second = demo("run", env)
        assert second.returncode == 1
        assert second.stderr.strip() == (
            "error: the demo is running already; `make demo-stop` ends it"
        )

        line = next(li for li in log.read_text().splitlines() if li.startswith("Login:"))
        username, password = line.removeprefix("Login:").strip().split(" / ")
        api = AirflowApi(url, username=username, password=password)
        # The demo says that it runs the DAG and then waits for Airflow to parse it, as this does.
        wait_until(lambda: api.has_dag(NIGHTLY), deadline_s=UP_DEADLINE_S, what="the DAG is parsed")
        wait_until(lambda: has_run(api), deadline_s=UP_DEADLINE_S, what="the sync was started")

        os.kill(running.pid, signal.SIGINT)
        assert running.process.wait(END_DEADLINE_S) == 0
        assert log.read_text().splitlines()[-1] == "The demo has stopped."
        wait_for_nothing_left(tmp_path)
    assert demo("stop", env).stdout.strip() == "The demo is not running."


def test_the_last_line_sums_up_the_report() -> None:
    """Six figures in a fixed order, all of them the report's own."""
    names = ("bytes", "copied", "failed", "kept_parts", "planned", "verified")
    report = dict(zip(names, range(6), strict=True))
    assert SHOW.last_line(report) == (
        "demo: planned=4 copied=1 kept_parts=3 failed=2 verified=5 bytes=0"
    )


def test_a_demo_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    """SIGKILL while the large object is copied: the next demo ends the old run and completes it."""
    env = environment(tmp_path)
    killed = Child("demo", [*COMMAND, "run"], log_file=tmp_path / "demo.log", env=env, cwd=ROOT)
    with killed:
        keys_file = tmp_path / "server-keys.json"
        wait_until(
            lambda: "Running the DAG" in killed.log_tail(),
            deadline_s=UP_DEADLINE_S,
            what="the sync was started",
        )
        target = S3Endpoint(
            endpoint_url=f"http://{LOOPBACK}:{env['DEMO_TARGET_PORT']}",
            access_key="target-user",
            secret_key=json.loads(keys_file.read_text())["target"],
        ).client()

        def has_parts() -> bool:
            for upload in target.list_multipart_uploads(Bucket=TARGET_BUCKET).get("Uploads", []):
                key, upload_id = upload["Key"], upload["UploadId"]
                try:
                    found = target.list_parts(Bucket=TARGET_BUCKET, Key=key, UploadId=upload_id)
                except target.exceptions.NoSuchUpload:
                    continue
                if key == BIG_KEY and found.get("Parts"):
                    return True
            return False

        wait_until(has_parts, deadline_s=UP_DEADLINE_S, what="parts of the large object landed")
        os.kill(killed.pid, signal.SIGKILL)
        wait_for_nothing_left(tmp_path)
    again = demo("run", env)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "was killed; it is marked failed" in again.stdout
    assert "rclone check --download: no difference" in again.stdout
    assert " failed=0 " in again.stdout.splitlines()[-1]
