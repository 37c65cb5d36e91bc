"""The memory and the threads that the parts and objects of a task share."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack

import pytest

from airflow_provider_s3resume.exceptions import CopyStoppedError, InvalidInputError
from airflow_provider_s3resume.plan.parts import KIB, MIB
from airflow_provider_s3resume.transfer import pool
from airflow_provider_s3resume.transfer.allocation import unfilled
from airflow_provider_s3resume.transfer.pool import MemoryBudget, Workers
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.processes import wait_until

DEADLINE_S = 20.0
STOP = StopSignal()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_POLL_S", 0.01)


class FailedError(Exception):
    """What a holder of a buffer raised."""


def kept(budget: MemoryBudget) -> list[int]:
    """Return the sizes of the buffers that are kept."""
    return [len(data) for data in budget._kept]


def behind(view: memoryview) -> bytearray:
    """Return the buffer that a view is of."""
    data = view.obj
    assert isinstance(data, bytearray)
    return data


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, MIB, 4 * MIB - 10, 4 * MIB])
def test_c20_what_is_held_beside_a_buffer_is_of_the_budget(size: int) -> None:
    """As far as there is so much; and in the end all is free."""
    budget = MemoryBudget(4 * MIB)
    for _ in range(2):
        with budget.buffer(size, STOP, MIB) as view:
            assert len(view) == size
            assert budget._used == min(size + MIB, 4 * MIB)
            assert budget.try_buffer(max(1, 4 * MIB - size - MIB + 1)) is None
        assert budget._used == 0
    with pytest.raises(FailedError), budget.buffer(size, STOP, MIB):
        raise FailedError
    assert budget._used == 0
    with (
        pytest.raises(InvalidInputError, match="memory_budget"),
        budget.buffer(4 * MIB + 1, STOP, 1),
    ):
        raise AssertionError


def test_c20_a_kept_buffer_leaves_room_for_what_is_held_beside_it() -> None:
    """A somewhat larger one than is asked for is taken only if both fit."""
    budget = MemoryBudget(10 * MIB)
    with budget.buffer(9 * MIB, STOP):
        pass
    assert kept(budget) == [9 * MIB]
    with budget.buffer(9 * MIB - 1, STOP, MIB + 1) as view:
        assert len(behind(view)) == 9 * MIB - 1
        assert budget._used == 10 * MIB
    assert budget._used == 0


def test_c20_a_large_buffer_is_used_again_and_a_small_one_is_not() -> None:
    """What is kept is the very memory; below 256 KiB the C library keeps it."""
    budget = MemoryBudget(4 * MIB)
    with budget.buffer(MIB, STOP) as view:
        first = view.obj
    assert kept(budget) == [MIB]
    with budget.buffer(MIB, STOP) as view:
        assert view.obj is first
        assert kept(budget) == []
    with budget.buffer(256 * KIB - 1, STOP):
        pass
    assert kept(budget) == [MIB]
    assert budget._used == 0


def test_c20_a_kept_buffer_that_is_a_little_larger_serves_too() -> None:
    """Up to an eighth larger; one that is smaller, or much larger, does not."""
    budget = MemoryBudget(8 * MIB)
    with budget.buffer(MIB, STOP) as view:
        first = view.obj
    for size in (MIB - 64 * KIB, 960 * KIB):
        with budget.buffer(size, STOP) as view:
            assert view.obj is first
            assert len(view) == size
    for size in (MIB + 1, 512 * KIB):
        with budget.buffer(size, STOP) as view:
            assert view.obj is not first
            assert len(view) == size


def test_c20_what_is_kept_gives_way_to_what_is_needed() -> None:
    """Kept and used together are never more than the budget, the oldest goes first."""
    budget = MemoryBudget(4 * MIB)
    with ExitStack() as stack:
        for size in (MIB, 2 * MIB, MIB):
            stack.enter_context(budget.buffer(size, STOP))
    assert sorted(kept(budget)) == [MIB, MIB, 2 * MIB]
    gone = budget._kept[0]
    data = budget.try_buffer(MIB)
    assert data is not None
    assert gone == b""
    assert sum(kept(budget)) == 3 * MIB
    budget.give_back(data)
    with budget.hold(4 * MIB, STOP):
        assert kept(budget) == []
    assert budget.peak == 4 * MIB


def test_c20_buffers_that_are_larger_than_asked_for_count_in_full() -> None:
    """Bytes that are really held are never more than the budget."""
    budget = MemoryBudget(18 * MIB)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(budget.buffer(9 * MIB, STOP))
    held: list[bytearray] = []
    with ExitStack() as stack:
        for size in (8 * MIB, 8 * MIB, 2 * MIB):
            if budget._used + size <= budget.total:
                held.append(behind(stack.enter_context(budget.buffer(size, STOP))))
            assert sum(map(len, held)) + sum(kept(budget)) <= budget.total


def test_c20_a_buffer_is_not_used_again_after_an_error() -> None:
    """Nobody knows who may still look at it; its memory is given back at once."""
    budget = MemoryBudget(4 * MIB)
    seen: list[object] = []

    def fail() -> None:
        with budget.buffer(MIB, STOP) as view:
            seen.append(view.obj)
            raise FailedError

    with pytest.raises(FailedError):
        fail()
    assert kept(budget) == []
    assert seen == [bytearray()]
    assert budget._used == 0


def test_c20_a_buffer_that_somebody_still_looks_at_is_not_used_again() -> None:
    """A view that outlives the block keeps its bytes, and nobody else writes into them."""
    budget = MemoryBudget(4 * MIB)
    with budget.buffer(MIB, STOP) as view:
        left = view[:10]
        left[:] = b"0123456789"
    assert kept(budget) == []
    with budget.buffer(MIB, STOP) as view:
        view[:10] = b"abcdefghij"
    assert bytes(left) == b"0123456789"
    assert budget._used == 0


def test_c20_to_keep_a_buffer_makes_it_no_larger() -> None:
    """What is kept takes as much memory as it counts."""
    budget = MemoryBudget(4 * MIB)
    with budget.buffer(MIB, STOP):
        pass
    (data,) = budget._kept
    assert sys.getsizeof(data) <= MIB + 1 * KIB


def test_c20_memory_is_given_to_one_who_asks_for_it_without_waiting() -> None:
    """Exactly so many bytes, if there is room and nobody waits for some."""
    budget = MemoryBudget(100)
    first, second = budget.try_buffer(60), budget.try_buffer(40)
    assert first is not None
    assert second is not None
    assert (len(first), len(second)) == (60, 40)
    assert budget.try_buffer(1) is None
    assert budget.try_buffer(0) == bytearray()
    budget.give_back(second)
    assert budget.try_buffer(41) is None
    again = budget.try_buffer(40)
    assert again is not None
    budget.give_back(first)
    budget.give_back(again)
    assert (budget._used, budget.peak) == (0, 100)


@pytest.mark.parametrize(("size", "beside", "left"), [(60, 30, 10), (60, 50, 0), (100, 1, 0)])
def test_c20_what_goes_with_such_memory_is_of_the_budget(size: int, beside: int, left: int) -> None:
    """As far as there is so much, so that nobody waits for what there never is."""
    budget = MemoryBudget(100)
    data = budget.try_buffer(size, beside)
    assert data is not None
    assert (len(data), budget._used) == (size, 100 - left)
    assert budget.try_buffer(left + 1) is None
    assert budget.try_buffer(1, left) is None
    budget.give_back(data, beside)
    assert budget._used == 0


def test_c20_who_waits_comes_before_those_who_do_not() -> None:
    """A part that waits for memory is not starved by small objects that take all that is free."""
    budget = MemoryBudget(100)
    small = budget.try_buffer(50)
    assert small is not None
    had: list[int] = []

    def wait() -> None:
        with budget.buffer(80, STOP) as view:
            had.append(len(view))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    wait_until(lambda: bool(budget._waiting), deadline_s=DEADLINE_S, what="somebody waits")
    assert budget.try_buffer(10) is None
    budget.give_back(small)
    thread.join(DEADLINE_S)
    assert had == [80]
    assert budget.try_buffer(10) is not None


def test_c20_more_than_the_whole_budget_is_refused() -> None:
    """With the number that would do."""
    budget = MemoryBudget(100)
    with pytest.raises(InvalidInputError, match="at least 101 bytes"), budget.buffer(101, STOP):
        pass
    assert budget.try_buffer(101) is None


def test_a_stop_ends_the_wait_for_a_buffer() -> None:
    """Nothing is taken, and those behind in the queue are served."""
    budget, stop = MemoryBudget(100), StopSignal()
    data = budget.try_buffer(100)
    assert data is not None
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            with budget.buffer(10, stop):
                pass
        except CopyStoppedError as error:
            caught.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    wait_until(lambda: bool(budget._waiting), deadline_s=DEADLINE_S, what="somebody waits")
    stop.stop("SIGTERM")
    thread.join(DEADLINE_S)
    assert [str(error) for error in caught] == ["stopped: SIGTERM"]
    budget.give_back(data)
    assert budget.try_buffer(100) is not None


# --- threads ------------------------------------------------------------------------------------


class Jobs:
    """Jobs that wait until they are let go, and how many of them ran at once."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.futures: list[Future[int]] = []
        self.most = 0
        self.ended = 0
        self._running = 0
        self._free = threading.Semaphore(0)
        self._lock = threading.Lock()

    @property
    def running(self) -> int:
        """How many run now."""
        with self._lock:
            return self._running

    def submit(self, count: int) -> None:
        """Submit so many."""
        for _ in range(count):
            number = len(self.futures)
            self.futures.append(self.workers.submit(lambda number=number: self._job(number)))  # type: ignore[misc]

    def _job(self, number: int) -> int:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        assert self._free.acquire(timeout=DEADLINE_S)
        with self._lock:
            self._running -= 1
            self.ended += 1
        return number

    def let_go(self, count: int) -> None:
        """Let so many of them end."""
        for _ in range(count):
            self._free.release()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return once something is so."""
        wait_until(condition, deadline_s=DEADLINE_S, what="the jobs")

    def finish(self) -> None:
        """Let all end, and see that each was run once."""
        self.let_go(len(self.futures))
        results = [future.result(DEADLINE_S) for future in self.futures]
        assert results == list(range(len(self.futures)))
        assert self.ended == len(self.futures)


def alive(name: str) -> int:
    """Return how many threads of a name there are."""
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


def test_more_jobs_at_once_begin_without_waiting_for_another() -> None:
    """Those that wait in the queue are begun as soon as there may be more."""
    workers = Workers(2, "pool-more")
    jobs = Jobs(workers)
    jobs.submit(10)
    jobs.wait(lambda: jobs.running == 2)
    workers.resize(5)
    jobs.wait(lambda: jobs.running == 5)
    jobs.finish()
    assert jobs.most == 5
    workers.close()
    wait_until(lambda: alive("pool-more") == 0, deadline_s=DEADLINE_S, what="their end")


def test_fewer_jobs_at_once_touch_none_that_runs() -> None:
    """Four run to their end, and then no more than two at once; all are run."""
    workers = Workers(4, "pool-fewer")
    jobs = Jobs(workers)
    jobs.submit(12)
    jobs.wait(lambda: jobs.running == 4)
    workers.resize(2)
    assert jobs.running == 4
    jobs.let_go(2)
    jobs.wait(lambda: jobs.ended == 2)
    wait_until(lambda: alive("pool-fewer") == 2, deadline_s=DEADLINE_S, what="two threads end")
    assert jobs.running == 2
    jobs.most = 0
    jobs.finish()
    assert jobs.most <= 2
    workers.close()


def test_threads_that_are_idle_end_when_there_may_be_fewer() -> None:
    """And are started again when there may be more, and there is something to do."""
    workers = Workers(6, "pool-idle")
    jobs = Jobs(workers)
    jobs.submit(6)
    jobs.wait(lambda: jobs.running == 6)
    jobs.finish()
    workers.resize(1)
    wait_until(lambda: alive("pool-idle") == 1, deadline_s=DEADLINE_S, what="one is left")
    jobs.submit(4)
    jobs.wait(lambda: jobs.running == 1)
    workers.resize(3)
    jobs.wait(lambda: jobs.running == 3)
    jobs.finish()
    workers.close()


def test_all_jobs_are_run_whatever_the_number_and_though_it_is_closed() -> None:
    """The number goes up and down all the time while jobs come, and it is closed with some left."""
    workers = Workers(1, "pool-both")
    done = [workers.submit(lambda number=number: number) for number in range(50)]  # type: ignore[misc]
    for count in (8, 1, 5, 2, 7, 1, 3):
        workers.resize(count)
        done += [workers.submit(lambda number=number: number) for number in range(20)]  # type: ignore[misc]
    workers.close()
    assert [one.result(DEADLINE_S) for one in done] == [*range(50), *(list(range(20)) * 7)]
    wait_until(lambda: alive("pool-both") == 0, deadline_s=DEADLINE_S, what="their end")


def test_a_closed_pool_that_is_made_larger_still_runs_what_is_left() -> None:
    """The threads end when nothing is left."""
    workers = Workers(1, "pool-closed")
    jobs = Jobs(workers)
    jobs.submit(5)
    jobs.wait(lambda: jobs.running == 1)
    workers.close()
    workers.resize(4)
    jobs.wait(lambda: jobs.running == 4)
    jobs.finish()
    wait_until(lambda: alive("pool-closed") == 0, deadline_s=DEADLINE_S, what="their end")


def test_workers_tell_how_many_jobs_would_begin_at_once() -> None:
    """Those that run, and those that wait for a thread, are no free ones."""
    workers, go_on = Workers(3, "some"), threading.Event()
    assert workers.free() == 3
    jobs = [workers.submit(lambda: go_on.wait(DEADLINE_S)) for _ in range(2)]
    assert workers.free() == 1
    jobs += [workers.submit(lambda: go_on.wait(DEADLINE_S)) for _ in range(2)]
    assert workers.free() == 0
    go_on.set()
    assert all(job.result(DEADLINE_S) for job in jobs)
    wait_until(lambda: workers.free() == 3, deadline_s=DEADLINE_S, what="three are free")
    workers.close()


def test_c20_a_large_buffer_that_was_never_filled_can_be_written_to_and_given_up() -> None:
    """It is made without zeros being written to it, and is a buffer like others."""
    made = unfilled(MIB)
    assert len(made) == MIB
    made[:3] = b"abc"
    made[-1:] = b"z"
    assert made.startswith(b"abc")
    assert made.endswith(b"z")
    assert sys.getsizeof(made) < MIB + KIB
    pool.empty(made)
    assert len(made) == 0
