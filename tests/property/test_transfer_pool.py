"""c20: whoever asks for memory in whatever order, no byte is given twice and none is lost."""

from __future__ import annotations

import random
import threading
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.parts import KIB
from airflow_provider_s3resume.transfer import pool
from airflow_provider_s3resume.transfer.pool import MemoryBudget
from airflow_provider_s3resume.transfer.stopping import StopSignal

DEADLINE_S = 30.0
STOP = StopSignal()
TOTAL = 4096 * KIB
SIZES = st.one_of(
    st.integers(0, 64),
    st.integers(200, 1500).map(lambda size: size * KIB),
    # Near each other, so that what is kept serves the next one.
    st.sampled_from([250, 255, 256, 257, 280, 512, 576, 1024, 1100]).map(lambda size: size * KIB),
)


def _size_of(view: memoryview) -> int:
    """Return how large the buffer behind a view is."""
    data = view.obj
    assert isinstance(data, bytearray)
    return len(data)


class FailedError(Exception):
    """What a holder of memory raised."""


@dataclass
class Model:
    """A budget, and what is held of it as far as its holders know."""

    budget: MemoryBudget = field(default_factory=lambda: MemoryBudget(TOTAL))
    taken: list[bytearray] = field(default_factory=list)
    views: list[tuple[AbstractContextManager[memoryview], memoryview]] = field(default_factory=list)
    held: list[tuple[AbstractContextManager[None], int]] = field(default_factory=list)

    @property
    def used(self) -> int:
        """How much was asked for and not given back."""
        return (
            sum(map(len, self.taken))
            + sum(len(view) for _, view in self.views)
            + sum(size for _, size in self.held)
        )

    @property
    def real(self) -> int:
        """How many bytes there are: a buffer may be larger than what was asked for."""
        return self.used + sum(_size_of(view) - len(view) for _, view in self.views)

    def has_room(self, size: int) -> bool:
        """Tell whether so much can be had without waiting."""
        return self.budget._used + size <= TOTAL

    def check(self) -> None:
        """Compare what the budget counts with what is so."""
        budget = self.budget
        assert self.used <= budget._used <= self.real
        assert budget._used <= budget.peak <= TOTAL
        kept = sum(map(len, budget._kept))
        assert budget._used + kept <= TOTAL
        assert all(len(data) >= 256 * KIB for data in budget._kept)
        memory = [*self.taken, *(view.obj for _, view in self.views), *budget._kept]
        assert len({id(one) for one in memory}) == len(memory)

    def take(self, size: int) -> None:
        """Ask for bytes without waiting."""
        had_room = self.has_room(size)
        data = self.budget.try_buffer(size)
        assert (data is not None) == had_room
        if data is not None:
            assert len(data) == size
            self.taken.append(data)

    def give_back(self, at: int) -> None:
        """Give such bytes back."""
        if self.taken:
            self.budget.give_back(self.taken.pop(at % len(self.taken)))

    def enter(self, size: int) -> None:
        """Hold a buffer, if that needs no waiting."""
        if self.has_room(size):
            block = self.budget.buffer(size, STOP)
            view = block.__enter__()
            assert len(view) == size
            self.views.append((block, view))

    def leave(self, at: int, *, failing: bool) -> None:
        """Leave the block that holds a buffer."""
        if not self.views:
            return
        block, view = self.views.pop(at % len(self.views))
        data = view.obj
        if not failing:
            block.__exit__(None, None, None)
            return
        error = FailedError()
        with suppress(FailedError):
            block.__exit__(FailedError, error, None)
        assert data not in self.budget._kept

    def hold(self, size: int) -> None:
        """Hold bytes that others allocate."""
        if self.has_room(size):
            block = self.budget.hold(size, STOP)
            block.__enter__()
            self.held.append((block, size))

    def let_go(self, at: int) -> None:
        """Let go of such bytes."""
        if self.held:
            self.held.pop(at % len(self.held))[0].__exit__(None, None, None)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "give_back", "enter", "leave", "fail", "hold", "let_go"]),
        SIZES,
        st.integers(0, 10),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_c20_every_byte_is_counted_once(steps: list[tuple[str, int, int]]) -> None:
    """Taken, held, kept and given back in any order: the sums hold, no buffer is in two hands."""
    model = Model()
    for name, size, at in steps:
        if name in {"take", "enter", "hold"}:
            getattr(model, name)(size)
        elif name in {"leave", "fail"}:
            model.leave(at, failing=name == "fail")
        else:
            getattr(model, name)(at)
        model.check()
    while model.taken or model.views or model.held:
        model.give_back(0)
        model.leave(0, failing=False)
        model.let_go(0)
        model.check()
    assert model.budget._used == 0


# A half of the budget, a little less than that, and what is left then.
HALVES = st.sampled_from([2048, 1900, 290]).map(lambda size: size * KIB)
ROUNDS = st.lists(st.lists(HALVES, min_size=2, max_size=5), min_size=2, max_size=4)


@given(rounds=ROUNDS)
def test_c20_the_bytes_that_are_really_held_keep_to_the_budget(rounds: list[list[int]]) -> None:
    """A buffer that serves for a smaller one counts as large as it is."""
    model = Model()
    for sizes in rounds:
        for size in sizes:
            model.enter(size)
            assert model.real + sum(map(len, model.budget._kept)) <= TOTAL
        while model.views:
            model.leave(0, failing=False)


@pytest.mark.parametrize("seed", range(4))
def test_c20_many_threads_never_share_a_buffer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writes its own sign all over what it got, and finds nothing else there in the end."""
    monkeypatch.setattr(pool, "_POLL_S", 0.01)
    budget, begin, errors = MemoryBudget(TOTAL), threading.Barrier(8), list[BaseException]()

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        sign = bytes([number + 1])
        try:
            begin.wait(DEADLINE_S)
            for _ in range(60):
                size = chance.choice([0, 10, 256 * KIB, 270 * KIB, 280 * KIB, 900 * KIB])
                _use(budget, chance, size, sign)
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)
    assert budget._used == 0
    assert budget.peak <= TOTAL


def _use(budget: MemoryBudget, chance: random.Random, size: int, sign: bytes) -> None:
    """Take a buffer in one of the ways, write into it, and see that nobody else does."""
    if chance.random() < 0.3:
        data = budget.try_buffer(size)
        if data is not None:
            with memoryview(data) as view:
                _mark(view, sign)
            budget.give_back(data)
        return
    with suppress(FailedError), budget.buffer(size, STOP) as view:
        _mark(view, sign)
        assert budget._used <= TOTAL
        if chance.random() < 0.1:
            raise FailedError


def _mark(view: memoryview, sign: bytes) -> None:
    size = len(view)
    view[:] = sign * size
    threading.Event().wait(0)  # Others may run.
    assert view == sign * size
