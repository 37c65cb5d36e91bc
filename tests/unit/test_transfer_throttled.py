"""Throttling fails no object while the store accepts anything (c41)."""

from __future__ import annotations

import itertools
import random

import pytest

from airflow_provider_s3resume.exceptions import ThrottledError
from airflow_provider_s3resume.plan.parts import MIB, Limits
from airflow_provider_s3resume.storage.adaptive import requests_of
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.memory import MemoryTraits
from airflow_provider_s3resume.transfer import parts as part_moves
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.outcomes import Status
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.transfer_world import CONFIG, KEY, NOW, Moment, World, no_waits, pattern

STREAMED = CopyConfig(part_size=9 * MIB, memory_budget=16 * MIB, part_concurrency=1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


def streaming_world() -> World:
    """Return a world with an object of two streamed parts."""
    world = World(limits=Limits(min_part_size=1), source_traits=MemoryTraits(read_size=None))
    world.seed(bytes(18 * MIB))
    world.plan()
    return world


def refuse(world: World, operation: str, side: str, *, times: int) -> None:
    """Refuse so many calls of an operation."""
    left = itertools.count(times, -1)

    def refused(moment: Moment) -> None:
        if moment.is_(operation, side=side) and moment.key == KEY and next(left) > 0:
            raise ThrottledError(operation, f"s3://{side}", "SlowDown")

    world.on_moment = refused


def test_c41_a_streamed_part_is_tried_as_often_as_it_is_throttled() -> None:
    """No layer can repeat it, and refusals do not count among the tries that it has."""
    world = streaming_world()
    refuse(world, "UploadPart", "target", times=20)
    outcome = world.run_one(STREAMED)
    assert outcome.status is Status.COPIED
    assert world.target.data(KEY) == bytes(18 * MIB)


def test_c41_a_streamed_part_that_is_throttled_for_too_long_fails_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After ten minutes its tries are counted."""
    monkeypatch.setattr(part_moves, "_THROTTLED_S", -1.0)
    world = streaming_world()
    refuse(world, "UploadPart", "target", times=1000)
    outcome = world.run_one(STREAMED)
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "ThrottledError")
    # The other part, which was queued already, may have its tries too.
    assert world.traffic.count("UploadPart") in {4, 8}


def test_c41_a_batch_through_throttled_stores_lands_whole() -> None:
    """Each third call of any kind is refused, as chance will have it, and every object lands."""
    world = World()
    keys = [f"k{number:02d}" for number in range(12)]
    for number, key in enumerate(keys):
        world.seed(pattern(5 + 4 * number), key=key)
    ref = world.plan(*keys)
    chance = random.Random(5)

    def refused(moment: Moment) -> None:
        # Bytes of a body that is open already are no request.
        if not moment.after and moment.operation != "Read" and chance.random() < 1 / 3:
            raise ThrottledError(moment.operation, f"s3://{moment.side}", "SlowDown")

    world.on_moment = refused
    stop = StopSignal()
    # The waits are left out; how long they are is tested elsewhere.
    stores = [
        build_store(raw, wait=lambda _: stop.wait(0.0), clock=_Leaps())
        for raw in (world.source, world.target, world.state_store)
    ]
    source, target, state = stores
    result = copy_batch(source, target, StateLocation(state), ref, CONFIG, stop=stop, now=NOW)
    assert result.counts == {"copied": 12}
    assert {key: world.target.data(key) for key in keys} == {
        key: pattern(5 + 4 * number) for number, key in enumerate(keys)
    }
    assert sum(requests_of(store).refused for store in stores) >= 12


class _Leaps:
    """A clock that goes on by a tenth of a second whenever somebody looks."""

    def __init__(self) -> None:
        self._now = itertools.count()

    def __call__(self) -> float:
        return next(self._now) / 10
