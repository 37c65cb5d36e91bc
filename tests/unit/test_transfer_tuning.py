"""How much is under way at once, found by what it brings, on a clock that the tests turn."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.transfer import batch
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.tuning import Runnable, Tuner
from tests.support.lane import Watched
from tests.support.memory_express import ExpressStore
from tests.support.processes import wait_until
from tests.support.transfer_world import CONFIG, NOW, World, no_waits, pattern

Rate = Callable[[int], float]
"""Units a second that so many under way at once bring."""


class Clock:
    """Seconds that go on only when they are told to, and the processor's time beside them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.busy = 7.0

    def tuner(self, given: int | None, **more: Any) -> Tuner:
        """Return one that looks at this clock."""
        now, busy = (lambda: self.now), (lambda: self.busy)
        return Tuner(given, clock=now, busy=busy, spent=busy, **more)


def span(tuner: Tuner, clock: Clock, rate: float, *, busy: float = 0.0) -> bool:
    """Let a second go by with as many ends as a span has; tell whether the number was changed.

    :param busy: the share of it in which this process had the processor.
    """
    # What was begun when more were allowed counts for nothing.
    assert not any(tuner.count(1 << 40) for _ in range(tuner._left_over))
    ends = 2 * tuner.allowed
    told = [tuner.count(0) for _ in range(ends - 1)]
    clock.now += 1.0
    clock.busy += busy
    assert not any(told)
    return tuner.count(int(rate))


def settle(rate: Rate, *, first: int, most: int, spans: int = 50) -> list[int]:
    """Return the numbers that a tuner allows, span by span."""
    clock = Clock()
    tuner = clock.tuner(None, first=first, most=most)
    seen = [tuner.allowed]
    for _ in range(spans):
        before = tuner.allowed
        changed = span(tuner, clock, rate(before))
        assert changed == (tuner.allowed != before)
        seen.append(tuner.allowed)
    return seen


def test_it_grows_by_half_as_long_as_that_brings_more() -> None:
    """Where each one more brings as much as the others, it ends at the most there is room for."""
    seen = settle(lambda count: 1000.0 * count, first=8, most=64)
    assert seen[:7] == [8, 13, 20, 31, 47, 64, 64]
    assert set(seen[6:]) == {64}


@pytest.mark.parametrize(("end", "settled"), [(10, 13), (20, 20), (40, 47)])
def test_it_steps_back_to_what_brought_most(end: int, settled: int) -> None:
    """Behind the end of the line the last step brings nothing, and is taken back, for good."""
    seen = settle(lambda count: 1000.0 * min(count, end), first=8, most=256)
    assert set(seen[10:]) == {settled}
    assert max(seen) <= settled * 1.5 + 1


def test_more_that_brings_less_than_a_tenth_is_chance() -> None:
    """It stays where it began, when it has seen that twice."""
    seen = settle(lambda count: 1000.0 if count == 8 else 1099.0, first=8, most=64)
    assert seen[:5] == [8, 13, 8, 13, 8]
    assert set(seen[4:]) == {8}


def test_one_bad_moment_of_more_is_not_for_good() -> None:
    """A step that brought nothing by chance is made again."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64)
    seen = []
    for number in range(8):
        span(tuner, clock, 1000.0 * tuner.allowed * (0.5 if number == 1 else 1.0))
        seen.append(tuner.allowed)
    assert seen == [13, 8, 13, 20, 31, 47, 64, 64]


def test_c20_it_never_allows_more_than_there_is_room_for() -> None:
    """Neither at first, nor for what the user gives, nor by growing; and always one."""
    assert Tuner(None, first=32, most=5).allowed == 5
    assert Tuner(256, first=32, most=5).allowed == 5
    assert Tuner(None, first=32, most=0).allowed == 1
    assert max(settle(lambda count: 10.0**count, first=1, most=7)) == 7


@pytest.mark.parametrize("fewest", [None, 1])
def test_c20_nor_on_a_busy_machine_of_many_processors(fewest: int | None) -> None:
    """There may be room for fewer threads than it has processors."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=5, least=65, fewest=fewest)
    for _ in range(60):
        span(tuner, clock, 1000.0 * tuner.allowed, busy=0.9)
        assert tuner.allowed <= 5


