"""Where a test server answers and with whose credentials: all that a client needs."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

REGION = "us-east-1"
CLIENTS = threading.Lock()
"""Held while a client is made: boto3's own session is not for several threads."""

NO_PROXIES: dict[str, str] = {}
"""Given, as looking for them reads the whole environment, which pytest writes to meanwhile."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class S3Endpoint:
    """The address of an S3 server with one identity; ``ca_file`` for a server that speaks TLS."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str = REGION
    ca_file: Path | None = None

    def through(self, endpoint_url: str) -> S3Endpoint:
        """Return the same identity behind another address, such as a proxy's."""
        return dataclasses.replace(self, endpoint_url=endpoint_url)

    def client(self, *, max_attempts: int = 3, read_timeout_s: float = 60) -> S3Client:
        """Return a boto3 client: path style, and as many attempts as told, the first included."""
        with CLIENTS:
            return boto3.client(
                "s3",
                endpoint_url=self.endpoint_url,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                region_name=self.region,
                verify=str(self.ca_file) if self.ca_file else None,
                config=Config(
                    s3={"addressing_style": "path"},
                    retries={"total_max_attempts": max_attempts, "mode": "standard"},
                    connect_timeout=5,
                    read_timeout=read_timeout_s,
                    proxies=NO_PROXIES,
                ),
            )

    def airflow_connection(self, **extra: object) -> str:
        """Return the JSON of an Airflow connection of type ``aws``, for AIRFLOW_CONN_…."""
        given = {"endpoint_url": self.endpoint_url, "region_name": self.region}
        return self._connection("aws", {}, {**given, **extra})

    def s3resume_connection(self, **extra: object) -> str:
        """Return the JSON of an Airflow connection of our type, for AIRFLOW_CONN_…."""
        host = {"host": self.endpoint_url}
        return self._connection("s3resume", host, {"region_name": self.region, **extra})

    def _connection(self, conn_type: str, fields: dict[str, str], extra: dict[str, object]) -> str:
        trusted = {"verify": str(self.ca_file)} if self.ca_file else {}
        known = {"conn_type": conn_type, "login": self.access_key, "password": self.secret_key}
        return json.dumps({**known, **fields, "extra": {**trusted, **extra}})
