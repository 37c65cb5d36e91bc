"""A SeaweedFS of one process: the default real S3 server of the tests and the demo.

It checks signatures, checksums, and conditions. Known to differ from Amazon S3: it folds ``//`` in
keys, lists ``a/b`` before ``a b``, and repeats a page of ListMultipartUploads for ever.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from tests.support.endpoints import S3Endpoint
from tests.support.ports import GRPC_OFFSET, LOOPBACK, free_block, require_free
from tests.support.processes import Child
from tests.support.tls import Certificate

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WEED = Path(sys.executable).parent / "weed"
PORTS = 10
START_DEADLINE_S = 60.0
_READY_BUCKET = "s3resume-ready"


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitedIdentity:
    """One that may do what a policy says, and nothing else."""

    access_key: str
    secret_key: str
    policies: Sequence[Mapping[str, Any]]


def _identities(access_key: str, secret_key: str, limited: Sequence[LimitedIdentity]) -> str:
    """Return the server's identities: one that may do everything, and those that may not."""
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    others, policies = list[dict[str, Any]](), list[dict[str, str]]()
    for one in limited:
        names = [f"{one.access_key}-{number}" for number in range(len(one.policies))]
        keys = [{"accessKey": one.access_key, "secretKey": one.secret_key}]
        others.append({"name": one.access_key, "credentials": keys, "policyNames": names})
        documents = map(json.dumps, one.policies)
        policies += [
            {"name": name, "content": text} for name, text in zip(names, documents, strict=True)
        ]
    return json.dumps({"identities": [identity, *others], "policies": policies})


class SeaweedServer:
    """A SeaweedFS with its data in ``data_dir``; give ``certificate`` to serve TLS instead of HTTP.

    ``port`` is the first of ten neighbouring ports it uses; without one, free ports are found. The
    data outlives the server: a second one on the same folder serves it again.

    :param limited: more identities, with policies that the server enforces.
    """

    def __init__(
        self,
        data_dir: Path,
        access_key: str,
        secret_key: str,
        port: int | None = None,
        *,
        certificate: Certificate | None = None,
        limited: Sequence[LimitedIdentity] = (),
    ) -> None:
        self.data_dir = data_dir
        self.port = port
        self._limited = limited
        self._certificate = certificate
        self._access_key = access_key
        self._secret_key = secret_key
        self._child: Child | None = None

    @property
    def endpoint(self) -> S3Endpoint:
        """The address and the identity."""
        if self.port is None:
            raise RuntimeError("the server has no port before it starts")
        tls = self._certificate
        plain = f"http://{LOOPBACK}:{self.port}"
        return S3Endpoint(
            endpoint_url=f"https://{LOOPBACK}:{self.port + 7}" if tls else plain,
            access_key=self._access_key,
            secret_key=self._secret_key,
            ca_file=tls.ca_file if tls else None,
        )

    @property
    def endpoint_url(self) -> str:
        """The address."""
        return self.endpoint.endpoint_url

    @property
    def access_key(self) -> str:
        """The access key id of its identity."""
        return self._access_key

    @property
    def secret_key(self) -> str:
        """The secret of its identity."""
        return self._secret_key

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._child is None:
            raise RuntimeError("the server is not running")
        return self._child.pid

    def client(self) -> S3Client:
        """Return a boto3 client of its identity."""
        return self.endpoint.client()

    def start(self) -> Self:
        """Start it and return once it has stored an object; NotReadyError if it does not."""
        if self.port is None:
            self.port = free_block(PORTS, with_grpc=True)
        used = [self.port + i for i in (0, 1, 2, 3, 6, 7)]
        require_free(*used, *(number + GRPC_OFFSET for number in used))
        self.data_dir.mkdir(parents=True, exist_ok=True)
        identities = self.data_dir / "identities.json"
        identities.write_text(_identities(self._access_key, self._secret_key, self._limited))
        child = Child(
            f"SeaweedFS on port {self.port}",
            self._command(self.port, identities),
            log_file=self.data_dir / "weed.log",
            env={"HOME": str(self.data_dir), "WEED_S3_SSE_KEK": self._key_encryption_key()},
        )
        self._child = child
        try:
            child.wait_ready(self._stores_objects, deadline_s=START_DEADLINE_S)
        except BaseException:
            self.stop()
            raise
        return self

    def _command(self, port: int, identities: Path) -> list[str | Path]:
        files = self.data_dir / "files"
        files.mkdir(exist_ok=True)
        command: list[str | Path] = [WEED, f"-logdir={files}", "mini", f"-dir={files}"]
        command += [f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", f"-master.port={port + 1}"]
        command += ["-master.telemetry=false", "-master.volumeSizeLimitMB=64"]
        command += [f"-volume.port={port + 2}", f"-filer.port={port + 3}", f"-s3.port={port}"]
        command += [f"-s3.config={identities}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += ["-webdav=false", "-admin.ui=false", f"-admin.port={port + 6}"]
        command += ["-s3.autoCreateBucket=false"]
        if self._certificate:
            command += [f"-s3.port.https={port + 7}"]
            command += [f"-s3.cert.file={self._certificate.cert_file}"]
            command += [f"-s3.key.file={self._certificate.key_file}"]
        return command

    def _key_encryption_key(self) -> str:
        """Return the key behind SSE-S3, the same at each start on one folder."""
        file = self.data_dir / "sse-kek"
        if not file.exists():
            file.write_text(secrets.token_hex(32))
        return file.read_text()

    def _stores_objects(self) -> bool:
        try:
            client = self.endpoint.client(max_attempts=1, read_timeout_s=5)
            if _READY_BUCKET not in [b.get("Name") for b in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=_READY_BUCKET)
            client.put_object(Bucket=_READY_BUCKET, Key="ready", Body=b"ready")
            client.delete_object(Bucket=_READY_BUCKET, Key="ready")
            client.delete_bucket(Bucket=_READY_BUCKET)
        except (BotoCoreError, ClientError):
            return False
        return True

    def stop(self) -> None:
        """End the server; its data stay."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End the server with SIGKILL, as a power cut would."""
        if self._child is not None:
            self._child.kill()
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
