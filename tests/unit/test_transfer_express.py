"""The lane for small objects, on memory stores whose answers are held, lost and refused."""

from __future__ import annotations

import gc
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CopyStoppedError,
    RangeMismatchError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.manifest import CopyEntry
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage.base import ObjectStore, Written
from airflow_provider_s3resume.storage.layers import Layer
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer import batch, express
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.express import MOST_BYTES, Lane, split
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Proof, Status
from airflow_provider_s3resume.transfer.pool import MemoryBudget
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.lane import Watched
from tests.support.memory_express import (
    GET,
    PUT,
    ExpressStore,
    Fault,
    MemoryExpress,
    broken,
)
from tests.support.processes import wait_until
from tests.support.transfer_world import (
    CONFIG,
    NOW,
    OLD,
    KilledError,
    Moment,
    World,
    no_waits,
    pattern,
)

DEADLINE_S = 20.0
WIDE = replace(CONFIG, object_concurrency=8)
PATIENT: Any = {"deadline_s": DEADLINE_S, "what": "all are written"}
NO_STORE = ContentAttributes(cache_control="no-store")


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Cut waits between tries short, and see what batches use."""
    no_waits(monkeypatch)
    return Watched(monkeypatch)


class Express:
    """A world whose stores have a part for small objects, and a batch planned in it.

    :param size: bytes of each object.
    """

    def __init__(
        self, count: int = 6, size: int = 15, attributes: ContentAttributes | None = None
    ) -> None:
        self.world = World()
        self.keys = [f"k{number}" for number in range(count)]
        for number, key in enumerate(self.keys):
            self.world.seed(pattern(size, seed=number), key=key, attributes=attributes)
        self.size = size
        self.plan()
        self.source_store = ExpressStore(self.world.source)
        self.target_store = ExpressStore(self.world.target)

    def plan(self, run: str = "run") -> None:
        """Plan to copy all."""
        ref = self.world.plan(*self.keys, run=run)
        # As a plan of whole buckets has it: named pairs are looked up one by one.
        self.world.ref = replace(ref, listed=len(self.keys))

    @property
    def source(self) -> MemoryExpress:
        """The source's part for small objects."""
        return self.source_store.express

    @property
    def target(self) -> MemoryExpress:
        """The target's."""
        return self.target_store.express

    def run(self, config: CopyConfig = WIDE, *, stop: StopSignal | None = None) -> BatchResult:
        """Make one attempt."""
        assert self.world.ref is not None
        return copy_batch(
            self.source_store,
            self.target_store,
            self.world.state,
            self.world.ref,
            config,
            stop=stop or StopSignal(),
            now=NOW,
        )

    @contextmanager
    def start(
        self, config: CopyConfig = WIDE, stop: StopSignal | None = None
    ) -> Iterator[Future[BatchResult]]:
        """Make an attempt beside the block, which ends with the block at the latest."""
        signal = stop or StopSignal()
        with ThreadPoolExecutor(1) as threads:
            try:
                yield threads.submit(self.run, config, stop=signal)
            finally:
                signal.stop("the test is over")

    def check_landed(self, *but: str) -> None:
        """Compare what is at the target with the source."""
        for number, key in enumerate(self.keys):
            if key not in but:
                assert self.world.target.data(key) == pattern(self.size, seed=number)

    def check_closed(self) -> None:
        """See that no line was left open: one that comes too late is closed by who opened it."""

        def are_closed() -> bool:
            return all(line.is_closed for line in self.source.lines + self.target.lines)

        assert self.source.lines + self.target.lines
        wait_until(are_closed, deadline_s=DEADLINE_S, what="all lines are closed")

    def outcomes(self) -> dict[str, Outcome]:
        """Return what became of the objects."""
        return {key: self.world.outcome(key) for key in self.keys}


# --- the way on which all is as expected --------------------------------------------------------


