"""Copies by the service whose answers say too little: what is found out, and by looking where."""

from __future__ import annotations

import dataclasses

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.storage.memory import MemoryTraits
from airflow_provider_s3resume.storage.server_side import Origin
from airflow_provider_s3resume.transfer import service_copy
from airflow_provider_s3resume.transfer.config import ServerSideCopy
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from tests.support.service_world import is_whole, report_of, service_world, verification_of
from tests.support.transfer_world import CONFIG, KEY, OLD, Moment, World, no_waits, pattern, when

REQUIRE = dataclasses.replace(CONFIG, server_side_copy=ServerSideCopy.REQUIRE)
TRIED = "tried"
OWNER = "111122223333"
NO_BYTES_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
UNTOLD = {
    "a checksum at the target": MemoryTraits(encryption="aws:kms"),
    "no checksum": MemoryTraits(encryption="aws:kms", adds_checksum=False, ignores_checksums=True),
}
"""Targets whose ETags are no MD5s, by what they show beside."""


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)
    monkeypatch.setattr(service_copy, "_FIRST_WAIT_S", 0.0001)


def untold_world(target: MemoryTraits, *, old_target: bool = False) -> World:
    """Return a world of which no digest of one side can be compared with one of the other."""
    world = service_world(
        source_traits=MemoryTraits(adds_checksum=False, read_size=7), target_traits=target
    )
    world.seed(pattern(18))
    world.seed(pattern(19), key=TRIED)
    if old_target:
        world.seed_old_target()
    world.plan(KEY, TRIED)
    return world


def losing(moment: Moment) -> None:
    """Lose the answer to the copy of ``KEY``."""
    if moment.is_("CopyObject", after=True) and moment.key == KEY:
        raise TransientStoreError("CopyObject", "s3://to/k", "connection reset")


# --- whose bucket it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [OWNER, None])
def test_the_owner_of_the_source_goes_with_all_that_is_asked_of_it(owner: str | None) -> None:
    """Looking at it with the target's credentials, copying it, and copying parts of it."""
    world = service_world()
    world.source.bucket_owner = owner
    world.seed(pattern(5), key="whole")
    world.seed(pattern(18), key="parts", parts=(10, 8))
    world.plan("whole", "parts")
    world.run().raise_for_failures()
    asked = [m for m in world.traffic.moments if "origin" in m.arguments]
    origins: list[tuple[str, Origin]] = [(m.operation, m.arguments["origin"]) for m in asked]
    assert {name for name, _ in origins} == {"HeadObject", "CopyObject", "UploadPartCopy"}
    assert {origin.owner for _, origin in origins} == {owner}


# --- what a refusal is about ----------------------------------------------------------------------


def test_c18_a_refusal_about_a_replaced_source_is_no_proof_that_conditions_count() -> None:
    """The copy names its source by its ETag, too; the next object finds out."""
    world = service_world(target_traits=MemoryTraits(ignores_copy_conditions=True))
    world.seed(pattern(9), key="first")
    world.seed(pattern(5), key="second")
    world.plan("first", "second")

    def replace(moment: Moment) -> None:
        if moment.is_("CopyObject", after=True) and moment.key == "first":
            world.seed(pattern(9, seed=1), key="first")

    world.on_moment = replace
    world.run().raise_for_failures()
    assert [world.outcome(key).unprotected for key in ("first", "second")] == [True, True]
    asked = [m.key for m in world.traffic.moments if m.is_("CopyObject")]
    assert asked == ["first", "first", "second", "second"]


@pytest.mark.parametrize("gone", [True, False])
def test_c18_what_is_not_known_of_the_source_leaves_it_open(*, gone: bool) -> None:
    """It was deleted, or cannot be looked at: that fails nothing, and the next object finds out."""
    world = service_world()
    world.seed(pattern(9), key="first")
    world.seed(pattern(5), key="second")
    world.plan("first", "second")
    copied: list[Moment] = []

    def lose(moment: Moment) -> None:
        if moment.is_("CopyObject", after=True) and moment.key == "first":
            copied.append(moment)
            if gone:
                world.source.objects.pop("first", None)
        late = len(copied) > 1 and moment.key == "first"
        if not gone and late and moment.is_("HeadObject", side="source"):
            raise TransientStoreError("HeadObject", "s3://from/first", "connection reset")

    world.on_moment = lose
    world.run().raise_for_failures()
    assert [world.outcome(key).unprotected for key in ("first", "second")] == [True, False]


