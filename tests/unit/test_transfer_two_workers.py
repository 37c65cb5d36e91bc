"""c15: two workers on one object, meeting at every boundary between two calls."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.storage.base import Capabilities
from airflow_provider_s3resume.storage.memory import MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import multipart, uploads
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome
from tests.support.transfer_world import KEY, Moment, World, pattern

DEADLINE_S = 30.0
WINDOW = 2
"""Parts of one object that are begun at once by one thread."""
SEAWEED = replace(AMAZON_S3, ordered_listing=False, part_checksums=(ChecksumAlgorithm.CRC64NVME,))
UNCONDITIONAL = replace(AMAZON_S3, conditional_put=False, conditional_complete=False)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What both workers copy, and onto what service."""

    name: str
    size: int = 45
    parts: tuple[int, ...] = ()
    target: Capabilities = AMAZON_S3
    state: Capabilities = AMAZON_S3
    resent: bool = False
    adds_checksum: bool = True
    provable: bool = True

    def worlds(self) -> tuple[World, World]:
        """Return two workers' views of one world, each with a plan of its own."""
        one = World(
            target=self.target,
            state=self.state,
            target_traits=MemoryTraits(lists_resent_parts=self.resent),
            source_traits=MemoryTraits(read_size=7, adds_checksum=self.adds_checksum),
        )
        one.seed(pattern(self.size), parts=self.parts)
        one.seed_old_target()
        other = one.twin()
        one.plan(run="one")
        other.plan(run="other")
        return one, other


CASES = [
    Case(name="single", size=15),
    Case(name="chosen-layout"),
    Case(name="reproduced-layout", parts=(12, 12, 12, 9)),
    Case(
        name="lists-resent-parts",
        target=SEAWEED,
        resent=True,
        adds_checksum=False,
        provable=False,
    ),
    Case(name="no-conditions", target=UNCONDITIONAL, state=UNCONDITIONAL),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Give each case; waiting for the other worker is cut short."""
    monkeypatch.setattr(uploads, "FLUSH_PARTS", 2)
    monkeypatch.setattr(multipart, "_FIRST_WAIT_S", 0.001)
    found: Case = request.param
    return found


def check(case: Case, one: World, other: World, where: str) -> None:
    """Judge what both made of it together."""
    outcomes: list[Outcome] = [one.outcome(), other.outcome()]
    assert all(o.status in LANDED for o in outcomes), (where, outcomes)
    assert one.target.data(KEY) == pattern(case.size), where
    etag = one.target.objects[KEY].etag
    assert {o.target_etag for o in outcomes} == {etag}, (where, outcomes)
    assert one.target.uploads == {}, (where, outcomes)


def test_c15_another_worker_does_it_all_meanwhile(case: Case) -> None:
    """A worker held up at any boundary, while another one copies all, ends well and sees it."""
    for number in range(300):
        slow, fast = case.worlds()
        came = threading.Event()
        go_on = threading.Event()

        def hold(
            moment: Moment,
            number: int = number,
            came: threading.Event = came,
            go_on: threading.Event = go_on,
        ) -> None:
            if moment.number == number:
                came.set()
                assert go_on.wait(DEADLINE_S)

        slow.on_moment = hold
        with ThreadPoolExecutor(1) as pool:
            slow_end = pool.submit(slow.run)
            while not came.wait(0.01) and not slow_end.done():
                pass
            reached = came.is_set()
            fast.run()
            sent_before = len(slow.traffic.parts)
            go_on.set()
            slow_end.result(DEADLINE_S)
        check(case, slow, fast, f"held at moment {number}")
        if case.provable and reached and slow.traffic.moments[number].operation == "UploadPart":
            # Those that it had begun; its upload is gone, and the object is there.
            assert len(slow.traffic.parts) - sent_before <= WINDOW, number
        if not reached:
            break
    assert 10 < number < 300


class Turns:
    """Lets one of several workers make its next call at a time, as a seed decides."""

    def __init__(self, workers: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._changed = threading.Condition()
        self._alive = set(range(workers))
        self._turn = 0

    def hook(self, worker: int) -> Callable[[Moment], None]:
        """Return what a worker calls at each moment."""

        def wait(_moment: Moment) -> None:
            with self._changed:
                self._pass_on()
                mine = self._changed.wait_for(lambda: self._turn == worker, DEADLINE_S)
            assert mine

        return wait

    def leave(self, worker: int) -> None:
        """Take a worker that has ended out of the game."""
        with self._changed:
            self._alive.discard(worker)
            if self._alive:
                self._pass_on()

    def _pass_on(self) -> None:
        self._turn = self._chance.choice(sorted(self._alive))
        self._changed.notify_all()


def test_c15_two_workers_in_turns(case: Case) -> None:
    """However two workers' calls are interleaved, both end well, with one whole object."""
    for seed in range(40):
        worlds = case.worlds()
        turns = Turns(len(worlds), seed)

        def work(worker: int, turns: Turns = turns, worlds: tuple[World, World] = worlds) -> None:
            worlds[worker].on_moment = turns.hook(worker)
            try:
                worlds[worker].run()
            finally:
                worlds[worker].on_moment = lambda _: None
                turns.leave(worker)

        with ThreadPoolExecutor(len(worlds)) as pool:
            ends = [pool.submit(work, worker) for worker in range(len(worlds))]
            for end in ends:
                end.result(DEADLINE_S)
        check(case, *worlds, f"seed {seed}")
