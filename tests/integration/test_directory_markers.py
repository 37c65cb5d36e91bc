"""Markers of directories on a server that makes directories of keys: SeaweedFS."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.conftest import SeaweedPair
from tests.support.parity_sides import S3Side
from tests.support.parity_world import SEAWEED, S3Trip


@pytest.fixture
def trip(seaweed_pair: SeaweedPair) -> Iterator[S3Trip]:
    """Give a sync between two new buckets."""
    mark = secrets.token_hex(4)
    source, target = seaweed_pair.source, seaweed_pair.target
    made = S3Trip(
        S3Side(source.endpoint, source.client(), f"source-{mark}", SEAWEED),
        S3Side(target.endpoint, target.client(), f"target-{mark}", SEAWEED),
        int(mark, 16),
    )
    target.client().create_bucket(Bucket=f"state-{mark}")
    made.state_uri = f"s3://state-{mark}/.s3resume/"
    yield made
    made.forget()


def test_c08_a_marker_comes_after_what_lies_below_it(trip: S3Trip) -> None:
    """The directory is there by then, and is no object that a condition protects."""
    trip.source.put("folder/file", b"bytes")
    trip.sync()
    for key in ("folder/", "empty/", "folder/sub/"):
        trip.source.put(key)
    report = trip.sync().report
    assert (report["copied"], report["failed"]) == (3, 0)
    assert report["unprotected"] == 1
    assert trip.target.all_keys() == trip.source.all_keys()
    assert trip.sync().report["planned"] == 0
