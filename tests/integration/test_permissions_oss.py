"""A sync from OSS with the RAM policy that the tables make, at a server that enforces it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.permissions import known_features
from airflow_provider_s3resume.plan.permissions import choose
from airflow_provider_s3resume.plan.policies import Policy, policies
from airflow_provider_s3resume.plan.sides import parse_places
from tests.conftest import SeaweedPair
from tests.support.demo_data import MIB, bytes_of
from tests.support.iam import actions_in, without
from tests.support.oss_server import OSSServer
from tests.support.parity_sides import OSSSide, S3Side
from tests.support.parity_world import SEAWEED, OSSTrip, Run

PLAIN = choose(known_features(), ())
PREFIXES = ("in/data/", "out/")
READER = "LTAI5tReader"
_CALLS = {
    "GetObject": "oss:GetObject",
    "HeadObject": "oss:GetObject",
    "GetObjectTagging": "oss:GetObjectTagging",
    "ListObjectsV2": "oss:ListObjects",
}


@pytest.fixture
def server() -> Iterator[OSSServer]:
    """Give a server with an identity that is limited by the tests."""
    with OSSServer() as running:
        running.add_credentials(READER, "reader-secret")
        yield running


@pytest.fixture
def trip(server: OSSServer, seaweed_pair: SeaweedPair) -> Iterator[OSSTrip]:
    """Give a filled source, read by that identity, and a target."""
    mark, target = secrets.token_hex(4), seaweed_pair.target
    made = OSSTrip(
        OSSSide(server, f"source-{mark}"),
        S3Side(target.endpoint, target.client(), f"target-{mark}", SEAWEED),
        int(mark, 16),
    )
    made.state_uri = f"s3://{made.target.bucket}/.s3resume/"
    made.source.sign_as(READER, "reader-secret")
    made.lead()
    for key, size in (("small", 1_000), ("large", 17 * MIB)):
        made.source.put(
            f"{PREFIXES[0]}{key}",
            bytes_of(key, size),
            content_type="text/plain",
            x_oss_tagging="class=public",
        )
    made.source.sdk.put_symlink(f"{PREFIXES[0]}small", f"{PREFIXES[0]}link")
    made.source.put("beside", b"nobody may read this")
    yield made
    made.forget()


def policy_of(trip: OSSTrip) -> Policy:
    """Return the RAM policy that the tables make."""
    sides = trip.sides(*PREFIXES)
    places = parse_places(sides["source_uri"], sides["target_uri"], sides["state_uri"])
    return policies(places, PLAIN)["source"]


def sync(trip: OSSTrip) -> Run:
    """Copy the prefix."""
    return trip.sync(*PREFIXES, planning={"symlinks": "follow"})


def test_a_sync_runs_with_the_policy_that_is_made_for_it(server: OSSServer, trip: OSSTrip) -> None:
    """Each action of it is used, and no other; objects arrive with their tags."""
    made = policy_of(trip)
    server.limit(READER, [made])
    assert sync(trip).report["failed"] == 0
    for key in ("small", "large"):
        assert trip.target.read(f"{PREFIXES[1]}{key}") == trip.source.read(f"{PREFIXES[0]}{key}")
    asked = [one for one in server.requests if one.access_key_id == READER]
    assert {one.status for one in asked} <= {200, 206}
    assert {_CALLS[one.operation] for one in asked} == set(actions_in(made))


@pytest.mark.parametrize("action", ["oss:ListObjects", "oss:GetObject"])
def test_c41_without_an_action_a_task_fails_and_names_whose_it_is(
    server: OSSServer, trip: OSSTrip, action: str
) -> None:
    """At once, as no retry helps."""
    server.limit(READER, [without(policy_of(trip), action)])
    with pytest.raises(AirflowFailException, match=r"AccessDenied.*source_conn_id"):
        sync(trip)


def test_c19_without_the_action_for_tags_the_report_says_so(
    server: OSSServer, trip: OSSTrip
) -> None:
    """Objects arrive without them."""
    server.limit(READER, [without(policy_of(trip), "oss:GetObjectTagging")])
    report = sync(trip).report
    assert report["failed"] == 0
    assert report["notes"] > 0
    assert trip.target.read(f"{PREFIXES[1]}small").tags == {}


def test_nothing_beside_the_prefix_can_be_read(server: OSSServer, trip: OSSTrip) -> None:
    """The policy is limited to it."""
    server.limit(READER, [policy_of(trip)])
    with pytest.raises(AirflowFailException, match="AccessDenied"):
        trip.copy("beside", f"{PREFIXES[1]}beside")
