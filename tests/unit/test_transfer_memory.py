"""c20: memory is bounded by the budget, whatever the part size, file count and concurrency."""

from __future__ import annotations

import itertools
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self

import pytest

from airflow_provider_s3resume.exceptions import (
    CopyStoppedError,
    InvalidInputError,
    SourceChangedError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo, SourceIdentity
from airflow_provider_s3resume.plan.parts import MIB, Limits
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage.base import (
    Condition,
    NewUpload,
    PartBody,
    SupportsRead,
    Written,
)
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import batch
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.hashing import Hasher, checksum_of
from airflow_provider_s3resume.transfer.outcomes import Status
from airflow_provider_s3resume.transfer.pool import MemoryBudget, Workers
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.transfer_world import KEY, Moment, World, no_waits

DEADLINE_S = 20.0
BUDGET = 16 * MIB
SLACK = 8 * MIB
"""What the engine holds besides object data: threads, records, and pieces under way."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


class Zeros:
    """A ranged read of a large object that is nowhere in memory."""

    def __init__(self, info: ObjectInfo, length: int) -> None:
        self.info = info
        self._left = length

    def readinto(self, buffer: memoryview) -> int:
        """Give what is wanted: the fresh buffer holds zeros already, a used one zeros again."""
        got = min(len(buffer), self._left)
        self._left -= got
        return got

    def abort(self) -> None:
        """End the read."""
        self._left = 0

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Do nothing."""


class Endless(MemoryStore):
    """A source of large objects of zeros."""

    size = 0

    def info(self, key: str) -> ObjectInfo:
        """Return headers; one ETag for all."""
        return ObjectInfo(key=key, size=self.size, etag="e" * 32, last_modified=1.0)

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:  # noqa: ARG002
        """Return headers."""
        return self.info(key)

    def open_range(  # type: ignore[override]
        self,
        key: str,
        byte_range: ByteRange | None,
        identity: SourceIdentity,
    ) -> Zeros:
        """Open zeros."""
        return Zeros(self.info(key), byte_range.length if byte_range else identity.size)


class Forgetful(MemoryStore):
    """A target that checks what it gets, and keeps its digests only."""

    sent: dict[str, list[ListedPart]]
    there: dict[str, ObjectInfo]

    def forget(self) -> None:
        """Begin empty."""
        self.sent, self.there = {}, {}

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return headers of what was completed."""
        return self.there.get(key) or super().head(key, version_id=version_id)

    def put_object(
        self,
        key: str,  # noqa: ARG002
        body: PartBody,
        *,
        checksum: Checksum | None,
        **_: object,
    ) -> Written:
        """Take an object."""
        assert checksum == checksum_of(ChecksumAlgorithm.CRC64NVME, body)
        return Written(etag="0" * 32)

    def put_object_stream(self, key: str, body: SupportsRead, length: int, **_: object) -> Written:
        """Take an object piece by piece."""
        taken = 0
        while taken < length:
            taken += len(body.read(length - taken))
        etag = "e" * 32
        self.there[key] = ObjectInfo(key=key, size=taken, etag=etag, last_modified=2.0)
        return Written(etag=etag)

    def create_upload(self, key: str, upload: NewUpload) -> str:
        """Begin an upload."""
        upload_id = super().create_upload(key, upload)
        self.sent[upload_id] = []
        return upload_id

    def upload_part(
        self,
        key: str,  # noqa: ARG002
        upload_id: str,
        part_number: int,
        body: PartBody,
        checksum: Checksum | None,
    ) -> str:
        """Check a part."""
        assert checksum is not None
        assert checksum == checksum_of(checksum.algorithm, body)
        return self._take(upload_id, part_number, len(body), checksum.value)

    def upload_part_stream(
        self,
        key: str,  # noqa: ARG002
        upload_id: str,
        part_number: int,
        body: SupportsRead,
        length: int,
        algorithm: ChecksumAlgorithm | None,
    ) -> str:
        """Check a part piece by piece."""
        assert algorithm is not None
        hasher, taken = Hasher(algorithm), 0
        while taken < length:
            piece = body.read(length - taken)
            hasher.update(memoryview(piece))
            taken += len(piece)
        return self._take(upload_id, part_number, length, hasher.checksum().value)

    def _take(self, upload_id: str, number: int, size: int, checksum: str) -> str:
        part = ListedPart(part_number=number, size=size, etag=f"{number:032x}", checksum=checksum)
        self.sent[upload_id].append(part)
        return part.etag

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:  # noqa: ARG002
        """List what was sent."""
        return sorted(self.sent[upload_id], key=lambda part: part.part_number)

    def complete_upload(
        self,
        key: str,
        upload_id: str,  # noqa: ARG002
        parts: list[PartRecord],  # type: ignore[override]
        *,
        size: int,
        checksum: Checksum | None,
        algorithm: ChecksumAlgorithm | None = None,  # noqa: ARG002
        condition: Condition | None = None,  # noqa: ARG002
    ) -> Written:
        """Keep the full-object checksum."""
        assert checksum is not None
        etag = f"{len(parts):032x}"
        self.there[key] = ObjectInfo(
            key=key, size=size, etag=etag, last_modified=2.0, checksums=(checksum,)
        )
        return Written(etag=etag)


@dataclass(frozen=True, kw_only=True)
class Load:
    """A batch of so many objects of one size."""

    objects: int
    size: int
    part_size: int
    concurrency: int


LOADS = [
    Load(objects=1, size=200 * MIB, part_size=5 * MIB, concurrency=16),
    Load(objects=3, size=80 * MIB, part_size=8 * MIB, concurrency=8),
    Load(objects=2, size=120 * MIB, part_size=40 * MIB, concurrency=4),
    Load(objects=60, size=4 * MIB, part_size=5 * MIB, concurrency=32),
    Load(objects=300, size=64 * 1024, part_size=5 * MIB, concurrency=64),
]


@pytest.mark.parametrize("load", LOADS, ids=lambda load: f"{load.objects}x{load.size // 1024}KiB")
def test_c20_memory_stays_within_the_budget(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is allocated at once is the budget and a little; parts larger than it are streamed."""
    budgets: list[MemoryBudget] = []

    def made(total: int) -> MemoryBudget:
        budgets.append(MemoryBudget(total))
        return budgets[-1]

    monkeypatch.setattr(batch, "MemoryBudget", made)
    world = World(limits=Limits())
    world.source.__class__, world.target.__class__ = Endless, Forgetful
    world.source.size = load.size  # type: ignore[attr-defined]
    world.target.forget()  # type: ignore[attr-defined]
    world.plan(*(f"k{n:04}" for n in range(load.objects)))
    config = CopyConfig(
        part_size=load.part_size,
        memory_budget=BUDGET,
        part_concurrency=load.concurrency,
        object_concurrency=load.concurrency,
    )
    world.run(replace(config, part_concurrency=1, object_concurrency=1))
    world.plan(*(f"l{n:04}" for n in range(load.objects)), run="measured")
    tracemalloc.start()
    try:
        result = world.run(config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.counts == {"copied": load.objects}
    assert budgets[-1].peak <= BUDGET
    assert peak <= BUDGET + SLACK, f"{peak / MIB:.1f} MiB"
    assert result.figures.bytes_moved == load.objects * load.size


def test_c20_a_part_that_fits_nowhere_is_refused_by_name() -> None:
    """A target that takes no streams needs room for two parts, and the error says so."""
    capabilities = replace(AMAZON_S3, streams_parts=False)
    world = World(limits=Limits(min_part_size=1), target=capabilities)
    world.seed(bytes(20 * MIB))
    world.plan()
    outcome = world.run_one(CopyConfig(part_size=18 * MIB, memory_budget=BUDGET))
    assert outcome.error_kind == "InvalidInputError"
    assert "memory_budget" in str(outcome.error)


class Wrapping(MemoryStore):
    """A target behind an SDK that wraps whatever reading a body raises."""

    breaks = 0

    def upload_part_stream(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: SupportsRead,
        length: int,
        algorithm: ChecksumAlgorithm | None,
    ) -> str:
        """Send a part, and break now and then."""
        self.breaks -= 1
        if self.breaks >= 0:
            body.read(10)
            raise TransientStoreError("UploadPart", key, "reset")
        try:
            return super().upload_part_stream(key, upload_id, part_number, body, length, algorithm)
        except SourceChangedError as error:
            raise TransientStoreError("UploadPart", key, f"unhandled: {error}") from error


STREAMED = CopyConfig(part_size=9 * MIB, memory_budget=BUDGET, part_concurrency=1)


def streaming_world() -> World:
    """Return a world with an object of two streamed parts."""
    world = World(limits=Limits(min_part_size=1), source_traits=MemoryTraits(read_size=None))
    world.target.__class__ = Wrapping
    world.seed(bytes(18 * MIB))
    world.plan()
    return world


def test_c10_a_change_seen_inside_a_streamed_part_is_still_a_change() -> None:
    """Whatever the SDK makes of the body's error, the copy starts over with the new source."""
    world = streaming_world()
    new = b"n" * (18 * MIB)

    def change(moment: Moment) -> None:
        if moment.is_("UploadPart", after=True) and world.source.data(KEY) != new:
            world.seed(new)

    world.on_moment = change
    outcome = world.run_one(STREAMED)
    assert outcome.status is Status.COPIED
    assert world.target.data(KEY) == new
    assert world.target.uploads == {}


def test_c14_a_streamed_part_that_broke_is_read_and_sent_again() -> None:
    """No layer can repeat such a body, so the part itself is tried again."""
    world = streaming_world()
    world.target.breaks = 3  # type: ignore[attr-defined]
    outcome = world.run_one(STREAMED)
    assert outcome.status is Status.COPIED
    assert outcome.sent_parts == 2
    assert world.target.data(KEY) == bytes(18 * MIB)


# --- budget and threads themselves --------------------------------------------------------------


def test_c20_the_budget_is_never_exceeded_and_never_stuck() -> None:
    """Many threads asking for many sizes all get them, first come first served."""
    budget, stop = MemoryBudget(100), StopSignal()
    lock, held, peaks = threading.Lock(), [0], [0]

    def take(size: int) -> None:
        with budget.hold(size, stop):
            with lock:
                held[0] += size
                peaks.append(held[0])
            with lock:
                held[0] -= size

    sizes = list(itertools.islice(itertools.cycle([1, 99, 50, 100, 7, 0]), 600))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(take, sizes, timeout=DEADLINE_S))
    assert max(peaks) <= 100
    assert budget.peak <= 100
    assert budget._used == 0
    assert not budget._waiting


def test_c20_a_large_request_is_not_starved() -> None:
    """Small requests that come later wait behind a large one."""
    budget, stop = MemoryBudget(10), StopSignal()
    order: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        with budget.hold(5, stop):
            large = pool.submit(_note, budget, stop, 10, lambda: order.append("large"))
            _until(lambda: len(budget._waiting) == 1)
            small = pool.submit(_note, budget, stop, 1, lambda: order.append("small"))
            _until(lambda: len(budget._waiting) == 2)
            assert order == []
        large.result(DEADLINE_S)
        small.result(DEADLINE_S)
    assert order == ["large", "small"]


def _note(budget: MemoryBudget, stop: StopSignal, size: int, act: Callable[[], None]) -> None:
    with budget.hold(size, stop):
        act()


def _until(condition: Callable[[], bool]) -> None:
    end = threading.Event()
    for _ in range(int(DEADLINE_S / 0.01)):
        if condition():
            return
        end.wait(0.01)
    raise TimeoutError


def test_c20_a_stop_ends_the_waiting_and_lets_others_in() -> None:
    """Who is told to stop while waiting gives up the place; what was held is given back."""
    budget, stopped, others = MemoryBudget(10), StopSignal(), StopSignal()
    got: list[str] = []
    with ThreadPoolExecutor(2) as pool, budget.hold(5, others):
        waiting = pool.submit(_note, budget, stopped, 10, lambda: got.append("never"))
        _until(lambda: len(budget._waiting) == 1)
        behind = pool.submit(_note, budget, others, 5, lambda: got.append("behind"))
        _until(lambda: len(budget._waiting) == 2)
        stopped.stop("enough")
        with pytest.raises(CopyStoppedError, match="enough"):
            waiting.result(DEADLINE_S)
        behind.result(DEADLINE_S)
    assert got == ["behind"]
    assert budget._used == 0


def test_c20_more_than_the_budget_is_refused_at_once() -> None:
    """A request that could never be met does not wait."""
    with (
        pytest.raises(InvalidInputError, match="memory_budget"),
        MemoryBudget(1).hold(2, StopSignal()),
    ):
        pass


def test_workers_carry_errors_and_go_on() -> None:
    """A job's error is in its future, whatever it is; the thread lives on."""
    workers = Workers(1, "test")

    def fail() -> None:
        raise KeyboardInterrupt

    first, second = workers.submit(fail), workers.submit(lambda: 2)
    assert isinstance(first.exception(DEADLINE_S), KeyboardInterrupt)
    assert second.result(DEADLINE_S) == 2
    workers.close()
