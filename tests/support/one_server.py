"""Two buckets of one real server behind a wire: what it copies by itself, and what is relayed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from airflow_provider_s3resume.plan.manifest import BatchRef
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig, ServerSideCopy
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.reporting import make_report
from airflow_provider_s3resume.transfer.run_report import RunReport
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import VerificationSummary, verify_run
from tests.conformance.cases import s3_store
from tests.support.endpoints import S3Endpoint
from tests.support.transfer_servers import PART, POLICY
from tests.support.wire import Wire
from tests.support.wire_rules import Exchange, Match

CONFIG = CopyConfig(
    part_size=PART,
    multipart_threshold=PART,
    memory_budget=64 * MIB,
    part_concurrency=2,
    object_concurrency=2,
)
NEVER = replace(CONFIG, server_side_copy=ServerSideCopy.NEVER)
REQUIRE = replace(CONFIG, server_side_copy=ServerSideCopy.REQUIRE)
WHOLE = 300 * 1024
"""Bytes of an object that is too large for the lane of small ones, and copied in one request."""
_BODIES = ("GetObject", "PutObject", "UploadPart")


class OneServer:
    """A source and a target bucket, and a batch between them. State lies in the target."""

    def __init__(
        self,
        endpoint: S3Endpoint,
        bucket: str,
        wire: Callable[..., Wire],
        extra: Mapping[str, object],
    ) -> None:
        self.client = endpoint.client()
        self.source_bucket, self.target_bucket = f"{bucket}-from", f"{bucket}-to"
        for name in (self.source_bucket, self.target_bucket):
            self.client.create_bucket(Bucket=name)
        self.wire = wire(endpoint.endpoint_url)
        self._endpoint = endpoint.through(self.wire.url)
        self._extra = extra
        self.ref: BatchRef | None = None

    def store(self, bucket: str) -> ObjectStore:
        """Return a bucket through the wire."""
        return build_store(s3_store(self._endpoint, bucket, self._extra), retry=POLICY)

    @property
    def sides(self) -> tuple[ObjectStore, ObjectStore, StateLocation]:
        """The source, the target, and the state location."""
        target = self.store(self.target_bucket)
        return self.store(self.source_bucket), target, StateLocation(target)

    def keep_versions(self) -> None:
        """Switch versions on at the source."""
        self.client.put_bucket_versioning(
            Bucket=self.source_bucket, VersioningConfiguration={"Status": "Enabled"}
        )

    def put(self, key: str, data: bytes, parts: Iterable[int] = (), **more: str) -> str:
        """Put an object into the source, in parts of these sizes if given; return its version."""
        client, named = self.client, {"Bucket": self.source_bucket, "Key": key}
        sizes = list(parts)
        if not sizes:
            written = client.put_object(Body=data, **named, **more)  # type: ignore[arg-type]
            return written.get("VersionId", "")
        upload = client.create_multipart_upload(**named)["UploadId"]  # type: ignore[arg-type]
        made, start = [], 0
        for number, size in enumerate(sizes, 1):
            body = data[start : start + size]
            answer = client.upload_part(
                **named,  # type: ignore[arg-type]
                UploadId=upload,
                PartNumber=number,
                Body=body,
            )
            made.append({"PartNumber": number, "ETag": answer["ETag"]})
            start += size
        done = client.complete_multipart_upload(
            **named,  # type: ignore[arg-type]
            UploadId=upload,
            MultipartUpload={"Parts": made},  # type: ignore[typeddict-item]
        )
        return done.get("VersionId", "")

    def plan(self, *keys: str, versions: Mapping[str, str] | None = None) -> BatchRef:
        """Plan to copy these keys onto themselves."""
        source, target, state = self.sides
        pairs = [(key, key) for key in keys]
        _, manifest = pairs_manifest(
            source, target, state, pairs, "run", now=time.time(), versions=versions
        )
        self.ref = manifest.batches[0]
        return self.ref

    def run(self, config: CopyConfig = CONFIG) -> BatchResult:
        """Make one attempt."""
        assert self.ref is not None
        source, target, state = self.sides
        return copy_batch(
            source, target, state, self.ref, config, stop=StopSignal(), now=time.time()
        )

    def outcomes(self) -> dict[str, Outcome]:
        """Return what became of the objects, by key."""
        assert self.ref is not None
        found = load_outcomes(self.sides[2], self.ref.manifest, self.ref.index) or []
        return {outcome.key: outcome for outcome in found}

    def verify(self) -> VerificationSummary:
        """Verify the batch."""
        assert self.ref is not None
        key = self.ref.manifest
        return verify_run(*self.sides, key, stop=StopSignal(), now=time.time())

    def report(self) -> RunReport:
        """Report the batch."""
        assert self.ref is not None
        return make_report(self.sides[2], self.ref.manifest, now=time.time())

    def data(self, key: str) -> bytes:
        """Return an object of the target, past the wire."""
        body = self.client.get_object(Bucket=self.target_bucket, Key=key)["Body"]
        return body.read()

    def seen(self, operation: str) -> list[Exchange]:
        """Return the requests of an operation so far, but for those about our own state."""
        found = self.wire.seen(Match(operation=operation))
        return [exchange for exchange in found if ".s3resume" not in exchange.path]

    def bodies(self) -> list[Exchange]:
        """Return the requests that carry an object's bytes."""
        return [exchange for operation in _BODIES for exchange in self.seen(operation)]

    def open_uploads(self) -> list[str]:
        """Return the ids of the target's unfinished uploads."""
        found = self.client.list_multipart_uploads(Bucket=self.target_bucket)
        return [upload["UploadId"] for upload in found.get("Uploads", [])]
