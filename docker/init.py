"""What has to be there before Airflow starts: its tables, its user, the pool, the buckets.

Runs in the service ``init`` of docker-compose.yaml, at each start; what is there already is left,
but for the password, which is that of ``.env``.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import boto3

POOL = "s3resume_transfer"
SLOTS = "4"
BUCKETS = (("S3_SOURCE", "demo-source"), ("S3_TARGET", "demo-target"), ("S3_TARGET", "demo-state"))


def airflow(*arguments: str) -> int:
    """Run the command of this environment's Airflow, and return its exit code."""
    return subprocess.run(["airflow", *arguments], check=False).returncode


def must(*arguments: str) -> None:
    """Run the command of this environment's Airflow.

    :raises SystemExit: with its exit code, if it fails.
    """
    if code := airflow(*arguments):
        raise SystemExit(code)


def write_password() -> None:
    """Give the user ``admin`` the password of ``.env``."""
    file = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    file.touch(mode=0o600)
    known = json.loads(file.read_text() or "{}")
    file.write_text(json.dumps({**known, "admin": os.environ["AIRFLOW_ADMIN_PASSWORD"]}))


def make_pool() -> None:
    """Make the pool of the transfer tasks, unless somebody has made it as it should be."""
    if airflow("pools", "get", POOL):
        must("pools", "set", POOL, SLOTS, "S3 transfers to one target")


def make_buckets() -> None:
    """Make the buckets that are not there yet, as the connections say."""
    for connection, bucket in BUCKETS:
        known = json.loads(os.environ[f"AIRFLOW_CONN_{connection}"])
        client = boto3.client(
            "s3",
            endpoint_url=known["extra"]["endpoint_url"],
            region_name=known["extra"]["region_name"],
            aws_access_key_id=known["login"],
            aws_secret_access_key=known["password"],
        )
        if bucket not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=bucket)


def main() -> None:
    """Make all of it."""
    write_password()
    make_buckets()
    must("db", "migrate")
    make_pool()


if __name__ == "__main__":
    main()
