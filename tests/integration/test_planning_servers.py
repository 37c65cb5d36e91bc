"""A plan on real servers: what the services promise is tried before anything rests on it."""

from __future__ import annotations

import time
from typing import Any

import boto3
from botocore.config import Config

from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.s3 import S3Store, client_config, store_settings_from_extra
from airflow_provider_s3resume.transfer.checking import check_sides
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.state import StateLocation
from tests.conftest import SeaweedPair
from tests.support.endpoints import S3Endpoint
from tests.support.ministack import MinistackServer


def opened(endpoint: S3Endpoint, bucket: str, extra: dict[str, object]) -> ObjectStore:
    """Return a new bucket of a server as a store, with what its connection says."""
    settings = store_settings_from_extra({"addressing_style": "path", **extra})
    options: dict[str, Any] = client_config(settings)
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.endpoint_url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name=endpoint.region,
        config=Config(**options),
    )
    client.create_bucket(Bucket=bucket)
    raw = S3Store(client, bucket, service=endpoint.endpoint_url, settings=settings)
    return build_store(raw)


def check(endpoint: S3Endpoint, bucket: str, extra: dict[str, object]) -> StateLocation:
    """Check a sync between two new buckets of a server; return its state location."""
    source = opened(endpoint, f"{bucket}-s", extra)
    target = opened(endpoint, f"{bucket}-t", extra)
    state = StateLocation(target)
    check_sides(source, target, state, PlanRequest(run_id="run"), now=time.time())
    return state


def test_c18_seaweedfs_keeps_its_promises(seaweed_pair: SeaweedPair, bucket: str) -> None:
    """Conditions and checksums are honoured: the plan goes on, and what was found is kept."""
    extra: dict[str, object] = {"list_order": "unordered", "key_folding": True}
    state = check(seaweed_pair.target.endpoint, bucket, extra)
    assert state.read_text("probed.json") is not None


def test_c18_a_service_is_asked_again_when_its_promises_change(
    ministack_server: MinistackServer, bucket: str
) -> None:
    """Another checksum in the connection is another promise."""
    endpoint = ministack_server.endpoint
    first = check(endpoint, bucket, {"part_layout": False})
    other = check(endpoint, f"{bucket}-md5", {"part_layout": False, "checksums": "md5"})
    found = [state.read_text("probed.json") or "" for state in (first, other)]
    assert "CRC64NVME" in found[0]
    assert "MD5" in found[1]