# --- lost answers where no digest tells -----------------------------------------------------------


@pytest.mark.parametrize("old_target", [False, True])
@pytest.mark.parametrize("shown", UNTOLD)
def test_c16_a_lost_answer_is_settled_by_the_bytes_where_no_digest_tells(
    shown: str, *, old_target: bool
) -> None:
    """They are read at the source, and at the target too if that shows no checksum."""
    world = untold_world(UNTOLD[shown], old_target=old_target)
    world.on_moment = losing
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(18))
    assert (outcome.status, outcome.by_service) == (Status.COPIED, True)
    assert outcome.proof is Proof.PARTS
    assert outcome.notes == (
        "its bytes were read to tell what it is: no digest of both sides does",
    )
    assert world.traffic.count("CopyObject", key=KEY) == 1
    reads = [world.traffic.count("GetObject", side=s, key=KEY) for s in ("source", "target")]
    assert reads == [1, int(shown == "no checksum")]
    assert verification_of(world).failed == 0


@pytest.mark.parametrize("shown", UNTOLD)
def test_c17_a_copy_whose_end_was_not_recorded_is_found_where_no_digest_tells(shown: str) -> None:
    """Killed between the two, the next attempt copies nothing again and fails nothing."""
    world = untold_world(UNTOLD[shown])
    killed = world.run_killed(CONFIG, lambda m: m.is_("CopyObject", after=True) and m.key == KEY)
    assert killed
    there = world.target.objects[KEY]
    world.run().raise_for_failures()
    assert world.outcome().status is Status.ALREADY_THERE
    assert world.target.objects[KEY] is there


@pytest.mark.parametrize("shown", UNTOLD)
def test_c16_another_object_of_the_same_size_is_not_taken_for_the_copy(shown: str) -> None:
    """Nor is it replaced: somebody else wrote it since the plan (c18)."""
    world = untold_world(UNTOLD[shown])

    def write(moment: Moment) -> None:
        if moment.is_("CopyObject") and moment.key == KEY and KEY not in world.target.objects:
            world.seed(pattern(18, seed=2), store=world.target)
            raise TransientStoreError("CopyObject", "s3://to/k", "connection reset")

    world.on_moment = write
    result = world.run()
    assert [f.error_kind for f in result.failures] == ["TargetChangedError"]
    assert world.target.data(KEY) == pattern(18, seed=2)


def test_c16_an_old_target_that_is_still_there_is_not_read() -> None:
    """Its ETag tells that it is the one the plan saw: the copy is asked for again."""
    world = untold_world(UNTOLD["no checksum"])
    world.seed(OLD[:18].ljust(18), store=world.target)
    world.plan(KEY, TRIED)
    failed: list[Moment] = []

    def fail(moment: Moment) -> None:
        if moment.is_("CopyObject") and moment.key == KEY and not failed:
            failed.append(moment)
            raise TransientStoreError("CopyObject", "s3://to/k", "InternalError")

    world.on_moment = fail
    assert is_whole(world, world.run_one(), pattern(18))
    assert world.traffic.count("GetObject", side="source", key=KEY) == 0
    assert world.traffic.count("GetObject", key=KEY) == 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AccessDeniedError("GetObject", "s3://to/k", "AccessDenied: kms:Decrypt"), "TargetChanged"),
        (TransientStoreError("GetObject", "s3://to/k", "reset"), "TransientStore"),
    ],
)
def test_c16_what_may_not_be_read_is_not_taken_for_the_copy(error: StoreError, kind: str) -> None:
    """The object fails, as before; what another try may mend is told as such."""
    world = untold_world(UNTOLD["no checksum"])
    lost: list[Moment] = []

    def refuse(moment: Moment) -> None:
        if moment.is_("CopyObject", after=True) and moment.key == KEY and not lost:
            lost.append(moment)
            raise TransientStoreError("CopyObject", "s3://to/k", "connection reset")
        if moment.is_("GetObject") and moment.key == KEY:
            raise error

    world.on_moment = refuse
    result = world.run()
    assert [f.error_kind for f in result.failures] == [f"{kind}Error"]


# --- services that know nothing of copies ---------------------------------------------------------


