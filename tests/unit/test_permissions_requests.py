"""Requests of features that no local server has, exactly as they would be sent, judged by policies.

A request is caught where botocore would send it. What it is about is read from its host, as Amazon
S3 reads it, and not from what the connection says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from airflow_provider_s3resume.hooks import _amazon
from airflow_provider_s3resume.hooks._amazon import make_client_near
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.plan.permissions import choose
from airflow_provider_s3resume.plan.policies import (
    NO_RESOURCES,
    PARTITIONS,
    Policy,
    Resources,
    policies,
)
from airflow_provider_s3resume.plan.sides import parse_places
from airflow_provider_s3resume.storage.base import NewUpload, WriteOptions
from airflow_provider_s3resume.storage.s3 import S3Store, client_config
from tests.support.endpoints import CLIENTS
from tests.support.iam import Asked, Policies, actions_in, asked_by
from tests.support.permitted_features import KNOWN
from tests.support.wire_captured import Captured, Sent
from tests.support.wire_rules import Exchange
from tests.unit.test_storage_access import CALLS, PLACES, SEVERAL, Place, answered

KEY = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_POINT = re.compile(
    r"(?P<name>[a-z0-9-]+)-(?P<account>[0-9]{12})\.s3-accesspoint(-fips)?(\.dualstack)?"
    r"\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?"
)
_SEVERAL = re.compile(r"(?P<alias>[a-z0-9]+\.mrap)\.accesspoint\.s3-global\.amazonaws\.com")
ROWS = {
    "Access points": [name for name, place in PLACES.items() if place.bucket.startswith("arn:")],
    "Transfer acceleration": ["accelerated", "accelerated dual-stack"],
    "Dual-stack and FIPS endpoints": ["dual-stack", "fips", "fips dual-stack"],
    "China and GovCloud": ["China", "China dual-stack", "GovCloud", "GovCloud fips"],
    "Multi-Region Access Points": ["several regions"],
}
CASES = [(row, name) for row, names in ROWS.items() for name in names]
OF_SEVERAL = Place(host="", bucket=SEVERAL)
Open = Callable[[Place], tuple[S3Store, Captured]]


@pytest.fixture
def open_(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Give what opens a place as the hook does, with all of its requests caught."""
    monkeypatch.setattr(_amazon, "discover_region", lambda *_: "")

    def make(place: Place) -> tuple[S3Store, Captured]:
        extra = {**place.extra, "s3resume": {**place.settings, "direct": False}}
        known = {"conn_type": "aws", "login": "AKIDEXAMPLE", "password": "secret", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps(known))
        hook = S3ResumeHook("side", parameter="source_conn_id")
        settings = hook.store_settings
        with CLIENTS:
            client = make_client_near(hook.facts, client_config(settings), place.bucket)
        captured = Captured(client, answered)
        return S3Store(client, place.bucket, service=place.service, settings=settings), captured

    return make


def arns_of(sent: Sent) -> tuple[str, str]:
    """Return the ARN of the bucket or access point of a request, and what its keys stand behind."""
    if point := _POINT.fullmatch(sent.host):
        home = f"arn:{partition_of(point['region'])}:s3:{point['region']}:{point['account']}"
        arn = f"{home}:accesspoint/{point['name']}"
        return arn, f"{arn}/object"
    if several := _SEVERAL.fullmatch(sent.host):
        arn = f"arn:aws:s3::123456789012:accesspoint/{several['alias']}"
        return arn, f"{arn}/object"
    arn = f"arn:{partition_of(sent.region)}:s3:::{sent.host.partition('.')[0]}"
    return arn, arn


def partition_of(region: str) -> str:
    """Return the partition that a region is in."""
    named = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    return next((one for start, one in named.items() if region.startswith(start)), "aws")


def asked(sent: Sent) -> list[Asked]:
    """Return what a request needs to be allowed."""
    exchange = Exchange(
        number=1,
        method=sent.method,
        path=f"/b{sent.path}",
        query=dict(parse_qsl(sent.query, keep_blank_values=True)),
        headers=sent.headers,
    )
    bucket, objects = arns_of(sent)
    found = []
    for one in asked_by(exchange):
        of_bucket = one.resource == "arn:aws:s3:::b"
        rest = one.resource.removeprefix("arn:aws:s3:::b")
        arn = bucket if of_bucket else f"{objects}{rest}" if rest != one.resource else one.resource
        found.append(replace(one, resource=arn))
    return found


def made(place: Place, row: str, resources: Resources = NO_RESOURCES) -> Mapping[str, Policy]:
    """Return the policies of a sync from a place to itself: what reads and what writes."""
    uri = f"s3://{place.bucket}/"
    places = parse_places(uri, uri, "s3://state/x/")
    partition = partition_of(place.region)
    assert partition in PARTITIONS
    return policies(places, choose(KNOWN, [row]), resources=resources, partition=partition)


@pytest.mark.parametrize(("row", "name"), CASES)
def test_requests_to_any_endpoint_are_allowed_by_the_policies_of_its_place(
    open_: Open, row: str, name: str
) -> None:
    """And by those of no other bucket; but the state's, nothing else is allowed."""
    place = PLACES.get(name, OF_SEVERAL)
    store, captured = open_(place)
    for call in CALLS.values():
        call(store)
    found = made(place, row)
    both = Policies([found["source"], found["target"]])
    other = made(replace(place, bucket="another-bucket"), row)
    needed = [one for sent in captured.requests for one in asked(sent)]
    assert {one.action for one in needed if not both.allow(one)} == {"s3:DeleteObject"}
    assert not any(Policies([other["source"], other["target"]]).allow(one) for one in needed)
    plain = {action for one in ("source", "target") for action in actions_in(found[one])}
    assert plain - {one.action for one in needed} == {"s3:PutObjectTagging"}


def test_a_key_of_two_layers_is_asked_for_as_any_other(open_: Open) -> None:
    """DSSE-KMS, in one request and in parts."""
    store, captured = open_(PLACES["region"])
    options = WriteOptions(encryption="aws:kms:dsse", kms_key_id=KEY)
    upload = NewUpload(options=options, attributes=ContentAttributes(tags={"a": "b"}))
    store.put_object("k", b"d", upload=upload, checksum=None)
    store.create_upload("k", upload)
    kms = made(PLACES["region"], "DSSE-KMS", Resources(kms_key_target=KEY))["target"]
    less = made(PLACES["region"], "China and GovCloud")["target"]
    needed = [one for sent in captured.requests for one in asked(sent)]
    assert all(Policies([kms]).allow(one) for one in needed)
    refused = {one.action for one in needed if not Policies([less]).allow(one)}
    assert refused == {"kms:GenerateDataKey", "kms:Decrypt"}