def test_small_objects_go_one_get_and_one_put_each(watched: Watched) -> None:
    """Nobody looks at the target, lines are used again and closed, memory is given back."""
    made = Express(40)
    result = made.run(replace(CONFIG, object_concurrency=4))
    assert result.counts == {"copied": 40}
    made.check_landed()
    assert sorted(made.source.begun) == sorted((GET, key) for key in made.keys)
    assert sorted(made.target.begun) == sorted((PUT, key) for key in made.keys)
    assert made.world.traffic.count("HeadObject") == 0
    assert len(made.source.lines) <= 4
    assert len(made.target.lines) <= 4
    made.check_closed()
    watched.check_memory()
    assert watched.budgets[0].peak <= 4 * made.size


def test_c20_object_concurrency_bounds_what_is_under_way() -> None:
    """Whatever number was asked for, no more objects are begun; as many are, if there are some."""
    for count in (1, 3, 7):
        made = Express(20)
        made.source.holds = lambda _operation, _key: True
        with made.start(replace(CONFIG, object_concurrency=count)) as end:
            for _ in made.keys:
                made.source.wait_held(1)
                made.source.release(1)
            assert end.result(DEADLINE_S).counts == {"copied": 20}
        assert made.source.most <= count
        held = Express(20)
        held.source.holds = lambda _operation, _key: True
        with held.start(replace(CONFIG, object_concurrency=count)) as end:
            held.source.wait_held(count)
            assert len(held.source.begun) == count
            held.source.holds = lambda _operation, _key: False
            held.source.release()
            end.result(DEADLINE_S).raise_for_failures()


@pytest.fixture
def tiny_budget(monkeypatch: pytest.MonkeyPatch) -> list[MemoryBudget]:
    """Let tasks have 50 bytes."""
    made: list[MemoryBudget] = []

    class Tiny(MemoryBudget):
        def __init__(self, _total: int) -> None:
            super().__init__(50)
            made.append(self)

        most_objects = 8  # Of 50 bytes it would be one.

    monkeypatch.setattr(batch, "MemoryBudget", Tiny)
    return made


def test_c20_the_lane_waits_for_memory(tiny_budget: list[MemoryBudget]) -> None:
    """With room for three objects, three are under way, and all are copied."""
    made = Express(12, size=15)
    made.source.holds = lambda _operation, _key: True
    with made.start() as end:
        made.source.wait_held(3)
        (budget,) = tiny_budget
        assert (budget._used, len(made.source.begun)) == (45, 3)
        made.source.holds = lambda _operation, _key: False
        made.source.release()
        assert end.result(DEADLINE_S).counts == {"copied": 12}
    assert budget.peak == 45
    assert budget._used == 0
    made.check_landed()


def test_c20_the_lane_goes_on_when_others_give_memory_back(
    tiny_budget: list[MemoryBudget],
) -> None:
    """All memory is somebody else's when it begins: it waits, and takes what becomes free."""
    made, stop = Express(3), StopSignal()
    taken, free = threading.Event(), threading.Event()

    def hook(moment: Moment) -> None:
        # Just before the lane begins.
        if moment.is_("PutObject", side="state", after=True) and not taken.is_set():
            holder.start()
            assert taken.wait(DEADLINE_S)

    def hold() -> None:
        with tiny_budget[0].buffer(50, stop):
            taken.set()
            assert free.wait(DEADLINE_S)

    holder = threading.Thread(target=hold, daemon=True)
    made.world.on_moment = hook
    with made.start() as end:
        assert taken.wait(DEADLINE_S)
        assert made.source.begun == []
        free.set()
        assert end.result(DEADLINE_S).counts == {"copied": 3}
    holder.join(DEADLINE_S)
    assert tiny_budget[0].peak <= 50


def test_what_has_to_be_looked_at_is_finished_by_others() -> None:
    """An object with headers of its own is looked at in a thread; the lane goes on meanwhile."""
    made = Express(5, attributes=NO_STORE)
    looked, go_on = threading.Event(), threading.Event()

    def hook(moment: Moment) -> None:
        if moment.is_("HeadObject") and moment.key == "k0":
            looked.set()
            assert go_on.wait(DEADLINE_S)

    made.world.on_moment = hook
    with made.start(replace(CONFIG, object_concurrency=2)) as end:
        assert looked.wait(DEADLINE_S)
        wait_until(lambda: len(made.target.begun) == 5, deadline_s=DEADLINE_S, what="five PUTs")
        go_on.set()
        assert end.result(DEADLINE_S).counts == {"copied": 5}
    assert made.world.traffic.count("HeadObject") == 5
    assert made.world.target.objects["k0"].attributes.cache_control == "no-store"


