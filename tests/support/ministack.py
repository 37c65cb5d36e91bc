"""MiniStack: an S3 and SQS in memory that keeps every key as it is.

It checks no signatures. It serves key fidelity, byte order of listings, versions, archive classes,
object locks and bucket events.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config

from tests.support.endpoints import CLIENTS, NO_PROXIES, S3Endpoint
from tests.support.ports import LOOPBACK, free_port, require_free
from tests.support.processes import Child, wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

START_DEADLINE_S = 60.0
PROGRAM = Path(sys.executable).parent / "ministack"


class MinistackServer:
    """A MiniStack of few services; its files (a pid, a log) stay in ``data_dir``."""

    def __init__(
        self,
        data_dir: Path,
        access_key: str = "test",
        secret_key: str = "test",
        port: int | None = None,
        *,
        services: Sequence[str] = ("s3", "sqs"),
    ) -> None:
        self.data_dir = data_dir
        self.services = services
        self.access_key = access_key
        self.secret_key = secret_key
        self.port = port if port is not None else free_port()
        self._child: Child | None = None

    @property
    def endpoint(self) -> S3Endpoint:
        """The address and the identity."""
        return S3Endpoint(
            endpoint_url=self.endpoint_url,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )

    @property
    def endpoint_url(self) -> str:
        """The address, the same for all its services."""
        return f"http://{LOOPBACK}:{self.port}"

    def client(self) -> S3Client:
        """Return a boto3 client of its S3."""
        return self.endpoint.client()

    def sqs(self) -> Any:
        """Return a boto3 client of its SQS."""
        return self._client("sqs")

    def secrets(self) -> Any:
        """Return a boto3 client of its Secrets Manager, where that is one of its services."""
        return self._client("secretsmanager")

    def _client(self, service: Any) -> Any:
        with CLIENTS:
            return boto3.client(
                service,
                endpoint_url=self.endpoint_url,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                region_name=self.endpoint.region,
                config=Config(proxies=NO_PROXIES),
            )

    def notify(self, bucket: str, queue_url: str) -> None:
        """Let a bucket tell a queue of every object that is written or deleted."""
        asked = self.sqs().get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        configuration: Any = {
            "QueueArn": asked["Attributes"]["QueueArn"],
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
        }
        self.client().put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [configuration]}
        )

    def wait_for_messages(self, queue_url: str, count: int) -> None:
        """Return once a queue holds so many messages: notifications come a little late."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        sqs = self.sqs()

        def is_there() -> bool:
            asked = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
            return sum(int(asked["Attributes"][name]) for name in names) >= count

        wait_until(is_there, deadline_s=30, what=f"{count} messages are in {queue_url}")

    def start(self) -> Self:
        """Start it and return once it says that it is healthy."""
        require_free(self.port)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        child = Child(
            f"MiniStack on port {self.port}",
            [PROGRAM],
            log_file=self.data_dir / "ministack.log",
            env=self._environment(),
            cwd=self.data_dir,
        )
        self._child = child
        try:
            child.wait_ready(self._is_healthy, deadline_s=START_DEADLINE_S)
        except BaseException:
            self.stop()
            raise
        return self

    def _environment(self) -> dict[str, str]:
        return {
            "BIND_HOST": LOOPBACK,
            "GATEWAY_PORT": str(self.port),
            "HOME": str(self.data_dir),
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "MINISTACK_HOST": LOOPBACK,
            "PATH": os.environ["PATH"],
            "SERVICES": ",".join(self.services),
            "SFTP_ENABLED": "0",
            "TMPDIR": str(self.data_dir),
        }

    def _is_healthy(self) -> bool:
        address = f"{self.endpoint_url}/_ministack/health"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own server
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End the server, and with it all that it stored."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the server."""
        self.stop()
