"""A refusal says whose connection met it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_provider_s3resume.exceptions import AccessDeniedError, StoreError
from airflow_provider_s3resume.plan.manifest import CopyEntry
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.context import CopyContext
from airflow_provider_s3resume.transfer.denials import error_text

ENTRY = CopyEntry(
    key="in/key",
    target_key="out/key",
    size=1,
    etag="e",
    last_modified=0.0,
    reason="missing",
    target_etag=None,
    target_there=False,
    storage_class=None,
)


def text(operation: str, subject: str, *, target: str = "target", same_key: bool = False) -> str:
    """Return what is told of a refusal."""
    stores = SimpleNamespace(source=MemoryStore("source"), target=MemoryStore(target))
    entry = ENTRY if not same_key else cast("Any", SimpleNamespace(key="key", target_key="key"))
    error = AccessDeniedError(operation, subject, "AccessDenied (HTTP 403)")
    return error_text(cast("CopyContext", stores), entry, error)


@pytest.mark.parametrize(
    ("operation", "subject", "names"),
    [
        ("GetObject", "s3://source/in/key", "source_conn_id"),
        ("HeadObject", "s3://source/in/key", "source_conn_id"),
        ("PutObject", "s3://target/out/key", "target_conn_id"),
        ("HeadObject", "s3://target/out/key", "target_conn_id"),
        ("ListMultipartUploads", "s3://target/out/key", "target_conn_id"),
        ("PutObject", "s3://target/.s3resume/x.json", "state_conn_id or target_conn_id"),
        ("ListObjectsV2", "s3://source/in/another", "source_conn_id"),
        ("ListObjectsV2", "s3://target/out/another", "target_conn_id"),
        ("ListObjectsV2", "s3://state/", "state_conn_id or target_conn_id"),
    ],
)
def test_c41_a_refusal_names_the_connection(operation: str, subject: str, names: str) -> None:
    """By what was refused, and where."""
    told = text(operation, subject)
    assert "AccessDenied" in told
    assert f"(refused to {names};" in told


@pytest.mark.parametrize(
    ("operation", "names"),
    [
        ("GetObject", "source_conn_id"),
        ("UploadPart", "target_conn_id"),
        ("HeadObject", "source_conn_id or target_conn_id"),
        ("ListObjectsV2", "source_conn_id or target_conn_id"),
    ],
)
def test_c41_of_two_buckets_of_one_name_the_call_tells(operation: str, names: str) -> None:
    """Two services may have them."""
    told = text(operation, "s3://source/key", target="source", same_key=True)
    assert f"(refused to {names};" in told


def test_other_errors_say_what_they_say() -> None:
    """Nothing is added."""
    error = StoreError("GetObject", "s3://source/in/key", "InvalidRequest (HTTP 400)")
    assert error_text(cast("CopyContext", None), ENTRY, error) == str(error)
