"""The estimate of a plan's requests against the requests that its copies make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.plan.cost import CopyCosts, RequestSum, caveat
from airflow_provider_s3resume.plan.diff import DiffRule
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.plan.parts import GIB, MIB, TIB, Limits
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.config import ServerSideCopy
from airflow_provider_s3resume.transfer.estimating import asked_by_plan, costs_of
from airflow_provider_s3resume.transfer.planning import store_dry_run
from tests.unit.planning_cases import Sync, put, store, without_state

HEX = "0" * 32


def counted(at: MemoryStore, side: str, seen: Counter[str]) -> None:
    """Count what is asked of a store about objects."""

    def count(operation: str, given: Mapping[str, Any]) -> None:
        key = str(given.get("key") or "")
        if key and not key.startswith(".s3resume/") and operation != "Read":
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


@pytest.mark.parametrize(
    "costs",
    [
        CopyCosts(),
        CopyCosts(by_service=True),
        CopyCosts(by_service=True, relayed_up_to=7),
        CopyCosts(relayed_up_to=7),
    ],
)
def test_the_sum_is_that_of_all_objects(costs: CopyCosts) -> None:
    """Whichever of them go in one request, by whomever."""
    objects = [
        (0, "e"),
        (5, "e"),
        (5, f"{HEX}-2"),
        (17 * MIB, "e"),
        (5 * GIB, f"{HEX}-100"),
        (6 * GIB, "e"),
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


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (0, ()),
        (1, ()),
        (17 * MIB, ()),
        (12 * MIB, (5 * MIB, 5 * MIB, 2 * MIB)),
        (17 * MIB, (17 * MIB,)),
    ],
)
def test_the_estimate_is_what_copies_by_the_service_ask_for(
    size: int, parts: tuple[int, ...]
) -> None:
    """But for finding out whether it copies, and whether conditions count: once for each batch."""
    sync = one_service()
    put(sync.source, "k", bytes(size), parts=parts)
    _, manifest = sync.plan()
    seen: Counter[str] = Counter()
    counted(sync.source, "source", seen)
    counted(sync.target, "target", seen)
    sync.copy(manifest)
    for other in ("source.HeadBucket", "target.HeadBucket", "target.ListParts"):
        del seen[other]
    asked = Counter({"source.HeadObject": 1, "target.HeadObject": 1})
    if not parts:
        asked.update({"source.HeadObject": 1, "target.CopyObject": 1})
    expected = {name: n for name, n in (seen - asked).items() if n}
    found = {name: n for name, n in manifest.requests.items() if name != "target.ListParts"}
    assert found == expected
    assert not [name for name in found if "GetObject" in name or "PutObject" in name]


def one_service() -> Sync:
    """Return a sync whose both sides are one service, which copies."""
    sync = Sync(
        source=store("source", limits=Limits()),
        target=store("target", limits=Limits()),
        state_store=store("state"),
    )
    sync.source.service = sync.target.service = "memory://one"
    sync.target.copies_from = {"source": sync.source}
    return sync


class Laned(MemoryStore):
    """A bucket whose small objects go through a lane."""

    express = object()


@pytest.mark.parametrize(
    ("choice", "by_service", "relayed_up_to"),
    [
        (ServerSideCopy.AUTO, True, 256 * 1024),
        (ServerSideCopy.REQUIRE, True, -1),
        (ServerSideCopy.NEVER, False, 256 * 1024),
    ],
)
def test_who_moves_the_bytes_is_what_a_copy_is_told(
    choice: ServerSideCopy, relayed_up_to: int, *, by_service: bool
) -> None:
    """Where both sides are one service; small objects are relayed unless it has to copy."""
    source, target = (Laned(name, service="memory://one") for name in ("from", "to"))
    target.copies_from = {"from": source}
    costs = costs_of(source, target, 8 * MIB, choice)
    assert (costs.by_service, costs.relayed_up_to) == (by_service, relayed_up_to)
    assert costs.part_size == 8 * MIB
    assert costs_of(MemoryStore("a"), MemoryStore("b"), MIB, choice).relayed_up_to == -1


def test_copies_by_a_service_are_expected_only_where_one_may_make_them() -> None:
    """Not between two services, nor of a store that cannot ask, nor under customers' keys."""
    source, target = MemoryStore("from"), MemoryStore("to")
    assert not costs_of(source, target, MIB, ServerSideCopy.AUTO).by_service
    target.copies_from = {"from": source}
    assert costs_of(source, target, MIB, ServerSideCopy.AUTO).by_service
    keyed = MemoryStore("from", capabilities=replace(AMAZON_S3, customer_key="mark"))
    assert not costs_of(keyed, target, MIB, ServerSideCopy.AUTO).by_service
    source.service = "memory://another"
    assert not costs_of(source, target, MIB, ServerSideCopy.AUTO).by_service


def test_what_a_service_may_not_copy_is_said_beside_the_estimate() -> None:
    """Whether it does, only the copies find out."""
    sync = one_service()
    put(sync.source, "k")
    report = sync.run()
    assert report.requests == {"source.HeadObject": 1, "target.CopyObject": 1}
    line = next(line for line in report.short_text().split("\n") if line.startswith("needs"))
    assert "target.CopyObject 1; where the service does not copy, GetObject" in line
    assert caveat({"target.PutObject": 1}) == ""


def test_the_plans_own_requests_are_told_beside_those_of_the_copies() -> None:
    """The criterion of metadata asks both objects of each pair that is equal otherwise."""
    sync = Sync(state_store=store("state"), rule=DiffRule.parse("size+etag+metadata"))
    for key in ("same", "other", "new"):
        put(sync.source, key)
    put(sync.target, "same")
    put(sync.target, "other", attributes=ContentAttributes(cache_control="no-store"))
    seen: Counter[str] = Counter()
    counted(sync.source, "plan.source", seen)
    counted(sync.target, "plan.target", seen)
    _, manifest = sync.plan()
    asked = {f"plan.{side}.HeadObject": 2 for side in ("source", "target")}
    assert {name: n for name, n in seen.items() if name.endswith("HeadObject")} == asked
    assert manifest.requests == {**asked, "source.GetObject": 2, "target.PutObject": 2}
    assert asked_by_plan(DiffRule.parse("size+etag"), manifest.counts) == {}


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
