"""c10, c12: what is read is one object, exactly the range that was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.objects import ByteRange, ContentAttributes, SourceIdentity
from airflow_provider_s3resume.storage._memory_reader import MemoryReader
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.config import OnSourceChange
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Status
from airflow_provider_s3resume.transfer.reading import ExactSource
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.transfer_world import (
    CONFIG,
    KEY,
    OLD,
    Moment,
    World,
    no_waits,
    pattern,
    put_object,
)

TAGGED = ContentAttributes(tags={"of": "first"}, metadata={"of": "first"})
TAGGED_LATER = ContentAttributes(tags={"of": "second"}, metadata={"of": "second"})
OBJECTS = {"single": (15, ()), "chosen": (45, ()), "reproduced": (45, (12, 12, 12, 9))}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


def replaced_at(
    number: int, size: int, parts: tuple[int, ...], *, policy: OnSourceChange, new_size: int
) -> tuple[World, Outcome, bool]:
    """Run a copy whose source is replaced at a moment; return whether that moment came."""
    world = World()
    world.seed(pattern(size), parts=parts, attributes=TAGGED)
    world.seed_old_target()
    world.plan()
    came: list[Moment] = []

    def replace_source(moment: Moment) -> None:
        if moment.number == number:
            came.append(moment)
            data = pattern(new_size, seed=1)
            new_parts = parts if new_size == size else ()
            world.seed(data, parts=new_parts, attributes=TAGGED_LATER)

    world.on_moment = replace_source
    outcome = world.run_one(replace(CONFIG, on_source_change=policy))
    return world, outcome, bool(came)


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("policy", OnSourceChange)
@pytest.mark.parametrize("new_size", ["same", "smaller"])
def test_c10_source_replaced_between_any_two_calls(
    kind: str, policy: OnSourceChange, new_size: str
) -> None:
    """The target is the first object or the second, with its own tags, or else the old target."""
    size, parts = OBJECTS[kind]
    later = size if new_size == "same" else 5
    ends: set[str] = set()
    for number in range(300):
        world, outcome, came = replaced_at(number, size, parts, policy=policy, new_size=later)
        if not came:
            break
        there = world.target.objects[KEY]
        whole = {pattern(size): "first", pattern(later, seed=1): "second", OLD: None}
        assert there.data in whole, number
        of = whole[there.data]
        if of is None:
            assert outcome.status is Status.FAILED, number
            assert outcome.error_kind == "SourceChangedError", number
            assert policy is OnSourceChange.FAIL, number
            assert outcome.retryable, number
        else:
            assert outcome.status in LANDED, (number, outcome)
            assert there.attributes.tags == there.attributes.metadata == {"of": of}, number
            assert world.target.uploads == {}, number
            assert world.checkpoint_names() == [], number
        ends.add(of or "old")
    assert ends == (
        {"first", "second"} if policy is OnSourceChange.START_OVER else {"first", "old"}
    )


def test_c10_source_deleted_between_any_two_calls() -> None:
    """A source deleted on the way is copied or reported as gone; no upload stays."""
    ends: set[Status] = set()
    for number in range(300):
        world = World()
        world.seed(pattern(45), parts=(12, 12, 12, 9), attributes=TAGGED)
        world.seed_old_target()
        world.plan()

        def delete(moment: Moment, number: int = number, world: World = world) -> None:
            if moment.number == number:
                del world.source.objects[KEY]

        world.on_moment = delete
        outcome = world.run_one()
        assert outcome.status in {Status.COPIED, Status.GONE}, (number, outcome)
        expected = OLD if outcome.status is Status.GONE else pattern(45)
        assert world.target.data(KEY) == expected, number
        assert world.target.uploads == {}, number
        ends.add(outcome.status)
        if KEY in world.source.objects:
            break
    assert ends == {Status.COPIED, Status.GONE}


def test_c10_replaced_twice_fails_after_one_new_start() -> None:
    """A source that changes again while it is copied anew fails, and the old target stays."""
    world = World()
    world.seed(pattern(45))
    world.seed_old_target()
    world.plan()
    versions = iter(range(1, 100))

    def replace_again(moment: Moment) -> None:
        if moment.is_("UploadPart", after=True):
            world.seed(pattern(45, seed=next(versions)))

    world.on_moment = replace_again
    outcome = world.run_one()
    assert outcome.status is Status.FAILED
    assert outcome.error_kind == "SourceChangedError"
    assert world.target.data(KEY) == OLD


class Misanswering(MemoryStore):
    """A service that answers ranges with something else."""

    how = "short"

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> MemoryReader:
        """Open a range, and give another one."""
        reader = super().open_range(key, byte_range, identity)
        if byte_range is not None and self.how == "short":
            reader._left = reader._left[:-1]
        if byte_range is not None and self.how == "breaks":
            reader._left = reader._left[:0]
        return reader


@pytest.mark.parametrize("how", ["short", "breaks"])
def test_c12_a_range_that_ends_early_is_never_taken_for_all(how: str) -> None:
    """What is missing of a range is asked for again; a range that never comes fails the object."""
    world = World()
    world.seed(pattern(45))
    world.seed_old_target()
    world.plan()
    world.source.__class__ = Misanswering
    world.source.how = how  # type: ignore[attr-defined]
    outcome = world.run_one()
    if how == "short":
        # The last byte of each range: asked for alone, it is cut off for good.
        assert outcome.status is Status.FAILED
    assert outcome.error_kind == "TransientStoreError"
    assert world.target.data(KEY) == OLD
    assert outcome.retryable


def test_c12_an_answer_of_another_object_size_fails() -> None:
    """A service that keeps the ETag but serves another size is refused, not copied."""
    world = World()
    world.seed(pattern(45))
    world.seed_old_target()
    world.plan()

    def grow(moment: Moment) -> None:
        if moment.is_("GetObject", side="source"):
            there = world.source.objects[KEY]
            world.source.objects[KEY] = replace(there, data=there.data + b"more")

    world.on_moment = grow
    outcome = world.run_one()
    assert outcome.status is Status.FAILED
    assert outcome.error_kind == "RangeMismatchError"
    assert world.target.data(KEY) == OLD


def test_c10_a_broken_read_goes_on_where_it_was() -> None:
    """After a break only the rest of the range is asked for, of the same object."""
    store = MemoryStore("from")
    put_object(store, "k", pattern(1000))
    asked: list[ByteRange | None] = []
    broken = iter([True, False, True, False])

    def break_read(operation: str, arguments: object) -> None:
        assert isinstance(arguments, dict)
        if operation == "GetObject":
            asked.append(arguments["byte_range"])
        if operation == "Read" and arguments["left"] == 600 and next(broken, False):
            raise TransientStoreError("GetObject", "s3://from/k", "reset")

    store.state.traits = replace(store.state.traits, read_size=100)
    store.observer.before = break_read
    source = ExactSource(store, "k", store.objects["k"].info("k").identity(), StopSignal())
    buffer = bytearray(800)
    source.read(ByteRange(start=100, stop=900), memoryview(buffer))
    assert bytes(buffer) == pattern(1000)[100:900]
    assert asked == [ByteRange(start=100, stop=900), ByteRange(start=300, stop=900)]
