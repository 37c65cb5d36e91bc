"""A sync on stores in memory, for the tests of planning, verifying and reporting."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_s3resume.exceptions import StoreError, TransientStoreError
from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.diff import DEFAULT_RULE, DiffRule
from airflow_provider_s3resume.plan.digests import composite_etag
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.renaming import Renaming
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore, StoredObject
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.reporting import make_report
from airflow_provider_s3resume.transfer.run_report import RunReport
from airflow_provider_s3resume.transfer.selecting import EVERYTHING, Scope
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import VerificationSummary, verify_run

NOW = 1_700_000_000.0
SMALL = Limits(min_part_size=4, list_page=3)


def md5(data: bytes) -> str:
    """Return the hexadecimal MD5."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def store(name: str, **given: Any) -> MemoryStore:
    """Return an empty store with small parts and pages."""
    given.setdefault("limits", SMALL)
    return MemoryStore(name, service=f"memory://{name}", clock=lambda: NOW, **given)


def put(
    at: MemoryStore, key: str, data: bytes = b"data", *, parts: tuple[int, ...] = (), **more: Any
) -> StoredObject:
    """Put an object there as another tool would have: plain, or in parts of these sizes."""
    etag = md5(data)
    if parts:
        starts = [sum(parts[:n]) for n in range(len(parts))]
        pieces = [data[start : start + n] for start, n in zip(starts, parts, strict=True)]
        etag = composite_etag([md5(piece) for piece in pieces]) or ""
    given = {"etag": etag, "last_modified": NOW, "part_sizes": parts, **more}
    at.objects[key] = StoredObject(data=data, **given)
    return at.objects[key]


def without_state(at: MemoryStore, prefix: str = ".s3resume/") -> dict[str, bytes]:
    """Return what lies in a store, our own records left out."""
    return {key: at.data(key) for key in at.keys() if not key.startswith(prefix)}  # noqa: SIM118


@dataclass(kw_only=True)
class Sync:
    """Two stores and a state location, and the steps of a run between them."""

    source: MemoryStore = field(default_factory=lambda: store("source"))
    target: MemoryStore = field(default_factory=lambda: store("target"))
    state: StateLocation = field(init=False)
    state_store: MemoryStore | None = None
    state_prefix: str = ".s3resume/"
    scope: Scope = EVERYTHING
    archived: OnArchived = OnArchived.REPORT
    renaming: Renaming | None = None
    source_prefix: str = ""
    target_prefix: str = ""
    rule: DiffRule = DEFAULT_RULE
    options: WriteOptions = field(default_factory=WriteOptions)
    batch_limits: BatchLimits = field(default_factory=BatchLimits)
    stop: StopSignal = field(default_factory=StopSignal)
    runs: int = 0

    def __post_init__(self) -> None:
        """Keep the state where it was asked for."""
        self.state = StateLocation(self.state_store or self.target, self.state_prefix)

    def request(self, *, dry_run: bool = False) -> PlanRequest:
        """Return the request of the next run."""
        self.runs += 1
        return PlanRequest(
            run_id=f"run-{self.runs}",
            source_prefix=self.source_prefix,
            target_prefix=self.target_prefix,
            rule=self.rule,
            batch_limits=self.batch_limits,
            dry_run=dry_run,
            scope=self.scope,
            archived=self.archived,
            renaming=self.renaming,
        )

    def plan(self, *, dry_run: bool = False) -> tuple[str, Manifest]:
        """Plan a run of its own."""
        request = self.request(dry_run=dry_run)
        return make_plan(self.source, self.target, self.state, request, now=NOW, stop=self.stop)

    def copy(self, manifest: Manifest, *, now: float = NOW, **config: Any) -> list[BatchResult]:
        """Copy every batch."""
        given = {"part_concurrency": 2, "object_concurrency": 2, "options": self.options, **config}
        return [
            copy_batch(
                self.source,
                self.target,
                self.state,
                ref,
                CopyConfig(**given),
                stop=self.stop,
                now=now,
            )
            for ref in manifest.batches
        ]

    def verify(self, key: str) -> VerificationSummary:
        """Verify a run."""
        return verify_run(self.source, self.target, self.state, key, stop=self.stop, now=NOW + 1)

    def report(self, key: str) -> RunReport:
        """Report a run."""
        return make_report(self.state, key, now=NOW + 2)

    def run(self, **config: Any) -> RunReport:
        """Do all of it."""
        key, manifest = self.plan()
        self.copy(manifest, **config)
        self.verify(key)
        return self.report(key)


def copied(manifest: Manifest) -> Mapping[str, int]:
    """Return the reasons for copies, and how many keys have each."""
    return {
        name.removeprefix("copy."): n
        for name, n in manifest.counts.items()
        if name.startswith("copy.")
    }


@dataclass(kw_only=True)
class FailingCall:
    """A hook that makes the n-th call of an operation fail."""

    operation: str
    number: int
    error: type[StoreError] = TransientStoreError
    seen: int = 0

    def __call__(self, operation: str, arguments: Mapping[str, Any]) -> None:
        """Count a call and fail if it is the one."""
        if operation != self.operation:
            return
        self.seen += 1
        if self.seen == self.number:
            raise self.error(operation, str(arguments.get("key", "")), "made to fail")
