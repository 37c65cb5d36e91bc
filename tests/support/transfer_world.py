"""A world of memory stores to copy in: what is sent where is recorded, and anything can break."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.manifest import BatchRef
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.resume import Checkpoint, PartRecord
from airflow_provider_s3resume.storage._memory_reader import Observer
from airflow_provider_s3resume.storage.base import Capabilities, NewUpload, WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import completing, multipart, reading, single, uploads
from airflow_provider_s3resume.transfer import parts as part_moves
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords, Stored
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal

NOW = 1_000_000.0
KEY = "dir/object"
TINY = Limits(min_part_size=1, max_part_size=1 << 20, max_single_put=1 << 20, list_page=3)
CONFIG = CopyConfig(
    part_size=10,
    multipart_threshold=20,
    memory_budget=16 << 20,
    part_concurrency=1,
    object_concurrency=1,
)
OLD = b"the old target object"

Hook = Callable[["Moment"], None]


def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the waits between two tries short, and write a checkpoint after every part."""
    for module in (completing, multipart, part_moves, reading, single):
        monkeypatch.setattr(module, "_FIRST_WAIT_S", 0.0001)
    monkeypatch.setattr(uploads, "FLUSH_PARTS", 1)


def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes of which no two parts are alike."""
    return bytes((n * 7 + n // 251 + seed * 31) % 256 for n in range(size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The time just before, or just after, one call took effect.

    :param number: counts the moments of a world from 0, over all of its stores.
    :param side: ``source``, ``target`` or ``state``.
    """

    number: int
    side: str
    operation: str
    after: bool
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The key of the call."""
        return str(self.arguments.get("key", ""))

    def is_(self, operation: str, *, side: str = "target", after: bool = False) -> bool:
        """Tell whether this is such a moment."""
        return (self.operation, self.side, self.after) == (operation, side, after)


def when(operation: str, *, after: bool = False) -> Callable[[Moment], bool]:
    """Return what tells a call of the target's by its operation."""
    return lambda moment: moment.is_(operation, after=after)


class KilledError(BaseException):
    """The process is dead: nothing that it does takes effect any more."""


@dataclass(slots=True, kw_only=True)
class Sent:
    """An UploadPart that reached the target."""

    key: str
    upload_id: str
    part_number: int


@dataclass(slots=True)
class Traffic:
    """What went over the wires since the last :meth:`World.forget_traffic`."""

    parts: list[Sent] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def count(self, operation: str, *, side: str = "target", key: str | None = None) -> int:
        """Return how many calls of an operation were begun."""
        return sum(m.is_(operation, side=side) and key in {None, m.key} for m in self.moments)

    def part_numbers(self) -> list[int]:
        """Return the numbers of the parts that were sent."""
        return [sent.part_number for sent in self.parts]