@pytest.mark.parametrize("most", [1, 5, 8])
def test_c20_nor_when_few_turn_out_to_be_too_few(most: int) -> None:
    """Whether that shows by the clock or by what has ended."""
    clock = Clock()
    for shows in (Tuner.look, lambda tuner: tuner.count(1)):
        tuner = clock.tuner(None, first=8, most=most, least=3, few=1, fewest=1)
        clock.now += 0.2
        assert shows(tuner) == (most > 1)
        assert tuner.allowed == most


def test_it_does_not_grow_while_the_processor_holds_things_up() -> None:
    """More threads would only wait for each other; it may be otherwise later."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64)
    assert not span(tuner, clock, 1000.0, busy=0.6)
    assert not span(tuner, clock, 9000.0, busy=0.9)
    assert tuner.allowed == 8
    assert span(tuner, clock, 1000.0, busy=0.4)
    assert tuner.allowed == 13


def test_on_a_busy_processor_what_is_enough_there_is_allowed() -> None:
    """As many threads as there are processors; it begins anew when they are free."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=3)
    assert span(tuner, clock, 1000.0)
    assert tuner.allowed == 13
    assert span(tuner, clock, 2000.0, busy=0.9)
    assert tuner.allowed == 3
    assert span(tuner, clock, 2000.0, busy=0.1)
    assert tuner.allowed == 8


def frugal(rate: Rate, *, least: int, spans: int = 12) -> list[int]:
    """Return the numbers that a tuner allows on a processor that is always busy."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=least)
    seen = [tuner.allowed]
    for _ in range(spans):
        span(tuner, clock, rate(tuner.allowed), busy=0.9)
        seen.append(tuner.allowed)
    return seen


@pytest.mark.parametrize(
    ("least", "seen"), [(2, [2, 1, 1]), (5, [5, 3, 2, 1, 1]), (9, [9, 5, 3, 2, 1])]
)
def test_on_a_busy_processor_no_more_are_allowed_than_bring_something(
    least: int, seen: list[int]
) -> None:
    """Where one thread moves as much as many, which take more of the processor, it is one."""
    found = frugal(lambda count: 1000.0 - count, least=least)
    assert found[1 : 1 + len(seen)] == seen
    assert set(found[len(seen) :]) == {1}


def test_on_many_processors_more_are_tried_than_it_began_with() -> None:
    """Work that one processor cannot do may be done by sixteen."""
    found = frugal(lambda count: 1000.0 * count, least=16)
    assert found[:8] == [8, 16, 8, 16, 16, 16, 16, 16]


@pytest.mark.parametrize("least", [2, 3, 5])
def test_what_half_as_many_do_not_move_is_moved_by_all(least: int) -> None:
    """That is tried after 4 spans again, and then twice as rarely each time."""
    found = frugal(lambda count: 1000.0 * count, least=least, spans=75)
    half = (least + 1) // 2
    expected = [least, half]
    for pause in (4, 8, 16, 32):
        expected += [least] * (pause + 1) + [half]
    assert found[1 : 1 + len(expected)] == expected


def test_one_slow_moment_of_fewer_is_not_for_good() -> None:
    """Fewer that move as much after all are found out."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=2)
    seen = []
    for number in range(12):
        span(tuner, clock, 500.0 if number == 2 else 1000.0, busy=0.9)
        seen.append(tuner.allowed)
    assert seen == [2, 1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1]


