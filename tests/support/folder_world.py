"""A folder and a bucket in memory to copy between: what is sent is recorded, anything can break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_s3resume.plan.manifest import BatchRef, Manifest
from airflow_provider_s3resume.storage._layer import Layer, StoreCall
from airflow_provider_s3resume.storage._local_settings import LocalSettings
from airflow_provider_s3resume.storage._memory_reader import Observer
from airflow_provider_s3resume.storage.base import Capabilities, ObjectStore
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.reporting import make_report
from airflow_provider_s3resume.transfer.run_report import RunReport
from airflow_provider_s3resume.transfer.selecting import EVERYTHING, Scope
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import verify_run
from tests.support.folders import folder_store
from tests.support.transfer_world import CONFIG, KEY, NOW, TINY, KilledError

T = TypeVar("T")
Hook = Callable[["Step"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The time just before, or just after, one call to a folder or to a bucket in memory."""

    number: int
    operation: str
    after: bool
    local: bool
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Watched(Layer):
    """Tells of every call to a folder."""

    def __init__(self, inner: ObjectStore, hook: Callable[[StoreCall, bool], None]) -> None:
        super().__init__(inner)
        self._hook = hook

    def around(self, call: StoreCall, act: Callable[[], T]) -> T:
        """Make a call between two words."""
        self._hook(call, False)
        try:
            return act()
        finally:
            self._hook(call, True)


class FolderWorld:
    """A folder as the source (``uploads``) or as the target, a bucket as the other side."""

    def __init__(
        self,
        folder: Path,
        *,
        uploads: bool,
        settings: LocalSettings | None = None,
        bucket: Capabilities = AMAZON_S3,
        traits: MemoryTraits | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.uploads = uploads
        self.settings = settings or LocalSettings(writes=not uploads)
        self.bucket = MemoryStore(
            "bucket",
            service="memory://bucket",
            capabilities=bucket,
            limits=TINY,
            traits=traits or MemoryTraits(read_size=7),
        )
        self.state_store = MemoryStore("state", service="memory://state")
        self.state = StateLocation(self.state_store)
        self.on_step: Hook = lambda _: None
        self.steps: list[Step] = []
        self.ref: BatchRef | None = None
        self._lock = threading.Lock()
        for store in (self.bucket, self.state_store):
            store.observer = Observer(self._observe(after=False), self._observe(after=True))

    def _observe(self, *, after: bool) -> Callable[[str, Mapping[str, Any]], None]:
        def hook(operation: str, arguments: Mapping[str, Any]) -> None:
            self._step(operation, after=after, local=False, arguments=arguments)

        return hook

    def _step(
        self, operation: str, *, after: bool, local: bool, arguments: Mapping[str, Any]
    ) -> None:
        with self._lock:
            step = Step(
                number=len(self.steps),
                operation=operation,
                after=after,
                local=local,
                arguments=arguments,
            )
            self.steps.append(step)
        self.on_step(step)

    @property
    def local(self) -> ObjectStore:
        """The folder, as a process that begins now opens it."""

        def hook(call: StoreCall, after: bool) -> None:  # noqa: FBT001 - the layer's word
            self._step(call.operation, after=after, local=True, arguments={"key": call.key})

        return Watched(folder_store(self.folder, self.settings), hook)

    @property
    def sides(self) -> tuple[ObjectStore, ObjectStore]:
        """The source and the target."""
        return (self.local, self.bucket) if self.uploads else (self.bucket, self.local)

    def plan_one(self, key: str = KEY) -> None:
        """Plan to copy one object."""
        source, target = self.sides
        _, made = pairs_manifest(source, target, self.state, [(key, key)], "run", now=NOW)
        self.ref = made.batches[0]
        self.steps.clear()

    def run(self, config: CopyConfig = CONFIG) -> BatchResult:
        """Make one attempt at the planned batch, as a new process would."""
        assert self.ref is not None
        source, target = self.sides
        return copy_batch(source, target, self.state, self.ref, config, stop=StopSignal(), now=NOW)

    def run_killed(self, at: int, config: CopyConfig = CONFIG) -> bool:
        """Make one attempt that dies at a step; return whether it came so far."""
        dead = threading.Event()

        def kill(step: Step) -> None:
            if step.number >= at:
                dead.set()
            if dead.is_set():
                raise KilledError(f"{step.operation} at step {step.number}")

        self.on_step = kill
        try:
            self.run(config)
        except KilledError:
            return True
        finally:
            self.on_step = lambda _: None
        return dead.is_set()

    def outcome(self, key: str = KEY) -> Outcome:
        """Return what became of an object."""
        assert self.ref is not None
        found = load_outcomes(self.state, self.ref.manifest, self.ref.index) or []
        return next(outcome for outcome in found if outcome.key == key)

    def count(self, operation: str, *, local: bool) -> int:
        """Return how many calls of an operation were begun since the plan, or since then."""
        return sum(
            s.operation == operation and s.local is local and not s.after for s in list(self.steps)
        )

    def sync(
        self,
        run_id: str,
        *,
        rule: str = "",
        config: CopyConfig = CONFIG,
        scope: Scope = EVERYTHING,
    ) -> tuple[Manifest, RunReport]:
        """List, diff, copy, verify and report everything."""
        from airflow_provider_s3resume.plan.diff import DEFAULT_RULE, DiffRule  # noqa: PLC0415

        source, target = self.sides
        request = PlanRequest(
            run_id=run_id, rule=DiffRule.parse(rule) if rule else DEFAULT_RULE, scope=scope
        )
        key, manifest = make_plan(source, target, self.state, request, now=NOW, stop=StopSignal())
        for ref in manifest.batches:
            copy_batch(source, target, self.state, ref, config, stop=StopSignal(), now=NOW)
        verify_run(source, target, self.state, key, stop=StopSignal(), now=NOW)
        return manifest, make_report(self.state, key, now=NOW)
