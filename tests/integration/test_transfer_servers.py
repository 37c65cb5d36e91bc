"""A mixed batch between two SeaweedFS, and what a second attempt finds of it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from tests.conftest import SeaweedPair
from tests.support.transfer_servers import PART, Pair
from tests.support.wire import Wire
from tests.support.wire_rules import Match, Replace, Rule

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@pytest.fixture
def pair(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Pair:
    """Give two buckets behind wires."""
    return Pair(seaweed_pair.source.endpoint, seaweed_pair.target.endpoint, bucket, wire)


OBJECTS: dict[str, tuple[int, tuple[int, ...]]] = {
    "empty": (0, ()),
    "one byte": (1, ()),
    "dir/marker/": (0, ()),
    "a b+c%20d?&=.txt": (1000, ()),
    "ümlaut/日本": (5000, ()),
    "at-the-threshold": (PART, ()),
    "above-the-threshold": (PART + 1, ()),
    "small-multipart": (3000, (3000,)),
    "uniform-parts": (2 * PART + 10, (PART, PART, 10)),
    "odd-parts": (2 * PART + 150, (PART + 100, PART, 50)),
    "odd-parts-that-look-uniform": (2 * PART + 150, (PART, PART + 100, 50)),
}


def test_a_mixed_batch_lands_and_a_second_attempt_sends_nothing(pair: Pair) -> None:
    """Every kind of object arrives; parts are cut as at the source; nothing is sent twice."""
    chance = random.Random(3)
    data = {key: chance.randbytes(size) for key, (size, _) in OBJECTS.items()}
    for key, (_, parts) in OBJECTS.items():
        pair.put(key, data[key], parts)
    job = pair.plan(*OBJECTS)
    job.run().raise_for_failures()
    outcomes = pair.outcomes(job)
    assert {o.status for o in outcomes.values()} == {Status.COPIED}
    assert {key: pair.data(key) for key in OBJECTS} == data
    # The server keeps MD5s as ETags: objects that are cut as at the source are proven by them.
    unproven = {key for key, o in outcomes.items() if o.proof is not Proof.ETAG}
    assert unproven == {"above-the-threshold", "odd-parts-that-look-uniform"}
    written = len(pair.target_wire.exchanges)
    job.run().raise_for_failures()
    assert pair.outcomes(job).keys() == OBJECTS.keys()
    later = pair.target_wire.exchanges[written:]
    writes = {"UploadPart", "CompleteMultipartUpload", "CreateMultipartUpload"}
    assert not [e for e in later if e.operation in writes]
    puts = [e.path for e in later if e.operation == "PutObject" and ".s3resume/" not in e.path]
    assert puts == []
    assert pair.open_uploads() == []


def test_c19_attributes_and_tags_arrive(pair: Pair) -> None:
    """Headers, metadata and tags are on the target, for both ways of writing."""
    sizes = {"small": 100, "large": PART + 1}
    for key, size in sizes.items():
        pair.source_client.put_object(
            Bucket=pair.bucket,
            Key=key,
            Body=bytes(size),
            ContentType="text/x-test",
            CacheControl="no-store",
            ContentDisposition="attachment",
            Metadata={"some": "thing"},
            Tagging="a=1&b=two%20words",
        )
    job = pair.plan(*sizes)
    job.run().raise_for_failures()
    for key in sizes:
        there = pair.target_client.head_object(Bucket=pair.bucket, Key=key)
        assert there["ContentType"] == "text/x-test"
        assert there["CacheControl"] == "no-store"
        assert there["ContentDisposition"] == "attachment"
        assert there["Metadata"] == {"some": "thing"}
        tags = pair.target_client.get_object_tagging(Bucket=pair.bucket, Key=key)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "two words"}
        assert pair.outcomes(job)[key].notes == ()


def test_c41_denied_objects_fail_at_once_and_others_land(pair: Pair) -> None:
    """One object that may not be read is asked for once, and named; its neighbours land."""
    for key in ("a", "b", "c"):
        pair.put(key, key.encode())
    job = pair.plan("a", "b", "c")
    refused = Match(operation="GetObject", path="/b$")
    pair.source_wire.add(Rule(when=refused, action=Replace(status=403, body=DENIED)))
    result = job.run()
    assert [(o.key, o.error_kind) for o in result.failures] == [("b", "AccessDeniedError")]
    assert len(pair.source_wire.seen(refused)) == 1
    assert pair.data("a") == b"a"
    assert pair.data("c") == b"c"


def test_c42_no_credential_is_in_a_record(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the state location nor the log holds a key, a secret or a signature."""
    pair.put("large", bytes(PART + 1))
    job = pair.plan("large")
    failing = Rule(when=Match(operation="UploadPart"), action=Replace(status=500), times=4)
    pair.target_wire.add(failing)
    with caplog.at_level("DEBUG", logger="airflow_provider_s3resume"):
        job.run()
    listed = pair.target_client.list_objects_v2(Bucket=pair.bucket, Prefix=".s3resume/")
    texts = [pair.data(found["Key"]).decode() for found in listed["Contents"]]
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("airflow_provider")]
    assert len(texts) > 2
    for text in texts + ours:
        assert job.target.secret_key not in text
        assert job.source.secret_key not in text
        assert "Signature" not in text
