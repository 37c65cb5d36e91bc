"""Memory does not grow with the bucket: neither that of a plan, nor that of its verification."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.objects import ALL_KEYS, KeyRange, ListedObject
from airflow_provider_s3resume.plan.renaming import Renaming
from airflow_provider_s3resume.storage._memory_bucket import ObjectTable
from airflow_provider_s3resume.storage.memory import MemoryStore, StoredObject
from airflow_provider_s3resume.transfer import proven, sorting, storing
from airflow_provider_s3resume.transfer.loading import load_entries, outcomes_name
from airflow_provider_s3resume.transfer.name_lists import ListFile
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status
from airflow_provider_s3resume.transfer.selecting import Scope
from tests.unit.planning_cases import NOW, Sync, md5

FEW, MANY = 1_000, 8_000
MOST_GROWTH = 1_000_000
"""Bytes. Holding 7,000 more keys in any form would take twice as much."""


_T = TypeVar("_T")


class TableOnDisk(ObjectTable):
    """Objects whose bytes lie in files, so that what was stored is not counted as memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(by_segment=False)
        self._folder = folder

    def _path(self, key: str) -> Path:
        return self._folder / md5(key.encode())

    def __setitem__(self, key: str, value: StoredObject) -> None:
        self._path(key).write_bytes(value.data)
        super().__setitem__(key, replace(value, data=b""))

    def __getitem__(self, key: str) -> StoredObject:
        return replace(super().__getitem__(key), data=self._path(key).read_bytes())

    def get(self, key: str, default: object = None) -> StoredObject | None:  # type: ignore[override]
        """Return an object with its bytes."""
        assert default is None
        return self[key] if self.__contains__(key) else None


@dataclass(kw_only=True)
class Bucket:
    """A bucket that lists so many objects and holds none of them in memory."""

    name: str
    etag: Callable[[int], str]
    number: int = 0
    store: MemoryStore = field(init=False)

    def __post_init__(self) -> None:
        """Make the store and let it list what is asked for."""
        self.store = MemoryStore(self.name, service=f"memory://{self.name}", clock=lambda: NOW)
        self.store.list_objects = self.list_objects  # type: ignore[method-assign]

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield made-up objects with keys as long as real ones."""
        first = int(key_range.start[-17:-8]) if key_range.start else 0
        for number in range(first, self.number):
            key = f"some/folder/of/a/data/lake/date=2024-01-01/part-{number:09d}.parquet"
            if key_range.stop is not None and key >= key_range.stop:
                return
            if key.startswith(prefix):
                etag = self.etag(number)
                yield ListedObject(key=key, size=10, etag=etag, last_modified=NOW)


def made(folder: Path, *, source: Bucket, target: Bucket) -> Sync:
    """Return a sync with its state on the disk, and small batches."""
    state = MemoryStore("state", service="memory://state", clock=lambda: NOW)
    state.state.objects = TableOnDisk(folder)
    limits = BatchLimits(max_objects=500, max_batches=1000)
    return Sync(source=source.store, target=target.store, state_store=state, batch_limits=limits)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files hold 500 lines, and the sample of keys 256, to see the difference with few keys."""
    monkeypatch.setattr(storing, "QUANTILES", 4)
    monkeypatch.setattr(proven, "LINES_OF_A_FILE", 500)
    monkeypatch.setattr(storing, "LINES_OF_A_FILE", 500)


def peak_of(work: Callable[[], _T], *, few: int | None = None) -> tuple[int, _T]:
    """Return the most bytes that Python held at once while working, and the result.

    The work is done twice and the lower figure counts: a table of the interpreter's own (that of
    interned strings has a megabyte) may happen to grow in one of them, never in both.

    :param few: the peak of a smaller bucket. A first figure that has not grown too much from there
        can but get better: it counts.
    """
    peak, result = _traced(work)
    if few is not None and peak - few < MOST_GROWTH:
        return peak, result
    again, result = _traced(work)
    return min(peak, again), result


def _traced(work: Callable[[], _T]) -> tuple[int, _T]:
    # What there is already is not traced, nor looked through for garbage again and again.
    gc.freeze()
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()
        gc.unfreeze()


def last_of(peaks: Sequence[int], number: int) -> int | None:
    """Return the peak that the one of ``MANY`` is held against."""
    return peaks[-1] if number == MANY else None


def opaque(number: int) -> str:
    """Return an ETag that can be compared with none of another layout."""
    return f"{number:032x}-7"


def plain(number: int) -> str:
    """Return an ETag of MD5 form."""
    return f"{number:032x}"


def test_planning_a_bucket_to_copy_takes_the_memory_of_a_batch(tmp_path: Path) -> None:
    """Four times as many objects to copy, refuse or count take no more memory."""
    source, target = Bucket(name="source", etag=plain), Bucket(name="target", etag=plain)
    sync = made(tmp_path, source=source, target=target)
    sync.plan()  # What is imported and cached once is not counted.
    peaks: list[int] = []
    for source.number in (FEW, MANY):
        peak, (_, manifest) = peak_of(sync.plan, few=last_of(peaks, source.number))
        peaks.append(peak)
        assert (manifest.copy_objects, len(manifest.batches)) == (
            source.number,
            source.number // 500,
        )
    assert peaks[1] - peaks[0] < MOST_GROWTH, peaks


