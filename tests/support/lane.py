"""Batches of small objects between two real servers, through the lane for them or past it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import boto3
import pytest
from botocore.config import Config

from airflow_provider_s3resume.plan.manifest import BatchRef
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import Layer, Rates, RetryPolicy, Wait
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.s3 import (
    S3Store,
    client_config,
    store_settings_from_extra,
)
from airflow_provider_s3resume.transfer import batch
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.context import CopyContext
from airflow_provider_s3resume.transfer.express import Lane
from airflow_provider_s3resume.transfer.journal import Journal
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.pool import MemoryBudget
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.endpoints import CLIENTS, NO_PROXIES, S3Endpoint
from tests.support.tls import Certificate
from tests.support.wire import Wire
from tests.support.wire_rules import Action, Exchange, Match, Rule

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

GET, PUT, HEAD = "GetObject", "PutObject", "HeadObject"
SEAWEED: Mapping[str, object] = {
    "list_order": "unordered",
    "key_folding": True,
    "addressing_style": "path",
    "read_timeout_s": 20,
}
MINISTACK: Mapping[str, object] = {
    "checksums": "md5",
    "part_layout": False,
    "addressing_style": "path",
}
# Quick, so that a burst of faults does not make a test long.
POLICY = RetryPolicy(
    attempts=4,
    base_s=0.01,
    most_s=0.05,
    throttled_base_s=0.01,
    throttled_most_s=0.05,
    patience_s=20.0,
)


class PastTheLane(Layer):
    """A store whose small objects are copied in threads, like all others."""

    express = None


@dataclass(frozen=True, kw_only=True)
class Opened:
    """How a side's store is opened.

    :param extra: what its connection says besides what is known of the server.
    """

    extra: Mapping[str, object] = field(default_factory=dict)
    rates: Rates | None = None
    refresh: Callable[[], None] | None = None
    wait: Wait | None = None


class Side:
    """A bucket of a server, past its wire and through it.

    :param known: what a connection says of such a server.
    :param certificate: for a wire that speaks TLS.
    """

    def __init__(
        self,
        name: str,
        endpoint: S3Endpoint,
        bucket: str,
        known: Mapping[str, object],
        certificate: Certificate | None = None,
    ) -> None:
        self.name, self.endpoint, self.bucket = name, endpoint, f"{bucket}-{name}"
        self.known = known
        self.wire = Wire(endpoint.endpoint_url, certificate=certificate)
        self.client: S3Client = endpoint.client()
        self.client.create_bucket(Bucket=self.bucket)
        self._trusted = str(certificate.ca_file) if certificate else None
        # The same for the wire and for the way past it, so that plans are made past it.
        self.service = f"{'https' if certificate else 'http'}://{name}"

    def open(self, stop: StopSignal, how: Opened | None = None, *, wired: bool) -> ObjectStore:
        """Return the store."""
        given = how or Opened()
        settings = store_settings_from_extra({**self.known, **given.extra})
        options: dict[str, Any] = {**client_config(settings), "proxies": NO_PROXIES}
        with CLIENTS:
            client = boto3.client(
                "s3",
                endpoint_url=self.wire.url if wired else self.endpoint.endpoint_url,
                aws_access_key_id=self.endpoint.access_key,
                aws_secret_access_key=self.endpoint.secret_key,
                region_name=self.endpoint.region,
                verify=self._trusted if wired else None,
                config=Config(**options),
            )
        raw = S3Store(client, self.bucket, service=self.service, settings=settings)
        return build_store(
            raw,
            retry=POLICY,
            rates=given.rates,
            wait=given.wait or stop.wait,
            refresh=given.refresh,
        )

    def data(self, key: str) -> bytes:
        """Return an object's bytes, past the wire."""
        body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"]
        return body.read()

    def keys(self, prefix: str = "") -> list[str]:
        """Return what is there, past the wire."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        return sorted(found["Key"] for page in pages for found in page.get("Contents", []))


class Ground:
    """Two servers with a bucket each, each behind a wire; many scenes may follow each other."""

    def __init__(self, source: Side, target: Side) -> None:
        self.source, self.target = source, target
        self._scenes = 0
        # The first write to a bucket of a SeaweedFS takes a second.
        target.client.put_object(Bucket=target.bucket, Key="first", Body=b"")
        target.client.delete_object(Bucket=target.bucket, Key="first")

    @classmethod
    @contextmanager
    def of(
        cls,
        source: S3Endpoint,
        target: S3Endpoint,
        bucket: str,
        *,
        known: Mapping[str, object] = SEAWEED,
        certificate: Certificate | None = None,
    ) -> Iterator[Self]:
        """Give the ground, whose wires listen inside the block."""
        with ExitStack() as stack:
            sides = [
                Side(name, endpoint, bucket, known, certificate)
                for name, endpoint in (("source", source), ("target", target))
            ]
            for side in sides:
                stack.enter_context(side.wire)
            yield cls(*sides)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.source, self.target

    def scene(self, prefix: str | None = None) -> Scene:
        """Return a scene, with keys of its own and wires that let everything pass."""
        self._scenes += 1
        for side in self.sides:
            side.wire.clear()
        return Scene(self, f"s{self._scenes:03d}/" if prefix is None else prefix)


class Scene:
    """A batch of small objects, and what becomes of it; its state is in memory.

    Objects are called by their keys without ``prefix``.
    """

    def __init__(self, ground: Ground, prefix: str) -> None:
        self.ground, self.prefix = ground, prefix
        self.source, self.target = ground.sides
        self.state = StateLocation(MemoryStore("state", service="memory://state"))
        self.planned: dict[str, bytes] = {}
        self.stores: tuple[ObjectStore, ...] = ()
        self._ref: BatchRef | None = None
        self._begun = {side.name: len(side.wire.exchanges) for side in ground.sides}

    def put(self, key: str, data: bytes, **more: Any) -> Self:
        """Put an object into the source, to be copied."""
        side = self.source
        side.client.put_object(Bucket=side.bucket, Key=self.prefix + key, Body=data, **more)
        self.planned[key] = data
        return self

    def put_old(self, key: str, data: bytes) -> Self:
        """Put an object into the target."""
        side = self.target
        side.client.put_object(Bucket=side.bucket, Key=self.prefix + key, Body=data)
        return self

    def plan(self) -> Self:
        """Plan to copy all that was put onto the same keys, past the wires."""
        stop = StopSignal()
        keys = [self.prefix + key for key in self.planned]
        _, manifest = pairs_manifest(
            self.source.open(stop, wired=False),
            self.target.open(stop, wired=False),
            self.state,
            [(key, key) for key in keys],
            "run",
            now=time.time(),
        )
        self._ref = manifest.batches[0]
        return self

    def twin(self, prefix: str) -> Scene:
        """Return a scene with the same objects under another prefix, and nothing of it planned."""
        other = Scene(self.ground, prefix)
        for key in self.planned:
            self.source.client.copy_object(
                Bucket=self.source.bucket,
                Key=prefix + key,
                CopySource={"Bucket": self.source.bucket, "Key": self.prefix + key},
            )
        other.planned = dict(self.planned)
        return other

    def run(
        self,
        config: CopyConfig | None = None,
        *,
        stop: StopSignal | None = None,
        lane: bool = True,
        source: Opened | None = None,
        target: Opened | None = None,
    ) -> BatchResult:
        """Make one attempt.

        :param lane: whether there is one; without it all objects are copied in threads.
        """
        assert self._ref is not None
        signal = stop or StopSignal()
        self.stores = (
            self.source.open(signal, source, wired=True),
            self.target.open(signal, target, wired=True),
        )
        source_store, target_store = (
            store if lane else PastTheLane(store) for store in self.stores
        )
        return copy_batch(
            source_store,
            target_store,
            self.state,
            self._ref,
            config or CopyConfig(),
            stop=signal,
            now=time.time(),
        )

    def break_(
        self, side: str, operation: str, key: str | None, action: Action, **more: Any
    ) -> Rule:
        """Break calls of an operation over a side's wire, of one object or of all."""
        rule = Rule(when=self.match(operation, key), action=action, **more)
        wire: Wire = getattr(self, side).wire
        return wire.add(rule)

    def match(self, operation: str | None = None, key: str | None = None) -> Match:
        """Return what picks calls that are about this scene's objects."""
        path = f"/{self.prefix}{key}$" if key is not None else f"/{self.prefix}"
        return Match(operation=operation, path=path)

    def seen(self, side: str, operation: str, key: str | None = None) -> list[Exchange]:
        """Return such calls so far."""
        wire: Wire = getattr(self, side).wire
        return wire.seen(self.match(operation, key))

    def asked(self) -> Counter[str]:
        """Count the requests over both wires since the scene began: ``source GetObject``."""
        return Counter(
            f"{side.name} {exchange.operation}"
            for side in self.ground.sides
            for exchange in side.wire.exchanges[self._begun[side.name] :]
        )

    def outcomes(self) -> dict[str, Outcome]:
        """Return what became of the objects; each has one outcome, or none."""
        assert self._ref is not None
        found = load_outcomes(self.state, self._ref.manifest, self._ref.index) or []
        by_key = {outcome.key.removeprefix(self.prefix): outcome for outcome in found}
        assert len(by_key) == len(found)
        return by_key

    def check_landed(self, but: Iterable[str] = ()) -> None:
        """Compare what is at the target, but for some objects, with what was put."""
        for key in self.planned.keys() - set(but):
            assert self.target.data(self.prefix + key) == self.planned[key], key

    def mend(self) -> None:
        """Let everything pass from now on."""
        for side in self.ground.sides:
            side.wire.clear()


