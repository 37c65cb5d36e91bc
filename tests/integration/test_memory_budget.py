"""c20: what a copy adds to the memory of its process is its budget and little else.

At the highest concurrency that can be asked for, by the kernel's own count. ``make bench-memory``
measures whole tasks; here is a smaller load, with the same size of parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.transfer.crew_shares import MOST, usable_processors
from tests.support.null_world import NullS3, Order, run_order
from tests.support.tls import make_certificate

BESIDE_MIB = 40
"""Threads, connections, requests and lists of 256 objects or parts under way at once."""


@pytest.fixture(scope="module", params=["http", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[
    NullS3
]:  # fmt: skip
    """Give a null server."""
    folder = tmp_path_factory.mktemp("null")
    with NullS3(make_certificate(folder) if request.param == "tls" else None) as running:
        yield running


@pytest.fixture
def plan(server: NullS3, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, object]]:
    """Give what plans a copy."""
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    server.ask("POST", "/reset")
    return server.plan


@pytest.mark.parametrize("budget", [16, 128])
def test_c20_large_parts_take_the_budget_and_little_else(
    server: NullS3, plan: Callable[..., dict[str, object]], tmp_path: Path, budget: int
) -> None:
    """Four parts of 256 MiB, sent while they are read."""
    batch = plan(["big/4x256"], f"big-{budget}")
    order = Order(batch=batch, memory_budget=budget * MIB, part_size=256 * MIB)
    made = run_order(order, server.env(), tmp_path, sampled=False)
    assert made.result["parts_sent"] == 4
    assert server.totals() | {"most_at_once": 0, "parts": 0} == {
        "objects": 1, "bytes": 1024 * MIB, "other_etags": 0, "uploads": 0,
        "parts": 0, "most_at_once": 0,
    }  # fmt: skip
    assert made.peak_rss - made.before <= budget + BESIDE_MIB


@pytest.mark.parametrize("budget", [16, 128])
def test_c20_parts_that_are_held_take_the_budget_and_little_else(
    server: NullS3, plan: Callable[..., dict[str, object]], tmp_path: Path, budget: int
) -> None:
    """128 parts of 8 MiB, as many at once as the budget holds."""
    batch = plan(["big/2x512"], f"held-{budget}")
    order = Order(batch=batch, memory_budget=budget * MIB, part_size=8 * MIB)
    made = run_order(order, server.env(), tmp_path, sampled=False)
    assert made.result["parts_sent"] == 128
    assert server.totals()["bytes"] == 1024 * MIB
    assert made.peak_rss - made.before <= budget + BESIDE_MIB


@pytest.mark.parametrize("budget", [16, 128])
def test_c20_whole_objects_take_the_budget_and_little_else(
    server: NullS3, plan: Callable[..., dict[str, object]], tmp_path: Path, budget: int
) -> None:
    """64 objects of 8 MiB, sent while they are read: more at once than could be held."""
    batch = plan([f"whole/{number:02}" for number in range(64)], f"whole-{budget}")
    order = Order(batch=batch, memory_budget=budget * MIB)
    made = run_order(order, server.env(), tmp_path, sampled=False)
    assert made.result["counts"] == {"copied": 64}
    totals = server.totals()
    assert (totals["objects"], totals["bytes"]) == (64, 512 * MIB)
    assert (totals["other_etags"], totals["parts"]) == (0, 0)
    assert made.peak_rss - made.before <= budget + BESIDE_MIB


@pytest.mark.parametrize("budget", [16, 128])
def test_c20_objects_that_are_held_take_the_budget_and_little_else(
    server: NullS3, plan: Callable[..., dict[str, object]], tmp_path: Path, budget: int
) -> None:
    """800 objects of 512 KiB, a thread each: as many at once as the budget has room for.

    That is 512 KiB for each, and over TLS 320 KiB more.
    """
    batch = plan([f"half/{number:03}" for number in range(800)], f"half-{budget}")
    at_once = _held_at_once(server, budget)
    server.ask("POST", f"/gather/{at_once}")
    made = run_order(Order(batch=batch, memory_budget=budget * MIB), server.env(), tmp_path)
    assert made.result["counts"] == {"copied": 800}
    totals = server.totals()
    assert totals["most_at_once"] >= at_once
    assert (totals["objects"], totals["bytes"]) == (800, 400 * MIB)
    assert (totals["other_etags"], totals["parts"]) == (0, 0)
    assert made.peak_rss - made.before <= budget + BESIDE_MIB


def test_c20_small_objects_beside_held_ones_take_the_budget_and_little_else(
    server: NullS3, plan: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    """600 objects of 256 KiB and 400 of 512, of which as many wait as could if all were large."""
    small = [f"quarter/{number:04}" for number in range(600)]
    batch = plan([*small, *(f"half/{number:03}" for number in range(400))], "mixed")
    at_once = _held_at_once(server, 128)
    server.ask("POST", f"/gather/{at_once}")
    made = run_order(Order(batch=batch, memory_budget=128 * MIB), server.env(), tmp_path)
    assert made.result["counts"] == {"copied": 1000}
    totals = server.totals()
    assert totals["most_at_once"] >= at_once
    assert (totals["objects"], totals["other_etags"]) == (1000, 0)
    assert made.peak_rss - made.before <= 128 + BESIDE_MIB


def _held_at_once(server: NullS3, budget: int) -> int:
    """Return how many objects of 512 KiB are held at once."""
    return budget * 1024 // (512 + 320) if server.secure else budget * 2


def test_c20_many_small_objects_take_the_budget_and_little_else(
    server: NullS3, plan: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    """1,500 objects of 64 KiB, 256 of them at once."""
    batch = plan([f"small/{number:05}" for number in range(1500)], "small")
    order = Order(batch=batch, memory_budget=16 * MIB)
    made = run_order(order, server.env(), tmp_path, sampled=False)
    assert made.result["counts"] == {"copied": 1500}
    totals = server.totals()
    assert (totals["objects"], totals["other_etags"]) == (1500, 0)
    assert made.peak_rss - made.before <= 16 + BESIDE_MIB


@pytest.mark.parametrize("budget", [16, 128])
def test_c20_small_objects_that_all_wait_take_the_budget_and_little_else(
    server: NullS3, plan: Callable[..., dict[str, object]], tmp_path: Path, budget: int
) -> None:
    """1,000 objects of 256 KiB, of which half as many wait for an answer as may be under way."""
    batch = plan([f"quarter/{number:04}" for number in range(1000)], f"quarter-{budget}")
    server.ask("POST", f"/gather/{budget}")
    made = run_order(Order(batch=batch, memory_budget=budget * MIB), server.env(), tmp_path)
    assert made.result["counts"] == {"copied": 1000}
    totals = server.totals()
    assert totals["most_at_once"] >= budget
    assert (totals["objects"], totals["other_etags"]) == (1000, 0)
    assert made.peak_rss - made.before <= budget + BESIDE_MIB


def test_c20_processes_for_small_objects_take_the_budget_and_little_else(
    server: NullS3, plan: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    """3,000 objects of 64 KiB, by as many processes as there are processors, all of them summed."""
    batch = plan([f"small/{number:05}" for number in range(3000)], "shared")
    order = Order(
        batch=batch, memory_budget=128 * MIB, part_concurrency=None, object_concurrency=None
    )
    made = run_order(order, server.env(), tmp_path)
    assert made.result["counts"] == {"copied": 3000}
    count = min(usable_processors(), MOST)
    assert made.result["pace"]["processes"] == (count if count > 1 else 0)
    assert made.peak_pss - made.before <= 128 + BESIDE_MIB
