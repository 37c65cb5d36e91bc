"""Whose buckets they are, who pays, and with which keys they are read and written."""

from __future__ import annotations

import os
from typing import Any

from botocore.exceptions import ClientError

from tests.support.demo_data import bytes_of
from tests.support.iam import DENIED
from tests.support.parity_access import (
    SecretSide,
    new_customer_key,
    profile_trip,
    public_trip,
    secret_trip,
)
from tests.support.parity_registry import case
from tests.support.parity_sides import S3Side
from tests.support.parity_world import PART, Run, S3Trip, World, refusal
from tests.support.wire_rules import Exchange, Replace, Rule

_GROUP = "access"
_PAYER = "x-amz-request-payer"
_OWNER = "x-amz-expected-bucket-owner"
_OURS, _ANOTHER = "111122223333", "444455556666"
_READER = "LTAI5tOfAnotherAccount"
_WITH_KEYS = {
    "a target": (False, True),
    "a source": (True, False),
    "both sides, each with a key of its own": (True, True),
}


def _fill(source: S3Side) -> None:
    source.put("empty")
    source.put("small", bytes_of("small", 1_000), ContentType="text/plain")
    source.put_parts("large", [bytes_of("1", PART), bytes_of("2", PART), b"end"])


def _encrypted(name: str, source: bool, target: bool) -> None:  # noqa: FBT001 - a table's
    @case(_GROUP, f"objects encrypted with keys of the customer (SSE-C): {name}")
    def play(world: World) -> None:
        trip = secret_trip(world, source=source, target=target)
        _fill(trip.source)
        run = trip.sync(part_size=PART)
        assert run.report["verified"] == 3
        trip.same()
        assert trip.sync().report["planned"] == 0
        for side in (trip.source, trip.target):
            if isinstance(side, SecretSide):
                _is_unreadable(side)
                assert side.key not in _records(trip, run)


for _name, _sides in _WITH_KEYS.items():
    _encrypted(_name, *_sides)


def _is_unreadable(side: SecretSide) -> None:
    """Make sure that nobody reads objects without their key, nor with another one."""
    given: tuple[dict[str, Any], ...] = ({}, new_customer_key())
    for key in ("small", "large"):
        for more in given:
            try:
                side.client.get_object(Bucket=side.bucket, Key=key, **more)
            except ClientError:
                continue
            raise AssertionError(f"{key} was read without its key")


def _records(trip: S3Trip, run: Run) -> str:
    """Return all that the state location keeps of a run."""
    bucket, _, report = str(run.report["report_key"]).removeprefix("s3://").partition("/")
    prefix, side = report.rpartition("/")[0], trip.target
    found = side.client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    bodies = [
        side.client.get_object(Bucket=bucket, Key=one["Key"], **side.asked)["Body"].read()
        for one in found
    ]
    assert bodies
    return b"".join(bodies).decode()


@case(_GROUP, "a source whose reader pays")
def requester_pays(world: World) -> None:
    """Every request says so; without that the bucket refuses them, by a name in the error."""
    trip = world.s3()
    _fill(trip.source)
    source, _ = trip.wired(world)

    def is_unpaid(exchange: Exchange) -> bool:
        return exchange.headers.get(_PAYER) != "requester"

    source.add(Rule(when=is_unpaid, action=Replace(status=403, body=DENIED)))
    assert "AccessDenied" in refusal(trip.sync)
    assert trip.target.all_keys() == []
    trip.source.extra["request_payer"] = True
    source, _ = trip.wired(world)
    source.add(Rule(when=is_unpaid, action=Replace(status=403, body=DENIED)))
    trip.sync()
    trip.same()


@case(_GROUP, "a source at OSS whose reader pays")
def requester_pays_oss(world: World) -> None:
    """The server refuses another account that does not say so."""
    trip = world.oss()
    for name in ("a", "b"):
        trip.source.put(name, bytes_of(name, 1_000), content_type="text/plain")
    world.oss_server.add_credentials(_READER, _READER, account="another")
    trip.source.sign_as(_READER, _READER)
    trip.source.state.requester_pays(trip.source.bucket)
    trip.lead()
    assert "AccessDenied" in refusal(trip.sync)
    assert trip.target.all_keys() == []
    trip.source.extra["request_payer"] = True
    trip.lead()
    trip.sync()
    trip.same()


@case(_GROUP, "the owner that a bucket has to have")
def expected_owner(world: World) -> None:
    """A bucket of another account, on either side, is refused before anything is written."""
    trip = world.s3()
    _fill(trip.source)

    def is_wrong(exchange: Exchange) -> bool:
        return exchange.headers.get(_OWNER, _OURS) != _OURS

    for source, target in ((_ANOTHER, _OURS), (_OURS, _ANOTHER), (_OURS, _OURS)):
        trip.source.extra["expected_bucket_owner"] = source
        trip.target.extra["expected_bucket_owner"] = target
        wires = trip.wired(world)
        for wire in wires:
            wire.add(Rule(when=is_wrong, action=Replace(status=403, body=DENIED)))
        if _ANOTHER in {source, target}:
            assert "AccessDenied" in refusal(trip.sync)
            assert trip.target.all_keys() == []
        else:
            trip.sync()
            said = {one.headers.get(_OWNER) for wire in wires for one in wire.exchanges}
            assert said == {_OURS}
    trip.same()


@case(_GROUP, "a public bucket, without credentials")
def public(world: World) -> None:
    """What anybody may read; another bucket of the same server is refused."""
    source, trip = public_trip(world)
    _fill(source)
    assert len(source.unsigned().list_objects_v2(Bucket=source.bucket)["Contents"]) == 3
    trip.sync()
    trip.same()
    source.client.delete_bucket_policy(Bucket=source.bucket)
    source.put("later", b"for those alone who have keys")
    assert "AccessDenied" in refusal(trip.sync)
    assert "later" not in trip.target.all_keys()


@case(_GROUP, "profiles of a credentials file, one for each side")
def profiles(world: World) -> None:
    """As the older tools name them; no key stands in a connection."""
    file = world.folder / "credentials"
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(file)
    try:
        trip = profile_trip(world, file)
        _fill(trip.source)
        trip.sync()
        trip.same()
    finally:
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
