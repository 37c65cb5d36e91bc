"""What a sync asks is what the tables of the documentation say, and nothing more is needed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.permissions import known_features
from airflow_provider_s3resume.plan.permissions import STATE, Feature, Need, choose
from airflow_provider_s3resume.plan.policies import Policy, policies
from airflow_provider_s3resume.plan.sides import parse_places
from tests.conftest import SeaweedPair
from tests.support.endpoints import S3Endpoint
from tests.support.iam import actions_in, asked_by, call_of, without
from tests.support.parity_sides import S3Side
from tests.support.parity_world import SEAWEED, S3Trip
from tests.support.permitted_sync import PermittedSync
from tests.support.seaweed import LimitedIdentity, SeaweedServer
from tests.support.wire import Wire
from tests.support.wire_rules import Exchange

PLAIN = choose(known_features(), ())
PREFIXES = ("in/data/", "out/")
STATE_PREFIX = "state/of/syncs/"


@pytest.fixture
def syncs(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire]
) -> Iterator[Callable[..., PermittedSync]]:
    """Give what makes a sync between new buckets; its connections end with the test."""
    trips: list[S3Trip] = []

    def make(
        prefixes: tuple[str, str] = PREFIXES, *, state_bucket: str | None = None
    ) -> PermittedSync:
        mark = secrets.token_hex(4)
        source, target = seaweed_pair.source, seaweed_pair.target
        trip = S3Trip(
            S3Side(source.endpoint, source.client(), f"source-{mark}", SEAWEED),
            S3Side(target.endpoint, target.client(), f"target-{mark}", SEAWEED),
            int(mark, 16),
        )
        trips.append(trip)
        if state_bucket is not None:
            trip.target.client.create_bucket(Bucket=f"{state_bucket}-{mark}")
            trip.state_uri = f"s3://{state_bucket}-{mark}/{STATE_PREFIX}"
        else:
            trip.state_uri = f"s3://{trip.target.bucket}/.s3resume/"
        wires = wire(source.endpoint_url), wire(target.endpoint_url)
        trip.lead(source=wires[0], target=wires[1])
        return PermittedSync(
            trip=trip, source_wire=wires[0], target_wire=wires[1], prefixes=prefixes
        )

    yield make
    for trip in trips:
        trip.forget()


def limited(sync: PermittedSync) -> dict[str, Policy]:
    """Return the policies that the tables make for a sync."""
    return policies(sync.places, PLAIN)


def column(side: str, one: Feature) -> tuple[str, ...]:
    """Return the actions of a row for a place of a sync."""
    if side == "source":
        return actions(one.source)
    return actions(one.target) if (one.name == STATE) is (side == "state") else ()


def actions(needs: Iterable[Need]) -> tuple[str, ...]:
    """Return the actions alone: in a plain sync all of them are about places."""
    return tuple(need.action for need in needs)


def used(exchanges: list[Exchange]) -> dict[str, set[str]]:
    """Return the actions that requests need, by their calls."""
    found: dict[str, set[str]] = {}
    for one in exchanges:
        found.setdefault(call_of(one), set()).update(asked.action for asked in asked_by(one))
    return found


@pytest.mark.parametrize("prefixes", [("", ""), PREFIXES], ids=["buckets", "prefixes"])
def test_every_request_is_in_the_tables_and_the_tables_hold_no_more(
    syncs: Callable[..., PermittedSync], prefixes: tuple[str, str]
) -> None:
    """Calls and actions of source, target and state location, each for itself."""
    sync = syncs(prefixes, state_bucket="state")
    sync.run()
    for side, exchanges in sync.requests().items():
        rows = [one for one in PLAIN if column(side, one)]
        found = used(exchanges)
        assert set(found) == {call for one in rows for call in one.calls}, side
        allowed = {action for one in rows for action in column(side, one)}
        assert {action for some in found.values() for action in some} == allowed, side
        for call, needed in found.items():
            told = {a for one in rows if call in one.calls for a in column(side, one)}
            assert needed <= told, (side, call)


@pytest.mark.parametrize("state_bucket", [None, "state"], ids=["state-in-target", "state-alone"])
@pytest.mark.parametrize("prefixes", [("", ""), PREFIXES], ids=["buckets", "prefixes"])
def test_a_sync_runs_with_the_policies_that_are_made_for_it(
    syncs: Callable[..., PermittedSync], prefixes: tuple[str, str], state_bucket: str | None
) -> None:
    """Nothing is refused, and everything arrives."""
    sync = syncs(prefixes, state_bucket=state_bucket)
    if not prefixes[1] and state_bucket is None:
        # The state lies among the data of the target: no listing of that is compared here.
        prefixes = ("", "data/")
        sync = syncs(("", "data/"))
    gates = sync.limit(limited(sync))
    report = sync.run()
    assert report["failed"] == 0
    assert [gate.refused for gate in gates] == [[], []]
    for key in ("small", "large"):
        tags = sync.trip.target.read(f"{sync.prefixes[1]}{key}").tags
        assert tags == {"class": "public", "team": "data platform"}
    if state_bucket is not None:
        sync.arrived()


NEEDED = {
    ("source", "s3:ListBucket"): "source_conn_id",
    ("source", "s3:GetObject"): "source_conn_id",
    ("target", "s3:ListBucket"): "target_conn_id",
    ("target", "s3:GetObject"): "target_conn_id",
    ("target", "s3:PutObject"): "target_conn_id",
    ("target", "s3:PutObjectTagging"): "target_conn_id",
    ("target", "s3:ListBucketMultipartUploads"): "target_conn_id",
    ("target", "s3:ListMultipartUploadParts"): "target_conn_id",
    ("target", "s3:AbortMultipartUpload"): "target_conn_id",
    ("state", "s3:ListBucket"): "state_conn_id",
    ("state", "s3:GetObject"): "state_conn_id",
    ("state", "s3:PutObject"): "state_conn_id",
    ("state", "s3:DeleteObject"): "state_conn_id",
}
"""Without it a task fails, and names this parameter."""

NOT_FATAL = {("source", "s3:GetObjectTagging")}
"""Without it objects arrive without tags."""


def test_every_action_of_the_policies_is_taken_away_below(
    syncs: Callable[..., PermittedSync],
) -> None:
    """No action of a policy is left out of the tests that follow."""
    made = limited(syncs(state_bucket="state"))
    named = {(side, action) for side, one in made.items() for action in actions_in(one)}
    assert named == NEEDED.keys() | NOT_FATAL


@pytest.mark.parametrize(("side", "action"), NEEDED)
def test_c41_without_an_action_a_task_fails_and_names_whose_it_is(
    syncs: Callable[..., PermittedSync], side: str, action: str
) -> None:
    """At once, as no retry helps; and with the action, it does not (see above)."""
    sync = syncs(state_bucket="state")
    made = limited(sync)
    gates = sync.limit({**made, side: without(made[side], action)})
    with pytest.raises(AirflowFailException, match="AccessDenied") as failure:
        sync.run()
    assert NEEDED[side, action] in str(failure.value)
    assert set(gates[0].refused + gates[1].refused) == {action}


def test_c19_without_the_action_for_tags_objects_arrive_without_them(
    syncs: Callable[..., PermittedSync],
) -> None:
    """The report says so, where the service says that there are tags."""
    sync = syncs(state_bucket="state")
    made = limited(sync)
    sync.limit({**made, "source": without(made["source"], "s3:GetObjectTagging")})
    sync.fill()
    report = sync.trip.sync(*sync.prefixes).report
    assert (report["failed"], report["notes"]) == (0, 2)
    assert sync.trip.target.read(f"{PREFIXES[1]}small").tags == {}


def test_seaweedfs_enforces_the_same_documents(tmp_path: Path, wire: Callable[..., Wire]) -> None:
    """An engine that is not this project's judges them: one action less is too little."""
    source, target, state = "the-source", "the-target", "the-state"
    state_uri = f"s3://{state}/{STATE_PREFIX}"
    uris = f"s3://{source}/{PREFIXES[0]}", f"s3://{target}/{PREFIXES[1]}"
    made = policies(parse_places(*uris, state_uri), PLAIN)
    less = without(made["target"], "s3:PutObject")
    documents = {
        "reader": [made["source"]],
        "writer": [made["target"], made["state"]],
        "lesser": [less, made["state"]],
    }
    identities = [
        LimitedIdentity(access_key=name, secret_key=f"{name}-secret", policies=some)
        for name, some in documents.items()
    ]
    with SeaweedServer(tmp_path, "admin", "admin-secret", limited=identities) as server:
        client = server.client()
        client.create_bucket(Bucket=state)
        trip = S3Trip(
            S3Side(server.endpoint, client, source, SEAWEED),
            S3Side(server.endpoint, client, target, SEAWEED),
            int(secrets.token_hex(4), 16),
        )
        trip.state_uri = state_uri
        sync = PermittedSync(
            trip=trip,
            source_wire=wire(server.endpoint_url),
            target_wire=wire(server.endpoint_url),
            prefixes=PREFIXES,
        )
        trip.source.endpoint = signed_by(server, "reader")
        trip.target.endpoint = signed_by(server, "lesser")
        trip.lead(source=sync.source_wire, target=sync.target_wire)
        with pytest.raises(AirflowFailException, match=r"AccessDenied.*target_conn_id"):
            sync.run()
        trip.target.endpoint = signed_by(server, "writer")
        trip.lead(source=sync.source_wire, target=sync.target_wire)
        assert sync.run()["failed"] == 0
        sync.arrived()
        trip.forget()


def signed_by(server: SeaweedServer, name: str) -> S3Endpoint:
    """Return a server's address with another identity."""
    return replace(server.endpoint, access_key=name, secret_key=f"{name}-secret")
