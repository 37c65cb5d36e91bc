"""Small objects between two servers over broken wires: what the lane gives up ends as ever."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.layers import requests_of
from airflow_provider_s3resume.transfer import single
from airflow_provider_s3resume.transfer.config import CopyConfig, OnSourceChange
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Proof, Status
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.conftest import SeaweedPair
from tests.support.lane import GET, HEAD, PUT, Ground, Opened, Scene, Watched
from tests.support.processes import wait_until
from tests.support.wire_rules import (
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
    Stall,
    Truncate,
)

OLD = b"the old object"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
OTHER_ETAG = '"0123456789abcdef0123456789abcdef"'
DEADLINE_S = 30.0
STRUCK = "k1"
WAYS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "threads"])


@pytest.fixture(scope="module")
def ground(seaweed_pair: SeaweedPair) -> Iterator[Ground]:
    """Give two buckets behind wires."""
    ends = seaweed_pair.source.endpoint, seaweed_pair.target.endpoint
    with Ground.of(*ends, "express-faults") as made:
        yield made


@pytest.fixture
def scene(ground: Ground) -> Scene:
    """Give a batch of its own."""
    return ground.scene()


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Cut waits between tries short, and see what is used."""
    monkeypatch.setattr(single, "_FIRST_WAIT_S", 0.01)
    return Watched(monkeypatch)


def four(scene: Scene, *, old: bool = True) -> Scene:
    """Plan four objects, of which one will be struck; they replace older ones, or none."""
    for number in range(4):
        key = f"k{number}"
        scene.put(key, random.Random(number).randbytes(3000 + number))
        if old:
            scene.put_old(key, OLD)
    return scene.plan()


def judge(scene: Scene, first: Outcome) -> None:
    """See that the others landed, the one that failed harmed nothing, and the next attempt heals."""
    scene.check_landed(but=[STRUCK])
    if first.status is Status.FAILED:
        assert scene.target.data(scene.prefix + STRUCK) == OLD
        assert first.error
        scene.mend()
        scene.run().raise_for_failures()
    scene.check_landed()
    assert {outcome.status for outcome in scene.outcomes().values()} <= LANDED


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault of one object's calls.

    :param kind: what the object fails with, ``None`` if it lands in the same attempt.
    :param times: how often the fault comes, ``None`` for ever.
    """

    side: str
    action: Action
    kind: str | None = None
    times: int | None = 1


CASES = {
    "c16-source-resets-before": Case(side="source", action=Reset(side="request")),
    "c16-source-resets-behind": Case(side="source", action=Reset(side="answer")),
    "c16-source-half-a-head": Case(side="source", action=CutHead()),
    "c16-source-half-a-body": Case(side="source", action=Truncate(1000)),
    "c16-source-half-a-body-reset": Case(side="source", action=Truncate(1000, by_reset=True)),
    "c16-source-500": Case(side="source", action=Replace(status=500, body=INTERNAL_ERROR)),
    "c16-target-resets-before": Case(side="target", action=Reset(side="request")),
    "c16-target-half-a-request": Case(side="target", action=Truncate(1000, side="request")),
    "c16-target-500": Case(side="target", action=Replace(status=500, body=INTERNAL_ERROR)),
    "c12-source-206": Case(
        side="source", action=Rewrite(status=206), kind="RangeMismatchError", times=None
    ),
    "c12-source-shorter": Case(
        side="source", action=Edit(lambda b: b[:-1]), kind="RangeMismatchError", times=None
    ),
    "c12-source-longer": Case(
        side="source", action=Edit(lambda b: b + b"x"), kind="RangeMismatchError", times=None
    ),
    "c12-source-without-length": Case(
        side="source", action=Rewrite(headers={"Content-Length": None}), kind="RangeMismatchError",
        times=None,
    ),
    "c12-source-other-etag": Case(
        side="source", action=Rewrite(headers={"ETag": OTHER_ETAG}), kind="SourceChangedError",
        times=None,
    ),
    "c18-source-flips-once": Case(side="source", action=Flip(side="answer", offset=77)),
    "c18-source-flips": Case(
        side="source", action=Flip(side="answer", offset=77), kind="VerificationError", times=None
    ),
    "c18-target-flips-once": Case(side="target", action=Flip(side="request", offset=77)),
    "c18-target-flips": Case(
        side="target", action=Flip(side="request", offset=77), kind="DigestRejectedError",
        times=None,
    ),
    "c41-source-denies": Case(
        side="source", action=Replace(status=403, body=DENIED), kind="AccessDeniedError",
        times=None,
    ),
    "c41-target-denies": Case(
        side="target", action=Replace(status=403, body=DENIED), kind="AccessDeniedError",
        times=None,
    ),
}  # fmt: skip


@WAYS
@pytest.mark.parametrize("name", CASES)
def test_c12_c16_c18_c41_one_object_s_fault_ends_as_in_the_thread_path(
    scene: Scene, watched: Watched, name: str, *, lane: bool
) -> None:
    """Healed within the attempt, or failed with the same reason; the others land all the same."""
    case = CASES[name]
    four(scene)
    rule = scene.break_(
        case.side, GET if case.side == "source" else PUT, STRUCK, case.action, times=case.times
    )
    result = scene.run(lane=lane)
    outcome = scene.outcomes()[STRUCK]
    assert rule.used
    assert len(watched.lanes) == lane
    assert outcome.error_kind == case.kind
    failed = int(case.kind is not None)
    expected = {"copied": 4 - failed, "failed": failed}
    assert result.counts == {name: count for name, count in expected.items() if count}
    assert (result.figures.objects_done, result.figures.objects_failed) == (4 - failed, failed)
    watched.check_memory()
    judge(scene, outcome)
