"""The servers that the tests stand on: they start, check signatures, and work behind the wire."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.conftest import SeaweedPair
from tests.support import watchdog
from tests.support.ministack import MinistackServer
from tests.support.ports import PortInUseError
from tests.support.processes import wait_until
from tests.support.seaweed import SeaweedServer
from tests.support.tls import make_certificate
from tests.support.wire import Wire
from tests.support.wire_rules import INTERNAL_ERROR, SLOW_DOWN, Match, Replace, Rule, WholeObject

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PART = b"x" * (5 * 1024 * 1024)
OWNER = """
import pathlib, sys
from tests.support.processes import Child
child = Child("sleeper", ["sleep", "600"], log_file=pathlib.Path(sys.argv[1]))
print(child.pid, flush=True)
sys.stdin.read()
"""


def _error_code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def _upload_in_two_parts(client: S3Client, bucket: str, key: str) -> str:
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    for number in (1, 2):
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=PART)
    listed = client.list_parts(Bucket=bucket, Key=key, UploadId=upload)["Parts"]
    return client.complete_multipart_upload(
        Bucket=bucket,
        Key=key,
        UploadId=upload,
        MultipartUpload={
            "Parts": [{"PartNumber": p["PartNumber"], "ETag": p["ETag"]} for p in listed]
        },
    )["ETag"]


def test_each_server_accepts_its_own_credentials_only(seaweed_pair: SeaweedPair) -> None:
    """A wrong key and a wrong secret are refused."""
    source, target = seaweed_pair
    assert source.client().list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
    strange = target.endpoint.through(source.endpoint_url)
    with pytest.raises(ClientError) as wrong_key:
        strange.client().list_buckets()
    assert _error_code(wrong_key.value) == "InvalidAccessKeyId"
    forged = SeaweedServer(source.data_dir, source.access_key, "wrong", source.port)
    with pytest.raises(ClientError) as wrong_secret:
        forged.client().list_buckets()
    assert _error_code(wrong_secret.value) == "SignatureDoesNotMatch"


def test_put_get_and_multipart_pass_through_the_wire(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str
) -> None:
    """Signatures stay valid, and every operation is recorded by its name."""
    server = seaweed_pair.source
    between = wire(server.endpoint_url)
    client = server.endpoint.through(between.url).client()
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="a b/ü+%.txt", Body=b"hello")
    assert client.get_object(Bucket=bucket, Key="a b/ü+%.txt")["Body"].read() == b"hello"
    md5s = hashlib.md5(PART, usedforsecurity=False).digest() * 2
    etag = hashlib.md5(md5s, usedforsecurity=False).hexdigest()
    assert _upload_in_two_parts(client, bucket, "big") == f'"{etag}-2"'
    operations = [exchange.operation for exchange in between.exchanges]
    assert operations == [
        *("CreateBucket", "PutObject", "GetObject", "CreateMultipartUpload"),
        *("UploadPart", "UploadPart", "ListParts", "CompleteMultipartUpload"),
    ]
    (get,) = between.wait_for(lambda e: e.operation == "GetObject" and e.is_over)
    assert (get.status, get.response_bytes) == (200, 5)


def test_scripted_answers_reach_boto3(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str
) -> None:
    """A SlowDown is retried; a Complete answered with 200 and an error is one."""
    server = seaweed_pair.source
    between = wire(
        server.endpoint_url,
        Rule(
            when=Match(operation="PutObject"),
            action=Replace(status=503, body=SLOW_DOWN),
            nth=1,
        ),
        Rule(
            when=Match(operation="CompleteMultipartUpload"),
            action=Replace(status=200, body=INTERNAL_ERROR),
        ),
    )
    client = server.endpoint.through(between.url).client()
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="small", Body=b"hello")
    assert len(between.seen(Match(operation="PutObject"))) == 2
    with pytest.raises(ClientError) as caught:
        _upload_in_two_parts(client, bucket, "big")
    assert _error_code(caught.value) == "InternalError"


def test_a_range_can_be_answered_with_the_whole_object(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str
) -> None:
    """A server that ignores Range: 200, and all bytes."""
    server = seaweed_pair.source
    server.client().create_bucket(Bucket=bucket)
    server.client().put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    rule = Rule(when=Match(header="Range"), action=WholeObject(server.endpoint))
    client = server.endpoint.through(wire(server.endpoint_url, rule).url).client()
    answer = client.get_object(Bucket=bucket, Key="k", Range="bytes=2-4")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["Body"].read() == b"0123456789"


def test_a_server_may_speak_tls_and_keeps_its_data(tmp_path: Path, bucket: str) -> None:
    """What was stored over TLS is there after the server was killed and started again."""
    certificate = make_certificate(tmp_path / "tls")
    with SeaweedServer(tmp_path / "data", "key", "secret", certificate=certificate) as server:
        server.client().create_bucket(Bucket=bucket)
        server.client().put_object(Bucket=bucket, Key="k", Body=b"kept")
        server.kill()
        server.start()
        assert server.endpoint_url.startswith("https://")
        assert server.client().get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_a_taken_port_is_named(seaweed_pair: SeaweedPair, tmp_path: Path) -> None:
    """The error says which port it is."""
    port = seaweed_pair.source.port
    with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use"):
        SeaweedServer(tmp_path, "key", "secret", port).start()


def test_ministack_keeps_odd_keys_on_the_loopback_address_only(
    ministack_server: MinistackServer, bucket: str
) -> None:
    """Double slashes, dots and a leading slash survive; nothing listens elsewhere."""
    client = ministack_server.client()
    client.create_bucket(Bucket=bucket)
    keys = ["a//b", "/lead", "x/../y", "x/", "x", "a b"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    listed = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(keys)
    listening = Path("/proc/net/tcp").read_text()
    suffix = f":{ministack_server.port:04X}"
    addresses = re.findall(rf"([0-9A-F]{{8}}){suffix} 00000000:0000 0A", listening)
    assert addresses == ["0100007F"]


def test_children_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    """The watchdog ends what a killed test run leaves behind."""
    command = [sys.executable, "-c", OWNER, str(tmp_path / "log")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    ) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        assert watchdog.session_of(child) == child
        owner.kill()
    wait_until(lambda: watchdog.session_of(child) is None, deadline_s=10, what="the child ended")