class Watched:
    """What batches make use of while they run: lanes, memory, outcomes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.budgets: list[MemoryBudget] = []
        self.lanes: list[Lane] = []
        self.noted: list[Outcome] = []
        self.contexts: list[CopyContext] = []
        outer = self

        def context(**parts: Any) -> CopyContext:
            outer.contexts.append(CopyContext(**parts))
            return outer.contexts[-1]

        class WatchedBudget(MemoryBudget):
            def __init__(self, total: int) -> None:
                super().__init__(total)
                outer.budgets.append(self)

        class WatchedLane(Lane):
            def __init__(self, *args: Any, **more: Any) -> None:
                super().__init__(*args, **more)
                outer.lanes.append(self)

        class WatchedJournal(Journal):
            def add(self, outcome: Outcome) -> None:
                super().add(outcome)
                outer.noted.append(outcome)

        patch.setattr(batch, "CopyContext", context)
        patch.setattr(batch, "MemoryBudget", WatchedBudget)
        patch.setattr(batch, "Lane", WatchedLane)
        patch.setattr(batch, "Journal", WatchedJournal)

    def check_memory(self) -> None:
        """See that no budget was exceeded, and that all was given back."""
        for budget in self.budgets:
            assert budget.peak <= budget.total
            assert budget._used == 0
