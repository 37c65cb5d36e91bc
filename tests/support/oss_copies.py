"""Syncs from the OSS test server into a real S3 server, without Airflow."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import RetryPolicy
from airflow_provider_s3resume.storage.oss import OSSSettings, OSSStore, service_of
from airflow_provider_s3resume.storage.s3 import S3Store, client_config, store_settings_from_extra
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.reporting import make_report
from airflow_provider_s3resume.transfer.run_report import RunReport
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import verify_run
from tests.support.endpoints import S3Endpoint
from tests.support.oss_objects import resolved
from tests.support.oss_server import OSSServer
from tests.support.oss_writing_store import oss_bucket

SEAWEED: Mapping[str, object] = {
    "list_order": "unordered",
    "key_folding": True,
    "addressing_style": "path",
}
PART = 5 * MIB
# Quick, so that a burst of faults does not make a test long.
POLICY = RetryPolicy(
    attempts=4, base_s=0.01, most_s=0.05, throttled_attempts=6, throttled_base_s=0.01
)
# A stalled read is given up so soon that a test can wait for it.
SETTINGS = OSSSettings(connect_timeout_s=2, read_timeout_s=1)
CONFIG = CopyConfig(
    part_size=PART,
    multipart_threshold=PART,
    memory_budget=64 * MIB,
    part_concurrency=3,
    object_concurrency=2,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Synced:
    """A run that came to its report.

    :param outcomes: by key.
    """

    manifest: Manifest
    report: RunReport
    outcomes: Mapping[str, Outcome]


class OSSCopies:
    """A bucket of OSS, and one of S3 that it is synced to; buckets of its own on both servers."""

    def __init__(
        self, server: OSSServer, target: S3Endpoint, *, settings: OSSSettings = SETTINGS
    ) -> None:
        self.server = server
        self.bucket = f"oss-{secrets.token_hex(4)}"
        self.settings = settings
        self.client = target.client()
        self.target = target
        server.state.create_bucket(self.bucket)
        for name in (self.bucket, f"{self.bucket}-state"):
            self.client.create_bucket(Bucket=name)
        self.around: Callable[[ObjectStore], ObjectStore] = lambda store: store
        self.runs = 0

    def source_store(self) -> ObjectStore:
        """Return the source as a hook would make it."""
        endpoint = self.server.endpoint
        raw = OSSStore(
            oss_bucket(endpoint, self.bucket, self.settings),
            service=service_of(endpoint.endpoint_url, endpoint.region),
            settings=self.settings,
        )
        return build_store(self.around(raw), retry=POLICY, refresh=lambda: None)

    def target_store(self, bucket: str) -> ObjectStore:
        """Return a bucket of the target's server."""
        settings = store_settings_from_extra(SEAWEED)
        options: dict[str, Any] = client_config(settings)
        client = boto3.client(
            "s3",
            endpoint_url=self.target.endpoint_url,
            aws_access_key_id=self.target.access_key,
            aws_secret_access_key=self.target.secret_key,
            region_name=self.target.region,
            config=Config(**options),
        )
        raw = S3Store(client, bucket, service=self.target.endpoint_url, settings=settings)
        return build_store(raw, retry=POLICY)

    def sync(
        self, config: CopyConfig = CONFIG, *, archived: OnArchived = OnArchived.REPORT
    ) -> Synced:
        """Plan, copy, verify and report; failures of objects are in the report.

        :raises S3ResumeError: if a step fails as a whole.
        """
        self.runs += 1
        source, target = self.source_store(), self.target_store(self.bucket)
        state = StateLocation(self.target_store(f"{self.bucket}-state"))
        stop = StopSignal()
        request = PlanRequest(run_id=f"run-{self.runs}", archived=archived)
        key, manifest = make_plan(source, target, state, request, now=time.time(), stop=stop)
        outcomes: dict[str, Outcome] = {}
        for ref in manifest.batches:
            copy_batch(source, target, state, ref, config, stop=stop, now=time.time())
            found = load_outcomes(state, key, ref.index) or []
            outcomes |= {outcome.key: outcome for outcome in found}
        verify_run(source, target, state, key, stop=stop, now=time.time())
        report = make_report(state, key, now=time.time())
        return Synced(manifest=manifest, report=report, outcomes=outcomes)

    def sync_or_error(self) -> Synced | S3ResumeError:
        """Do the same, and return what made a step fail."""
        try:
            return self.sync()
        except S3ResumeError as error:
            return error

    def drop(self) -> None:
        """Give back the memory that the source takes."""
        del self.server.state.buckets[self.bucket]

    def put_old(self, key: str, data: bytes) -> None:
        """Put an object that is to be replaced into the target."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def there(self) -> dict[str, bytes]:
        """Return what the target holds, read past everything of ours."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {key: self.data(key) for key in keys}

    def data(self, key: str) -> bytes:
        """Return one object of the target."""
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def source_data(self) -> dict[str, bytes]:
        """Return what the source holds, links followed, past everything that can go wrong."""
        bucket = self.server.state.bucket(self.bucket)
        found: dict[str, bytes] = {}
        for key in bucket.keys_from("", after=False):
            stored = bucket.current(key)
            if stored is not None and not stored.is_marker:
                content = resolved(bucket, stored).content
                found[key] = b"".join(content.pieces(0, content.size))
        return found
