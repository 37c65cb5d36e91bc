"""The estimate of a plan's requests against the requests that its copies make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.plan.cost import CopyCosts, RequestSum
from airflow_provider_s3resume.plan.parts import GIB, MIB, TIB, Limits
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.planning import store_dry_run
from tests.unit.planning_cases import Sync, put, store, without_state

HEX = "0" * 32


def counted(at: MemoryStore, side: str, seen: Counter[str]) -> None:
    """Count what is asked of a store about objects."""

    def count(operation: str, given: Mapping[str, Any]) -> None:
        if given.get("key") and operation != "Read":
            seen[f"{side}.{operation}"] += 1

    at.observer.before = count


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (0, ()),
        (1, ()),
        (16, ()),
        (17 * MIB, ()),
        (40 * MIB, ()),
        (12 * MIB, (5 * MIB, 5 * MIB, 2 * MIB)),
        (17 * MIB, (17 * MIB,)),
        (12, (5, 5, 2)),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_the_estimate_is_what_a_copy_asks_for(
    size: int, parts: tuple[int, ...], *, told: bool
) -> None:
    """Of each side, by name, where nothing goes wrong."""
    source = store("source", limits=Limits(), capabilities=replace(AMAZON_S3, part_layout=told))
    sync = Sync(source=source, target=store("target", limits=Limits()), state_store=store("state"))
    put(sync.source, "k", bytes(size), parts=parts)
    _, manifest = sync.plan()
    seen: Counter[str] = Counter()
    counted(sync.source, "source", seen)
    counted(sync.target, "target", seen)
    sync.copy(manifest)
    for tags in ("source.GetObjectTagging", "source.HeadBucket", "target.HeadBucket"):
        del seen[tags]
    # Parts are listed once for the end; how often besides is the business of what sends them.
    assert manifest.requests.get("target.ListParts", 0) <= seen["target.ListParts"] <= 3
    expected = {name: n for name, n in seen.items() if n and name != "target.ListParts"}
    found = {name: n for name, n in manifest.requests.items() if name != "target.ListParts"}
    assert found == expected


def test_the_sum_is_that_of_all_objects() -> None:
    """Whichever of them go in one request."""
    costs = CopyCosts()
    objects = [
        (0, "e"),
        (5, "e"),
        (5, f"{HEX}-2"),
        (17 * MIB, "e"),
        (5 * GIB, f"{HEX}-100"),
        (9, None),
    ]
    total = RequestSum(costs)
    expected: Counter[str] = Counter()
    for size, etag in objects:
        total.add(size, etag)
        expected.update(costs.of(size, etag))
    assert total.requests() == dict(sorted(expected.items()))
    assert RequestSum(costs).requests() == {}


@pytest.mark.parametrize(
    ("size", "etag", "given", "parts"),
    [
        (16 * MIB, "e", {}, 0),
        (16 * MIB + 1, "e", {}, 2),
        (TIB, "e", {}, 9987),
        (GIB, "e", {"part_size": 64 * MIB}, 16),
        (GIB, f"{HEX}-100", {}, 100),
        (GIB, f"{HEX}-100", {"reproduces": False}, 64),
        (20 * MIB, f"{HEX}-10001", {}, 2),
        (0, f"{HEX}-1", {}, 0),
        (8 * GIB, f"{HEX}-1", {}, 512),
        (GIB, "e", {"limits": Limits(max_single_put=MIB, max_parts=10)}, 10),
    ],
)
def test_parts_are_cut_as_a_copy_cuts_them(
    size: int, etag: str, given: dict[str, Any], parts: int
) -> None:
    """As the source has them where that is told and fits the target, else by size."""
    assert CopyCosts(**given).parts(size, etag) == parts


def test_a_dry_run_tells_what_a_run_would_do_and_does_nothing() -> None:
    """The same counts, bytes and requests; no object is read or written."""
    sync = Sync(state_store=store("state"))
    for key in ("a", "b", "big"):
        put(sync.source, key, key.encode())
    put(sync.target, "b", b"b")
    seen: Counter[str] = Counter()
    counted(sync.source, "source", seen)
    counted(sync.target, "target", seen)
    key, dry = sync.plan(dry_run=True)
    report = sync.report(key)
    report.raise_for_failures()
    _, real = sync.plan()
    same = ("counts", "copy_objects", "copy_bytes", "requests", "sizes", "selection")
    assert [getattr(dry, name) for name in same] == [getattr(real, name) for name in same]
    assert report.dry_run
    assert (report.planned, report.planned_bytes, report.copied) == (2, 4, 0)
    assert report.requests == {"source.GetObject": 2, "target.PutObject": 2}
    assert "needs requests: source.GetObject 2, target.PutObject 2" in report.short_text()
    assert report.to_json_dict()["requests"] == report.requests
    assert set(without_state(sync.target)) == {"b"}
    assert not [name for name in seen if "GetObject" in name or "Put" in name]
    assert not [key for key in sync.state.store.list_objects() if "/outcomes/" in key.key]


def test_a_dry_run_of_a_plan_that_is_there_tells_the_same() -> None:
    """Such as that of a sensor."""
    sync = Sync(state_store=store("state"))
    put(sync.source, "a")
    _, real = sync.plan()
    key, dry = store_dry_run(sync.state, real, "again")
    assert (dry.batches, dry.requests, dry.counts) == ((), real.requests, real.counts)
    assert sync.report(key).requests == real.requests
