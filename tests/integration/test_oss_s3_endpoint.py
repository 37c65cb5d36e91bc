"""OSS through its S3-compatible endpoint: a plain S3 connection with the documented settings.

The connection is read from the documentation, so that what is tested is what is written there.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from airflow_provider_s3resume.exceptions import StoreError
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import NewUpload, ObjectStore
from airflow_provider_s3resume.storage.s3 import S3Store
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome, Status
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.conftest import SeaweedPair
from tests.support.endpoints import S3Endpoint
from tests.support.wire import Wire
from tests.support.wire_rules import Match, Replace, Rewrite, Rule

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "connections.md"
ENDPOINT = "https://s3.oss-cn-hangzhou.aliyuncs.com"
SEAWEED = {"list_order": "unordered", "key_folding": True, "addressing_style": "path"}
"""How the server behind the wire differs from OSS, which lists in byte order and folds no keys."""
CHUNKED = "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value"
REFUSAL = f"<Error><Code>InvalidArgument</Code><Message>{CHUNKED}</Message></Error>".encode()
SMALL, LARGE = b"small" * 100, random.Random(7).randbytes(12 * MIB)
OSS_ETAG = "9A0364B9E99BB480DD25E1F0284C8555-3"
"""Of an object of three parts, as OSS makes it: in upper case, and of no binary MD5s."""


def documented() -> dict[str, Any]:
    """Return the one connection of the documentation that has this endpoint."""
    blocks = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    [found] = [json.loads(block) for block in blocks if ENDPOINT in block]
    assert isinstance(found, dict)
    return found


def refused(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether OSS would not take a request: a chunked body, or a checksum of a body."""
    known = {name.lower(): value for name, value in headers.items()}
    chunked = "aws-chunked" in known.get("content-encoding", "")
    streamed = known.get("x-amz-content-sha256", "").startswith("STREAMING-")
    writes = method in {"PUT", "POST"}
    checksum = writes and any(name.startswith("x-amz-checksum-") for name in known)
    return chunked or streamed or checksum


@dataclass(frozen=True)
class Sides:
    """Two buckets of one name, each behind a wire that refuses what OSS refuses."""

    source: S3Endpoint
    target: S3Endpoint
    bucket: str
    source_wire: Wire
    target_wire: Wire

    def put(self, key: str, data: bytes) -> None:
        """Put an object into the source, past the wire."""
        self.source.client().put_object(Bucket=self.bucket, Key=key, Body=data)

    def data(self, key: str) -> bytes:
        """Return an object of the target, past the wire."""
        body = self.target.client().get_object(Bucket=self.bucket, Key=key)["Body"]
        return body.read()


@pytest.fixture
def sides(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Sides:
    """Give two empty buckets."""
    found: list[Any] = []
    for server in seaweed_pair:
        server.endpoint.client().create_bucket(Bucket=bucket)
        refusing = Rule(
            when=lambda e: refused(e.method, e.headers), action=Replace(status=400, body=REFUSAL)
        )
        found.append(wire(server.endpoint.endpoint_url, refusing))
    source, target = (server.endpoint for server in seaweed_pair)
    return Sides(source, target, bucket, *found)


@pytest.fixture
def open_store(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ObjectStore]:
    """Give a factory of stores of a hook, on a connection with these settings of ours."""

    def make(
        name: str, endpoint: S3Endpoint, way: Wire, bucket: str, settings: Mapping[str, object]
    ) -> ObjectStore:
        connection = endpoint.through(way.url).airflow_connection(s3resume={**settings, **SEAWEED})
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection)
        return S3ResumeHook(name).get_store(bucket)

    return make


def copy(
    sides: Sides, open_store: Callable[..., ObjectStore], settings: Mapping[str, object]
) -> tuple[BatchResult, dict[str, Outcome]]:
    """Copy a small object and one of three parts; return what became of them."""
    sides.put("small", SMALL)
    sides.put("large", LARGE)
    source = open_store("source", sides.source, sides.source_wire, sides.bucket, settings)
    target = open_store("target", sides.target, sides.target_wire, sides.bucket, settings)
    state, now = StateLocation(target), time.time()
    pairs = [(key, key) for key in ("small", "large")]
    _, manifest = pairs_manifest(source, target, state, pairs, "run", now=now)
    [ref] = manifest.batches
    config = CopyConfig(part_size=5 * MIB, multipart_threshold=5 * MIB, memory_budget=64 * MIB)
    result = copy_batch(source, target, state, ref, config, stop=StopSignal(), now=now)
    outcomes = load_outcomes(state, ref.manifest, ref.index) or []
    return result, {outcome.key: outcome for outcome in outcomes}


