"""The demo: two S3 servers with some data, and an Airflow with the example DAGs.

``start`` leaves them running behind one keeper process, whose id is in ``.state/demo``; ``stop``
ends that one. Started again, it goes on with the same data.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from boto3.s3.transfer import TransferConfig

from tests.support.airflow_home import START_DEADLINE_S, USERNAME, AirflowHome
from tests.support.ports import PortInUseError
from tests.support.processes import NotReadyError, wait_until
from tests.support.seaweed import SeaweedServer
from tests.support.watchdog import session_of

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = ROOT / ".state" / "demo"
READY = STATE / "ready.json"
PID = STATE / "pid"
LOG = STATE / "demo.log"
PORT_VARIABLE = "DEMO_PORT"
DEFAULT_PORT = 8080
SOURCE_BUCKET, TARGET_BUCKET = "demo-source", "demo-target"
PART_SIZE = 5 * 1024 * 1024
PARTS = 6
# SeaweedFS lists "a/b" before "a b", and takes "a//b" for "a/b".
SEAWEED = {"list_order": "unordered", "key_folding": True}
STOP_DEADLINE_S = START_DEADLINE_S


def fill(client: S3Client) -> None:
    """Put some small objects and one of several parts into the source bucket, once."""
    if SOURCE_BUCKET in {found.get("Name") for found in client.list_buckets()["Buckets"]}:
        return
    chance = random.Random(2026)
    client.create_bucket(Bucket=SOURCE_BUCKET)
    for number in range(200):
        key = f"readings/2026-{number % 12 + 1:02d}/{number:04d}.csv"
        client.put_object(Bucket=SOURCE_BUCKET, Key=key, Body=chance.randbytes(8_000))
    large = io.BytesIO(chance.randbytes(PART_SIZE * PARTS))
    in_parts = TransferConfig(multipart_threshold=PART_SIZE, multipart_chunksize=PART_SIZE)
    client.upload_fileobj(large, SOURCE_BUCKET, "archive/large.bin", Config=in_parts)


def serve() -> None:
    """Keep everything running until SIGTERM or SIGINT."""
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    with ExitStack() as stack:
        source, target = (
            stack.enter_context(SeaweedServer(STATE / name, f"demo-{name}", f"{name}-secret"))
            for name in ("source", "target")
        )
        fill(source.client())
        if TARGET_BUCKET not in {b.get("Name") for b in target.client().list_buckets()["Buckets"]}:
            target.client().create_bucket(Bucket=TARGET_BUCKET)
        env = {
            "AIRFLOW_CONN_S3_SOURCE": source.endpoint.s3resume_connection(**SEAWEED),
            "AIRFLOW_CONN_S3_TARGET": target.endpoint.s3resume_connection(**SEAWEED),
        }
        port = int(os.environ.get(PORT_VARIABLE, DEFAULT_PORT))
        home = AirflowHome(STATE / "airflow", ROOT / "dags", env, port=port, all_admins=False)
        stack.enter_context(home)
        facts = {
            "Airflow": home.url,
            "User": f"{USERNAME}, password {home.password}",
            "Source": f"{source.endpoint_url}, bucket {SOURCE_BUCKET}, connection s3_source",
            "Target": f"{target.endpoint_url}, bucket {TARGET_BUCKET}, connection s3_target",
        }
        READY.write_text(json.dumps(facts))
        asked_to_stop.wait()
    READY.unlink()


def running_pid() -> int | None:
    """Return the keeper's process id while it runs."""
    try:
        pid = int(PID.read_text())
    except (OSError, ValueError):
        return None
    return pid if session_of(pid) == pid else None


def start() -> None:
    """Start the keeper unless it runs, wait until it is ready, and say where things are."""
    (ROOT / "dags").mkdir(exist_ok=True)
    if running_pid() is None:
        STATE.mkdir(parents=True, exist_ok=True)
        READY.unlink(missing_ok=True)
        print("Starting two S3 servers and an Airflow; this takes about half a minute.", flush=True)
        with LOG.open("w") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.support.demo", "serve"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        PID.write_text(str(keeper.pid))
        wait_until(
            lambda: READY.exists() or keeper.poll() is not None,
            deadline_s=START_DEADLINE_S,
            what="the demo is ready",
        )
        if keeper.poll() is not None:
            sys.exit(f"error: the demo did not start:\n{LOG.read_text()}")
    for name, value in json.loads(READY.read_text()).items():
        print(f"{name + ':':9} {value}")
    print("make demo-stop ends it; its files are in .state/demo")


def stop() -> None:
    """End the keeper, which ends everything else."""
    pid = running_pid()
    if pid is None:
        print("The demo is not running.")
        return
    os.kill(pid, signal.SIGTERM)
    wait_until(
        lambda: running_pid() is None, deadline_s=STOP_DEADLINE_S, what="the demo has stopped"
    )
    PID.unlink(missing_ok=True)
    print("The demo has stopped.")


def main() -> None:
    """Run the command named on the command line."""
    commands = {"start": start, "stop": stop, "serve": serve}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python -m tests.support.demo {' | '.join(commands)}")
    try:
        commands[sys.argv[1]]()
    except (NotReadyError, PortInUseError, TimeoutError) as error:
        hint = f"; {PORT_VARIABLE}=… sets Airflow's" if isinstance(error, PortInUseError) else ""
        sys.exit(f"error: {error}{hint}")


if __name__ == "__main__":
    main()
