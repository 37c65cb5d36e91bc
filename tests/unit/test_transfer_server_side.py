"""Copies that the service makes by itself: when it does, what is sent, and what is proven."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    ObjectNotFoundError,
    PreconditionFailedError,
    S3ResumeError,
    StoreError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.transfer import service_copy
from airflow_provider_s3resume.transfer.config import CopyConfig, OnSourceChange, ServerSideCopy
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from tests.support.service_world import (
    copied_parts,
    is_whole,
    relayed_bytes,
    report_of,
    service_world,
    verification_of,
)
from tests.support.transfer_world import CONFIG, KEY, OLD, TINY, Moment, World, no_waits, pattern

NEVER = dataclasses.replace(CONFIG, server_side_copy=ServerSideCopy.NEVER)
REQUIRE = dataclasses.replace(CONFIG, server_side_copy=ServerSideCopy.REQUIRE)
TRIED = "tried"
SMALL_PUTS = dataclasses.replace(TINY, max_single_put=30)
"""Of a target that copies no more than so many bytes in one request."""


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)
    monkeypatch.setattr(service_copy, "_FIRST_WAIT_S", 0.0001)


def tried_world() -> World:
    """Return a world whose service has made a copy before it comes to ``KEY``: large ones first."""
    world = service_world()
    world.seed(pattern(19), key=TRIED)
    return world


def refusing(
    operation: str, kind: type[StoreError] = AccessDeniedError, *, key: str | None = None
) -> Callable[[Moment], None]:
    """Return what refuses an operation of the target's, of one key or of all."""

    def refuse(moment: Moment) -> None:
        if moment.is_(operation) and key in {None, moment.key}:
            raise kind(operation, f"s3://to/{moment.key}", f"{kind.__name__[:-5]} (HTTP 403): no")

    return refuse


@pytest.mark.parametrize("size", [0, 15, 45])
def test_an_object_is_copied_in_one_request_and_no_byte_passes(size: int) -> None:
    """Neither read nor sent here, whatever its size, and proven by the ETags of both."""
    world = service_world()
    world.seed(pattern(size))
    world.plan()
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(size))
    assert (outcome.by_service, outcome.bytes_moved, outcome.sent_parts) == (True, 0, 0)
    assert outcome.proof is Proof.ETAG
    assert not outcome.unprotected
    assert relayed_bytes(world) == 0
    assert world.traffic.count("CreateMultipartUpload") == 0


def test_an_object_in_parts_is_copied_in_the_same_parts() -> None:
    """So that its ETag comes out as the source's, whatever sizes the parts have."""
    world = service_world()
    world.seed(pattern(18), parts=(5, 7, 6))
    world.plan()
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(18))
    assert world.target.objects[KEY].part_sizes == (5, 7, 6)
    assert (outcome.by_service, outcome.proof, outcome.bytes_moved) == (True, Proof.ETAG, 0)
    assert outcome.sent_parts == 3
    assert relayed_bytes(world) == 0


def test_c21_what_is_too_large_for_one_request_is_cut_as_when_it_is_relayed() -> None:
    """The same offsets, and the proof is the service's own full-object checksum."""
    cut = []
    for config in (CONFIG, NEVER):
        world = service_world(limits=SMALL_PUTS)
        world.seed(pattern(45))
        world.plan()
        outcome = world.run_one(config)
        assert is_whole(world, outcome, pattern(45))
        assert outcome.by_service is (config is CONFIG)
        assert outcome.proof is Proof.CHECKSUM
        cut.append(world.target.objects[KEY].part_sizes)
    assert cut[0] == cut[1] == (10, 10, 10, 10, 5)


def test_c19_a_copy_has_the_attributes_of_a_relayed_one() -> None:
    """Metadata, tags and headers of the source, storage class and encryption as asked for."""
    attributes = ContentAttributes(
        content_type="text/x-test",
        cache_control="no-store",
        expires="Thu, 01 Dec 2033 16:00:00 GMT",
        metadata={"some": "thing"},
        tags={"a": "1", "b": "two words"},
    )
    options = WriteOptions(storage_class="STANDARD_IA", encryption="AES256")
    found = []
    for choice in (ServerSideCopy.AUTO, ServerSideCopy.NEVER):
        world = service_world()
        for key, parts in ((KEY, ()), ("parts", (10, 8))):
            world.seed(pattern(18), key=key, parts=parts, attributes=attributes)
        world.plan(KEY, "parts")
        config = dataclasses.replace(CONFIG, options=options, server_side_copy=choice)
        world.run(config).raise_for_failures()
        objects = [world.target.objects[key] for key in (KEY, "parts")]
        found.append([(o.data, o.etag, o.attributes, o.options) for o in objects])
        assert world.outcome().notes == ()
    assert found[0] == found[1]
    assert found[0][0][2:] == (attributes, options)


