"""c17: killed before and after every single call, the next attempt ends right and sends no more."""

from __future__ import annotations

import random
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import pytest

from airflow_provider_s3resume.transfer import uploads
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.outcomes import LANDED
from tests.support.transfer_world import CONFIG, KEY, OLD, Moment, World, pattern

MOST_MOMENTS = 400


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """An object to copy, and how."""

    name: str
    size: int
    parts: tuple[int, ...] = ()
    flush_parts: int = 1
    old_target: bool = True
    config: CopyConfig = CONFIG

    @property
    def data(self) -> bytes:
        """The source's bytes."""
        return pattern(self.size)

    def world(self) -> World:
        """Return a world with the object planned."""
        world = World()
        world.seed(self.data, parts=self.parts)
        if self.old_target:
            world.seed_old_target()
        world.plan()
        return world


PARALLEL = replace(CONFIG, part_concurrency=3)
SCENARIOS = [
    Scenario(name="single", size=15),
    Scenario(name="single-new", size=15, old_target=False),
    Scenario(name="empty", size=0),
    Scenario(name="chosen-layout", size=45),
    Scenario(name="chosen-layout-seldom-flushed", size=45, flush_parts=8),
    Scenario(name="chosen-layout-new-key", size=45, flush_parts=2, old_target=False),
    Scenario(name="reproduced-layout", size=45, parts=(12, 12, 12, 9), flush_parts=2),
    Scenario(name="odd-layout", size=18, parts=(5, 7, 6)),
    Scenario(name="parallel", size=55, flush_parts=2, config=PARALLEL),
]


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def scenario(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """Give each scenario, with its checkpoint written as often as it says."""
    found: Scenario = request.param
    monkeypatch.setattr(uploads, "FLUSH_PARTS", found.flush_parts)
    return found


class Witness:
    """Watches that the target key is always the old object, whole, or the new one, whole."""

    def __init__(self, world: World, data: bytes) -> None:
        self.world = world
        self.allowed = {data, OLD} if KEY in world.target.objects else {data, None}
        self.seen: list[bytes | None] = []

    def __call__(self, _moment: Moment | None = None) -> None:
        """Note what is there now."""
        there = self.world.target.objects.get(KEY)
        self.seen.append(there.data if there else None)

    def check(self) -> None:
        """Look once more, then judge."""
        self()
        assert set(self.seen) <= self.allowed


def finish(world: World, scenario: Scenario, where: str, gaps: set[str], log: str) -> None:
    """Make the attempt that must end well, and look at everything it must not have done.

    :param gaps: uploads begun by an attempt that was killed before it recorded them.
    """
    landed_before = KEY in world.target.objects and world.target.data(KEY) == scenario.data
    held = world.held_parts()
    world.forget_traffic()
    outcome = world.run_one(scenario.config)
    assert outcome.status in LANDED, where
    assert world.target.data(KEY) == scenario.data, where
    assert not set(held) & set(world.traffic.part_numbers()), where
    if landed_before:
        assert world.traffic.part_numbers() == [], where
        assert world.traffic.count("PutObject") == 0, where
    assert set(world.target.uploads) == gaps, where
    assert not any(upload.parts for upload in world.target.uploads.values()), where
    assert world.checkpoint_names() == [], where
    assert outcome.kept_parts >= len(held), where
    assert all(upload_id in log + " ".join(outcome.notes) for upload_id in gaps), where


def in_the_gap(world: World, known: AbstractSet[str] = frozenset()) -> set[str]:
    """Return the upload that was begun and is not recorded: it may be anybody's (c34)."""
    recorded = world.checkpoint() if world.checkpoint_names() else None
    if recorded is None or recorded.upload_id is not None:
        return set()
    return set(world.target.uploads) - known - set(recorded.superseded)


def test_c17_one_kill_anywhere(scenario: Scenario) -> None:
    """Killed at any moment, the next attempt lands the right bytes and re-sends nothing held."""
    for moment in range(MOST_MOMENTS):
        world = scenario.world()
        witness = world.on_moment = Witness(world, scenario.data)
        if not world.run_killed(scenario.config, moment):
            break
        witness.check()
        finish(world, scenario, f"killed at moment {moment}", in_the_gap(world), "")
        witness.check()
    assert 10 < moment < MOST_MOMENTS


def test_c17_two_kills(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """The same when the attempt that resumes is killed too, at sampled pairs of moments."""
    chance = random.Random(17)
    world = scenario.world()
    world.run(scenario.config)
    moments, killed = len(world.traffic.moments), 0
    for _ in range(60):
        first, second = chance.randrange(moments), chance.randrange(moments)
        world = scenario.world()
        witness = world.on_moment = Witness(world, scenario.data)
        if not world.run_killed(scenario.config, first):
            # Threads that keep other times write the checkpoint less often.
            continue
        killed += 1
        held, gaps = world.held_parts(), in_the_gap(world)
        world.forget_traffic()
        world.run_killed(scenario.config, second)
        gaps |= in_the_gap(world, gaps)
        assert not set(held) & set(world.traffic.part_numbers())
        finish(world, scenario, f"killed at {first}, then at {second}", gaps, caplog.text)
        witness.check()
    assert killed > 50
