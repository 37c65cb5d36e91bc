"""c16, c18, c19, c19a: the old target stays until the new one is proven, and holds what it must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage._memory_bucket import StoredObject
from airflow_provider_s3resume.storage.base import WriteOptions, Written
from airflow_provider_s3resume.storage.memory import MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Proof, Status
from tests.support.transfer_world import (
    CONFIG,
    KEY,
    OLD,
    Hook,
    Moment,
    World,
    no_waits,
    pattern,
    when,
)

SIZES = {"single": 15, "parts": 45}
WRITES = {"single": "PutObject", "parts": "CompleteMultipartUpload"}
PLAIN = MemoryTraits(adds_checksum=False)
MD5_ONLY = replace(AMAZON_S3, part_checksums=(ChecksumAlgorithm.MD5,), full_object_checksum=False)
UNCONDITIONAL = replace(AMAZON_S3, conditional_put=False, conditional_complete=False)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


@pytest.fixture(params=SIZES)
def kind(request: pytest.FixtureRequest) -> str:
    """Give both ways in which an object is written."""
    return str(request.param)


def planned(kind: str, world: World | None = None, parts: tuple[int, ...] = ()) -> World:
    """Return a world with an object planned over an old one."""
    made = world or World()
    made.seed(pattern(SIZES[kind]), parts=parts)
    made.seed_old_target()
    made.plan()
    return made


def lose(kind: str, *, after: bool, times: int) -> tuple[World, Hook]:
    """Return a world, and a hook that loses the answer (or the request) of the final write."""
    world = planned(kind)
    left = [times]

    def hook(moment: Moment) -> None:
        if moment.is_(WRITES[kind], after=after) and moment.key == KEY and left[0] > 0:
            left[0] -= 1
            raise TransientStoreError(WRITES[kind], "s3://to/dir/object", "InternalError in a 200")

    return world, hook


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("after", [False, True], ids=["request-lost", "answer-lost"])
def test_c16_a_lost_write_is_looked_for(kind: str, times: int, *, after: bool) -> None:
    """Whether the final write took effect is seen at the target: it is not made twice if so."""
    world, hook = lose(kind, after=after, times=times)
    world.on_moment = hook
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert world.target.data(KEY) == pattern(SIZES[kind])
    writes = world.traffic.count(WRITES[kind], key=KEY)
    assert writes == (1 if after else times + 1)
    assert outcome.sent_parts == (1 if kind == "single" else 5)
    assert outcome.bytes_moved == SIZES[kind]
    assert world.target.uploads == {}


def test_c16_a_write_that_never_gets_through_fails_and_can_be_retried(kind: str) -> None:
    """The old target stays, and the next attempt sends no part again."""
    world, hook = lose(kind, after=False, times=99)
    world.on_moment = hook
    outcome = world.run_one()
    assert (outcome.status, outcome.retryable) == (Status.FAILED, True)
    assert world.target.data(KEY) == OLD
    world.on_moment = lambda _: None
    world.forget_traffic()
    assert world.run_one().status in LANDED
    assert world.traffic.parts == []
    assert world.target.data(KEY) == pattern(SIZES[kind])


def test_c16_an_answer_that_comes_late_is_this_workers(kind: str) -> None:
    """A write that takes effect after it was looked for: the second one meets its success."""
    world = planned(kind)
    real = pattern(SIZES[kind])
    late: list[StoredObject] = []
    probe = planned(kind)
    probe.run()
    made = probe.target.objects[KEY]

    def hook(moment: Moment) -> None:
        if moment.key != KEY:
            return
        if moment.is_(WRITES[kind]) and not late:
            late.append(made)
            raise TransientStoreError(WRITES[kind], "s3://to/dir/object", "timeout")
        if moment.is_(WRITES[kind]):
            world.target.objects[KEY] = made

    world.on_moment = hook
    outcome = world.run_one()
    assert outcome.status in LANDED
    assert world.target.data(KEY) == real
    assert world.target.uploads == {}
    if kind == "parts":
        assert (outcome.status, outcome.sent_parts) == (Status.COPIED, 5)


@pytest.mark.parametrize("old", [True, False], ids=["replaces", "new"])
@pytest.mark.parametrize("there", [True, False])
def test_c16_a_success_that_shows_nothing_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, *, there: bool, old: bool
) -> None:
    """A portal answers without an ETag, and nothing was written; the target says which it was."""
    world = World()
    world.seed(pattern(15))
    if old:
        world.seed_old_target()
    world.plan()
    put = world.target.put_object

    def show_nothing(*args: Any, **more: Any) -> Written:
        if there:
            put(*args, **more)
        return Written(etag=None)

    monkeypatch.setattr(world.target, "put_object", show_nothing)
    outcome = world.run_one()
    assert world.traffic.count("HeadObject", key=KEY) == 1
    if there:
        assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.ETAG)
        assert world.target.data(KEY) == pattern(15)
    else:
        assert (outcome.status, outcome.retryable) == (Status.FAILED, True)
        assert outcome.error_kind == "TransientStoreError"
        assert world.target.keys() == ([KEY] if old else [])


def test_c18_the_condition_of_the_plan_is_sent(kind: str) -> None:
    """A target that somebody changed since the plan is not replaced, and the error says so."""
    world = planned(kind)
    world.seed_old_target(b"somebody else's")
    outcome = world.run_one()
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "TargetChangedError")
    assert world.target.data(KEY) == b"somebody else's"
    assert not outcome.retryable


def test_c18_a_new_key_must_still_be_absent(kind: str) -> None:
    """The same for a key that the plan saw absent."""
    world = World()
    world.seed(pattern(SIZES[kind]))
    world.plan()
    world.seed_old_target(b"somebody else's")
    outcome = world.run_one()
    assert outcome.error_kind == "TargetChangedError"
    assert world.target.data(KEY) == b"somebody else's"


def test_c18_a_target_without_conditions_is_reported_unprotected(kind: str) -> None:
    """Where the service knows no conditions, the object is written, and the report says so."""
    world = planned(kind, World(target=UNCONDITIONAL))
    assert world.run_one().unprotected
    protected = planned(kind)
    assert not protected.run_one().unprotected


def flip(at: str, how: str) -> Callable[[str, bytes], bytes]:
    """Return a wire that changes a byte: once, always the same one, or another one each time."""
    count = [0]

    def transit(operation: str, data: bytes) -> bytes:
        if operation != at or not data or (how == "once" and count[0]):
            return data
        count[0] += 1
        place = count[0] % len(data) if how == "changing" else 0
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return transit


LAYOUTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "single": ("single", ()),
    "chosen": ("parts", ()),
    "reproduced": ("parts", (12, 12, 12, 9)),
}


@pytest.mark.parametrize("how", ["once", "same", "changing"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("target", ["amazon", "md5-only"])
def test_c18_bytes_changed_on_their_way_to_the_target(layout: str, how: str, target: str) -> None:
    """What the server sees changed is refused by it: never at the target, whatever happens."""
    kind, parts = LAYOUTS[layout]
    world = World(target=AMAZON_S3 if target == "amazon" else MD5_ONLY)
    world = planned(kind, world, parts)
    at = "PutObject" if kind == "single" else "UploadPart"
    world.target.in_transit = flip(at, how)
    outcome = world.run_one()
    good = {pattern(SIZES[kind])} if outcome.status in LANDED else {OLD}
    assert {world.target.data(KEY)} == good
    if how != "once":
        assert outcome.error_kind == "DigestRejectedError"
        assert outcome.retryable


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("which", [1, 3])
def test_c18_a_service_that_ignores_checksums_is_found_out(layout: str, which: int) -> None:
    """Its ETags are compared with what was sent, of each part and of a whole object."""
    kind, parts = LAYOUTS[layout]
    traits = MemoryTraits(ignores_checksums=True, adds_checksum=False)
    world = planned(kind, World(target_traits=traits), parts)
    at = "PutObject" if kind == "single" else "UploadPart"
    count = [0]

    def transit(operation: str, data: bytes) -> bytes:
        count[0] += operation == at
        hit = operation == at and (kind == "single" or count[0] == which)
        return bytes([data[0] ^ 1]) + data[1:] if hit else data

    world.target.in_transit = transit
    outcome = world.run_one()
    assert outcome.error_kind == "VerificationError"
    assert "md5_etags" in str(outcome.error)
    if kind != "single":
        assert world.target.data(KEY) == OLD


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encryption", [None, "aws:kms"])
def test_c18_a_service_that_shows_checksums_is_not_asked_twice(
    layout: str, encryption: str | None
) -> None:
    """One listing in a task tells; under a KMS key no ETag is taken for an MD5."""
    kind, parts = LAYOUTS[layout]
    world = planned(kind, World(target_traits=MemoryTraits(encryption=encryption)), parts)
    assert world.run_one().status is Status.COPIED
    # In pages of three: one before the second part, two before Complete.
    assert world.traffic.count("ListParts") == (0 if kind == "single" else 3)


@pytest.mark.parametrize("how", ["once", "same", "changing"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("checksums", ["with", "without"])
@pytest.mark.parametrize("target", ["amazon", "md5-only", "unchecked"])
def test_c18_bytes_changed_on_their_way_from_the_source(
    layout: str, how: str, checksums: str, target: str
) -> None:
    """What the source itself vouches for is compared before the old target is touched."""
    if layout == "chosen" and checksums == "without":
        # A plain object copied in parts: nothing of the source can be compared with parts.
        checksums = "with"
    kind, parts = LAYOUTS[layout]
    capabilities = {
        "amazon": AMAZON_S3,
        "md5-only": MD5_ONLY,
        "unchecked": replace(AMAZON_S3, part_checksums=(), full_object_checksum=False),
    }[target]
    traits = MemoryTraits(adds_checksum=checksums == "with", read_size=7)
    if layout == "chosen" and target != "amazon":
        capabilities = AMAZON_S3
    world = World(target=capabilities, source_traits=traits)
    world = planned(kind, world, parts)
    world.source.in_transit = flip("GetObject", how)
    outcome = world.run_one()
    if outcome.status is Status.FAILED:
        assert outcome.error_kind in {"VerificationError", "DigestRejectedError"}
        assert outcome.retryable
        assert world.target.data(KEY) == OLD
        assert world.target.uploads == {}
    else:
        assert how == "once"
        assert world.target.data(KEY) == pattern(SIZES[kind])


def test_c18_a_mismatch_aborts_and_the_next_attempt_starts_over() -> None:
    """After a refused proof nothing of the upload is left, and a clean attempt lands."""
    world = planned("parts", parts=(12, 12, 12, 9))
    world.source.in_transit = flip("GetObject", "once")
    outcome = world.run_one()
    assert outcome.error_kind == "VerificationError"
    assert "ETag" in str(outcome.error)
    assert (world.target.data(KEY), world.target.uploads) == (OLD, {})
    assert world.checkpoint_names() == []
    assert world.run_one().proof is Proof.ETAG
    assert world.target.data(KEY) == pattern(45)


def test_c18_a_single_put_carries_the_sources_md5() -> None:
    """The ETag of a plain source travels as Content-MD5 beside the checksum."""
    world = planned("single", World(source_traits=PLAIN))
    world.source.in_transit = flip("GetObject", "once")
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert world.traffic.count("PutObject", key=KEY) == 2
    assert world.target.data(KEY) == pattern(15)


ATTRIBUTES = ContentAttributes(
    content_type="text/x-test",
    content_encoding="gzip",
    content_language="de",
    content_disposition="attachment",
    cache_control="no-store",
    expires="Thu, 01 Dec 1994 16:00:00 GMT",
    metadata={"some": "thing"},
    tags={"a": "1", "b": "2"},
    website_redirect="/elsewhere",
)
OPTIONS = WriteOptions(storage_class="STANDARD_IA", encryption="aws:kms", kms_key_id="key")


def test_c19_everything_arrives(kind: str) -> None:
    """Headers, metadata, tags, storage class and encryption are on the target."""
    world = World()
    world.seed(pattern(SIZES[kind]), attributes=ATTRIBUTES)
    world.plan()
    outcome = world.run_one(replace(CONFIG, options=OPTIONS))
    there = world.target.objects[KEY]
    assert there.attributes == ATTRIBUTES
    assert there.options == OPTIONS
    assert there.data == pattern(SIZES[kind])
    assert outcome.notes == ()


def test_c19_a_resumed_upload_has_them_too() -> None:
    """What Create was told stays with the upload over a kill."""
    world = World()
    world.seed(pattern(45), attributes=ATTRIBUTES)
    world.plan()
    assert world.run_killed(CONFIG, when("UploadPart", after=True))
    assert world.held_parts()
    assert world.run_one().kept_parts > 0
    assert world.target.objects[KEY].attributes == ATTRIBUTES


def test_c19_tags_that_the_target_has_not_are_reported(kind: str) -> None:
    """A target without tags gets the object, and the report says what it lacks."""
    world = World(target=replace(AMAZON_S3, tags=False))
    world.seed(pattern(SIZES[kind]), attributes=ATTRIBUTES)
    world.plan()
    outcome = world.run_one()
    assert "2 tags not carried: the target has none" in outcome.notes
    assert world.target.objects[KEY].attributes == replace(ATTRIBUTES, tags={})


@pytest.mark.parametrize("asked", ["aws:kms", "AES256"])
def test_c19_an_encryption_that_was_ignored_fails_for_good(kind: str, asked: str) -> None:
    """An object that lies there in the clear is no success, and no retry changes it."""
    world = planned(kind)

    def ignore(moment: Moment) -> None:
        if moment.is_("HeadObject"):
            there = world.target.objects[KEY]
            world.target.objects[KEY] = replace(there, options=WriteOptions())

    world.on_moment = ignore
    outcome = world.run_one(replace(CONFIG, options=WriteOptions(encryption=asked)))
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "NotEncryptedError")
    assert asked in str(outcome.error)
    assert not outcome.retryable


ARN = "arn:aws:kms:eu-central-1:111122223333:key/"


@pytest.mark.parametrize(
    ("asked", "found", "other"),
    [
        ("1-2", ARN + "1-2", False),
        (ARN + "1-2", ARN + "1-2", False),
        ("1-2", ARN + "1-3", True),
        (ARN + "1-2", ARN + "1-3", True),
        ("alias/mine", ARN + "1-3", False),
        ("1-2", None, False),
    ],
)
def test_c19_another_key_than_asked_for_is_reported(
    kind: str, asked: str, found: str | None, *, other: bool
) -> None:
    """Keys are compared as far as their names can be."""
    world = planned(kind)

    def rename(moment: Moment) -> None:
        if moment.is_("HeadObject"):
            there = world.target.objects[KEY]
            options = replace(there.options, kms_key_id=found)
            world.target.objects[KEY] = replace(there, options=options)

    world.on_moment = rename
    options = WriteOptions(encryption="aws:kms", kms_key_id=asked)
    outcome = world.run_one(replace(CONFIG, options=options))
    assert outcome.status is Status.COPIED
    assert [note for note in outcome.notes if "encryption key" in note] == (
        [f"encryption key {asked} is {found}"] if other else []
    )


OTHER_OPTIONS = [
    WriteOptions(encryption="aws:kms", kms_key_id="old-key"),
    WriteOptions(encryption="AES256"),
    WriteOptions(storage_class="STANDARD_IA", encryption="aws:kms", kms_key_id="new-key"),
]


@pytest.mark.parametrize("before", OTHER_OPTIONS)
def test_c19_an_upload_begun_with_other_options_is_not_resumed(before: WriteOptions) -> None:
    """Its encryption, key and class would stay: it is given up, and the reason is told."""
    world = planned("parts")
    assert world.run_killed(replace(CONFIG, options=before), when("UploadPart", after=True))
    assert world.held_parts()
    wanted = WriteOptions(encryption="aws:kms", kms_key_id="new-key")
    outcome = world.run_one(replace(CONFIG, options=wanted))
    assert outcome.kept_parts == 0
    assert any("storage class or encryption" in note for note in outcome.notes)
    assert world.target.objects[KEY].options == wanted
    assert world.target.uploads == {}


def test_c19_an_upload_begun_with_other_tags_is_not_resumed() -> None:
    """Tags change without another ETag."""
    world = World()
    world.seed(pattern(45), attributes=ContentAttributes(tags={"a": "1"}))
    world.plan()
    assert world.run_killed(CONFIG, when("UploadPart", after=True))
    there = world.source.objects[KEY]
    now = ContentAttributes(tags={"a": "2"})
    world.source.objects[KEY] = replace(there, attributes=now)
    world.run_one()
    assert world.target.objects[KEY].attributes == now


def test_c19_an_upload_completed_with_other_options_is_reported() -> None:
    """Completed before the kill, it cannot be begun anew: the report says what it lacks."""
    world = planned("parts")
    before = replace(CONFIG, options=WriteOptions(encryption="aws:kms", kms_key_id="old-key"))
    assert world.run_killed(before, when("CompleteMultipartUpload", after=True))
    wanted = WriteOptions(encryption="aws:kms", kms_key_id="new-key")
    outcome = world.run_one(replace(CONFIG, options=wanted))
    assert "encryption key new-key is old-key" in outcome.notes


def test_c19_what_the_target_dropped_silently_is_reported(kind: str) -> None:
    """A service that forgets attributes without a word is found out."""
    world = World()
    world.seed(pattern(SIZES[kind]), attributes=ATTRIBUTES)
    world.plan()

    def forget(moment: Moment) -> None:
        if moment.is_("HeadObject") and KEY in world.target.objects:
            there = world.target.objects[KEY]
            world.target.objects[KEY] = replace(
                there, attributes=ContentAttributes(), options=WriteOptions(encryption="aws:kms")
            )

    world.on_moment = forget
    outcome = world.run_one(replace(CONFIG, options=OPTIONS))
    text = " ".join(outcome.notes)
    assert outcome.status in LANDED
    for word in ("content_type", "expires", "metadata", "tags", "storage class"):
        assert word in text


SAME_ENDS = [(5, 7, 6), (6, 6, 6), (6, 5, 6), (7, 5, 6), (6, 7, 5), (6, 6, 5), (18,), (1, 1, 16)]


@pytest.mark.parametrize("sizes", SAME_ENDS, ids=str)
@pytest.mark.parametrize("adds", [True, False], ids=["checksum", "no-checksum"])
def test_c19a_whatever_the_layout_no_false_alarm(sizes: tuple[int, ...], *, adds: bool) -> None:
    """Sound objects of any part layout land; inferred wrongly, the ETag proves nothing."""
    world = World(source_traits=MemoryTraits(adds_checksum=adds, read_size=7))
    world.seed(pattern(sum(sizes)), parts=sizes)
    world.plan()
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert world.target.data(KEY) == pattern(sum(sizes))
    same = world.target.objects[KEY].etag == world.source.objects[KEY].etag
    assert (outcome.proof is Proof.ETAG) == same
    if not same:
        assert outcome.proof is (Proof.CHECKSUM if adds else Proof.PARTS)
    assert same or sizes in {(6, 5, 6), (7, 5, 6), (6, 7, 5)}


def test_c19a_a_flip_in_an_exactly_known_odd_layout_is_corruption() -> None:
    """Parts of 5, 7 and 6 are asked for one by one; then another ETag is an alarm."""
    world = World(source_traits=PLAIN)
    world.seed(pattern(18), parts=(5, 7, 6))
    world.seed_old_target()
    world.plan()
    world.source.in_transit = flip("GetObject", "once")
    outcome: Outcome = world.run_one()
    assert outcome.error_kind == "VerificationError"
    assert world.target.data(KEY) == OLD


@pytest.mark.parametrize("asked", [True, False], ids=["asked-for", "bucket-default"])
@pytest.mark.parametrize("sizes", [(12, 12, 12, 9), (10, 10, 10, 10, 5), (5, 7, 6)], ids=str)
def test_c19a_under_kms_another_etag_is_no_corruption(
    sizes: tuple[int, ...], *, asked: bool
) -> None:
    """Part ETags are no MD5s there, whether the copy asked for it or the bucket does it."""
    traits = None if asked else MemoryTraits(encryption="aws:kms")
    world = World(source_traits=PLAIN, target_traits=traits)
    world.seed(pattern(sum(sizes)), parts=sizes)
    world.plan()
    options = WriteOptions(encryption="aws:kms") if asked else WriteOptions()
    outcome = world.run_one(replace(CONFIG, options=options))
    assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.PARTS)
    assert world.target.data(KEY) == pattern(sum(sizes))


@pytest.mark.parametrize("how", ["once", "changing"])
def test_c18_under_default_kms_a_flip_in_the_part_read_again_is_seen(how: str) -> None:
    """Bytes that do not come again are corruption, whatever the ETags are."""
    world = World(source_traits=PLAIN, target_traits=MemoryTraits(encryption="aws:kms"))
    world.seed(pattern(18), parts=(5, 7, 6))
    world.seed_old_target()
    world.plan()
    world.source.in_transit = flip("GetObject", how)
    assert world.run_one().error_kind == "VerificationError"
    assert world.target.data(KEY) == OLD


def test_c18_a_directory_that_holds_bytes_is_not_replaced_by_its_marker() -> None:
    """Its marker is written without a condition only over what has none."""
    world = World(target=replace(AMAZON_S3, folds_keys=True))
    world.seed(b"", key="d/")
    world.plan("d/")
    world.seed(b"somebody's", key="d/", store=world.target)
    result = world.run()
    assert [f.error_kind for f in result.failures] == ["TargetChangedError"]
    assert world.target.data("d/") == b"somebody's"


def bare_directory_world() -> World:
    """Return a world in which a directory is to have a marker, and is there without one."""
    # Its ETag is no MD5, as that of a directory is none.
    traits = MemoryTraits(encryption="aws:kms", adds_checksum=False)
    world = World(target=replace(AMAZON_S3, folds_keys=True), target_traits=traits)
    world.seed(b"", key="d/")
    world.plan("d/")
    world.seed(b"", key="d/", store=world.target)
    return world


def test_c08_a_directory_without_a_marker_gets_it() -> None:
    """The condition is dropped once it met a directory of no bytes."""
    world = bare_directory_world()
    outcome = world.run_one(key="d/")
    assert (outcome.status, outcome.unprotected) == (Status.COPIED, True)


def test_c18_a_source_that_has_bytes_by_now_is_no_marker() -> None:
    """What they would replace is another's, as of any object."""
    world = bare_directory_world()
    world.seed(b"bytes", key="d/")
    [failure] = world.run().failures
    assert failure.error_kind == "TargetChangedError"
    assert world.target.data("d/") == b""


def test_c16_a_marker_that_meets_its_directory_at_the_last_try_is_left_to_the_next_plan() -> None:
    """After answers that were lost: there is no try left to write it without a condition."""
    world = bare_directory_world()
    tries: list[Moment] = []

    def lose(moment: Moment) -> None:
        if moment.is_("PutObject") and moment.key == "d/":
            tries.append(moment)
            if len(tries) < 4:
                raise TransientStoreError("PutObject", "s3://to/d/", "connection reset")

    world.on_moment = lose
    [failure] = world.run().failures
    assert (failure.error_kind, len(tries)) == ("TargetChangedError", 4)