def test_what_is_too_many_shows_in_a_moment() -> None:
    """A busy processor is seen before it is known what is moved; what is not so many waits."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=2)
    clock.now += 0.2
    assert not tuner.count(1)
    clock.busy += 0.1
    assert not tuner.count(1)
    clock.busy += 0.1
    assert tuner.count(1)
    assert tuner.allowed == 2
    clock.now += 0.2
    clock.busy += 0.4
    assert [tuner.count(1) for _ in range(50)] == [False] * 50


@pytest.mark.parametrize(("busy", "then"), [(0.2, 4), (0.05, 16)])
def test_few_are_under_way_until_it_shows_that_answers_take_long(busy: float, then: int) -> None:
    """A moment tells, and not the first end; what keeps a processor busy by itself stays few."""
    clock = Clock()
    tuner = clock.tuner(None, first=16, most=64, few=4)
    assert tuner.allowed == 4
    assert not tuner.count(1)
    clock.now += 0.2
    clock.busy += busy
    assert tuner.count(1) == (then != 4)
    assert tuner.allowed == then
    span(tuner, clock, 1000.0, busy=0.9)
    assert tuner.allowed == then


def test_few_that_leave_the_processor_idle_later_are_too_few() -> None:
    """Answers may take long only after a while."""
    clock = Clock()
    tuner = clock.tuner(None, first=16, most=64, few=4)
    span(tuner, clock, 1000.0, busy=0.9)
    assert tuner.allowed == 4
    span(tuner, clock, 1000.0)
    assert tuner.allowed == 16


def test_few_are_no_more_than_the_first_number_and_nothing_to_whom_was_told_one() -> None:
    """The user's number is kept from the start, and room is kept to."""
    clock = Clock()
    assert clock.tuner(None, first=16, most=64, few=200).allowed == 16
    assert clock.tuner(None, first=16, most=2, few=4).allowed == 2
    assert clock.tuner(30, first=16, most=64, few=4).allowed == 30


def test_who_looks_need_not_wait_for_an_end() -> None:
    """Few that leave the processor idle show in a moment, whatever they are busy with."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=3, few=1, fewest=1)
    assert tuner.is_unsure
    assert not tuner.look()
    clock.now += 0.2
    clock.busy += 0.2
    assert not tuner.look()
    assert (tuner.is_unsure, tuner.allowed) == (True, 1)
    clock.now += 0.3
    assert tuner.look()
    assert (tuner.is_unsure, tuner.allowed) == (False, 8)
    clock.now += 100.0
    assert not tuner.look()
    span(tuner, clock, 1000.0)
    assert tuner.allowed == 13


def test_who_looks_sees_the_moment_and_not_what_was_before() -> None:
    """Small objects may have kept the processor busy for long, and have ended."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=3, few=1, fewest=1)
    for _ in range(1000):
        clock.now += 1.0
        clock.busy += 0.9
        assert not tuner.look()
    clock.now += 0.2
    clock.busy += 0.02
    assert tuner.look()
    assert tuner.allowed == 8


def test_who_looks_finds_nothing_where_nothing_is_unsure() -> None:
    """What was given is kept; what is begun with is changed by what has ended alone."""
    clock = Clock()
    for tuner in (
        clock.tuner(3, first=8, most=64, least=3, few=1, fewest=1),
        clock.tuner(None, first=8, most=64, least=3),
        clock.tuner(None, first=8, most=64, few=9),
    ):
        before = tuner.allowed
        clock.now += 10.0
        assert not tuner.is_unsure
        assert not tuner.look()
        assert tuner.allowed == before


@pytest.mark.parametrize("ends", [1, 2])
def test_few_that_are_to_do_are_held_against_more_after_a_while(ends: int) -> None:
    """However late the first ends come: that is not the first thing that is tried."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=3, few=1, fewest=1)
    for _ in range(ends):
        clock.now += 0.3
        clock.busy += 0.3
        assert not tuner.count(100)
    seen = []
    for _ in range(24):
        span(tuner, clock, 1000.0, busy=0.9)
        seen.append(tuner.allowed)
    assert set(seen[:18]) == {1}
    assert 3 in seen[18:22]


def test_few_that_are_no_fewer_than_the_first_are_held_against_more_at_once() -> None:
    """On a machine of many processors it begins as it does without TLS."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=17, few=8, fewest=8)
    assert not tuner.is_unsure
    span(tuner, clock, 1000.0, busy=0.9)
    assert tuner.allowed == 17


