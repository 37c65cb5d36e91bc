"""Every row of the tables in use by identities that may do what the tables say, and no more."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.plan.permissions import Need
from tests.support import (
    permitted_cases_attributes,
    permitted_cases_selection,
    permitted_cases_service,
)
from tests.support.parity_sides import S3Side
from tests.support.parity_world import SEAWEED, S3Trip
from tests.support.permitted_features import (
    USES,
    Column,
    FeatureWorld,
    Stage,
    Use,
    extras_of,
    optional_rows,
    used_rows,
)
from tests.support.seaweed import LimitedIdentity, SeaweedServer

MODULES = (permitted_cases_attributes, permitted_cases_selection, permitted_cases_service)
"""Importing them registers the uses."""

ELSEWHERE = {
    "DSSE-KMS": "no local server knows it",
    "Access points": "no local server has any",
    "Multi-Region Access Points": "no local server has any",
    "Transfer acceleration": "no local server has it",
    "Dual-stack and FIPS endpoints": "no local server has them",
    "China and GovCloud": "partitions of Amazon's own",
}
"""Rows whose exact requests are judged instead (``tests/unit/test_permissions_requests.py``)."""

REPORTED = {
    "s3:GetObjectTagging",
    "s3:GetObjectVersionTagging",
    "sqs:ChangeMessageVisibility",
}
"""Actions without which a task does not fail, and says so."""

IDS = [use.rows[0][:40] for use in USES]
EXTRAS = [
    pytest.param(use, extra, id=f"{use.rows[0][:40]}-{extra[0]}-{extra[1].action}")
    for use in USES
    for extra in use.extras()
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureWorld]:
    """Give all servers."""
    with FeatureWorld(tmp_path_factory.mktemp("features")) as world:
        yield world


@pytest.fixture
def world(servers: FeatureWorld) -> Iterator[FeatureWorld]:
    """Give the servers; wires and gates end with the test."""
    yield servers
    servers.end_case()


def test_every_row_has_a_use_or_a_reason() -> None:
    """And there is neither for a row that is not there."""
    rows = {one.name for one in optional_rows()}
    assert used_rows(USES) | ELSEWHERE.keys() == rows
    assert not used_rows(USES) & ELSEWHERE.keys()
    firsts = {use.rows[0] for use in USES}
    for one in optional_rows():
        assert not extras_of(one) or one.name in firsts | ELSEWHERE.keys(), one.name


@pytest.mark.parametrize("use", USES, ids=IDS)
def test_a_feature_runs_with_the_policies_that_are_made_for_it(
    world: FeatureWorld, use: Use
) -> None:
    """Nothing is refused, all of it arrives, its calls are in the table, and no action is left."""
    stage = use.make(world)
    stage.limit(use.policies(stage))
    stage.act()
    assert set(stage.refused) == use.refused
    stage.arrived()
    assert stage.calls <= {call for row in use.features for call in row.calls}
    assert set(use.first.calls) - use.unmade <= stage.calls
    for extra in use.extras():
        less = use.policies(stage, but=extra)
        assert {asked.action for asked in stage.only_by(less)} == {extra[1].action}


@pytest.mark.parametrize(("use", "extra"), EXTRAS)
def test_c41_without_an_action_of_its_own_a_feature_fails_by_name_or_is_reported(
    world: FeatureWorld,
    use: Use,
    extra: tuple[Column, Need],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At once, as no retry helps; and with the action, it does not (see above)."""
    caplog.set_level(logging.INFO)
    stage = use.make(world)
    stage.limit(use.policies(stage, but=extra))
    action = extra[1].action
    if action in REPORTED:
        stage.act()
        assert stage.told(caplog.text)
    else:
        with pytest.raises(AirflowFailException) as failure:
            stage.act()
        assert re.search(use.names[action], str(failure.value), re.DOTALL)
    assert set(stage.refused) == {action}


# --- by an engine that is not this project's ----------------------------------------------------

ENFORCED = [use for use in USES if use.enforced is not None]


class OneSeaweed(FeatureWorld):
    """Two buckets of one SeaweedFS for each use, and no other server.

    :param server: that is running.
    """

    def __init__(self, server: SeaweedServer) -> None:
        super().__init__(server.data_dir)
        self._server = server

    def s3(self, **said: object) -> S3Trip:
        """Give two buckets; the state lies in the target's."""
        number, client, end = next(self.numbers), self._server.client(), self._server.endpoint
        trip = S3Trip(
            S3Side(end, client, f"source-{number}", SEAWEED),
            S3Side(end, client, f"target-{number}", {**SEAWEED, **said}),
            number,
        )
        client.create_bucket(Bucket=f"state-{number}")
        trip.state_uri = f"s3://state-{number}/.s3resume/"
        return trip

    def plain(self, **said: object) -> S3Trip:
        """Give the same: there is no other server."""
        return self.s3(**said)


def identities_of(use: Use, stage: Stage, number: int) -> list[LimitedIdentity]:
    """Return who reads, who writes, and for each action of a use who lacks it."""
    made = use.policies(stage)
    named: dict[str, list[Any]] = {
        f"reader{number}": [made[name] for name in ("source", "lists") if name in made],
        f"writer{number}": [made["target"], made["state"]],
    }
    for column, need in use.extras():
        less = use.policies(stage, but=(column, need))
        of = ("source", "lists") if column == "source" else ("target", "state")
        key = f"without{number}{need.action.partition(':')[2]}"
        named[key] = [less[name] for name in of if name in less]
    return [
        LimitedIdentity(access_key=name, secret_key=f"{name}-secret", policies=some)
        for name, some in named.items()
    ]


def sign(trip: Any, **names: str) -> None:
    """Let connections have these identities, and no wires."""
    for side, name in names.items():
        of = getattr(trip, side)
        of.endpoint = replace(of.endpoint, access_key=name, secret_key=f"{name}-secret")
    trip.lead()


def test_seaweedfs_enforces_the_same_documents(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With each action that it knows taken away, too, and all of them in the end."""
    folder = tmp_path_factory.mktemp("enforced")
    with SeaweedServer(folder, "admin", "admin-secret") as open_to_all:
        world = OneSeaweed(open_to_all)
        stages = [use.make(world) for use in ENFORCED]
        world.end_case()
    limited = [
        one
        for number, (use, stage) in enumerate(zip(ENFORCED, stages, strict=True))
        for one in identities_of(use, stage, number)
    ]
    port = open_to_all.port
    with SeaweedServer(folder, "admin", "admin-secret", port, limited=limited):
        for number, (use, stage) in enumerate(zip(ENFORCED, stages, strict=True)):
            full = {"source": f"reader{number}", "target": f"writer{number}"}
            for column, need in use.extras():
                if need.action not in (use.enforced or ()):
                    continue
                name = f"without{number}{need.action.partition(':')[2]}"
                sign(stage.trip, **{**full, column: name})
                with pytest.raises(AirflowFailException, match="AccessDenied"):
                    stage.act()
            sign(stage.trip, **full)
            stage.act()
            stage.arrived()
            stage.trip.forget()