class Mute(Layer):
    """A service that shows no checksums.

    :param other_md5: its ETags are the MD5s of other bytes.
    """

    def __init__(self, inner: ObjectStore, *, other_md5: bool) -> None:
        super().__init__(inner)
        self._other_md5 = other_md5

    def put_object(self, key: str, body: Any, **options: Any) -> Written:
        """Write an object."""
        written = super().put_object(key, body, **options)
        etag = "0" * 32 if self._other_md5 else written.etag
        return replace(written, checksums=(), etag=etag)


@pytest.mark.parametrize("other_md5", [False, True])
def test_c18_an_md5_is_all_that_has_to_be_seen(
    monkeypatch: pytest.MonkeyPatch, *, other_md5: bool
) -> None:
    """Where it is that of what was sent, nobody need look at the target; another is looked into."""
    made, finished = Express(5), list[object]()
    made.target_store = ExpressStore(Mute(made.world.target, other_md5=other_md5))
    finish = batch._Run._finish

    def seen(run: batch._Run, *what: Any) -> None:
        finished.append(what)
        finish(run, *what)

    monkeypatch.setattr(batch._Run, "_finish", seen)
    result = made.run()
    if other_md5:
        assert len(finished) == 5
        assert {one.error_kind for one in result.failures} == {"VerificationError"}
        assert result.counts == {"failed": 5}
    else:
        assert finished == []
        assert result.counts == {"copied": 5}
        assert {one.proof for one in made.outcomes().values()} == {Proof.ETAG}
        assert made.world.traffic.count("HeadObject") == 0


@pytest.mark.parametrize(("at_once", "naps"), [(None, True), (20, False)])
def test_many_copies_are_woken_once_for_many_answers(
    monkeypatch: pytest.MonkeyPatch, at_once: int | None, *, naps: bool
) -> None:
    """Answers that come one by one are let gather; not where the user said how many there may be.

    More are under way then to make up for it, where that is needed.
    """
    made, napped = Express(60), list[float]()
    monkeypatch.setattr(time, "sleep", napped.append)
    made.source.holds = lambda _operation, _key: True
    with made.start(replace(CONFIG, object_concurrency=at_once)) as end:
        for _ in made.keys:
            made.source.wait_held(1)
            made.source.release(1)
        assert end.result(DEADLINE_S).counts == {"copied": 60}
    assert bool(napped) == naps
    made.check_landed()


def test_tags_are_left_to_those_who_can_ask_for_them() -> None:
    """A tagged object is read in the lane, handed over, and arrives with its tags."""
    made = Express(2)
    made.world.seed(b"tagged", key="k1", attributes=ContentAttributes(tags={"a": "b"}))
    made.plan("again")
    result = made.run()
    assert result.counts == {"copied": 2}
    assert made.world.target.objects["k1"].attributes.tags == {"a": "b"}
    assert [key for operation, key in made.target.begun] == ["k0"]


def entry(size: int, etag: str | None = "0" * 32, key: str = "k") -> CopyEntry:
    """Return an entry to be sorted."""
    return CopyEntry(
        key=key, target_key=key, size=size, etag=etag, last_modified=0.0, reason="absent"
    )


def test_only_objects_of_one_get_and_one_put_are_small(watched: Watched) -> None:
    """Larger ones, those in parts, and those that nothing identifies are copied as ever."""
    Express().run()
    small = [entry(0), entry(1), entry(MOST_BYTES)]
    others = [entry(MOST_BYTES + 1), entry(3, etag=None), entry(0, etag=None)]
    others += [entry(3, etag="0" * 32 + "-2")]
    (context,) = watched.contexts
    roomy = replace(context, config=CopyConfig(), target=ExpressStore(MemoryStore()))
    assert split(roomy, small + others) == (small, others)
    tight = replace(roomy, config=CopyConfig(multipart_threshold=10))
    assert split(tight, [entry(10), entry(11)]) == ([entry(10)], [entry(11)])


