"""An OSS server with one bucket, and stores on it as a hook would make them."""

from __future__ import annotations

import dataclasses

from airflow_provider_s3resume.plan.objects import ByteRange, SourceIdentity
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.oss import OSSSettings, OSSStore, service_of
from tests.support.oss_faults import Fault
from tests.support.oss_server import OSSEndpoint, OSSServer, Seen
from tests.support.oss_writing_store import oss_bucket

BUCKET = "source-bucket"


class OSSWorld:
    """A running server, its bucket, and what was asked of it."""

    def __init__(self, server: OSSServer, bucket: str = BUCKET) -> None:
        self.server = server
        self.bucket = bucket
        server.state.create_bucket(bucket)

    @property
    def endpoint(self) -> OSSEndpoint:
        """The server's address and first identity."""
        return self.server.endpoint

    def store(
        self,
        settings: OSSSettings | None = None,
        endpoint: OSSEndpoint | None = None,
        bucket: str | None = None,
    ) -> OSSStore:
        """Return a new store with connections of its own."""
        at = endpoint or self.endpoint
        return OSSStore(
            oss_bucket(at, bucket or self.bucket, settings),
            service=service_of(at.endpoint_url, at.region),
            settings=settings,
        )

    def temporary(self, access_key_id: str, secret: str, token: str) -> OSSEndpoint:
        """Return the server's address with a role's credentials."""
        self.server.add_credentials(access_key_id, secret, token)
        return dataclasses.replace(
            self.endpoint,
            access_key_id=access_key_id,
            access_key_secret=secret,
            security_token=token,
        )

    def put(self, key: str, data: bytes, **headers: str) -> None:
        """Store an object; ``content_type`` stands for ``content-type``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.server.state.put(self.bucket, key, data, headers=named)

    def fault(self, fault: Fault) -> None:
        """Let the server commit a fault."""
        self.server.faults.add(fault)

    def last(self, operation: str) -> Seen:
        """Return the latest request of an operation."""
        return self.server.requests.seen(operation=operation)[-1]


def read_all(
    store: ObjectStore,
    key: str,
    byte_range: ByteRange | None = None,
    identity: SourceIdentity | None = None,
) -> bytes:
    """Read an object, or a range of it, to its end."""
    found = bytearray()
    buffer = memoryview(bytearray(100_000))
    planned = identity or store.head(key).identity()
    with store.open_range(key, byte_range, planned) as reader:
        while count := reader.readinto(buffer):
            found += buffer[:count]
    return bytes(found)