class World:
    """Source, target and state in memory. ``on_moment`` is called at each moment, in any thread."""

    def __init__(
        self,
        *,
        source: Capabilities = AMAZON_S3,
        target: Capabilities = AMAZON_S3,
        state: Capabilities = AMAZON_S3,
        limits: Limits = TINY,
        source_traits: MemoryTraits | None = None,
        target_traits: MemoryTraits | None = None,
    ) -> None:
        self.source = MemoryStore(
            "from",
            service="memory://source",
            capabilities=source,
            traits=source_traits or MemoryTraits(read_size=7),
        )
        self.target = MemoryStore(
            "to",
            service="memory://target",
            capabilities=target,
            limits=limits,
            traits=target_traits,
        )
        self.state_store = MemoryStore("state", service="memory://state", capabilities=state)
        self.ref: BatchRef | None = None
        self._observe()

    def _observe(self) -> None:
        self.state = StateLocation(self.state_store)
        self.records = CheckpointRecords(self.state)
        self.on_moment: Hook = lambda _: None
        self.traffic = Traffic()
        self._count = 0
        self._lock = threading.Lock()
        for side, store in (
            ("source", self.source),
            ("target", self.target),
            ("state", self.state_store),
        ):
            before, after = self._hook(side, after=False), self._hook(side, after=True)
            store.observer = Observer(before, after)

    def twin(self) -> World:
        """Return another worker's view of the same buckets, with traffic of its own."""
        other = copy.copy(self)
        for name in ("source", "target", "state_store"):
            setattr(other, name, copy.copy(getattr(self, name)))
        other._observe()
        return other

    def _hook(self, side: str, *, after: bool) -> Callable[[str, Mapping[str, Any]], None]:
        def hook(operation: str, arguments: Mapping[str, Any]) -> None:
            with self._lock:
                moment = Moment(
                    number=self._count,
                    side=side,
                    operation=operation,
                    after=after,
                    arguments=arguments,
                )
                self._count += 1
                self.traffic.moments.append(moment)
            self.on_moment(moment)
            if moment.is_("UploadPart"):
                sent = Sent(
                    key=moment.key,
                    upload_id=arguments["upload_id"],
                    part_number=arguments["part_number"],
                )
                with self._lock:
                    self.traffic.parts.append(sent)

        return hook

    # --- what is there before -----------------------------------------------------------------

    def seed(
        self,
        data: bytes,
        *,
        key: str = KEY,
        parts: Sequence[int] = (),
        attributes: ContentAttributes | None = None,
        options: WriteOptions | None = None,
        algorithm: ChecksumAlgorithm | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        """Put an object into the source (or another store), in parts of these sizes if given."""
        put_object(
            store or self.source,
            key,
            data,
            parts=parts,
            upload=NewUpload(
                attributes=attributes or ContentAttributes(),
                options=options or WriteOptions(),
                algorithm=algorithm,
            ),
        )

    def seed_old_target(self, data: bytes = OLD, key: str = KEY) -> None:
        """Put an object that is to be replaced into the target."""
        self.seed(data, key=key, store=self.target)

    # --- running ------------------------------------------------------------------------------

    def plan(self, *keys: str, run: str = "run") -> BatchRef:
        """Make a plan to copy these source keys onto the same target keys."""
        pairs = [(key, key) for key in keys or (KEY,)]
        _, manifest = pairs_manifest(self.source, self.target, self.state, pairs, run, now=NOW)
        self.ref = manifest.batches[0]
        self.forget_traffic()
        return self.ref

    def forget_traffic(self) -> None:
        """Count and record from zero."""
        with self._lock:
            self.traffic = Traffic()
            self._count = 0

    def run(self, config: CopyConfig = CONFIG, *, stop: StopSignal | None = None) -> BatchResult:
        """Make one attempt at the planned batch."""
        assert self.ref is not None
        return copy_batch(
            self.source,
            self.target,
            self.state,
            self.ref,
            config,
            stop=stop or StopSignal(),
            now=NOW,
        )

    def run_one(self, config: CopyConfig = CONFIG, key: str = KEY) -> Outcome:
        """Make one attempt and return what became of one object."""
        self.run(config)
        return self.outcome(key)

    def run_killed(self, config: CopyConfig, at: int | Callable[[Moment], bool]) -> bool:
        """Make one attempt that dies at a moment; return whether it came so far.

        :param at: its number, or what tells that it is the one: threads take turns as they like,
            so that only the first moments of two worlds have the same numbers.
        """
        is_it = at if callable(at) else lambda moment: moment.number >= at
        dead = threading.Event()

        def kill(moment: Moment) -> None:
            if is_it(moment):
                dead.set()
            if dead.is_set():
                raise KilledError(f"{moment.operation} at moment {moment.number}")

        self.on_moment, before = kill, self.on_moment
        try:
            self.run(config)
        except KilledError:
            return True
        finally:
            self.on_moment = before
        return dead.is_set()

    # --- what is there afterwards -------------------------------------------------------------

    def outcome(self, key: str = KEY) -> Outcome:
        """Return the stored outcome of an object."""
        assert self.ref is not None
        outcomes = load_outcomes(self.state, self.ref.manifest, self.ref.index) or []
        return next(outcome for outcome in outcomes if outcome.key == key)

    def uris(self, key: str = KEY) -> tuple[str, str]:
        """Return the URIs that a checkpoint of the object names."""
        return (
            f"{self.source.service} s3://{self.source.bucket}/{key}",
            f"{self.target.service} s3://{self.target.bucket}/{key}",
        )

    def checkpoint(self, key: str = KEY) -> Checkpoint:
        """Return the stored checkpoint of an object."""
        stored = self.records.load(*self.uris(key))
        assert isinstance(stored, Stored)
        return stored.checkpoint

    def change_checkpoint(self, change: Callable[[Checkpoint], Checkpoint], key: str = KEY) -> None:
        """Rewrite the stored checkpoint of an object."""
        stored = self.records.load(*self.uris(key))
        assert isinstance(stored, Stored)
        self.records.save(change(stored.checkpoint), stored)

    def checkpoint_names(self) -> list[str]:
        """Return the names of all checkpoint records."""
        return [key for key in self.state_store.keys() if "/checkpoints/" in key]  # noqa: SIM118 - a method of the store

    def held_parts(self, key: str = KEY) -> dict[int, bytes]:
        """Return the parts that the target holds of unfinished uploads of a key."""
        return {
            number: sent[-1].data
            for upload in self.target.uploads.values()
            if upload.key == key
            for number, sent in upload.parts.items()
        }


def put_object(
    store: MemoryStore,
    key: str,
    data: bytes,
    *,
    parts: Sequence[int] = (),
    upload: NewUpload | None = None,
) -> None:
    """Write an object, in parts of these sizes if given, past the store's part limits."""
    new = upload or NewUpload()
    before, after = store.observer.before, store.observer.after
    limits = store.state.limits
    store.observer.before = store.observer.after = lambda _operation, _arguments: None
    store.state.limits = TINY
    try:
        if not parts:
            store.put_object(key, data, upload=new, checksum=None)
            return
        assert sum(parts) == len(data)
        upload_id = store.create_upload(key, new)
        records: list[PartRecord] = []
        start = 0
        for number, size in enumerate(parts, 1):
            etag = store.upload_part(key, upload_id, number, data[start : start + size], None)
            records.append(PartRecord(part_number=number, size=size, etag=etag))
            start += size
        store.complete_upload(key, upload_id, records, size=len(data), checksum=None)
    finally:
        store.observer.before, store.observer.after = before, after
        store.state.limits = limits