def test_what_the_target_does_not_keep_is_noted() -> None:
    """As of a relayed object: what was asked for is compared with what is there."""
    world = service_world()
    world.seed(pattern(5), attributes=ContentAttributes(cache_control="no-store"))
    world.plan()

    def forget(moment: Moment) -> None:
        if moment.is_("CopyObject", after=True):
            there = world.target.objects[KEY]
            world.target.objects[KEY] = dataclasses.replace(there, attributes=ContentAttributes())

    world.on_moment = forget
    assert world.run_one().notes == ("cache_control 'no-store' is None at the target",)


def test_c18_the_first_copy_replaces_nothing_before_it_is_proven() -> None:
    """A service that knows no copies would take it for an empty object; the next ones are whole."""
    world = service_world()
    for key, size in (("first", 9), ("second", 5)):
        world.seed(pattern(size), key=key)
        world.seed_old_target(key=key)
    world.plan("first", "second")
    world.run().raise_for_failures()
    assert [m.key for m in world.traffic.moments if m.is_("CopyObject")] == ["second"] * 2
    assert [m.key for m in world.traffic.moments if m.is_("UploadPartCopy")] == ["first"]
    assert all(world.outcome(key).by_service for key in ("first", "second"))
    assert world.outcome("first").proof is Proof.CHECKSUM
    assert relayed_bytes(world) == 0


# --- who is asked ---------------------------------------------------------------------------------


def test_two_services_are_not_asked() -> None:
    """The same names of buckets mean nothing then, and nothing is reported."""
    world = service_world()
    world.target.service = "memory://another"
    world.seed(pattern(5))
    world.plan()
    outcome = world.run_one()
    assert not outcome.by_service
    assert not [m for m in world.traffic.moments if m.side == "target" and "origin" in m.arguments]
    assert report_of(world).relayed_because == {}


def test_a_bucket_that_has_only_the_name_of_the_source_is_not_copied_from() -> None:
    """The same key and bytes, and still another object: it was written at another time."""
    world = service_world()
    world.seed(pattern(5))
    other = MemoryStore("from", service="memory://one", clock=lambda: 5.0)
    world.seed(pattern(5), store=other)
    world.target.copies_from = {"from": other}
    world.plan()
    outcome = world.run_one()
    assert (outcome.by_service, outcome.status) == (False, Status.COPIED)
    assert world.traffic.count("CopyObject") == 0
    assert list(report_of(world).relayed_because) == [
        "the target's credentials see another bucket under the source's name"
    ]


def test_credentials_that_may_not_read_the_source_relay_it() -> None:
    """And the report says why, in its text too."""
    world = service_world()
    world.target.copies_from = {}
    world.seed(pattern(5))
    world.plan()
    outcome = world.run_one()
    assert (outcome.by_service, outcome.status) == (False, Status.COPIED)
    report = report_of(world)
    [reason] = report.relayed_because
    assert "HeadObject: NoSuchBucket" in reason
    assert reason in report.short_text()


