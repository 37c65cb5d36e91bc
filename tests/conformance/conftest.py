"""Gives each test of the suite every store in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from tests.conformance.cases import (
    MINISTACK_EXTRA,
    SEAWEED_EXTRA,
    Case,
    layered,
    local_case,
    memory_case,
    oss_case,
    server_case,
)
from tests.support.oss_server import OSSServer


def _memory(_request: pytest.FixtureRequest, bucket: str) -> Case:
    return memory_case(bucket)


def _memory_layered(_request: pytest.FixtureRequest, bucket: str) -> Case:
    return memory_case(bucket, wrap=layered)


def _memory_unordered(_request: pytest.FixtureRequest, bucket: str) -> Case:
    unordered = dataclasses.replace(AMAZON_S3, ordered_listing=False, folds_keys=True)
    return memory_case(bucket, unordered, wrap=layered)


def _oss(request: pytest.FixtureRequest, bucket: str) -> Case:
    return oss_case(request.getfixturevalue("oss_server"), bucket)


def _oss_layered(request: pytest.FixtureRequest, bucket: str) -> Case:
    return oss_case(request.getfixturevalue("oss_server"), bucket, wrap=layered)


def _local(request: pytest.FixtureRequest, _bucket: str) -> Case:
    return local_case(request.getfixturevalue("tmp_path"))


def _local_layered(request: pytest.FixtureRequest, _bucket: str) -> Case:
    return local_case(request.getfixturevalue("tmp_path"), wrap=layered)


def _seaweed(request: pytest.FixtureRequest, bucket: str) -> Case:
    endpoint = request.getfixturevalue("seaweed_pair").source.endpoint
    wrong = dataclasses.replace(endpoint, secret_key="not-the-secret")
    return server_case(endpoint, wrong, bucket, SEAWEED_EXTRA)


def _ministack(request: pytest.FixtureRequest, bucket: str) -> Case:
    endpoint = request.getfixturevalue("ministack_server").endpoint
    # It drops the tags of CreateMultipartUpload, and says nothing.
    return server_case(endpoint, None, bucket, MINISTACK_EXTRA, keeps_upload_tags=False)


@pytest.fixture(scope="session")
def oss_server() -> Iterator[OSSServer]:
    """Give a running server of OSS for the whole session: use buckets of your own."""
    with OSSServer() as server:
        yield server


@pytest.fixture(
    params=[
        pytest.param(_memory, id="memory"),
        pytest.param(_memory_layered, id="memory-layered"),
        pytest.param(_memory_unordered, id="memory-unordered"),
        pytest.param(_local, id="local"),
        pytest.param(_local_layered, id="local-layered"),
        pytest.param(_oss, id="oss"),
        pytest.param(_oss_layered, id="oss-layered"),
        pytest.param(_seaweed, id="seaweed", marks=pytest.mark.integration),
        pytest.param(_ministack, id="ministack", marks=pytest.mark.integration),
    ]
)
def case(request: pytest.FixtureRequest, bucket: str) -> Case:
    """Give a store with an empty bucket."""
    make: Callable[[pytest.FixtureRequest, str], Case] = request.param
    return make(request, bucket)


@pytest.fixture
def store(case: Case) -> ObjectStore:
    """Give the store alone."""
    return case.store
