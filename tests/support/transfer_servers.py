"""Copies between two real servers through wires, in this process or in one that can be killed."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from airflow_provider_s3resume.plan.manifest import BatchRef
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import RetryPolicy
from airflow_provider_s3resume.storage.s3 import (
    S3Store,
    client_config,
    store_settings_from_extra,
)
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.endpoints import S3Endpoint
from tests.support.processes import Child
from tests.support.wire import Wire
from tests.support.wire_rules import Exchange, Match

ROOT = Path(__file__).resolve().parent.parent.parent
SEAWEED: dict[str, object] = {
    "list_order": "unordered",
    "key_folding": True,
    "addressing_style": "path",
    "read_timeout_s": 20,
}
PART = 5 * MIB
# Quick, so that a burst of faults does not make a test long.
POLICY = RetryPolicy(
    attempts=4, base_s=0.02, most_s=0.1, throttled_attempts=6, throttled_base_s=0.02
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A bucket of a server, by an address that may be a wire's."""

    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str
    extra: dict[str, object] = field(default_factory=dict)

    def open(self, service: str, stop: StopSignal | None = None) -> ObjectStore:
        """Return the store.

        :param service: the server's own address: wires change from attempt to attempt.
        """
        settings = store_settings_from_extra({**SEAWEED, **self.extra})
        options: dict[str, Any] = client_config(settings)
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(**options),
        )
        raw = S3Store(client, self.bucket, service=service, settings=settings)
        return build_store(raw, retry=POLICY, wait=(stop or StopSignal()).wait)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A planned batch between two places, as a worker gets it."""

    source: Place
    target: Place
    ref: dict[str, Any]
    concurrency: int = 2
    part_size: int = PART
    threshold: int = PART
    memory_budget: int = 64 * MIB

    def run(self, stop: StopSignal | None = None) -> BatchResult:
        """Make one attempt."""
        signal = stop or StopSignal()
        target = self.target.open("http://target", signal)
        return copy_batch(
            self.source.open("http://source", signal),
            target,
            StateLocation(target),
            BatchRef(**self.ref),
            CopyConfig(
                part_size=self.part_size,
                multipart_threshold=self.threshold,
                memory_budget=self.memory_budget,
                part_concurrency=self.concurrency,
                object_concurrency=2,
            ),
            stop=signal,
            now=time.time(),
        )


class Pair:
    """Two buckets of the same name, each behind a wire."""

    def __init__(
        self, source: S3Endpoint, target: S3Endpoint, bucket: str, wire: Callable[..., Wire]
    ) -> None:
        self.bucket = bucket
        self.source_client, self.target_client = source.client(), target.client()
        for client in (self.source_client, self.target_client):
            client.create_bucket(Bucket=bucket)
        self.source_wire: Wire = wire(source.endpoint_url)
        self.target_wire: Wire = wire(target.endpoint_url)
        self._source, self._target = (
            Place(
                endpoint_url=way.url,
                access_key=endpoint.access_key,
                secret_key=endpoint.secret_key,
                bucket=bucket,
            )
            for endpoint, way in ((source, self.source_wire), (target, self.target_wire))
        )

    def put(self, key: str, data: bytes, parts: Iterable[int] = ()) -> Self:
        """Put an object into the source, in parts of these sizes if given."""
        client, bucket = self.source_client, self.bucket
        sizes = list(parts)
        if not sizes:
            client.put_object(Bucket=bucket, Key=key, Body=data)
            return self
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        etags, start = [], 0
        for number, size in enumerate(sizes, 1):
            answer = client.upload_part(
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=data[start : start + size],
            )
            etags.append(answer["ETag"])
            start += size
        client.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=upload,
            MultipartUpload={
                "Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
            },
        )
        return self

    def put_old(self, key: str, data: bytes) -> Self:
        """Put an object that is to be replaced into the target."""
        self.target_client.put_object(Bucket=self.bucket, Key=key, Body=data)
        return self

    def plan(self, *keys: str, concurrency: int = 2) -> Job:
        """Plan to copy these keys onto themselves."""
        target = self._target.open("http://target")
        _, manifest = pairs_manifest(
            self._source.open("http://source"),
            target,
            StateLocation(target),
            [(key, key) for key in keys],
            "run",
            now=time.time(),
        )
        return Job(
            source=self._source,
            target=self._target,
            ref=asdict(manifest.batches[0]),
            concurrency=concurrency,
        )

    def outcomes(self, job: Job) -> dict[str, Outcome]:
        """Return what became of a job's objects, by key."""
        state = StateLocation(self._target.open("http://target"))
        found = load_outcomes(state, job.ref["manifest"], job.ref["index"]) or []
        return {outcome.key: outcome for outcome in found}

    def data(self, key: str) -> bytes:
        """Return an object of the target, past the wire."""
        body = self.target_client.get_object(Bucket=self.bucket, Key=key)["Body"]
        return body.read()

    def sent_parts(self, key: str) -> list[Exchange]:
        """Return the UploadPart requests of a key so far."""
        return [
            exchange
            for exchange in self.target_wire.seen(Match(operation="UploadPart"))
            if exchange.path.endswith("/" + key)
        ]

    def open_uploads(self) -> list[str]:
        """Return the ids of the target's unfinished uploads."""
        found = self.target_client.list_multipart_uploads(Bucket=self.bucket)
        return [upload["UploadId"] for upload in found.get("Uploads", [])]


def part_number(exchange: Exchange) -> int:
    """Return the part that an UploadPart was about."""
    return int(exchange.query["partNumber"])


def acknowledged(exchanges: Iterable[Exchange]) -> set[int]:
    """Return the parts that the client was told to be there."""
    return {part_number(e) for e in exchanges if e.status == 200 and e.is_over}


def start_worker(job: Job, folder: Path, name: str) -> Child:
    """Start a process that makes one attempt; its log is in the folder."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(asdict(job)))
    command: list[str | Path] = [sys.executable, "-m", "tests.support.transfer_servers", file]
    return Child(f"worker {name}", command, log_file=folder / f"{name}.log", cwd=ROOT)


def main() -> None:
    """Make the attempt that a file describes."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    given = json.loads(Path(sys.argv[1]).read_text())
    job = Job(
        source=Place(**given["source"]),
        target=Place(**given["target"]),
        ref=given["ref"],
        concurrency=given["concurrency"],
    )
    job.run().raise_for_failures()


if __name__ == "__main__":
    main()
