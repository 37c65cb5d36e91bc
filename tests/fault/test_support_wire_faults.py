"""The faults of the wire do to a real server what their names say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError, HTTPClientError, ResponseStreamingError

from tests.conftest import SeaweedPair
from tests.support.wire import Wire
from tests.support.wire_rules import (
    EXPIRED_TOKEN,
    Flip,
    Match,
    Replace,
    Reset,
    Rule,
    Truncate,
)

BODY = bytes(range(256)) * 400
PUT, GET = Match(operation="PutObject"), Match(operation="GetObject")


def test_a_put_whose_answer_is_lost_is_stored_all_the_same(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str
) -> None:
    """The client sees a broken connection; the object is there."""
    server = seaweed_pair.target
    server.client().create_bucket(Bucket=bucket)
    between = wire(server.endpoint_url, Rule(when=PUT, action=Reset(side="answer")))
    client = server.endpoint.through(between.url).client(max_attempts=1)
    with pytest.raises(HTTPClientError):
        client.put_object(Bucket=bucket, Key="k", Body=BODY)
    (put,) = between.wait_for(lambda e: PUT(e) and e.is_over)
    assert (put.status, put.upstream_status) == (None, 200)
    assert server.client().get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


def test_a_flipped_bit_on_the_way_in_is_refused_by_the_checksum(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str
) -> None:
    """The server compares CRC64NVME, and stores nothing."""
    server = seaweed_pair.target
    server.client().create_bucket(Bucket=bucket)
    between = wire(server.endpoint_url, Rule(when=PUT, action=Flip(side="request", offset=50_000)))
    client = server.endpoint.through(between.url).client(max_attempts=1)
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm="CRC64NVME")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert server.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_body_cut_short_and_an_expired_token_reach_the_client(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str
) -> None:
    """The first GET ends early, the second is refused."""
    server = seaweed_pair.source
    server.client().create_bucket(Bucket=bucket)
    server.client().put_object(Bucket=bucket, Key="k", Body=BODY)
    between = wire(
        server.endpoint_url,
        Rule(when=GET, action=Truncate(1_000), nth=1),
        Rule(when=GET, action=Replace(status=403, body=EXPIRED_TOKEN), nth=2),
    )
    client = server.endpoint.through(between.url).client(max_attempts=1)
    answer = client.get_object(Bucket=bucket, Key="k")["Body"]
    with pytest.raises((ResponseStreamingError, HTTPClientError)):
        answer.read()
    with pytest.raises(ClientError) as caught:
        client.get_object(Bucket=bucket, Key="k")
    assert caught.value.response["Error"]["Code"] == "ExpiredToken"
