"""c40: whatever the calls of a lane meet, each object ends in exactly one outcome."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.transfer import express
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.outcomes import LANDED, Status
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.lane import Watched
from tests.support.memory_express import GET, PUT, ExpressStore, Fault
from tests.support.transfer_world import CONFIG, NOW, OLD, Moment, World, no_waits, pattern

ERRORS: dict[str, type[StoreError]] = {
    "lost": TransientStoreError,
    "throttled": ThrottledError,
    "denied": AccessDeniedError,
    "refused": StoreError,
    "changed": PreconditionFailedError,
    "other range": RangeMismatchError,
}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What becomes of a call.

    :param carried_out: it had taken effect.
    """

    kind: str
    carried_out: bool = False

    def error(self, operation: str, key: str) -> Exception:
        """Return what is raised."""
        kind = ERRORS.get(self.kind)
        if kind is None:
            return ValueError("what nobody expects")
        return kind(operation, f"s3://memory/{key}", self.kind)


TROUBLE = st.none() | st.builds(
    Trouble, kind=st.sampled_from(sorted(ERRORS)), carried_out=st.booleans()
)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """An object, and what its calls meet: in the lane, and behind it in the threads, in order."""

    size: int
    old: bool
    attributes: ContentAttributes
    lane: tuple[Trouble | None, Trouble | None]
    threads: tuple[Trouble | None, ...]


OBJECTS = st.lists(
    st.builds(
        Planned,
        size=st.sampled_from([0, 1, 15, 20]),
        old=st.booleans(),
        attributes=st.sampled_from(
            [
                ContentAttributes(),
                ContentAttributes(cache_control="no-store"),
                ContentAttributes(tags={"a": "b"}),
            ]
        ),
        lane=st.tuples(TROUBLE, TROUBLE),
        threads=st.lists(TROUBLE, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        no_waits(patch)
        patch.setattr(express, "_TICK_S", 0.01)
        yield


@settings(max_examples=60)
@given(objects=OBJECTS, keeps=st.booleans(), at_once=st.sampled_from([1, 2, 8]))
def test_c40_every_object_ends_in_one_outcome_and_none_is_half(
    objects: list[Planned], at_once: int, *, keeps: bool
) -> None:
    """The counts add up; what landed is right, what failed is as before; memory is given back."""
    world = World()
    keys = {f"k{number}": planned for number, planned in enumerate(objects)}
    for number, (key, planned) in enumerate(keys.items()):
        world.seed(pattern(planned.size, seed=number), key=key, attributes=planned.attributes)
        if planned.old:
            world.seed_old_target(OLD, key)
    ref = world.plan(*keys)
    world.ref = replace(ref, listed=len(keys))
    stores = trouble(world, keys, keeps=keeps)
    with pytest.MonkeyPatch.context() as patch:
        watched = Watched(patch)
        result = copy_batch(
            *stores,
            world.state,
            world.ref,
            replace(CONFIG, object_concurrency=at_once),
            stop=StopSignal(),
            now=NOW,
        )
        watched.check_memory()
    assert sum(result.counts.values()) == len(keys)
    assert Counter(outcome.key for outcome in watched.noted) == dict.fromkeys(keys, 1)
    figures = result.figures
    assert figures.objects_done + figures.objects_failed == len(keys)
    for number, key in enumerate(keys):
        check(world, key, pattern(keys[key].size, seed=number))
    lines = [line for store in stores for line in store.express.lines]
    assert all(line.is_closed for line in lines)


def trouble(
    world: World, keys: dict[str, Planned], *, keeps: bool
) -> tuple[ExpressStore, ExpressStore]:
    """Let the calls of each object meet what was planned for them."""
    source, target = ExpressStore(world.source), ExpressStore(world.target)
    for store, at in ((source, 0), (target, 1)):

        def fault(operation: str, key: str, at: int = at) -> Fault | None:
            met = keys[key].lane[at]
            if met is None:
                return None
            return Fault(error=met.error(operation, key), carried_out=met.carried_out)

        store.express.fault = fault
        store.express.keeps_lines = keeps
    world.on_moment = InThreads(keys)
    return source, target


class InThreads:
    """What the calls meet that are made in threads, each object's one after the other."""

    def __init__(self, keys: dict[str, Planned]) -> None:
        self._left = {key: list(planned.threads) for key, planned in keys.items()}
        self._late: dict[str, Trouble] = {}

    def __call__(self, moment: Moment) -> None:
        """Raise what is to be met, before the call or behind it."""
        in_lane = threading.current_thread().name.startswith("s3resume-express")
        if in_lane or moment.operation not in {GET, PUT} or moment.key not in self._left:
            return
        if moment.after:
            met = self._late.pop(moment.key, None)
        else:
            left = self._left[moment.key]
            met = left.pop(0) if left else None
            if met is not None and met.carried_out:
                self._late[moment.key], met = met, None
        if met is not None:
            raise met.error(moment.operation, moment.key)


def check(world: World, key: str, data: bytes) -> None:
    """See that an object is right if it landed, and whole as it was or right if it failed."""
    outcome = world.outcome(key)
    there = world.target.objects.get(key)
    if outcome.status in LANDED:
        assert there is not None
        assert there.data == data
    else:
        assert outcome.status is Status.FAILED
        assert outcome.error
        assert there is None or there.data in {OLD, data}
