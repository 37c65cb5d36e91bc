"""Features in use between identities that may do no more than the tables of the document say.

A module ``tests/support/permitted_cases_<group>.py`` registers, with :func:`using`, how the rows of
``docs/features.md`` are used: a function that puts objects into new buckets and returns a
:class:`Stage`, whose connections lead through wires that policies can be put before.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.permissions import known_features
from airflow_provider_s3resume.plan.permissions import PLAIN_SYNC, STATE, Feature, Need, choose
from airflow_provider_s3resume.plan.policies import NO_RESOURCES, Policy, Resources, policies
from airflow_provider_s3resume.plan.sides import Places, parse_places
from tests.support.iam import Asked, Gate, Policies, call_of
from tests.support.parity_world import Trip, World
from tests.support.queue_gate import QueueGate
from tests.support.sts_server import RoleSeaweedServer, StsServer
from tests.support.wire import Wire
from tests.support.wire_rules import Exchange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.parity_sides import S3Side
    from tests.support.tls import Certificate

KNOWN = known_features()
PLAIN = choose(KNOWN, ())
Column = str
"""``source`` or ``target``: the column of a table that a need stands in."""
_IDENTITIES = {
    "source": ("source", "lists"),
    "target": ("target", "state"),
    "queue": ("queue",),
    "source_login": ("source_login",),
    "target_login": ("target_login",),
}
"""Identity → the policies that it has: none of the cases has a connection for its lists."""


class FeatureWorld(World):
    """The servers of the parity cases, and what only some features need."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._more = ExitStack()
        self._roles: RoleSeaweedServer | None = None

    def role_server(self) -> RoleSeaweedServer:
        """Give a server with a role, the same one to all."""
        if self._roles is None:
            server = RoleSeaweedServer(self.folder / "roles", "role-key", secrets.token_hex(8))
            self._roles = self._more.enter_context(server)
        return self._roles

    def sts(self, server: RoleSeaweedServer) -> StsServer:
        """Give the token service of a server, until the case ends."""
        return self._of_case.enter_context(StsServer(server, lasts_s=900))

    def tls_wire(self, server_url: str, certificate: Certificate) -> Wire:
        """Give a wire that speaks TLS to the client, until the case ends."""
        return self._of_case.enter_context(Wire(server_url, certificate=certificate))

    def queues(self) -> QueueGate:
        """Give a gate before the queues, until the case ends."""
        end = self.ministack.endpoint
        return self._of_case.enter_context(QueueGate(end.endpoint_url, end.region))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the servers."""
        self._more.close()
        super().__exit__(kind, error, trace)


Judge = Gate | QueueGate | StsServer


@dataclass(kw_only=True, slots=True)
class Stage:
    """A feature that is ready to be used.

    :param prefixes: of source and target.
    :param act: uses it; a task that fails raises.
    :param arrived: makes sure that what was to arrive did.
    :param source_wire: ``None`` for a folder. The target's, if both sides are one service: then
        the access keys tell the identities.
    :param told: tells whether what a run without some action came to was reported, from its log.
    """

    trip: Trip
    prefixes: tuple[str, str]
    act: Callable[[], object]
    arrived: Callable[[], None]
    source_wire: Wire | None
    target_wire: Wire
    resources: Resources = NO_RESOURCES
    queue: QueueGate | None = None
    sts: Mapping[str, StsServer] = field(default_factory=dict)
    told: Callable[[str], bool] = lambda _: False
    judges: dict[str, Judge] = field(default_factory=dict)

    @property
    def places(self) -> Places:
        """Source, target and state location, as policies name them."""
        sides = self.trip.sides(*self.prefixes)
        return parse_places(sides["source_uri"], sides["target_uri"], sides["state_uri"])

    def limit(self, made: Mapping[str, Policy]) -> None:
        """Let every identity do what its policies allow, and nothing else."""
        one_wire = self.source_wire is self.target_wire
        source: S3Side | None = getattr(self.trip, "source", None)
        sides = (
            ("source", self.source_wire, source),
            ("target", self.target_wire, self.trip.target),
        )
        for name, wire, side in sides:
            if wire is not None and side is not None:
                key = side.endpoint.access_key if one_wire else None
                gate = Gate(_of(made, name), side.client, identity=key)
                gate.stand_before(wire)
                self.judges[name] = gate
        if self.queue is not None:
            self.queue.policies = _of(made, "queue")
            self.judges["queue"] = self.queue
        for column, sts in self.sts.items():
            sts.policies = _of(made, f"{column}_login")
            self.judges[f"{column}_login"] = sts

    @property
    def refused(self) -> list[str]:
        """The actions that were refused so far."""
        return [action for judge in self.judges.values() for action in judge.refused]

    @property
    def exchanges(self) -> list[Exchange]:
        """All requests about objects so far."""
        wires = {id(wire): wire for wire in (self.source_wire, self.target_wire) if wire}
        return [one for wire in wires.values() for one in wire.exchanges]

    @property
    def calls(self) -> set[str]:
        """The names of all calls so far."""
        found = {call_of(one) for one in self.exchanges}
        found |= {"AssumeRole"} if any(sts.allowed for sts in self.sts.values()) else set()
        return found | (set() if self.queue is None else self.queue.calls)

    def only_by(self, less: Mapping[str, Policy]) -> list[Asked]:
        """Return what was asked and allowed that policies without some action do not allow."""
        return [
            asked
            for name, judge in self.judges.items()
            for asked in judge.allowed
            if not _of(less, name).allow(asked)
        ]


def _of(made: Mapping[str, Policy], identity: str) -> Policies:
    return Policies([made[name] for name in _IDENTITIES[identity] if name in made])


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """How rows of the document are used.

    :param rows: names of the rows; what the first one needs is looked at action by action.
    :param make: gives the stage.
    :param unmade: calls of the rows that this use does not make.
    :param refused: actions that are refused, and reported, in the course of the feature.
    :param names: action → what a failure without it has to name, a pattern.
    :param enforced: the actions that a SeaweedFS enforces, ``None`` if it does not know all of it.
    """

    rows: tuple[str, ...]
    make: Callable[[FeatureWorld], Stage]
    unmade: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    enforced: frozenset[str] | None = None

    @property
    def features(self) -> tuple[Feature, ...]:
        """The rows of a plain sync and those of the use."""
        return choose(KNOWN, self.rows)

    @property
    def first(self) -> Feature:
        """The row that is looked at."""
        return next(one for one in self.features if one.name == self.rows[0])

    def extras(self) -> list[tuple[Column, Need]]:
        """Return what the first row needs beyond a plain sync."""
        return extras_of(self.first)

    def policies(
        self, stage: Stage, *, but: tuple[Column, Need] | None = None
    ) -> dict[str, Policy]:
        """Return what the tables make for a stage.

        :param but: what is left out.
        """
        rows = self.features if but is None else [_without(one, *but) for one in self.features]
        return policies(stage.places, rows, resources=stage.resources)


def _needs(one: Feature) -> list[tuple[Column, Need]]:
    found = [("source", need) for need in one.source]
    return [*found, *(("target", need) for need in one.target)]


def extras_of(one: Feature) -> list[tuple[Column, Need]]:
    """Return what a row needs beyond a plain sync."""
    plain = {need for row in PLAIN if row.name != STATE for need in _needs(row)}
    return [extra for extra in _needs(one) if extra not in plain]


def _without(one: Feature, column: Column, need: Need) -> Feature:
    left: Any = {column: tuple(n for n in getattr(one, column) if n != need)}
    return replace(one, **left)


USES: list[Use] = []


def using(*rows: str, **more: Any) -> Callable[[Callable[[Any], Stage]], Callable[[Any], Stage]]:
    """Return a decorator that makes a function the use of rows; ``more`` are fields of it.

    :param rows: how their names begin.
    """
    named = tuple(map(_row, rows))

    def register(make: Callable[[Any], Stage]) -> Callable[[Any], Stage]:
        USES.append(Use(rows=named, make=make, **more))
        return make

    return register


def _row(beginning: str) -> str:
    """Return the name of the one row that begins so."""
    found = [one.name for one in optional_rows() if one.name.startswith(beginning)]
    if len(found) != 1:
        raise ValueError(f"rows that begin with {beginning!r}: {found}")
    return found[0]


def optional_rows() -> list[Feature]:
    """Return the rows beyond a plain sync."""
    return [one for one in KNOWN if one.group != PLAIN_SYNC]


def used_rows(uses: Iterable[Use]) -> set[str]:
    """Return the names of all rows that uses are registered for."""
    return {name for use in uses for name in use.rows}


# --- what cases have in common ------------------------------------------------------------------

PREFIXES = ("in/data/", "out/")


def between(
    world: World,
    trip: Any,
    act: Callable[[], object],
    arrived: Callable[[], None],
    *,
    prefixes: tuple[str, str] = PREFIXES,
    one_service: bool = False,
    **more: Any,
) -> Stage:
    """Return a stage whose connections lead through wires.

    :param one_service: both sides have one address, each an identity of its own.
    """
    target_wire = world.wire(trip.target.endpoint.endpoint_url)
    source_wire = target_wire
    if one_service:
        trip.source.endpoint = replace(trip.source.endpoint, access_key="reader")
        trip.target.endpoint = replace(trip.target.endpoint, access_key="writer")
    else:
        source_wire = world.wire(trip.source.endpoint.endpoint_url)
    trip.lead(source=source_wire, target=target_wire)
    return Stage(
        trip=trip,
        prefixes=prefixes,
        act=act,
        arrived=arrived,
        source_wire=source_wire,
        target_wire=target_wire,
        **more,
    )


def mirrored(trip: Any, *names: str, prefixes: Sequence[str] = PREFIXES) -> Callable[[], None]:
    """Return what makes sure that just these arrived, as they are at the source."""
    below, above = prefixes
    return lambda: trip.arrived({f"{above}{name}": f"{below}{name}" for name in names})