def test_keys_refused_by_the_thousand_are_not_held(tmp_path: Path) -> None:
    """What the report names key by key is written in files, not kept in a list."""
    source, target = Bucket(name="source", etag=plain), Bucket(name="target", etag=plain)
    target.store.limits = replace(target.store.limits, max_object_size=5)
    sync = made(tmp_path, source=source, target=target)
    sync.plan()
    peaks: list[int] = []
    for source.number in (FEW, MANY):
        peak, (_, manifest) = peak_of(sync.plan, few=last_of(peaks, source.number))
        peaks.append(peak)
        assert manifest.counts == {"refuse.too_large": source.number}
        assert sum(ref.lines for ref in manifest.noted) == source.number
    assert peaks[1] - peaks[0] < MOST_GROWTH, peaks


def test_verifying_and_planning_again_take_no_more_for_a_bucket_of_proven_pairs(
    tmp_path: Path,
) -> None:
    """Where no ETag can be compared, every key is in the record; it is never held whole."""
    source, target = Bucket(name="source", etag=opaque), Bucket(name="target", etag=plain)
    sync = made(tmp_path, source=source, target=target)
    verified: list[int] = []
    again: list[int] = []
    rewritten: list[int] = []
    for number in (10, FEW, MANY):
        source.number, target.number = number, 0
        key, manifest = sync.plan()
        for ref in manifest.batches:
            lines = [
                Outcome(
                    key=entry.key,
                    target_key=entry.target_key,
                    status=Status.COPIED,
                    size=10,
                    source_etag=entry.etag,
                    target_etag=plain(int(entry.key[-17:-8])),
                    proof=Proof.PARTS,
                ).to_line()
                for entry in load_entries(sync.state, ref)
            ]
            sync.state.write_text(outcomes_name(key, ref.index), "".join(lines))
        target.number = number
        peak, summary = peak_of(partial(sync.verify, key), few=last_of(verified, number))
        assert summary.verified == number
        verified.append(peak)
        peak, (key, manifest) = peak_of(sync.plan, few=last_of(again, number))
        assert manifest.counts == {"skip.proven_before": number}
        again.append(peak)
        peak, _ = peak_of(partial(sync.verify, key), few=last_of(rewritten, number))
        rewritten.append(peak)
    assert verified[2] - verified[1] < MOST_GROWTH, verified
    assert again[2] - again[1] < MOST_GROWTH, again
    assert rewritten[2] - rewritten[1] < MOST_GROWTH, rewritten


def test_sorting_renamed_keys_takes_the_memory_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is sorted by where its keys go, and most of it lies on the disk meanwhile."""
    monkeypatch.setattr(sorting, "ROWS_IN_MEMORY", 500)
    monkeypatch.setattr(sorting, "_BLOCK", 4096)
    source, target = Bucket(name="source", etag=plain), Bucket(name="target", etag=plain)
    sync = made(tmp_path, source=source, target=target)
    sync.renaming = Renaming(function=lambda key: key[::-1], function_name="m:f")
    sync.plan()
    peaks: list[int] = []
    for source.number in (FEW, MANY):
        peak, (_, manifest) = peak_of(sync.plan, few=last_of(peaks, source.number))
        peaks.append(peak)
        assert manifest.copy_objects == source.number
    assert peaks[1] - peaks[0] < MOST_GROWTH, peaks


@pytest.mark.parametrize("parameter", ["prefix_list", "key_list"])
def test_a_list_takes_no_more_memory_the_longer_it_is(
    parameter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are sorted outside of memory and asked for a few at a time."""
    monkeypatch.setattr(sorting, "ROWS_IN_MEMORY", 500)
    monkeypatch.setattr(sorting, "_BLOCK", 4096)
    source, target = Bucket(name="source", etag=plain), Bucket(name="target", etag=plain)
    sync = made(tmp_path, source=source, target=target)
    peaks: list[int] = []
    for number in (10, FEW, MANY):
        path = tmp_path / f"{number}.txt"
        path.write_text("".join(f"some/{n:09d}\n" for n in range(number)))
        file = ListFile(parameter=parameter, uri=str(path), name=str(path))
        named = parameter == "key_list"
        sync.scope = Scope(key_list=file) if named else Scope(prefix_list=file)
        peak, (_, manifest) = peak_of(sync.plan, few=last_of(peaks, number))
        peaks.append(peak)
        missing = number if named else 0
        assert manifest.counts.get("refuse.not_at_source", 0) == missing
        assert manifest.selection[f"{parameter}_names"] == number
    assert peaks[2] - peaks[1] < MOST_GROWTH, peaks
