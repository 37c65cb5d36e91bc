"""What listings and headers of both services say of archived objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.s3 import S3Store
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.oss_world import OSSWorld
from tests.unit.planning_cases import NOW, Sync

AMAZON = "https://s3.eu-central-1.amazonaws.com"
WHEN = datetime(2027, 1, 1, tzinfo=UTC)


def listing(
    service: str, asked: Mapping[str, Any], *entries: Mapping[str, Any], bucket: str = "bucket"
) -> dict[str, Any]:
    """Let a service list entries, and return what is made of their restored copies."""
    client = boto3.client(
        "s3", region_name="eu-central-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    contents = [
        {"Key": f"k{n}", "Size": 1, "ETag": '"e"', "LastModified": WHEN, **entry}
        for n, entry in enumerate(entries)
    ]
    expected = {"Bucket": bucket, "Prefix": "", "EncodingType": "url", **asked}
    with Stubber(client) as stubber:
        answer = {"IsTruncated": False, "Contents": contents}
        stubber.add_response("list_objects_v2", answer, expected)
        store = S3Store(client, bucket, service=service)
        found = {one.key: one.restored for one in store.list_objects()}
        stubber.assert_no_pending_responses()
    return found


def test_amazon_is_asked_for_restored_copies_in_its_listing() -> None:
    """Of an object that was not restored it says nothing ("RestoreStatus")."""
    found = listing(
        AMAZON,
        {"OptionalObjectAttributes": ["RestoreStatus"]},
        {"StorageClass": "STANDARD"},
        {"StorageClass": "GLACIER"},
        {"StorageClass": "GLACIER", "RestoreStatus": {"IsRestoreInProgress": True}},
        {
            "StorageClass": "DEEP_ARCHIVE",
            "RestoreStatus": {"IsRestoreInProgress": False, "RestoreExpiryDate": WHEN},
        },
        {"StorageClass": "GLACIER_IR"},
        {"StorageClass": "INTELLIGENT_TIERING"},
    )
    assert list(found.values()) == [None, False, False, True, None, None]


@pytest.mark.parametrize("service", ["http://127.0.0.1:8333", "https://amazonaws.com.example.org"])
def test_others_are_not_asked_and_their_silence_says_nothing(service: str) -> None:
    """They let the attribute pass unseen: a HEAD has to tell."""
    assert list(listing(service, {}, {"StorageClass": "GLACIER"}).values()) == [None]


def test_a_directory_bucket_is_not_asked_either() -> None:
    """The API reference has the attribute unsupported there."""
    found = listing(AMAZON, {}, {"StorageClass": "GLACIER"}, bucket="b--euc1-az1--x-s3")
    assert list(found.values()) == [None]


@pytest.mark.parametrize(
    ("answer", "archived"),
    [
        ({}, False),
        ({"StorageClass": "GLACIER"}, True),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="true"'}, True),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="false", expiry-date="x"'}, False),
        ({"StorageClass": "INTELLIGENT_TIERING"}, False),
        ({"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"}, True),
    ],
)
def test_a_head_tells_of_tiers_and_restores(answer: Mapping[str, Any], *, archived: bool) -> None:
    """``x-amz-restore`` and ``x-amz-archive-status``."""
    client = boto3.client(
        "s3", region_name="eu-central-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    headers = {"HTTPHeaders": {}, "HTTPStatusCode": 200}
    given = {"ContentLength": 1, "ETag": '"e"', "ResponseMetadata": headers, **answer}
    with Stubber(client) as stubber:
        stubber.add_response("head_object", given)
        assert S3Store(client, "bucket", service=AMAZON).head("k").archived is archived


def test_a_listing_of_oss_tells_of_restored_copies(oss: OSSWorld) -> None:
    """``RestoreInfo`` of each entry, and ``x-oss-restore`` of a HEAD, say the same."""
    for key in ("cold", "restored", "plain"):
        oss.put(key, b"data")
    oss.server.state.set_class(oss.bucket, "cold", "ColdArchive")
    oss.server.state.set_class(oss.bucket, "restored", "Archive", restored=True)
    found = {one.key: one.restored for one in oss.store().list_objects()}
    assert found == {"cold": False, "plain": None, "restored": True}
    told = {key: oss.store().head(key).archived for key in found}
    assert told == {"cold": True, "plain": False, "restored": False}


def test_a_plan_of_a_bucket_of_oss_reports_what_is_archived(oss: OSSWorld) -> None:
    """From its listing alone; a restored copy is copied, and so is what may be read at once."""
    for key in ("cold", "deep", "restored", "plain"):
        oss.put(key, b"data")
    oss.server.state.set_class(oss.bucket, "cold", "Archive")
    oss.server.state.set_class(oss.bucket, "deep", "DeepColdArchive")
    oss.server.state.set_class(oss.bucket, "restored", "ColdArchive", restored=True)
    source = build_store(oss.store())
    sync = Sync()
    request = PlanRequest(run_id="run")
    stop = StopSignal()
    _, manifest = make_plan(source, sync.target, sync.state, request, now=NOW, stop=stop)
    assert manifest.counts == {"copy.missing_at_target": 2, "skip.archived": 2}
    assert manifest.sizes["skip.archived"] == 8
    asked = {seen.key for seen in oss.server.requests.seen(operation="HeadObject")}
    assert not asked & {"cold", "deep", "restored", "plain"}
    request = replace(request, run_id="again", archived=OnArchived.TRY)
    _, manifest = make_plan(source, sync.target, sync.state, request, now=NOW, stop=stop)
    assert manifest.counts == {"copy.missing_at_target": 4}


def test_a_link_to_an_archived_object_is_archived(oss: OSSWorld) -> None:
    """What is read is what it leads to."""
    oss.put("cold", b"data")
    oss.server.state.put_symlink(oss.bucket, "link", "cold")
    oss.server.state.set_class(oss.bucket, "cold", "Archive")
    found = {one.key: one.restored for one in oss.store().list_objects()}
    assert found == {"cold": False, "link": False}