@pytest.mark.parametrize("size", [1, 15, 45])
def test_c18_an_empty_object_in_place_of_a_copy_is_replaced_by_the_bytes(size: int) -> None:
    """On condition that it still is what lies there; all others are relayed at once."""
    world = service_world(target_traits=MemoryTraits(knows_no_copies=True))
    keys = (KEY, "next")
    for key in keys:
        world.seed(pattern(size), key=key)
    world.plan(*keys)
    world.run().raise_for_failures()
    for key in keys:
        assert is_whole(world, world.outcome(key), pattern(size), key)
        assert not world.outcome(key).by_service
    tried = [m.key for m in world.traffic.moments if m.is_("CopyObject")]
    assert len(tried) == 1
    last = "CompleteMultipartUpload" if size == 45 else "PutObject"
    [condition] = [
        m.arguments["condition"] for m in world.traffic.moments if m.is_(last) and m.key == tried[0]
    ]
    assert (condition.etag, condition.absent) == (NO_BYTES_MD5, False)
    [reason] = report_of(world).relayed_because
    assert reason.startswith("CopyObject was refused: the answer names no copy")


def test_c18_what_somebody_put_in_its_place_is_not_replaced() -> None:
    """It is not the empty object that the service made of the copy."""
    world = service_world(target_traits=MemoryTraits(knows_no_copies=True))
    world.seed(pattern(15))
    world.plan()

    def write(moment: Moment) -> None:
        if moment.is_("CopyObject", after=True):
            world.seed(b"somebody else's", store=world.target)

    world.on_moment = write
    result = world.run()
    assert [f.error_kind for f in result.failures] == ["TargetChangedError"]
    assert world.target.data(KEY) == b"somebody else's"


def test_an_empty_source_is_there_at_once() -> None:
    """What the service made of the copy is the source then."""
    world = service_world(target_traits=MemoryTraits(knows_no_copies=True))
    world.seed(b"")
    world.plan()
    outcome = world.run_one()
    assert is_whole(world, outcome, b"")
    assert outcome.status is Status.ALREADY_THERE


def test_require_names_the_empty_object_that_is_left() -> None:
    """It relays nothing; the error says what is there, and what replaces it."""
    world = service_world(target_traits=MemoryTraits(knows_no_copies=True))
    world.seed(pattern(15))
    world.plan()
    [failure] = world.run(REQUIRE).failures
    assert "an object of no bytes is there now" in str(failure.error)
    assert "'auto'" in str(failure.error)
    assert world.traffic.count("PutObject") == 0
    world.plan()
    world.run().raise_for_failures()
    assert is_whole(world, world.outcome(), pattern(15))


def test_c17_a_kill_before_the_bytes_is_mended_by_the_next_plan() -> None:
    """The next attempt does not know whose the empty object is, and leaves it to a plan."""
    world = service_world(target_traits=MemoryTraits(knows_no_copies=True))
    world.seed(pattern(15))
    world.plan()
    assert world.run_killed(CONFIG, when("CopyObject", after=True))
    assert [f.error_kind for f in world.run().failures] == ["TargetChangedError"]
    world.plan(run="next")
    world.run().raise_for_failures()
    assert is_whole(world, world.outcome(), pattern(15))


def test_c18_a_source_replaced_meanwhile_is_copied_over_the_empty_object() -> None:
    """The copy begins anew with what the source is now, and knows what lies there."""
    world = service_world(target_traits=MemoryTraits(knows_no_copies=True))
    world.seed(pattern(15))
    world.plan()

    def replace(moment: Moment) -> None:
        if moment.is_("CopyObject", after=True):
            world.seed(pattern(14, seed=1))

    world.on_moment = replace
    world.run().raise_for_failures()
    assert world.target.data(KEY) == pattern(14, seed=1)


def test_c16_an_object_that_is_found_again_and_again_is_read_once() -> None:
    """Of four tries each finds the same one; what is read may be gigabytes."""
    world = untold_world(UNTOLD["a checksum at the target"])
    other = pattern(18, seed=1)

    def lose(moment: Moment) -> None:
        if moment.is_("CopyObject") and moment.key == KEY:
            if KEY not in world.target.objects:
                world.seed(other, store=world.target)
            raise TransientStoreError("CopyObject", "s3://to/k", "connection reset")

    world.on_moment = lose
    result = world.run()
    assert [f.error_kind for f in result.failures] == ["TransientStoreError"]
    assert world.traffic.count("CopyObject", key=KEY) == 4
    assert world.traffic.count("GetObject", side="source", key=KEY) == 1
    assert world.target.data(KEY) == other
