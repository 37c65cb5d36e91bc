"""What copies are asked to have, on real servers: encryption, a customer's key, tags, metadata."""

from __future__ import annotations

import base64
import json
import logging
import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_s3resume.exceptions import StoreError
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.plan.diff import DiffRule
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.plan.storage_classes import ClassMapping
from airflow_provider_s3resume.storage.base import ObjectStore, WriteOptions
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.config import CopyConfig, OnUnsupportedAttribute
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome, Status
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.state import DEFAULT_PREFIX, StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import verify_run
from tests.conformance.cases import s3_store
from tests.conftest import SeaweedPair
from tests.support.ministack import MinistackServer
from tests.support.seaweed import SeaweedServer
from tests.support.tls import make_certificate

PART = 5 * MIB
DATA = {
    "empty": b"",
    "small": b"some bytes",
    "large": random.Random(4).randbytes(PART + 1000),
}
WEED: dict[str, Any] = {"list_order": "unordered", "key_folding": True, "addressing_style": "path"}
MINI: dict[str, Any] = {
    "addressing_style": "path",
    "checksums": "md5",
    "part_layout": False,
}
KEY = base64.b64encode(secrets.token_bytes(32)).decode()
CONFIG = CopyConfig(part_size=PART, multipart_threshold=PART)
FAIL = OnUnsupportedAttribute.FAIL
CUSTOMER: dict[str, Any] = {
    "SSECustomerAlgorithm": "AES256",
    "SSECustomerKey": base64.b64decode(KEY),
}


@pytest.fixture(scope="module")
def secure_weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """Give a SeaweedFS that speaks TLS: a customer's key goes no other way."""
    folder = tmp_path_factory.mktemp("secure")
    with ExitStack() as stack:
        certificate = make_certificate(folder)
        server = SeaweedServer(folder / "data", "secure", "secret", certificate=certificate)
        yield stack.enter_context(server)


@dataclass(kw_only=True)
class Sync:
    """Two buckets behind connections, and the steps of a run between them."""

    source: ObjectStore
    target: ObjectStore
    state: StateLocation
    rule: str = "size+etag"
    runs: int = 0

    def plan(self) -> tuple[str, Manifest]:
        """Plan a run of its own."""
        self.runs += 1
        request = PlanRequest(run_id=f"run-{self.runs}", rule=DiffRule.parse(self.rule))
        return make_plan(self.source, self.target, self.state, request, now=1.0, stop=StopSignal())

    def copy(self, manifest: Manifest, config: CopyConfig = CONFIG) -> dict[str, Outcome]:
        """Copy all batches; return what became of each object."""
        found: dict[str, Outcome] = {}
        for ref in manifest.batches:
            copy_batch(
                self.source, self.target, self.state, ref, config, stop=StopSignal(), now=1.0
            )
            outcomes = load_outcomes(self.state, ref.manifest, ref.index) or []
            found |= {outcome.key: outcome for outcome in outcomes}
        return found

    def run(self, config: CopyConfig = CONFIG) -> dict[str, Outcome]:
        """Plan, copy and verify."""
        key, manifest = self.plan()
        outcomes = self.copy(manifest, config)
        summary = verify_run(self.source, self.target, self.state, key, stop=StopSignal(), now=1.0)
        assert (summary.failed, summary.not_landed) == (0, 0)
        return outcomes