def test_never_asks_nobody() -> None:
    """No call goes to the target that a relayed copy does not make."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    outcome = world.run_one(NEVER)
    assert (outcome.by_service, outcome.bytes_moved) == (False, 5)
    assert not [m for m in world.traffic.moments if "origin" in m.arguments]
    assert report_of(world).relayed_because == {}


@pytest.mark.parametrize("operation", ["CopyObject", "UploadPartCopy"])
@pytest.mark.parametrize("kind", [AccessDeniedError, UnsupportedError])
def test_a_service_that_refuses_the_first_copy_is_asked_once(
    operation: str, kind: type[StoreError]
) -> None:
    """All objects are relayed then, the refused one among them, and the report says why."""
    world = service_world()
    parts = (10, 10) if operation == "UploadPartCopy" else ()
    for key in ("a", "b", "c"):
        world.seed(pattern(20, seed=ord(key)), key=key, parts=parts)
    world.plan("a", "b", "c")
    world.on_moment = refusing(operation, kind)
    world.run().raise_for_failures()
    assert world.traffic.count(operation) == 1
    assert {key: world.target.data(key) for key in "abc"} == {
        key: pattern(20, seed=ord(key)) for key in "abc"
    }
    assert not any(world.outcome(key).by_service for key in "abc")
    [reason] = report_of(world).relayed_because
    assert reason.startswith(f"{operation} was refused: ")


def test_an_object_that_alone_may_not_be_copied_is_relayed_alone() -> None:
    """Another key may encrypt it: the others go on as before."""
    world = service_world()
    for key in ("a", "b", "c"):
        world.seed(pattern(5 if key == "a" else 9, seed=ord(key)), key=key)
    world.plan("a", "b", "c")
    # The largest comes first.
    world.on_moment = refusing("CopyObject", key="a")
    world.run().raise_for_failures()
    assert [world.outcome(key).by_service for key in "abc"] == [False, True, True]
    assert world.target.data("a") == pattern(5, seed=ord("a"))
    report = report_of(world)
    assert (report.by_service, report.by_service_bytes, report.bytes) == (2, 18, 5)
    assert "copied by the service: 2 objects, 18 bytes" in report.short_text()


def test_a_part_that_may_not_be_copied_is_relayed_into_the_same_upload() -> None:
    """The cuts are the same, so nothing starts over; a mixed object says so."""
    world = service_world()
    world.seed(pattern(30), parts=(10, 10, 10))
    world.plan()
    seen: list[int] = []

    def refuse(moment: Moment) -> None:
        if moment.is_("UploadPartCopy"):
            seen.append(1)
            if len(seen) > 1:
                raise UnsupportedError("UploadPartCopy", "s3://to/k", "NotImplemented")

    world.on_moment = refuse
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(30))
    assert len(seen) == 2
    assert world.traffic.count("CreateMultipartUpload") == 1
    assert (outcome.by_service, outcome.bytes_moved, outcome.proof) == (False, 20, Proof.ETAG)
    assert outcome.notes == ("1 of 3 parts were copied by the service",)


# --- require --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PreconditionFailedError, ObjectNotFoundError])
def test_a_service_that_takes_an_unchanged_source_for_another_relays_its_parts(
    kind: type[StoreError],
) -> None:
    """The source is looked at: it is as it was planned, so it is the service that errs."""
    world = service_world()
    world.seed(pattern(18), parts=(5, 7, 6))
    world.plan()
    world.on_moment = refusing("UploadPartCopy", kind)
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(18))
    assert (outcome.by_service, outcome.bytes_moved) == (False, 18)


def test_require_refuses_two_services() -> None:
    """Before anything is read or written, naming the parameter and both."""
    world = service_world()
    world.target.service = "memory://another"
    world.seed(pattern(5))
    world.plan()
    with pytest.raises(InvalidInputError, match=r"server_side_copy.*two services"):
        world.run(REQUIRE)
    assert relayed_bytes(world) == 0


def test_require_does_not_relay_what_is_refused() -> None:
    """The object has failed with the service's own answer."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    world.on_moment = refusing("CopyObject")
    result = world.run(REQUIRE)
    assert [f.error_kind for f in result.failures] == ["AccessDeniedError"]
    assert relayed_bytes(world) == 0


def test_require_does_not_relay_what_the_credentials_cannot_read() -> None:
    """It fails at once."""
    world = service_world()
    world.target.copies_from = {}
    world.seed(pattern(5))
    world.plan()
    with pytest.raises(S3ResumeError, match="NoSuchBucket"):
        world.run(REQUIRE)


# --- what changes meanwhile -----------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(), (10, 10, 10)])
def test_c10_a_source_that_is_replaced_is_copied_as_it_is_then(parts: tuple[int, ...]) -> None:
    """Each request names the object; the copy starts over, and never mixes two of them."""
    world = service_world()
    world.seed(pattern(30), parts=parts)
    world.plan()
    asked: list[int] = []

    def replace(moment: Moment) -> None:
        if moment.is_("CopyObject") or moment.is_("UploadPartCopy"):
            asked.append(1)
            if len(asked) == max(1, len(parts) - 1):
                world.seed(pattern(30, seed=1), parts=parts)

    world.on_moment = replace
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(30, seed=1))
    assert "the source was replaced since the plan" in outcome.notes
    assert outcome.by_service


@pytest.mark.parametrize("parts", [(), (10, 10, 10)])
def test_c10_a_replaced_source_fails_where_the_plan_is_to_be_kept(parts: tuple[int, ...]) -> None:
    """The old target stays."""
    world = service_world()
    world.seed(pattern(30), parts=parts)
    world.seed_old_target()
    world.plan()

    def replace(moment: Moment) -> None:
        if moment.is_("CopyObject") or moment.is_("UploadPartCopy"):
            world.seed(pattern(30, seed=1), parts=parts)

    world.on_moment = replace
    config = dataclasses.replace(CONFIG, on_source_change=OnSourceChange.FAIL)
    result = world.run(config)
    assert [f.error_kind for f in result.failures] == ["SourceChangedError"]
    assert world.target.data(KEY) == OLD


