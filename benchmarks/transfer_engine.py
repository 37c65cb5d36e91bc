"""Our engine in a process of its own: what a task does, without Airflow around it.

``python -m benchmarks.transfer_engine ORDER.json`` copies one planned batch and prints a line of
JSON: when it began, all modules imported, and ended, the CPU time before, and what came of it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import boto3
import boto3.s3.inject  # boto3 itself imports it with the first client
from botocore.config import Config

from airflow_provider_s3resume.hooks._clients import (
    read_times_quickly,
    share_descriptions,
    sign_without_copies,
)
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.manifest import BatchRef, Manifest
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.s3 import S3Store, client_config, store_settings_from_extra
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.config import CopyConfig, ServerSideCopy
from airflow_provider_s3resume.transfer.garbage import standing_heap
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from benchmarks.transfer_ending import end_with

SOURCE, TARGET, STATE = "source", "target", "state"
STATE_PREFIX = "s3resume/"
REGION = "us-east-1"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A server that has all three buckets.

    :param extra: what a connection says of it under ``s3resume``.
    """

    endpoint_url: str
    access_key: str = "bench-access"
    secret_key: str = "bench-secret"  # noqa: S105 - of a server on loopback
    ca_file: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    def store(self, bucket: str) -> ObjectStore:
        """Return a bucket's store, made as the hook makes it: with a client of its own."""
        settings = store_settings_from_extra(self.extra)
        options: dict[str, Any] = client_config(settings)
        session = boto3.session.Session()
        share_descriptions(session)
        read_times_quickly(session)
        client = session.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            verify=self.ca_file,
            config=Config(**options),
        )
        sign_without_copies(client)
        return build_store(
            S3Store(client, bucket, service=self.endpoint_url, settings=settings),
        )

    def state(self) -> StateLocation:
        """Return the state location."""
        return StateLocation(self.store(STATE), STATE_PREFIX)


def plan(place: Place, source_prefix: str, target_prefix: str, name: str) -> tuple[str, Manifest]:
    """List both sides and store a plan of one batch; return its key and the manifest."""
    most = 1 << 50
    request = PlanRequest(
        run_id=name,
        source_prefix=source_prefix,
        target_prefix=target_prefix,
        batch_limits=BatchLimits(max_objects=10_000_000, max_bytes=most),
    )
    key, manifest = make_plan(
        place.store(SOURCE),
        place.store(TARGET),
        place.state(),
        request,
        now=time.time(),
        stop=StopSignal(),
    )
    if len(manifest.batches) != 1:
        raise RuntimeError(f"the plan of {source_prefix!r} has {len(manifest.batches)} batches")
    return key, manifest


def order_of(place: Place, batch: BatchRef, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the order to copy a planned batch."""
    return {"place": asdict(place), "batch": asdict(batch), "config": dict(config)}


def main() -> None:
    """Carry out the order."""
    logging.basicConfig(level=logging.WARNING)
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    spent, began = time.process_time(), time.time()
    place = Place(**order["place"])
    with standing_heap() as stand:
        source, target, state = place.store(SOURCE), place.store(TARGET), place.state()
        stand()
        result = copy_batch(
            source,
            target,
            state,
            BatchRef(**order["batch"]),
            # Both buckets are of one server, and what is measured is the relay.
            CopyConfig(**order["config"], server_side_copy=ServerSideCopy.NEVER),
            stop=StopSignal(),
            now=began,
        )
    ended = time.time()
    result.raise_for_failures()
    end_with({"began": began, "ended": ended, "cpu_before": spent, "result": result.to_json_dict()})


if __name__ == "__main__":
    main()
