"""c40: small objects over wires that break what chance says; each ends in exactly one outcome."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from airflow_provider_s3resume.transfer import single
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.outcomes import LANDED
from tests.conftest import SeaweedPair
from tests.support.crew import Crews
from tests.support.lane import GET, PUT, Ground, Opened, Scene, Watched
from tests.support.wire_rules import (
    EXPIRED_TOKEN,
    INTERNAL_ERROR,
    SLOW_DOWN,
    Action,
    CutHead,
    Edit,
    Exchange,
    Flip,
    Replace,
    Reset,
    Rewrite,
    Rule,
    Truncate,
)

OBJECTS = 24
OLD = b"the old object"
SHARE = 0.35
"""Of the calls that are struck."""

_ANSWERS: tuple[Action, ...] = (
    Reset(side="request"),
    Reset(side="answer"),
    CutHead(),
    Replace(status=500, body=INTERNAL_ERROR),
    Replace(status=500, body=INTERNAL_ERROR, forward=True),
    Replace(status=503, body=SLOW_DOWN),
    Replace(status=400, body=EXPIRED_TOKEN),
    Replace(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"),
    Rewrite(headers={"Connection": "close"}),
    Rewrite(headers={"no name": "x"}),
)
ACTIONS: dict[str, tuple[Action, ...]] = {
    GET: (
        *_ANSWERS,
        Truncate(300),
        Truncate(300, by_reset=True),
        Flip(side="answer", offset=99),
        Edit(lambda body: body[:-1]),
        Rewrite(status=206),
        Rewrite(headers={"x-amz-tagging-count": "many"}),
    ),
    PUT: (
        *_ANSWERS,
        Truncate(300, side="request"),
        Flip(side="request", offset=99),
        Rewrite(headers={"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}),
    ),
}


@pytest.fixture(scope="module")
def ground(seaweed_pair: SeaweedPair) -> Iterator[Ground]:
    """Give two buckets behind wires."""
    ends = seaweed_pair.source.endpoint, seaweed_pair.target.endpoint
    with Ground.of(*ends, "express-chance") as made:
        yield made


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Cut waits between tries short, and see what batches use."""
    monkeypatch.setattr(single, "_FIRST_WAIT_S", 0.01)
    return Watched(monkeypatch)


class Chance:
    """Chooses by a seed what becomes of the n-th call of an object, whatever their order."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self._seed = seed
        self._begins = f"/{scene.prefix}"
        self._counts: Counter[tuple[str, str]] = Counter()
        self._chosen: dict[tuple[str, int], Action | None] = {}
        for side, actions in (("source", ACTIONS[GET]), ("target", ACTIONS[PUT])):
            for action in actions:
                self._rule(scene, side, action)

    def _rule(self, scene: Scene, side: str, action: Action) -> None:
        def is_chosen(exchange: Exchange) -> bool:
            return self._choice(side, exchange) is action

        wire = scene.source.wire if side == "source" else scene.target.wire
        wire.add(Rule(when=is_chosen, action=action))

    def _choice(self, side: str, exchange: Exchange) -> Action | None:
        """Return what is to be done to a request; called once for each rule, by one thread."""
        if exchange.operation not in ACTIONS or self._begins not in exchange.path:
            return None
        name = side, exchange.number
        if name not in self._chosen:
            what = exchange.operation, exchange.path.rpartition("/")[2]
            self._counts[what] += 1
            chance = random.Random(f"{self._seed} {what} {self._counts[what]}")
            struck = chance.random() < SHARE
            self._chosen[name] = chance.choice(ACTIONS[exchange.operation]) if struck else None
        return self._chosen[name]

    @property
    def struck(self) -> int:
        """How many calls were."""
        return sum(action is not None for action in self._chosen.values())


@pytest.mark.parametrize("seed", range(4))
def test_c40_every_object_ends_in_one_outcome(ground: Ground, watched: Watched, seed: int) -> None:
    """The counts add up to the manifest; what landed is right, what did not is as it was."""
    run_by_chance(ground, watched, seed, CopyConfig(object_concurrency=6))


@pytest.mark.parametrize("seed", range(4, 10))
def test_c40_the_same_by_several_processes(
    ground: Ground, watched: Watched, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whichever process gets an object, and however often it is handed over."""
    crews = Crews(monkeypatch)
    run_by_chance(ground, watched, seed, CopyConfig(object_concurrency=32))
    # The first attempt, and the one that copies what is left: if that is enough.
    assert len(crews.made) in {1, 2}
    crews.check_gone()


def run_by_chance(ground: Ground, watched: Watched, seed: int, config: CopyConfig) -> None:
    """Copy objects over wires that break calls, and then what is left over whole ones."""
    scene = ground.scene()
    for number in range(OBJECTS):
        key = f"k{number:02d}"
        scene.put(key, random.Random(number).randbytes(500 + number))
        if number % 2:
            scene.put_old(key, OLD)
    scene.plan()
    chance = Chance(scene, seed)
    renewing = Opened(refresh=lambda: None)
    result = scene.run(config, source=renewing, target=renewing)
    assert chance.struck > OBJECTS / 4
    outcomes = scene.outcomes()
    assert outcomes.keys() == scene.planned.keys()
    assert sum(result.counts.values()) == OBJECTS
    noted = Counter(outcome.key.removeprefix(scene.prefix) for outcome in watched.noted)
    assert noted == dict.fromkeys(scene.planned, 1)
    figures = result.figures
    assert (figures.objects_done, figures.objects_failed) == (
        OBJECTS - result.counts.get("failed", 0),
        result.counts.get("failed", 0),
    )
    watched.check_memory()
    check_target(scene)
    scene.mend()
    scene.run().raise_for_failures()
    scene.check_landed()


def check_target(scene: Scene) -> None:
    """See that each object is right if it landed, and whole, old or absent if it failed."""
    there = {key.removeprefix(scene.prefix) for key in scene.target.keys(scene.prefix)}
    for key, outcome in scene.outcomes().items():
        data = scene.target.data(scene.prefix + key) if key in there else None
        if outcome.status in LANDED:
            assert data == scene.planned[key], key
        else:
            assert outcome.error
            # A write whose answer was lost may have landed all the same.
            assert data in {None, OLD, scene.planned[key]}, key