def test_few_that_were_too_few_are_fewer_again_as_soon_as_the_processor_is_busy() -> None:
    """A slow start is not for good."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=3, few=1, fewest=1)
    clock.now += 0.2
    assert tuner.look()
    span(tuner, clock, 1000.0, busy=0.9)
    assert tuner.allowed == 1


def test_what_was_begun_by_more_says_nothing_of_fewer() -> None:
    """Eight parts that end after two are allowed are the work of eight."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=2)
    clock.now += 0.2
    clock.busy += 0.2
    assert tuner.count(1000)
    assert tuner.allowed == 2
    clock.now += 5.0
    clock.busy += 5.0
    assert [tuner.count(1000) for _ in range(8)] == [False] * 8
    assert (tuner._units, tuner._ends, tuner._began) == (0, 0, clock.now)


@pytest.mark.parametrize(
    ("rate", "end"), [(lambda _: 1000.0, 1), (lambda count: 1000.0 * count, 3)]
)
def test_what_is_encrypted_begins_with_few_where_the_processor_is_busy(
    rate: Rate, end: int
) -> None:
    """That is held against more after twenty spans, and more are kept where they move more."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=3, fewest=1)
    seen = []
    for _ in range(30):
        span(tuner, clock, rate(tuner.allowed), busy=0.9)
        seen.append(tuner.allowed)
    assert seen[:22] == [1] * 21 + [3]
    assert seen[22:26] == ([2, 1, 1, 1] if end == 1 else [2, 3, 3, 3])


def test_a_moment_never_says_that_more_are_needed() -> None:
    """Nor that what there is brings most: so much is known after a span only."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=16)
    for busy in (0.0, 0.4):
        clock.now += 0.2
        clock.busy += busy
        assert not tuner.count(1)
    assert tuner.allowed == 8


def test_steps_down_are_all_held_against_the_best() -> None:
    """A few hundredths less, again and again, would be half in the end."""
    found = frugal({8: 1000.0, 4: 980.0, 2: 960.0, 1: 940.0}.__getitem__, least=8)
    assert found[:8] == [8, 4, 2, 4, 4, 4, 4, 4]


@pytest.mark.parametrize(
    ("rate", "busy", "enough"),
    [(0.95, 0.8, True), (0.85, 0.65, True), (0.95, 1.0, False), (0.75, 0.55, False)],
)
def test_what_is_moved_counts_as_much_as_what_it_takes(
    rate: float, busy: float, *, enough: bool
) -> None:
    """Half that moves a little less is as good if it takes less by as much; to a limit."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=2)
    assert span(tuner, clock, 1000.0, busy=1.0)
    span(tuner, clock, 1000.0, busy=1.0)
    assert tuner.allowed == 1
    span(tuner, clock, 1000.0 * rate, busy=busy)
    assert tuner.allowed == (1 if enough else 2)


def test_who_waits_for_a_processor_is_busy() -> None:
    """Beside others that want it too a process may get little, and more threads no more."""
    runnable = Runnable()
    before = runnable()
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: runnable() > before + 0.2, deadline_s=20, what="they have run")
    seen = runnable()
    over.set()
    for thread in threads:
        thread.join(20)
    # What they waited is not taken back.
    assert runnable() >= seen


def test_one_thread_is_held_against_more_again_after_a_while() -> None:
    """What moved as much at first may not do so later."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=2)
    seen = []
    for number in range(31):
        span(tuner, clock, 1000.0 * (tuner.allowed if number > 5 else 1), busy=0.9)
        seen.append(tuner.allowed)
    assert seen[:23] == [2] + [1] * 22
    assert seen[23:30] == [2, 1, 2, 2, 2, 2, 2]


def test_so_few_that_the_processor_is_idle_are_too_few() -> None:
    """It begins anew, and does not try so few again for a while."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=2)
    seen = []
    for busy in (0.9, 0.9, 0.2, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9):
        span(tuner, clock, 1000.0 * tuner.allowed, busy=busy)
        seen.append(tuner.allowed)
    assert seen == [2, 1, 8, 13, 13, 13, 13, 13, 2]


def test_it_does_not_swing_between_too_many_and_too_few() -> None:
    """Eight keep the processor busy and two leave it idle, as on a long way: it is eight."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=8, least=2)
    seen = []
    for _ in range(100):
        span(tuner, clock, 1000.0 * tuner.allowed, busy=0.1 * tuner.allowed)
        seen.append(tuner.allowed)
    assert seen[:2] == [2, 8]
    assert seen.count(2) <= 6
    assert set(seen) == {2, 8}