def make_etags_as_oss(sides: Sides) -> None:
    """Let the target call the large object by the ETag that OSS would give it."""
    head = Match(operation="HeadObject", path="/large$")
    sides.target_wire.add(Rule(when=head, action=Rewrite(headers={"ETag": f'"{OSS_ETAG}"'})))
    completed = Match(operation="CompleteMultipartUpload", path="/large$")
    body = (
        f"<CompleteMultipartUploadResult><Bucket>{sides.bucket}</Bucket><Key>large</Key>"
        f'<ETag>"{OSS_ETAG}"</ETag></CompleteMultipartUploadResult>'
    )
    answer = Replace(status=200, body=body.encode(), forward=True)
    sides.target_wire.add(Rule(when=completed, action=answer))


def test_the_documented_settings_copy_from_and_to_such_a_service(
    sides: Sides, open_store: Callable[..., ObjectStore]
) -> None:
    """Plans, parts and completions pass; each body has the digest that the service does check."""
    settings = documented()["extra"]["s3resume"]
    make_etags_as_oss(sides)
    result, outcomes = copy(sides, open_store, settings)
    result.raise_for_failures()
    assert (sides.data("small"), sides.data("large")) == (SMALL, LARGE)
    assert {outcome.status for outcome in outcomes.values()} == {Status.COPIED}
    sent = sides.target_wire.seen(Match(operation="UploadPart"))
    sent += sides.target_wire.seen(Match(operation="PutObject", path="/small$"))
    assert len(sent) == 4
    assert all("content-md5" in exchange.headers for exchange in sent)
    everything = sides.source_wire.exchanges + sides.target_wire.exchanges
    assert not [e for e in everything if e.status == 400 or refused(e.method, e.headers)]


def test_the_default_settings_are_refused_by_such_a_service(
    sides: Sides, open_store: Callable[..., ObjectStore]
) -> None:
    """Already where the plan is kept, and with the service's own words."""
    with pytest.raises(StoreError, match="aws-chunked encoding is not supported"):
        copy(sides, open_store, {})
    sides.target_wire.wait_for(lambda e: e.status == 400)


class Recorder:
    """Keeps the requests of a client instead of sending them."""

    def __init__(self, client: Any) -> None:
        self.sent: list[AWSPreparedRequest] = []
        client.meta.events.register("before-send.s3", self._keep)

    def _keep(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        self.sent.append(request)
        raw: Any = BytesIO()
        raw.stream = lambda *_, **__: iter(())
        headers: Any = {"ETag": '"x"'}
        return AWSResponse(request.url, 200, headers, raw)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the last request as text."""
        found: dict[str, Any] = dict(self.sent[-1].headers.items())
        return {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in found.items()
        }


def hook_on(monkeypatch: pytest.MonkeyPatch, connection: Mapping[str, Any]) -> S3ResumeHook:
    """Return a hook on a connection."""
    monkeypatch.setenv("AIRFLOW_CONN_OSS_AS_S3", json.dumps(connection))
    return S3ResumeHook("oss_as_s3")


@pytest.mark.parametrize(
    ("more", "scheme"),
    [({}, "AWS4-HMAC-SHA256 "), ({"config_kwargs": {"signature_version": "s3"}}, "AWS KEY:")],
)
def test_the_bucket_stands_in_the_host_and_bodies_are_plain(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], scheme: str
) -> None:
    """With either signature; the endpoint knows no other address of a bucket."""
    connection = documented()
    connection["extra"] |= more
    # What is recorded is what botocore sends; the other way is held against it elsewhere.
    connection["extra"]["s3resume"]["direct"] = False
    hook = hook_on(monkeypatch, connection)
    client = hook.get_conn()
    recorder = Recorder(client)
    store = S3Store(client, "data", service=ENDPOINT, settings=hook.store_settings)
    empty = "1B2M2Y8AsgTpgAmY7PhCfg=="
    checksum = Checksum(algorithm=ChecksumAlgorithm.MD5, value=empty, full_object=True)
    store.put_object("dir/key", b"", upload=NewUpload(), checksum=checksum)
    store.upload_part("dir/key", "upload", 1, b"part", checksum)
    place = "https://data.s3.oss-cn-hangzhou.aliyuncs.com/dir/key"
    assert [request.url.partition("?")[0] for request in recorder.sent] == [place, place]
    assert recorder.headers["authorization"].startswith(scheme)
    assert recorder.headers["content-md5"] == checksum.value
    assert not refused("PUT", recorder.headers)


def test_boto3_alone_sends_what_the_service_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since it adds checksums by itself, chunked behind the body: why there are settings at all."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    client = boto3.client("s3", endpoint_url=ENDPOINT, region_name="cn-hangzhou")
    recorder = Recorder(client)
    client.put_object(Bucket="data", Key="key", Body=BytesIO(b"body"))
    assert recorder.headers["x-amz-content-sha256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert refused("PUT", recorder.headers)