@pytest.fixture
def sync(
    seaweed_pair: SeaweedPair,
    secure_weed: SeaweedServer,
    ministack_server: MinistackServer,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Give what makes a sync between two servers, each with fields of ours in its connection."""
    servers: dict[str, Any] = {
        "plain": seaweed_pair.source,
        "secure": secure_weed,
        "mini": ministack_server,
    }

    def make(source: str, target: str, *, theirs: Any = None, **more: Any) -> Sync:
        stores = []
        for side, name, fields in (("SOURCE", source, None), ("TARGET", target, theirs)):
            known = MINI if name == "mini" else WEED
            extra = {"s3resume": {**known, **(fields or {})}}
            endpoint = servers[name].endpoint
            connection = json.loads(endpoint.airflow_connection())
            connection["extra"].update(extra)
            monkeypatch.setenv(f"AIRFLOW_CONN_{side}", json.dumps(connection))
            endpoint.client().create_bucket(Bucket=f"{bucket}-{side.lower()}")
            store = S3ResumeHook(side.lower()).get_store(f"{bucket}-{side.lower()}")
            stores.append(store)
        state_bucket = f"{bucket}-state"
        state_end = seaweed_pair.target.endpoint
        connection = json.loads(state_end.airflow_connection())
        connection["extra"]["s3resume"] = WEED
        monkeypatch.setenv("AIRFLOW_CONN_STATE", json.dumps(connection))
        state_end.client().create_bucket(Bucket=state_bucket)
        state = StateLocation(S3ResumeHook("state").get_store(state_bucket))
        state.ensure(1.0)
        return Sync(source=stores[0], target=stores[1], state=state, **more)

    return make


def fill(server: Any, bucket: str, **more: Any) -> None:
    """Put the objects into a bucket, as another tool would have."""
    client = server.endpoint.client()
    for key, data in DATA.items():
        client.put_object(Bucket=bucket, Key=key, Body=data, **more)


def test_c19_a_target_encrypts_with_the_customers_key_and_a_source_is_read_with_it(
    sync: Any,
    seaweed_pair: SeaweedPair,
    secure_weed: SeaweedServer,
    bucket: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Objects in one request and in parts; without the key nobody reads them."""
    caplog.set_level(logging.DEBUG)
    there = sync("plain", "secure", theirs={"sse_c_secret_key": KEY})
    fill(seaweed_pair.source, f"{bucket}-source")
    outcomes = there.run()
    assert {o.status for o in outcomes.values()} == {Status.COPIED}
    client = secure_weed.client()
    for key, data in DATA.items():
        place: dict[str, Any] = {"Bucket": f"{bucket}-target", "Key": key}
        with pytest.raises(ClientError):
            client.get_object(**place)
        found = client.get_object(**place, **CUSTOMER)
        assert found["SSECustomerAlgorithm"] == "AES256"
        assert found["Body"].read() == data
    _, again = there.plan()
    assert again.copy_objects == 0
    assert KEY not in caplog.text
    assert all(KEY not in outcome.to_line() for outcome in outcomes.values())
    # And back from there.
    back = Sync(source=there.target, target=there.source, state=there.state)
    client = seaweed_pair.source.client()
    for key in DATA:
        client.delete_object(Bucket=f"{bucket}-source", Key=key)
    assert {o.status for o in back.run().values()} == {Status.COPIED}
    for key, data in DATA.items():
        assert client.get_object(Bucket=f"{bucket}-source", Key=key)["Body"].read() == data


@pytest.mark.parametrize("keyed", [True, False])
def test_c41_an_object_under_another_key_or_none_is_named_with_the_way_out(
    ministack_server: MinistackServer, bucket: str, *, keyed: bool
) -> None:
    """A record of ours among them: a key that a connection gets later is not that of the state."""
    client = ministack_server.client()
    client.create_bucket(Bucket=bucket)
    key = f"{DEFAULT_PREFIX}marker.json"
    client.put_object(Bucket=bucket, Key=key, Body=b"{}", **({} if keyed else CUSTOMER))
    extra = {**MINI, **({"sse_c_secret_key": KEY} if keyed else {})}
    store = s3_store(ministack_server.endpoint, bucket, extra)
    calls = (lambda: store.head(key), lambda: StateLocation(store).ensure(1.0))
    for call in calls:
        with pytest.raises(StoreError, match="expected an object") as raised:
            call()
        assert raised.value.subject == f"s3://{bucket}/{key}"
        assert "sse_c_secret_key" in raised.value.detail
        assert "another state_uri" in raised.value.detail
        assert not raised.value.retryable


def test_c19_what_is_asked_for_is_there(sync: Any, secure_weed: SeaweedServer, bucket: str) -> None:
    """Encryption by the service, an ACL, metadata that is not ASCII, tags; all or an error."""
    made = sync("secure", "secure")
    fill(
        secure_weed,
        f"{bucket}-source",
        ContentType="text/x-test",
        CacheControl="no-store",
        Metadata={"some": "=?UTF-8?B?Z3LDvMOfZQ==?="},
        Tagging="a=1&b=%C3%BC",
    )
    options = WriteOptions(encryption="AES256", acl="bucket-owner-full-control")
    outcomes = made.run(
        CopyConfig(
            part_size=PART,
            multipart_threshold=PART,
            options=options,
            on_unsupported_attribute=FAIL,
        )
    )
    assert {o.status for o in outcomes.values()} == {Status.COPIED}
    assert {o.notes for o in outcomes.values()} == {()}
    client = secure_weed.client()
    for key in DATA:
        found = client.head_object(Bucket=f"{bucket}-target", Key=key)
        assert found["ServerSideEncryption"] == "AES256"
        assert made.target.head(key).attributes.metadata == {"some": "grüße"}
        assert made.target.get_tags(key) == {"a": "1", "b": "ü"}


def test_a_difference_in_metadata_alone_is_seen_and_mended(
    sync: Any, seaweed_pair: SeaweedPair, bucket: str
) -> None:
    """Once it is mended, nothing is copied any more."""
    made = sync("plain", "plain", rule="size+etag+metadata")
    fill(seaweed_pair.source, f"{bucket}-source", CacheControl="max-age=1", Metadata={"a": "1"})
    made.run()
    client = seaweed_pair.source.client()
    client.put_object(
        Bucket=f"{bucket}-source", Key="small", Body=DATA["small"], Metadata={"a": "2"}
    )
    _, manifest = made.plan()
    assert manifest.counts["copy.metadata_differs"] == 1
    assert [o.key for o in made.copy(manifest).values()] == ["small"]
    assert made.target.head("small").attributes.metadata == {"a": "2"}
    assert made.target.head("small").attributes.cache_control is None
    _, again = made.plan()
    assert again.copy_objects == 0


def test_storage_classes_on_a_server_that_keeps_them(
    sync: Any, ministack_server: MinistackServer, bucket: str
) -> None:
    """Each copy has its source's, and HEAD shows it."""
    made = sync("mini", "mini")
    client = ministack_server.client()
    classes = {"a": "STANDARD", "b": "STANDARD_IA", "c": "GLACIER_IR"}
    for key, storage_class in classes.items():
        client.put_object(
            Bucket=f"{bucket}-source",
            Key=key,
            Body=b"data",
            StorageClass=storage_class,  # type: ignore[arg-type]
        )
    made.run(CopyConfig(storage_classes=ClassMapping.of(None), on_unsupported_attribute=FAIL))
    shown = {key: made.target.head(key).storage_class or "STANDARD" for key in classes}
    assert shown == classes


def test_c41_a_source_that_needs_a_key_fails_at_once_without_it(
    sync: Any, secure_weed: SeaweedServer, bucket: str
) -> None:
    """And the error says what the service says."""
    made = sync("secure", "plain")
    fill(secure_weed, f"{bucket}-source", **CUSTOMER)
    _, manifest = made.plan()
    outcomes = made.copy(manifest)
    assert {o.status for o in outcomes.values()} == {Status.FAILED}
    assert not any(o.retryable for o in outcomes.values())
    with pytest.raises(StoreError):
        made.source.head("small")