def test_a_slow_moment_of_all_is_not_for_good() -> None:
    """Half that seemed to do as well is given up when all are tried again."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=8)
    seen = []
    for number in range(60):
        span(tuner, clock, 1000.0 * tuner.allowed * (0.4 if number == 0 else 1.0), busy=0.9)
        seen.append(tuner.allowed)
    assert seen[:3] == [4, 2, 4]
    assert seen.count(8) > 45


def test_one_slow_moment_after_a_busy_time_settles_nothing_below_the_first_number() -> None:
    """A lane of small objects may have kept the processor busy, and has ended."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=64, least=2)
    for busy in (0.9, 0.9):
        span(tuner, clock, 1000.0, busy=busy)
    assert tuner.allowed == 1
    for number in range(30):
        share = 0.5 if number == 1 else 1.0
        span(tuner, clock, 100.0 * tuner.allowed * share, busy=0.1)
    assert tuner.allowed >= 8


def test_what_the_user_gave_is_not_changed() -> None:
    """However much or little it brings."""
    clock = Clock()
    tuner = clock.tuner(3, first=32, most=64)
    for rate in (1.0, 1e6, 0.0, 1e9):
        assert not span(tuner, clock, rate)
        assert tuner.allowed == 3


def test_a_few_ends_or_a_moment_say_nothing() -> None:
    """A span has two turns of all that is under way, and half a second at least."""
    clock = Clock()
    tuner = clock.tuner(None, first=4, most=64)
    clock.now += 10.0
    assert [tuner.count(1000) for _ in range(7)] == [False] * 7
    assert tuner.count(1000)
    assert tuner.allowed == 7
    hasty = clock.tuner(None, first=4, most=64)
    clock.now += 0.4
    assert [hasty.count(1000) for _ in range(100)] == [False] * 100
    assert hasty.allowed == 4


def test_threads_count_together() -> None:
    """No end is lost, and one thread alone is told of each change."""
    clock = Clock()
    tuner = clock.tuner(None, first=8, most=13)
    clock.now += 1.0
    changes: list[bool] = []
    begin = threading.Barrier(4)

    def work() -> None:
        begin.wait(20)
        told = [tuner.count(10) for _ in range(1000)]
        changes.append(any(told))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(changes) == 1
    assert tuner.allowed == 13
    # The first sixteen were a span of their own.
    assert tuner._ends == 4000 - 16


class Restless(Tuner):
    """Allows another number after each end, up and down by chance; never more than there may be."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._chance = random.Random(4)

    def count(self, units: int) -> bool:
        """Choose another number."""
        del units
        before, self.allowed = self.allowed, self._chance.randint(1, min(self._most, 9))
        return self.allowed != before


def test_c40_a_batch_whose_numbers_change_all_the_time_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Small objects, larger ones and parts: each is copied once, however many may be under way."""
    no_waits(monkeypatch)
    monkeypatch.setattr(batch, "Tuner", Restless)
    watched = Watched(monkeypatch)
    world = World()
    # Of one request, and of five and ten parts.
    sizes = {f"k{number:02d}": (15, 20, 45, 95)[number % 4] for number in range(40)}
    for number, (key, size) in enumerate(sizes.items()):
        world.seed(pattern(size, seed=number), key=key)
    ref = world.plan(*sizes)
    free = replace(CONFIG, part_concurrency=None, object_concurrency=None)
    result = copy_batch(
        ExpressStore(world.source),
        ExpressStore(world.target),
        world.state,
        ref,
        free,
        stop=StopSignal(),
        now=NOW,
    )
    assert result.counts == {"copied": 40}
    assert sorted(outcome.key for outcome in watched.noted) == sorted(sizes)
    for number, (key, size) in enumerate(sizes.items()):
        assert world.target.data(key) == pattern(size, seed=number)
    assert len(world.traffic.parts) == 10 * (5 + 10)
    watched.check_memory()
