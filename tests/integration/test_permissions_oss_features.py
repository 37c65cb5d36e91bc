"""Rows with RAM actions in use by an identity that may do what the tables say, and no more."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.permissions import known_features
from airflow_provider_s3resume.plan.permissions import PLAIN_SYNC, Need, choose
from airflow_provider_s3resume.plan.policies import NO_RESOURCES, Policy, Resources, policies
from airflow_provider_s3resume.plan.sides import parse_places
from tests.conftest import SeaweedPair
from tests.support.iam import Asked, Policies
from tests.support.oss_policies import asked_by
from tests.support.oss_server import OSSServer
from tests.support.parity_sides import OSSSide, S3Side
from tests.support.parity_world import SEAWEED, OSSTrip

KNOWN = known_features()
PREFIXES = ("in/data/", "out/")
BELOW = PREFIXES[0]
READER = "LTAI5tReader"
BODY = b"some bytes"

ELSEWHERE = {
    "A source that KMS encrypts": "the test server has no KMS; the policy names the key "
    "(tests/unit/test_plan_permissions.py)",
}


@dataclass(kw_only=True, slots=True)
class Ready:
    """A feature that is ready to be used.

    :param arrived: target key → bytes.
    """

    act: Callable[[], object]
    arrived: dict[str, bytes]
    resources: Resources = NO_RESOURCES


Make = Callable[[OSSTrip, OSSServer], Ready]


def _list(kind: str, name: str, text: str, trip: OSSTrip, _: OSSServer) -> Ready:
    for key in ("a.csv", "b.csv"):
        trip.source.put(f"{BELOW}{key}", BODY)
    trip.source.put(f"lists/{name}", text.encode())
    uri = trip.source.uri(f"lists/{name}")
    act = partial(trip.sync, *PREFIXES, planning={"selection": {kind: uri}})
    return Ready(act=act, arrived={"out/a.csv": BODY}, resources=Resources(lists=(uri,)))


def _tags(trip: OSSTrip, _: OSSServer) -> Ready:
    trip.source.put(f"{BELOW}a", BODY, x_oss_tagging="class=public")
    return Ready(act=partial(trip.sync, *PREFIXES), arrived={"out/a": BODY})


def _metadata(trip: OSSTrip, _: OSSServer) -> Ready:
    trip.source.put(f"{BELOW}a", BODY, content_type="text/x", x_oss_meta_owner="a")
    trip.target.put("out/a", BODY, ContentType="text/x")

    def act() -> None:
        assert trip.sync(*PREFIXES, planning={"rule": "size+etag+metadata"}).report["copied"] == 1

    return Ready(act=act, arrived={"out/a": BODY})


def _version(trip: OSSTrip, server: OSSServer) -> Ready:
    server.state.bucket(trip.source.bucket).versioning = "Enabled"
    key = f"{BELOW}a"
    named = {"x-oss-tagging": "class=public"}
    wanted = trip.source.sdk.put_object(key, BODY, headers=named).versionid
    trip.source.put(key, b"newer")
    act = partial(trip.copy, key, "out/a", source_version_id=wanted)
    return Ready(act=act, arrived={"out/a": BODY})


def _no_version(trip: OSSTrip, server: OSSServer) -> Ready:
    server.state.bucket(trip.source.bucket).versioning = "Enabled"
    key = f"{BELOW}a"
    trip.source.put(key, BODY)
    marker = trip.source.sdk.delete_object(key).versionid

    def act() -> None:
        with pytest.raises(AirflowFailException) as refused:
            trip.copy(key, "out/a", source_version_id=marker)
        if "AccessDenied" in str(refused.value):
            raise refused.value

    return Ready(act=act, arrived={})


def _archived(trip: OSSTrip, server: OSSServer) -> Ready:
    for key in ("cold", "warm"):
        trip.source.put(f"{BELOW}{key}", BODY)
    server.state.set_class(trip.source.bucket, f"{BELOW}cold", "Archive")

    def act() -> None:
        assert trip.sync(*PREFIXES).report["skipped"]["archived"] == 1

    return Ready(act=act, arrived={"out/warm": BODY})


USES: dict[str, Make] = {
    "ignore list": partial(_list, "ignore_list", "ignore.txt", "*/b.csv\n"),
    "prefix list": partial(_list, "prefix_list", "prefixes.txt", f"{BELOW}a\n"),
    "key list (CSV, JSONL, text)": partial(_list, "key_list", "keys.txt", f"{BELOW}a.csv\n"),
    "Tags": _tags,
    "Differences in metadata alone": _metadata,
    "a chosen version of a named object": _version,
    "a version that is not there, or is a delete marker, is refused by name; "
    "one deleted since the plan is gone": _no_version,
    "report, refuse, or try": _archived,
}
EXTRAS = [
    (name, need)
    for name in USES
    for one in KNOWN
    if one.name == name and one.group != PLAIN_SYNC
    for need in one.ram
    if need not in {plain for row in choose(KNOWN, ()) for plain in row.ram}
]


@pytest.fixture
def server() -> Iterator[OSSServer]:
    """Give a server with an identity that is limited by the tests."""
    with OSSServer() as running:
        running.add_credentials(READER, "reader-secret")
        yield running


@pytest.fixture
def trip(server: OSSServer, seaweed_pair: SeaweedPair) -> Iterator[OSSTrip]:
    """Give an empty source, read by that identity, and a target."""
    mark, target = secrets.token_hex(4), seaweed_pair.target
    made = OSSTrip(
        OSSSide(server, f"source-{mark}"),
        S3Side(target.endpoint, target.client(), f"target-{mark}", SEAWEED),
        int(mark, 16),
    )
    state = f"state-{mark}"
    made.target.client.create_bucket(Bucket=state)
    made.state_uri = f"s3://{state}/.s3resume/"
    made.source.sign_as(READER, "reader-secret")
    made.lead()
    yield made
    made.forget()


def limited(trip: OSSTrip, name: str, ready: Ready, *, but: Need | None = None) -> list[Policy]:
    """Return the RAM policies that the tables make, without an action if so said."""
    sides = trip.sides(*PREFIXES)
    places = parse_places(sides["source_uri"], sides["target_uri"], sides["state_uri"])
    rows = [
        replace(one, ram=tuple(need for need in one.ram if need != but))
        for one in choose(KNOWN, [name])
    ]
    made = policies(places, rows, resources=ready.resources)
    return [made[one] for one in ("source", "lists") if one in made]


def asked(server: OSSServer) -> list[Asked]:
    """Return what the identity has asked."""
    return [asked_by(one) for one in server.requests if one.access_key_id == READER]


def arrived(trip: OSSTrip) -> dict[str, bytes]:
    """Return what the target holds."""
    client, bucket = trip.target.client, trip.target.bucket
    return {
        key: client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in trip.target.all_keys()
    }


def test_every_row_with_an_action_of_ram_has_a_use_or_a_reason() -> None:
    """Those of a plain sync are used in the tests beside this one."""
    rows = {one.name for one in KNOWN if one.ram and one.group != PLAIN_SYNC}
    assert rows <= USES.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("name", USES)
def test_a_feature_runs_with_the_policies_that_are_made_for_it(
    server: OSSServer, trip: OSSTrip, name: str
) -> None:
    """Nothing is refused, all of it arrives, and each action of its own is asked for."""
    ready = USES[name](trip, server)
    server.limit(READER, limited(trip, name, ready))
    ready.act()
    assert 403 not in {one.status for one in server.requests if one.access_key_id == READER}
    assert arrived(trip) == ready.arrived
    for need in [need for row, need in EXTRAS if row == name]:
        less = Policies(limited(trip, name, ready, but=need))
        assert {one.action for one in asked(server) if not less.allow(one)} == {need.action}


@pytest.mark.parametrize(("name", "need"), EXTRAS)
def test_c41_without_an_action_of_its_own_a_feature_fails_or_loses_its_tags(
    server: OSSServer, trip: OSSTrip, name: str, need: Need
) -> None:
    """At once, as no retry helps, with the name of what was refused."""
    ready = USES[name](trip, server)
    server.limit(READER, limited(trip, name, ready, but=need))
    if need.action == "oss:GetObjectVersionTagging":
        ready.act()
        assert trip.target.read("out/a").tags == {}
        return
    with pytest.raises(AirflowFailException, match="AccessDenied"):
        ready.act()
    assert need.action in {
        asked_by(one).action
        for one in server.requests
        if one.access_key_id == READER and one.status == 403
    }