@pytest.mark.parametrize("parts", [(), (10, 10, 10)])
def test_a_source_that_is_deleted_is_gone(parts: tuple[int, ...]) -> None:
    """As in a relayed copy: nothing lands, and nothing is left behind."""
    world = service_world()
    world.seed(pattern(30), parts=parts)
    world.plan()

    def delete(moment: Moment) -> None:
        if moment.is_("CopyObject") or moment.is_("UploadPartCopy"):
            world.on_moment = lambda _: None
            del world.source.objects[KEY]

    world.on_moment = delete
    assert world.run_one().status is Status.GONE
    assert not world.target.uploads


def test_c18_a_target_that_somebody_changed_is_not_replaced() -> None:
    """The copy is made on the condition that the target is as the plan saw it."""
    world = tried_world()
    world.seed(pattern(5))
    world.seed_old_target()
    world.plan(KEY, TRIED)

    def change(moment: Moment) -> None:
        if moment.is_("CopyObject") and moment.key == KEY:
            world.seed(b"somebody else's", store=world.target)

    world.on_moment = change
    result = world.run()
    assert [f.error_kind for f in result.failures] == ["TargetChangedError"]
    assert world.target.data(KEY) == b"somebody else's"
    assert world.traffic.count("PutObject", key=KEY) == 0


def test_c15_what_another_worker_has_copied_is_there_already() -> None:
    """The condition does not hold, and what is there is provably the source."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()

    def copy(moment: Moment) -> None:
        if moment.is_("CopyObject"):
            world.seed(pattern(5), store=world.target)

    world.on_moment = copy
    outcome = world.run_one()
    assert (outcome.status, outcome.by_service) == (Status.ALREADY_THERE, False)


def test_c18_a_service_that_ignores_conditions_is_found_out() -> None:
    """It took the header and did not look: the objects are reported as unprotected."""
    world = service_world(target_traits=MemoryTraits(ignores_copy_conditions=True))
    for key in ("a", "b"):
        world.seed(pattern(5), key=key)
    world.plan("a", "b")
    world.run().raise_for_failures()
    assert [world.outcome(key).unprotected for key in "ab"] == [True, True]
    assert world.traffic.count("CopyObject") == 3


# --- proofs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(), (10, 8)])
def test_what_nothing_can_be_compared_of_is_the_services_word(parts: tuple[int, ...]) -> None:
    """Under a key no ETag is an MD5, and the source has no checksum: no more is claimed."""
    world = service_world(
        source_traits=MemoryTraits(adds_checksum=False),
        target_traits=MemoryTraits(encryption="aws:kms"),
    )
    world.seed(pattern(18), parts=parts)
    world.plan()
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(18))
    assert outcome.proof is Proof.SERVICE
    summary = verification_of(world)
    assert (summary.failed, dict(summary.proofs)) == (0, {"copied_by_service": 1})


def test_a_checksum_proves_what_etags_cannot() -> None:
    """The service shows the same full-object CRC of both."""
    world = service_world(target_traits=MemoryTraits(encryption="aws:kms"))
    world.seed(pattern(18))
    world.plan()
    assert world.run_one().proof is Proof.CHECKSUM
    assert dict(verification_of(world).proofs) == {"checksum": 1}


def _flip(operation: str) -> Callable[[str, bytes], bytes]:
    def flip(called: str, data: bytes) -> bytes:
        return bytes([data[0] ^ 1, *data[1:]]) if called == operation else data

    return flip


def test_c18_a_part_that_was_copied_wrongly_does_not_replace_the_old_target() -> None:
    """The digests of the parts are compared with the source's before Complete."""
    world = service_world()
    world.seed(pattern(20), parts=(10, 10))
    world.seed_old_target()
    world.plan()
    world.target.in_transit = _flip("UploadPartCopy")
    result = world.run()
    assert [f.error_kind for f in result.failures] == ["VerificationError"]
    assert world.target.data(KEY) == OLD
    assert not world.target.uploads