def test_an_object_that_has_a_checkpoint_is_not_small(watched: Watched) -> None:
    """What an earlier attempt left behind of it has to be cleared away."""
    made = Express()
    made.run()
    name = made.world.records.name_of(*made.world.uris("k1"))
    context = replace(watched.contexts[0], known_checkpoints=frozenset({name}))
    found = split(context, [entry(5, key="k0"), entry(5, key="k1")])
    assert [[one.key for one in part] for part in found] == [["k0"], ["k1"]]


@pytest.mark.parametrize("side", ["source", "target"])
def test_without_a_part_for_them_small_objects_are_copied_as_ever(
    watched: Watched, side: str
) -> None:
    """One side that has none, or is not open, is enough."""
    made = Express()
    setattr(made, f"{side}_store", Layer(getattr(made.world, side)))
    made.run().raise_for_failures()
    made.check_landed()
    assert watched.lanes == []


@pytest.mark.parametrize("side", ["source", "target"])
def test_c20_what_connections_over_tls_hold_of_a_small_object_counts(
    watched: Watched, side: str
) -> None:
    """As much as it has itself; without TLS just its bytes."""
    plain = Express(1)
    assert plain.run().counts == {"copied": 1}
    encrypted = Express(1)
    getattr(encrypted.world, side).service = f"https://{side}"
    encrypted.plan("encrypted")
    assert encrypted.run().counts == {"copied": 1}
    watched.check_memory()
    assert [budget.peak for budget in watched.budgets] == [plain.size, 2 * plain.size]


# --- what is out of the ordinary ----------------------------------------------------------------

FAULTS: dict[str, Callable[[str], Fault]] = {
    "lost": broken,
    "lost-but-done": lambda operation: broken(operation, carried_out=True),
    "throttled": lambda operation: Fault(error=ThrottledError(operation, "x", "HTTP 503")),
    "unforeseen": lambda _: Fault(error=ValueError("a header that nobody can read")),
    "unforeseen-but-done": lambda _: Fault(error=KeyError("ETag"), carried_out=True),
}


@pytest.mark.parametrize("operation", [GET, PUT])
@pytest.mark.parametrize("name", FAULTS)
def test_c40_whatever_one_object_meets_each_ends_in_one_outcome(
    watched: Watched, name: str, operation: str
) -> None:
    """The one that was struck is copied in the ordinary way, and so is every other at worst."""
    made = Express(12)
    side = made.source if operation == GET else made.target
    side.fault = lambda what, key: FAULTS[name](what) if (what, key) == (operation, "k5") else None
    result = made.run()
    assert sum(result.counts.values()) == 12
    assert {outcome.status for outcome in made.outcomes().values()} <= LANDED
    assert sorted(outcome.key for outcome in watched.noted) == sorted(made.keys)
    assert result.figures.objects_done == 12
    made.check_landed()
    made.check_closed()
    watched.check_memory()


@pytest.mark.parametrize("operation", [GET, PUT])
def test_c40_unforeseen_errors_of_many_objects_at_once_lose_none(
    watched: Watched, operation: str
) -> None:
    """Each answer of the lane raises what nobody expects, and answers are awaited all the time."""
    made = Express(12)
    side = made.source if operation == GET else made.target
    side.fault = lambda what, _key: (
        Fault(error=ValueError("a header that nobody can read")) if what == operation else None
    )
    result = made.run()
    assert result.counts == {"copied": 12}
    made.check_landed()
    assert sorted(outcome.key for outcome in watched.noted) == sorted(made.keys)
    watched.check_memory()


