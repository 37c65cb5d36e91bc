"""The stores that the one suite is run for, each on a new bucket."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.file_keys import FileTree
from airflow_provider_s3resume.plan.parts import KIB, MIB, Limits
from airflow_provider_s3resume.storage.base import Capabilities, ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import Meter, Rates, RetryPolicy
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.storage.s3 import (
    S3Store,
    client_config,
    store_settings_from_extra,
)
from tests.support.endpoints import S3Endpoint
from tests.support.folders import folder_store
from tests.support.oss_server import OSSServer
from tests.support.oss_writing_store import writing_oss_store

SEAWEED_EXTRA: Mapping[str, object] = {
    "list_order": "unordered",
    "key_folding": True,
    "addressing_style": "path",
}
MINISTACK_EXTRA: Mapping[str, object] = {
    "checksums": "md5",
    "part_layout": False,
    "addressing_style": "path",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A store to be tested.

    :param part_size: bytes that the service takes for a part that is not the last.
    :param unknown: a store of the same service on a bucket that does not exist.
    :param denied: one with wrong credentials, ``None`` for a service that does not look at them.
    :param keeps_upload_tags: tags given to CreateMultipartUpload arrive.
    :param refuses: tells the keys, short enough as they are, that the service does not take.
    :param own_checksums: what HEAD gives besides the checksums that were sent.
    """

    store: ObjectStore
    part_size: int
    unknown: ObjectStore
    denied: ObjectStore | None
    keeps_upload_tags: bool = True
    refuses: Callable[[str], bool] = lambda _: False
    own_checksums: tuple[ChecksumAlgorithm, ...] = ()


def memory_case(
    bucket: str,
    capabilities: Capabilities = AMAZON_S3,
    wrap: Callable[[ObjectStore], ObjectStore] | None = None,
) -> Case:
    """Return a memory store, small enough for every rule to be met."""

    def make() -> MemoryStore:
        limits = Limits(min_part_size=4, list_page=3)
        return MemoryStore(bucket, capabilities=capabilities, limits=limits)

    unknown, denied, store = make(), make(), make()
    unknown.state.exists = False
    denied.state.denied = True
    around = wrap or (lambda inner: inner)
    return Case(store=around(store), part_size=8, unknown=around(unknown), denied=around(denied))


def layered(inner: ObjectStore) -> ObjectStore:
    """Return a store with every layer around it."""
    rates = Rates(requests_per_s=1e6, bytes_per_s=1e12)
    return build_store(inner, rates=rates, meter=Meter(), wait=lambda _: False)


def s3_store(endpoint: S3Endpoint, bucket: str, extra: Mapping[str, object]) -> S3Store:
    """Return a store as a hook would make it."""
    settings = store_settings_from_extra(extra)
    config: dict[str, Any] = client_config(settings)
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.endpoint_url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name=endpoint.region,
        verify=str(endpoint.ca_file) if endpoint.ca_file else None,
        config=Config(**config),
    )
    return S3Store(client, bucket, service=endpoint.endpoint_url, settings=settings)


def _built(endpoint: S3Endpoint, bucket: str, extra: Mapping[str, object]) -> ObjectStore:
    # What is refused on purpose shall not be waited for.
    policy = RetryPolicy(attempts=2, base_s=0.01)
    return build_store(s3_store(endpoint, bucket, extra), retry=policy)


def _refused_by_oss(key: str) -> bool:
    # "Naming rules of objects"; the other two, oss2 cannot name.
    return key.startswith(("/", "\\")) or key in {".", ".."}


def oss_case(
    server: OSSServer, bucket: str, wrap: Callable[[ObjectStore], ObjectStore] | None = None
) -> Case:
    """Return OSS with a new bucket, and a store that can write to it."""
    server.state.create_bucket(bucket)
    endpoint = server.endpoint
    wrong = dataclasses.replace(endpoint, access_key_secret="not-the-secret")
    around = wrap or (lambda inner: inner)
    return Case(
        store=around(writing_oss_store(endpoint, bucket)),
        part_size=100 * KIB,
        unknown=around(writing_oss_store(endpoint, f"{bucket}-unknown")),
        denied=around(writing_oss_store(wrong, bucket)),
        refuses=_refused_by_oss,
        own_checksums=(ChecksumAlgorithm.CRC64XZ,),
    )


def local_case(folder: Path, wrap: Callable[[ObjectStore], ObjectStore] | None = None) -> Case:
    """Return an empty folder."""
    around = wrap or (lambda inner: inner)
    (folder / "there").mkdir()
    return Case(
        store=around(folder_store(folder / "there")),
        part_size=8,
        unknown=around(folder_store(folder / "unknown")),
        denied=None,  # Whoever runs the tests may read everything.
        refuses=lambda key: FileTree().fault(key, 1) is not None,
    )


def server_case(
    endpoint: S3Endpoint,
    wrong: S3Endpoint | None,
    bucket: str,
    extra: Mapping[str, object],
    *,
    keeps_upload_tags: bool = True,
) -> Case:
    """Return a real service with a new bucket."""
    endpoint.client().create_bucket(Bucket=bucket)
    return Case(
        store=_built(endpoint, bucket, extra),
        part_size=5 * MIB,
        unknown=_built(endpoint, f"{bucket}-unknown", extra),
        denied=_built(wrong, bucket, extra) if wrong else None,
        keeps_upload_tags=keeps_upload_tags,
    )