def test_c18_etags_over_the_same_parts_are_compared_where_nothing_else_can_be() -> None:
    """Without any checksum, too: one part is read to tell whether ETags are MD5s there."""
    bare = MemoryTraits(adds_checksum=False, ignores_checksums=True)
    world = service_world(source_traits=bare, target_traits=bare)
    world.seed(pattern(20), parts=(10, 10))
    world.seed_old_target()
    world.plan()
    flip = _flip("UploadPartCopy")
    second = pattern(20)[10:]
    world.target.in_transit = lambda called, data: data if data == second else flip(called, data)
    result = world.run()
    assert [f.error_kind for f in result.failures] == ["VerificationError"]
    assert world.target.data(KEY) == OLD


def test_an_object_that_was_copied_wrongly_fails() -> None:
    """What the service shows of the copy is not what it shows of the source."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    world.target.in_transit = _flip("CopyObject")
    result = world.run()
    assert [(f.error_kind, f.retryable) for f in result.failures] == [("VerificationError", True)]


# --- interruptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("old_target", [False, True])
def test_c16_a_copy_whose_answer_is_lost_is_looked_for(*, old_target: bool) -> None:
    """It had been made: it is found, and not made again."""
    world = tried_world()
    world.seed(pattern(5))
    if old_target:
        world.seed_old_target()
    world.plan(KEY, TRIED)

    def lose(moment: Moment) -> None:
        if moment.is_("CopyObject", after=True) and moment.key == KEY:
            raise TransientStoreError("CopyObject", "s3://to/k", "connection reset")

    world.on_moment = lose
    outcome = world.run_one()
    assert (outcome.status, outcome.by_service, outcome.proof) == (Status.COPIED, True, Proof.ETAG)
    assert world.traffic.count("CopyObject", key=KEY) == 1


def test_c16_a_copy_that_was_not_made_is_asked_for_again() -> None:
    """The answer is the same as if it had been; the target tells."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    failed: list[Moment] = []

    def fail(moment: Moment) -> None:
        if moment.is_("CopyObject") and len(failed) < 2:
            failed.append(moment)
            raise TransientStoreError("CopyObject", "s3://to/k", "InternalError (HTTP 200)")

    world.on_moment = fail
    assert is_whole(world, world.run_one(), pattern(5))
    assert len(failed) == 2


@pytest.mark.parametrize(
    ("first", "then", "limits"),
    [(NEVER, CONFIG, TINY), (CONFIG, NEVER, SMALL_PUTS), (NEVER, CONFIG, SMALL_PUTS)],
)
def test_c17_what_was_begun_in_one_way_is_gone_on_with_in_the_other(
    first: CopyConfig, then: CopyConfig, limits: Limits
) -> None:
    """The same upload, the same cuts, and no part that is there is copied or sent again."""
    world = service_world(limits=limits)
    world.seed(pattern(45))
    world.plan()
    moved = ("UploadPart", "UploadPartCopy")

    def third(moment: Moment) -> bool:
        ours = [m for m in world.traffic.moments if m.operation in moved and not m.after]
        return moment.operation in moved and len(ours) >= 3

    assert world.run_killed(first, third)
    kept = set(world.held_parts())
    assert kept == {1, 2}
    world.forget_traffic()
    outcome = world.run_one(then)
    assert is_whole(world, outcome, pattern(45))
    assert world.traffic.count("CreateMultipartUpload") == 0
    numbers = copied_parts(world) or world.traffic.part_numbers()
    assert sorted(numbers) == [3, 4, 5]
    assert outcome.kept_parts == 2
    assert outcome.proof is Proof.CHECKSUM


@pytest.mark.parametrize("parts", [(), (10, 8)])
@pytest.mark.parametrize("old_target", [False, True])
def test_c17_killed_before_and_after_every_call_it_ends_right(
    parts: tuple[int, ...], *, old_target: bool
) -> None:
    """The target is the old object or the new one at each moment, and the new one in the end."""
    at, came = 0, True
    while came:
        world = _planned(parts, old_target=old_target)
        seen: set[bytes | None] = set()

        def look(_: Moment, world: World = world, seen: set[bytes | None] = seen) -> None:
            there = world.target.objects.get(KEY)
            seen.add(there.data if there else None)

        came = world.run_killed(CONFIG, at)
        world.on_moment = look
        outcome = world.run_one()
        assert seen <= {pattern(18), OLD if old_target else None}, at
        assert world.target.data(KEY) == pattern(18), at
        assert outcome.status in {Status.COPIED, Status.ALREADY_THERE}, at
        assert relayed_bytes(world) <= 2, at
        at += 1
    assert at > 10


def _planned(parts: tuple[int, ...], *, old_target: bool) -> World:
    world = service_world()
    world.seed(pattern(18), parts=parts)
    if old_target:
        world.seed_old_target()
    world.plan()
    return world