@pytest.mark.parametrize("there", [True, False])
def test_c16_a_success_that_shows_nothing_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    """No object passes for copied because something answered without an ETag."""
    made = Express(3)
    put = made.world.target.put_object

    def show_nothing(key: str, *args: Any, **more: Any) -> Written:
        if key != "k1":
            return put(key, *args, **more)
        if there:
            put(key, *args, **more)
        return Written(etag=None)

    monkeypatch.setattr(made.world.target, "put_object", show_nothing)
    result = made.run()
    if there:
        assert result.counts == {"copied": 3}
        assert made.world.traffic.count("PutObject", key="k1") == 1
        assert made.world.traffic.count("HeadObject") == 1
        made.check_landed()
    else:
        assert result.counts == {"copied": 2, "failed": 1}
        assert made.outcomes()["k1"].error_kind == "TransientStoreError"
        assert made.world.target.keys() == ["k0", "k2"]
        made.check_landed("k1")


def test_c40_an_answer_of_another_size_fails_its_object_alone() -> None:
    """The lane's own word of a range that was answered with something else is its outcome."""
    made = Express(4)
    mismatch = Fault(error=RangeMismatchError(GET, "s3://from/k2", "206"))
    made.source.fault = lambda _operation, key: mismatch if key == "k2" else None
    result = made.run()
    assert [(o.key, o.error_kind) for o in result.failures] == [("k2", "RangeMismatchError")]
    assert (result.figures.objects_done, result.figures.objects_failed) == (3, 1)
    made.check_landed("k2")


@pytest.mark.parametrize("when", ["first", "later"])
def test_a_line_that_cannot_be_opened_hands_over_what_waits_for_it(when: str) -> None:
    """The objects are copied in the ordinary way, and the lane ends."""
    made = Express(12)
    opened = iter(range(1000))

    def connect() -> None:
        if next(opened) >= (0 if when == "first" else 2):
            raise TransientStoreError(GET, "s3://from/", "refused")

    made.source.connect = connect
    made.source.keeps_lines = False
    made.run().raise_for_failures()
    made.check_landed()


def test_a_line_whose_opening_fails_unforeseen_holds_up_nothing() -> None:
    """Nor does an error that no store should raise."""
    made = Express(4)

    def connect() -> None:
        raise RuntimeError("can't start new thread")

    made.target.connect = connect
    with made.start() as end:
        assert end.result(DEADLINE_S).counts == {"copied": 4}
    made.check_landed()


def test_lines_that_are_not_kept_are_closed_and_replaced() -> None:
    """A server that closes after each answer: every call has a line of its own."""
    made = Express(12)
    made.source.keeps_lines = made.target.keeps_lines = False
    made.run(replace(CONFIG, object_concurrency=3)).raise_for_failures()
    made.check_landed()
    assert len(made.source.lines) >= 12
    made.check_closed()


def test_an_idle_line_that_ends_is_dropped() -> None:
    """The source hangs up on its idle lines while PUTs are awaited; the rest is read anew."""
    made = Express(4)
    made.target.holds = lambda _operation, _key: True
    with made.start(replace(CONFIG, object_concurrency=2)) as end:
        made.target.wait_held(2)
        first = list(made.source.lines)
        for line in first:
            line.hang_up()
        wait_until(
            lambda: all(line.is_closed for line in first), deadline_s=DEADLINE_S, what="their end"
        )
        made.target.holds = lambda _operation, _key: False
        made.target.release()
        assert end.result(DEADLINE_S).counts == {"copied": 4}
    assert len(made.source.begun) == 4
    made.check_closed()


def test_a_call_on_which_nothing_moves_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is looked at and given up, the object is copied in the ordinary way."""
    monkeypatch.setattr(express, "_LOOK_S", 0.0)
    made = Express(4)
    made.source.holds = lambda _operation, key: key == "k2"
    made.source.gives_up = lambda _operation, key: key == "k2"
    made.run().raise_for_failures()
    made.check_landed()
    made.check_closed()


def test_c41_a_service_that_asks_for_fewer_requests_gets_no_more_from_the_lane() -> None:
    """What is under way goes on to its end, all others wait their turn in threads."""
    made = Express(12)
    made.source.holds = lambda _operation, _key: True
    with made.start(replace(CONFIG, object_concurrency=3)) as end:
        made.source.wait_held(3)
        made.target.is_closed = True
        made.source.release()
        assert end.result(DEADLINE_S).counts == {"copied": 12}
    assert len(made.source.begun) == 3
    assert len(made.target.begun) == 3
    made.check_landed()


def test_a_line_is_watched_for_what_its_call_waits_for() -> None:
    """A line that had to wait until it could be written does not keep the lane awake for ever."""
    made = Express(2)
    made.source.is_slow_to_take = lambda _operation, key: key == "k0"
    made.target.holds = lambda _operation, _key: True
    watched_lane: list[Lane] = []
    original = Lane._begin_some

    def begin_some(lane: Lane) -> None:
        watched_lane.append(lane)
        original(lane)

    with pytest.MonkeyPatch.context() as patch, made.start() as end:
        patch.setattr(Lane, "_begin_some", begin_some)
        made.target.wait_held(2)
        selector = watched_lane[0]._selector
        wait_until(
            lambda: len(watched_lane[0]._source.free) == 2, deadline_s=DEADLINE_S, what="idle lines"
        )
        events = {selector.get_key(line).events for line in watched_lane[0]._source.free}
        made.target.release()
        end.result(DEADLINE_S).raise_for_failures()
    assert events == {selectors.EVENT_READ}


def test_c20_what_nobody_finishes_gives_its_memory_back(watched: Watched) -> None:
    """A bucket that refuses everything ends the batch; what was written by then holds no memory."""
    made = Express(6, attributes=NO_STORE)

    def hook(moment: Moment) -> None:
        if moment.is_("HeadObject"):
            # All others are written, and wait to be looked at.
            wait_until(lambda: made.world.target.keys() == made.keys, **PATIENT)
            made.world.target.state.denied = True

    made.world.on_moment = hook
    result = made.run(replace(CONFIG, object_concurrency=1))
    assert result.counts == {"failed": 6}
    assert made.world.target.keys() == made.keys
    watched.check_memory()


def test_c41_a_refused_object_holds_up_no_other(watched: Watched) -> None:
    """While it is found out whether the bucket refuses everything, the lane goes on."""
    made = Express(8)
    denied = Fault(error=AccessDeniedError(GET, "s3://from/k0", "denied"))
    made.source.fault = lambda _operation, key: denied if key == "k0" else None
    went_on: list[bool] = []

    def hook(moment: Moment) -> None:
        if moment.is_("HeadBucket", side="source"):
            # The object that failed is among those that are noted.
            with suppress(TimeoutError):
                wait_until(lambda: len(watched.noted) == 8, **PATIENT)
            went_on.append(len(watched.noted) == 8)

    made.world.on_moment = hook
    result = made.run(replace(CONFIG, object_concurrency=2))
    assert result.counts == {"copied": 7, "failed": 1}
    assert went_on == [True]


# --- the end ------------------------------------------------------------------------------------


def test_a_connection_that_comes_too_late_is_closed() -> None:
    """One line carries all while another is still being opened: it is closed when it is there."""
    made = Express(8)
    before = set(threading.enumerate())
    go_on, opening = threading.Event(), threading.Semaphore(0)
    first = iter([True])

    def connect() -> None:
        if not next(first, False):
            opening.release()
            assert go_on.wait(DEADLINE_S)

    made.source.connect = connect
    assert made.run(replace(CONFIG, object_concurrency=4)).counts == {"copied": 8}
    assert len(made.source.lines) == 1
    go_on.set()
    # Some of them have perhaps not come so far as to be counted yet.
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE_S)
    late = 0
    while opening.acquire(timeout=0):
        late += 1
    assert late
    assert len(made.source.lines) == 1 + late
    wait_until(
        lambda: all(line.is_closed for line in made.source.lines),
        deadline_s=DEADLINE_S,
        what="their end",
    )
    gc.collect()


@pytest.mark.parametrize("operation", [GET, PUT])
def test_stop_ends_the_lane_and_loses_no_outcome(watched: Watched, operation: str) -> None:
    """Answers that never come hold up no stop; what landed is recorded, the rest is done later."""
    made = Express(10)
    side = made.source if operation == GET else made.target
    late = {"k6", "k7", "k8", "k9"}
    side.holds = lambda what, key: what == operation and key in late
    stop = StopSignal()
    with made.start(stop=stop) as end:
        side.wait_held(4)
        wait_until(lambda: len(watched.noted) == 6, deadline_s=DEADLINE_S, what="six outcomes")
        stop.stop("SIGTERM")
        with pytest.raises(CopyStoppedError, match="SIGTERM"):
            end.result(DEADLINE_S)
    made.check_closed()
    assert not late & set(made.world.target.keys())
    for key in set(made.keys) - late:
        assert made.world.outcome(key).status is Status.COPIED
    side.holds = lambda _operation, _key: False
    made.source.begun.clear()
    result = made.run()
    assert result.counts == {"copied": 10}
    assert sorted(made.source.begun) == sorted((GET, key) for key in late)
    made.check_landed()


def test_stop_before_anything_was_begun_copies_nothing() -> None:
    """The lane is told to stop while it waits for its first connection."""
    made, stop = Express(4), StopSignal()
    go_on = threading.Event()

    def connect() -> None:
        stop.stop("SIGTERM")
        assert go_on.wait(DEADLINE_S)

    made.source.connect = connect
    with made.start(stop=stop) as end:
        with pytest.raises(CopyStoppedError):
            end.result(DEADLINE_S)
        go_on.set()
    assert made.world.target.keys() == []
    made.run().raise_for_failures()


def test_c17_killed_at_any_call_the_next_attempt_lands_all() -> None:
    """Before and after every call of the lane: the right bytes are there in the end."""
    moment, reached = 0, True
    while reached:
        made = Express(3)
        for key in made.keys:
            made.world.seed_old_target(key=key)
        made.plan()
        reached = killed(made, moment)
        made.run(replace(CONFIG, object_concurrency=2)).raise_for_failures()
        made.check_landed()
        moment += 1
    assert moment > 20


def killed(made: Express, at: int) -> bool:
    """Make an attempt that dies at a moment; tell whether it came so far."""
    dead = threading.Event()

    def kill(moment: Moment) -> None:
        if moment.number >= at:
            dead.set()
        if dead.is_set():
            raise KilledError(f"{moment.operation} at moment {moment.number}")

    made.world.forget_traffic()
    made.world.on_moment = kill
    try:
        made.run(replace(CONFIG, object_concurrency=2))
    except KilledError:
        return True
    finally:
        made.world.on_moment = lambda _: None
    return dead.is_set()


def test_c15_two_workers_on_one_batch_land_each_object_once() -> None:
    """Both begin at once; who comes second sees it done, and neither fails."""
    made = Express(12)
    for key in made.keys:
        made.world.seed_old_target(OLD, key)
    made.plan()
    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(made.run) for _ in range(2)]
        results = [end.result(DEADLINE_S) for end in ends]
    for result in results:
        result.raise_for_failures()
        assert sum(result.counts.values()) == 12
    made.check_landed()


def test_the_outcome_is_that_of_the_thread_path() -> None:
    """The same status, proof, sizes and notes, for objects that are plain and for others."""
    found: list[dict[str, Outcome]] = []
    for lane in (True, False):
        made = Express(5)
        made.world.seed(b"", key="k0")
        made.world.seed(b"attributes", key="k1", attributes=NO_STORE)
        made.world.seed(b"tags", key="k2", attributes=ContentAttributes(tags={"a": "b"}))
        made.world.seed_old_target(key="k3")
        made.plan()
        if not lane:
            made.source_store = Layer(made.world.source)  # type: ignore[assignment]
        result = made.run()
        assert result.counts == {"copied": 5}
        found.append(made.outcomes())
    assert found[0] == found[1]
    assert {outcome.proof for outcome in found[0].values()} == {Proof.ETAG}


def test_c41_a_bucket_that_refuses_everything_stops_the_lane_too() -> None:
    """When the bucket itself is denied, the objects fail without each being tried."""
    made = Express(200)
    made.world.target.state.denied = True
    result = made.run(replace(CONFIG, object_concurrency=4))
    assert result.counts == {"failed": 200}
    assert {outcome.error_kind for outcome in result.failures} == {AccessDeniedError.__name__}
    assert made.world.traffic.count("GetObject", side="source") < 100
    assert made.world.traffic.count("PutObject") < 100
