"""Objects that are written while they are read: what holds of them, and what leaves them to RAM."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CopyStoppedError,
    CredentialsExpiredError,
    DigestRejectedError,
    ObjectNotFoundError,
    StoreError,
    ThrottledError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ContentAttributes, SourceIdentity
from airflow_provider_s3resume.storage.base import (
    Capabilities,
    Condition,
    NewUpload,
    PartBody,
    SupportsRead,
    WriteOptions,
    Written,
)
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import RetryPolicy
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import batch, pool, reading, streamed
from airflow_provider_s3resume.transfer.config import CopyConfig, OnUnsupportedAttribute
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import LANDED, Proof, Status
from airflow_provider_s3resume.transfer.pool import MemoryBudget
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.transfer_world import CONFIG, KEY, OLD, Moment, World, no_waits, pattern

STEP, BUFFER, SIZE = 8, 16, 100
DATA = pattern(SIZE)
WHOLE = replace(CONFIG, multipart_threshold=1000, part_size=1000)
CRC = ChecksumAlgorithm.CRC64NVME
MOST_MOMENTS = 200
Act = Callable[["Target", SupportsRead], None]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let objects of a few bytes be large."""
    no_waits(monkeypatch)
    monkeypatch.setattr(streamed, "READ_STEP", STEP)
    monkeypatch.setattr(streamed, "STREAM_BUFFER", BUFFER)


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MemoryBudget]]:
    """Give the budgets that are made."""
    made: list[MemoryBudget] = []

    def make(total: int) -> MemoryBudget:
        made.append(MemoryBudget(total))
        return made[-1]

    monkeypatch.setattr(batch, "MemoryBudget", make)
    yield made
    assert all(budget._used == 0 for budget in made)


def nothing(_target: Target, _body: SupportsRead) -> None:
    """Let it be."""


class Target(MemoryStore):
    """A target that tells how it was written to, and that can break in the middle of that."""

    writes: list[str]
    asked: dict[str, Any]
    before: Act
    """What is done when a streamed body is there, and nothing of it was read."""

    answered: Callable[[Written], Written]
    """What becomes of the answer to a streamed write."""

    def watch(self) -> None:
        """Begin to tell."""
        self.writes, self.asked = [], {}
        self.before, self.answered = nothing, lambda written: written

    def put_object(
        self,
        key: str,
        body: PartBody,
        *,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None = None,
        content_md5: str | None = None,
    ) -> Written:
        """Write what is held, or what a stream has brought."""
        if checksum is not None or content_md5 is None:
            self.writes.append("held")
        return super().put_object(
            key,
            body,
            upload=upload,
            checksum=checksum,
            condition=condition,
            content_md5=content_md5,
        )

    def put_object_stream(
        self,
        key: str,
        body: SupportsRead,
        length: int,
        *,
        upload: NewUpload,
        content_md5: str,
        condition: Condition | None = None,
    ) -> Written:
        """Write what is read meanwhile."""
        self.writes.append("streamed")
        self.asked = {"length": length, "content_md5": content_md5, "condition": condition}
        self.before(self, body)
        written = super().put_object_stream(
            key, body, length, upload=upload, content_md5=content_md5, condition=condition
        )
        return self.answered(written)


def world_of(
    *, old: bool = False, data: bytes = DATA, plan: bool = True, **given: Any
) -> tuple[World, Target]:
    """Return a world with an object to copy, and its target."""
    attributes, options = given.pop("attributes", None), given.pop("options", None)
    parts, algorithm = given.pop("parts", ()), given.pop("algorithm", None)
    traits = MemoryTraits(read_size=7, adds_checksum=False)
    world = World(**{"source_traits": traits, **given})
    world.target.__class__ = Target
    target: Any = world.target
    target.watch()
    world.seed(data, attributes=attributes, options=options, parts=parts, algorithm=algorithm)
    if old:
        world.seed_old_target()
        target.watch()
    if plan:
        world.plan()
    return world, target


def raising(kind: type[StoreError], *, read: int | None = None) -> Act:
    """Return what breaks a write, after so many bytes of its body."""

    def act(_target: Target, body: SupportsRead) -> None:
        if read is not None:
            body.read(read)
        raise kind("PutObject", "s3://to/k", "as it was told to")

    return act


def losing(kind: type[StoreError]) -> Callable[[Written], Written]:
    """Return what loses an answer."""

    def answered(_written: Written) -> Written:
        raise kind("PutObject", "s3://to/k", "the answer was lost")

    return answered


# --- what is written so, and how ----------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True])
def test_c18_an_object_is_written_while_it_is_read(*, old: bool) -> None:
    """One GET and one conditional PUT that names the source's MD5; nothing else is asked."""
    world, target = world_of(old=old)
    seen = target.objects[KEY].etag if old else None
    outcome = world.run_one(WHOLE)
    md5 = hashlib.md5(DATA, usedforsecurity=False)
    assert target.asked == {
        "length": SIZE,
        "content_md5": base64.b64encode(md5.digest()).decode(),
        "condition": Condition(etag=seen) if old else Condition(absent=True),
    }
    assert target.writes == ["streamed"]
    assert target.data(KEY) == DATA
    assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.ETAG)
    assert (outcome.sent_parts, outcome.bytes_moved) == (1, SIZE)
    assert (outcome.unprotected, outcome.notes) == (False, ())
    assert outcome.target_etag == md5.hexdigest()
    counts = [world.traffic.count(name, side="source") for name in ("GetObject", "HeadObject")]
    assert counts == [1, 0]
    assert world.traffic.count("HeadObject") == 0


def test_c18_without_conditional_writes_the_report_says_unprotected() -> None:
    """The object is streamed all the same."""
    world, target = world_of(target=replace(AMAZON_S3, conditional_put=False))
    outcome = world.run_one(WHOLE)
    assert target.writes == ["streamed"]
    assert target.asked["condition"] is None
    assert outcome.unprotected


def test_c10_a_version_is_streamed_by_its_id() -> None:
    """What was planned is the version, whatever is there now."""
    world, target = world_of(plan=False)
    stored = world.source.objects[KEY]
    world.source.state.versions[KEY, "v1"] = stored
    identity = SourceIdentity(etag=stored.etag, size=SIZE, version_id="v1")
    source = reading.ExactSource(world.source, KEY, identity, StopSignal())
    world.seed(b"another object")
    breaking(world, 5)
    with source.streaming(memoryview(bytearray(STEP))) as (_, chunks):
        assert b"".join(map(bytes, chunks)) == DATA
    assert world.traffic.count("GetObject", side="source") == 2
    assert target.writes == []


ATTRIBUTES = ContentAttributes(
    content_type="text/x-odd",
    cache_control="max-age=3",
    expires="Thu, 01 Dec 2044 16:00:00 GMT",
    metadata={"made-by": "a test"},
)


def test_c19_what_goes_with_an_object_is_asked_for_and_looked_at() -> None:
    """Headers and metadata are there; what was asked for beside a type costs one HEAD."""
    world, target = world_of(attributes=ATTRIBUTES)
    outcome = world.run_one(WHOLE)
    assert target.writes == ["streamed"]
    assert target.objects[KEY].attributes == ATTRIBUTES
    assert outcome.notes == ()
    assert world.traffic.count("HeadObject") == 1


def lose_metadata(world: World) -> None:
    """Let the target forget what it was asked for."""

    def forget(moment: Moment) -> None:
        if moment.is_("PutObject", after=True):
            there = world.target.objects[KEY]
            world.target.objects[KEY] = replace(there, attributes=ContentAttributes())

    world.on_moment = forget


def test_c19_what_a_target_drops_is_a_note_or_an_error() -> None:
    """Never silence, and never a second write."""
    world, target = world_of(attributes=ATTRIBUTES)
    lose_metadata(world)
    outcome = world.run_one(WHOLE)
    assert outcome.status is Status.COPIED
    assert any("cache_control" in note for note in outcome.notes)
    assert any("metadata differs" in note for note in outcome.notes)
    world, target = world_of(attributes=ATTRIBUTES)
    lose_metadata(world)
    config = replace(WHOLE, on_unsupported_attribute=OnUnsupportedAttribute.FAIL)
    outcome = world.run_one(config)
    assert outcome.error_kind == "AttributesLostError"
    assert "the object is at the target without it" in str(outcome.error)
    assert target.writes == ["streamed"]


def test_c19_what_cannot_be_carried_fails_before_a_byte_is_written() -> None:
    """Tags that nobody may read, with a target that has none: judged first."""
    world, target = world_of(attributes=ATTRIBUTES)
    stored = world.source.objects[KEY]

    class Missing(MemoryStore):
        def open_range(self, *given: Any) -> Any:
            reader = super().open_range(*given)
            reader._info = replace(reader.info, missing_metadata=2)
            return reader

    assert stored.attributes == ATTRIBUTES
    world.source.__class__ = Missing
    config = replace(WHOLE, on_unsupported_attribute=OnUnsupportedAttribute.FAIL)
    outcome = world.run_one(config)
    assert outcome.error_kind == "AttributesLostError"
    assert "nothing was written" in str(outcome.error)
    assert target.writes == []


# --- what is held ------------------------------------------------------------------------------

HELD: dict[str, dict[str, Any]] = {
    "small": {"data": DATA[:STEP]},
    "target-streams-none": {"target": replace(AMAZON_S3, streams_objects=False)},
    "target-compares-no-md5": {"target": replace(AMAZON_S3, part_checksums=(CRC,))},
    "source-etags-are-no-md5s": {"source": replace(AMAZON_S3, md5_etags=False)},
    "source-in-parts": {"parts": (40, 60), "source": replace(AMAZON_S3, part_layout=False)},
}
OPENED: dict[str, dict[str, Any]] = {
    "source-has-a-checksum": {"source_traits": MemoryTraits(read_size=7)},
    "source-under-kms": {"options": WriteOptions(encryption="aws:kms")},
    "source-under-dsse": {"options": WriteOptions(encryption="aws:kms:dsse")},
    "source-has-tags": {"attributes": ContentAttributes(tags={"a": "b"})},
}


@pytest.mark.parametrize("case", HELD)
def test_c18_what_nobody_could_compare_is_held(case: str) -> None:
    """It is known before anything is opened: one GET."""
    world, target = world_of(**HELD[case])
    outcome = world.run_one(WHOLE)
    assert outcome.status is Status.COPIED, outcome.error
    assert target.writes == ["held"]
    assert world.traffic.count("GetObject", side="source") == 1


@pytest.mark.parametrize("case", OPENED)
def test_c18_what_turns_out_not_to_be_vouched_for_is_held_and_so_are_the_next(case: str) -> None:
    """One GET in vain in a whole task: its neighbours are mostly alike."""
    given = dict(OPENED[case])
    world, target = world_of(plan=False, **given)
    world.seed(
        pattern(SIZE, 1),
        key="other",
        attributes=given.get("attributes"),
        options=given.get("options"),
    )
    world.plan(KEY, "other")
    world.run(WHOLE)
    assert {world.outcome(key).status for key in (KEY, "other")} == {Status.COPIED}
    assert target.writes == ["held", "held"]
    assert world.traffic.count("GetObject", side="source") == 3
    assert (target.data(KEY), target.data("other")) == (DATA, pattern(SIZE, 1))


# --- what goes wrong at the target --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A write that ends in an error.

    :param heads: of the target, to find out what became of it.
    :param writes: what is tried in all.
    :param off: whether the next object is held at once.
    """

    act: Act
    heads: int = 0
    writes: tuple[str, ...] = ("streamed", "held")
    off: bool = False
    error: str | None = None


FAULTS = {
    "reset-at-once": Fault(act=raising(TransientStoreError), heads=1),
    "reset-in-the-body": Fault(act=raising(TransientStoreError, read=20), heads=1),
    "throttled": Fault(act=raising(ThrottledError, read=20)),
    "expired": Fault(act=raising(CredentialsExpiredError, read=20)),
    "not-found": Fault(act=raising(ObjectNotFoundError, read=20)),
    "refused-digest": Fault(act=raising(DigestRejectedError, read=SIZE), off=True),
    "cannot-stream": Fault(act=raising(UnsupportedError), off=True),
    "denied": Fault(
        act=raising(AccessDeniedError, read=20), writes=("streamed",), error="AccessDeniedError"
    ),
    "bad-request": Fault(
        act=raising(StoreError, read=20), writes=("streamed",), error="StoreError"
    ),
    "unsupported-by-its-answer": Fault(
        act=raising(UnsupportedError, read=SIZE), writes=("streamed",), error="UnsupportedError"
    ),
}


def _faulty(fault: Fault, *, conditional: bool) -> None:
    capabilities = replace(AMAZON_S3, conditional_put=conditional)
    world, target = world_of(old=True, target=capabilities, plan=False)
    world.seed(pattern(SIZE, 1), key="next")
    world.plan(KEY, "next")

    def once(store: Target, body: SupportsRead) -> None:
        store.before = nothing
        fault.act(store, body)

    target.before = once
    world.run(WHOLE)
    outcome = world.outcome()
    assert outcome.error_kind == fault.error
    assert target.data(KEY) == (OLD if fault.error else DATA)
    assert target.writes == [*fault.writes, "held" if fault.off else "streamed"]
    assert world.traffic.count("HeadObject", key=KEY) == fault.heads
    assert world.outcome("next").status is Status.COPIED
    if not fault.error:
        assert (outcome.status, outcome.unprotected) == (Status.COPIED, not conditional)
        assert (outcome.sent_parts, outcome.bytes_moved) == (1, SIZE)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.usefixtures("budgets")
def test_c16_c41_what_ends_a_streamed_write(name: str, *, conditional: bool) -> None:
    """Another try is made where it can help, and it is looked first where it may have landed."""
    _faulty(FAULTS[name], conditional=conditional)


@pytest.mark.parametrize("healed_at", [None, 3])
def test_a_target_that_breaks_streams_is_given_no_more_of_them(healed_at: int | None) -> None:
    """Five in a row say so, and four before one that landed do not."""
    world, target = world_of(plan=False)
    keys = [f"k{number}" for number in range(9)]
    for key in keys:
        world.seed(DATA, key=key)
    world.plan(*keys)
    left = [number != healed_at for number in range(len(keys))]

    def breaking(store: Target, body: SupportsRead) -> None:
        if left.pop(0):
            raising(TransientStoreError, read=20)(store, body)

    target.before = breaking
    assert world.run(replace(WHOLE, object_concurrency=1)).counts == {"copied": len(keys)}
    assert target.writes.count("streamed") == (5 if healed_at is None else 9)


@pytest.mark.parametrize("conditional", [True, False])
def test_c16_a_write_whose_answer_was_lost_is_found_and_not_sent_again(
    *, conditional: bool
) -> None:
    """It is copied, by one request."""
    capabilities = replace(AMAZON_S3, conditional_put=conditional)
    world, target = world_of(old=True, target=capabilities)
    target.answered = losing(TransientStoreError)
    outcome = world.run_one(WHOLE)
    assert target.writes == ["streamed"]
    assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.ETAG)
    assert outcome.unprotected is not conditional
    assert target.data(KEY) == DATA


@pytest.mark.parametrize("landed", [True, False])
def test_c16_a_success_without_an_etag_is_looked_at(*, landed: bool) -> None:
    """A portal answers so, and then nothing was written."""
    world, target = world_of(old=True)

    def answered(_written: Written) -> Written:
        if not landed:
            world.seed_old_target()
        return Written(etag=None)

    target.answered = answered
    outcome = world.run_one(WHOLE)
    assert outcome.status is Status.COPIED
    assert [w for w in target.writes if w == "streamed"] == ["streamed"]
    assert target.data(KEY) == DATA
    assert world.traffic.count("HeadObject") >= 1


def test_c15_what_another_worker_wrote_is_already_there() -> None:
    """The condition does not hold, and the bytes there are the right ones."""
    world, target = world_of()
    target.before = lambda store, _body: world.seed(DATA, store=store)
    outcome = world.run_one(WHOLE)
    assert outcome.status is Status.ALREADY_THERE
    assert outcome.bytes_moved == 0


def test_c18_what_somebody_else_wrote_is_not_replaced() -> None:
    """The plan did not see it."""
    world, target = world_of(old=True)
    target.before = lambda store, _body: world.seed(b"somebody's", store=store)
    outcome = world.run_one(WHOLE)
    assert outcome.error_kind == "TargetChangedError"
    assert target.data(KEY) == b"somebody's"


def test_c41_expired_credentials_are_renewed_and_the_copy_goes_on() -> None:
    """A streamed body cannot be sent again, so the layers renew them for the held one."""
    world, target = world_of()
    valid: list[bool] = []

    def check(store: Target, body: SupportsRead) -> None:
        raising(CredentialsExpiredError, read=20)(store, body)

    def refuse(moment: Moment) -> None:
        if moment.is_("PutObject") and not valid:
            raise CredentialsExpiredError("PutObject", "s3://to/k", "ExpiredToken")

    target.before, world.on_moment = check, refuse
    store = build_store(
        target, retry=RetryPolicy(attempts=2, base_s=0), refresh=lambda: valid.append(True)
    )
    assert world.ref is not None
    result = batch.copy_batch(
        world.source,
        store,
        world.state,
        world.ref,
        WHOLE,
        stop=StopSignal(),
        now=1_000_000.0,
    )
    assert result.counts == {"copied": 1}
    assert valid == [True]
    assert target.data(KEY) == DATA


# --- what goes wrong at the source --------------------------------------------------------------


def breaking(world: World, *at: int) -> None:
    """Break the source's connections at these reads, counted over all of them."""
    reads = [0]

    def hook(moment: Moment) -> None:
        if moment.is_("Read", side="source"):
            reads[0] += 1
            if reads[0] in at:
                raise TransientStoreError("GetObject", "s3://from/k", "reset")

    world.on_moment = hook


@pytest.mark.parametrize("at", [(1,), (4,), (4, 6, 9)])
def test_c10_a_broken_source_connection_goes_on_within_the_same_write(at: tuple[int, ...]) -> None:
    """Every further connection asks for the same object from where the last one ended."""
    world, target = world_of()
    breaking(world, *at)
    outcome = world.run_one(WHOLE)
    assert outcome.status is Status.COPIED
    assert target.writes == ["streamed"]
    assert target.data(KEY) == DATA
    assert world.traffic.count("GetObject", side="source") == 1 + len(at)


def test_c10_the_broken_connection_is_closed_before_another_one_is_opened() -> None:
    """A source that grants few connections is not asked for two."""
    world, target = world_of()
    opened: list[Any] = []
    busy: list[int] = []

    class Counting(MemoryStore):
        def open_range(self, *given: Any) -> Any:
            busy.append(sum(not one._broken for one in opened))
            opened.append(super().open_range(*given))
            return opened[-1]

    world.source.__class__ = Counting
    breaking(world, 4, 6)
    assert world.run_one(WHOLE).status is Status.COPIED
    assert target.writes == ["streamed"]
    assert busy == [0, 0, 0]


@pytest.mark.usefixtures("budgets")
def test_c10_a_source_replaced_in_the_middle_starts_over() -> None:
    """No byte of the old one is at the target, which is not touched before."""
    world, target = world_of(old=True)
    new = pattern(SIZE, 5)
    held: list[bytes] = []

    def replace_source(store: Target, body: SupportsRead) -> None:
        store.before = nothing
        body.read(20)
        world.seed(new)
        breaking(world, 1)
        with pytest.raises(StoreError):
            while body.read(STEP):
                held.append(store.data(KEY))
        raise TransientStoreError("PutObject", "s3://to/k", "an SDK's own words")

    target.before = replace_source
    outcome = world.run_one(WHOLE)
    assert outcome.status is Status.COPIED
    assert outcome.notes == ("the source was replaced since the plan",)
    assert target.data(KEY) == new
    assert set(held) <= {OLD}
    # The change was seen once: nothing is read again to find it out.
    assert target.writes == ["streamed", "streamed"]
    assert world.traffic.count("GetObject", side="source") == 3


@pytest.mark.usefixtures("budgets")
def test_c16_a_source_that_keeps_breaking_fails_the_object_as_it_is() -> None:
    """It is not taken for the target's fault, and not read all over again."""
    world, target = world_of(old=True)
    breaking(world, *range(4, 100))
    outcome = world.run_one(WHOLE)
    assert (outcome.error_kind, outcome.retryable) == ("TransientStoreError", True)
    assert "GetObject" in str(outcome.error)
    assert target.writes == ["streamed"]
    assert world.traffic.count("GetObject", side="source") == 2 + reading.BREAKS_ALLOWED
    assert target.data(KEY) == OLD


def flipping(times: int) -> Callable[[str, bytes], bytes]:
    """Return what flips a bit in so many reads."""
    left = [times]

    def flip(operation: str, data: bytes) -> bytes:
        if operation != "GetObject" or left[0] == 0 or len(data) != SIZE:
            return data
        left[0] -= 1
        return data[:30] + bytes([data[30] ^ 1]) + data[31:]

    return flip


@pytest.mark.usefixtures("budgets")
def test_c18_a_bit_flipped_on_the_way_is_refused_and_read_again() -> None:
    """The service compares what arrives with the source's own MD5, and stores nothing else."""
    world, target = world_of(old=True)
    seen: list[bytes] = []
    world.source.in_transit = flipping(1)
    world.on_moment = lambda m: (
        seen.append(target.data(KEY)) if m.is_("PutObject", after=True) else None
    )
    outcome = world.run_one(WHOLE)
    assert outcome.status is Status.COPIED
    assert target.writes == ["streamed", "held"]
    assert seen == [OLD, DATA]


def test_c18_bits_that_always_flip_fail_the_object() -> None:
    """The old one stays."""
    world, target = world_of(old=True)
    world.source.in_transit = flipping(100)
    outcome = world.run_one(WHOLE)
    assert outcome.error_kind == "VerificationError"
    assert target.data(KEY) == OLD


def test_c18_a_service_that_ignores_content_md5_is_found_out_by_its_etag() -> None:
    """It stores anything; that is never called a copy."""
    traits = MemoryTraits(ignores_checksums=True, adds_checksum=False)
    world, target = world_of(target_traits=traits)
    world.source.in_transit = flipping(1)
    outcome = world.run_one(WHOLE)
    assert outcome.error_kind == "VerificationError"
    assert "is not the MD5 of what was sent" in str(outcome.error)
    assert target.writes == ["streamed"]


def answered_with(**changed: Any) -> tuple[World, Target]:
    """Return a world whose target answers something else to a streamed write."""
    world, target = world_of()
    target.answered = lambda written: replace(written, **changed)
    return world, target


def test_c18_a_shown_checksum_of_other_bytes_is_none_of_a_copy() -> None:
    """Though the ETag may be right."""
    other = Checksum(algorithm=CRC, value="AAAAAAAAAAA=", full_object=True)
    world, _ = answered_with(checksums=(other,))
    outcome = world.run_one(WHOLE)
    assert outcome.error_kind == "VerificationError"
    assert "has other bytes" in str(outcome.error)


def test_c18_an_etag_that_is_no_md5_proves_by_what_the_service_compared() -> None:
    """With the answer's word for it, with a HEAD's, and with the connection's."""
    world, _ = answered_with(etag="f" * 32, encryption="aws:kms")
    outcome = world.run_one(WHOLE)
    assert (outcome.proof, outcome.target_etag) == (Proof.PARTS, "f" * 32)
    assert world.traffic.count("HeadObject") == 0

    world, target = answered_with(etag="f" * 32)
    encrypted = WriteOptions(encryption="aws:kms")
    world.on_moment = lambda m: (
        target.objects.__setitem__(KEY, replace(target.objects[KEY], options=encrypted))
        if m.is_("PutObject", after=True)
        else None
    )
    outcome = world.run_one(WHOLE)
    assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.PARTS)
    assert world.traffic.count("HeadObject") == 1

    world, target = world_of(target=replace(AMAZON_S3, md5_etags=False))
    target.answered = lambda written: replace(written, etag="f" * 32)
    assert world.run_one(WHOLE).proof is Proof.PARTS
    assert world.traffic.count("HeadObject") == 0

    world, _ = answered_with(etag="f" * 30 + "-2")
    assert world.run_one(WHOLE).proof is Proof.PARTS


def test_c18_a_target_that_takes_nothing_but_md5s_is_streamed_to() -> None:
    """No other checksum is computed for it."""
    only = replace(AMAZON_S3, part_checksums=(ChecksumAlgorithm.MD5,), full_object_checksum=False)
    world, target = world_of(target=only)
    outcome = world.run_one(WHOLE)
    assert target.writes == ["streamed"]
    assert outcome.proof is Proof.ETAG


# --- stops, kills, memory -----------------------------------------------------------------------


@pytest.mark.parametrize("end", ["seen-by-the-body", "wrapped", "refused"])
def test_c17_a_stop_in_the_middle_ends_it_at_once(budgets: list[MemoryBudget], end: str) -> None:
    """Nothing is at the target, nothing is sent again, and the memory is given back."""
    world, target = world_of(old=True)
    stop = StopSignal()

    def halt(_store: Target, body: SupportsRead) -> None:
        body.read(20)
        stop.stop("SIGTERM")
        if end == "refused":
            raise AccessDeniedError("PutObject", "s3://to/k", "a connection that was shut down")
        if end == "wrapped":
            with suppress(CopyStoppedError):
                while body.read(STEP):
                    pass
            raise TransientStoreError("PutObject", "s3://to/k", "an SDK's own words")

    target.before = halt
    assert world.ref is not None
    with pytest.raises(CopyStoppedError, match="SIGTERM"):
        world.run(WHOLE, stop=stop)
    assert target.writes == ["streamed"]
    assert target.data(KEY) == OLD
    assert len(budgets) == 1
    # What fails because everything stops is no failure of the object.
    assert load_outcomes(world.state, world.ref.manifest, world.ref.index) in (None, [])
    target.before = nothing
    world.plan()
    assert world.run_one(WHOLE).status is Status.COPIED


@pytest.mark.parametrize("old", [False, True])
def test_c17_killed_at_any_moment_the_next_attempt_lands_it(*, old: bool) -> None:
    """Before and after every single call; a write that took effect is not made again."""
    for moment in range(MOST_MOMENTS):
        world, target = world_of(old=old)
        if not world.run_killed(WHOLE, moment):
            break
        there = KEY in target.objects and target.data(KEY) == DATA
        target.writes.clear()
        outcome = world.run_one(WHOLE)
        assert outcome.status in LANDED, (moment, outcome.error)
        assert target.data(KEY) == DATA
        # An attempt that has no outcome of it asks by a write whose condition does not hold.
        assert not there or outcome.bytes_moved in {0, SIZE}
    else:
        raise AssertionError("there were more moments than that")
    assert moment > 10


def test_c20_an_object_takes_a_buffer_of_the_budget(budgets: list[MemoryBudget]) -> None:
    """However large it is."""
    world, target = world_of()
    assert world.run_one(WHOLE).status is Status.COPIED
    assert target.writes == ["streamed"]
    assert [budget.peak for budget in budgets] == [BUFFER]


@pytest.mark.parametrize("kind", [TransientStoreError, ThrottledError, DigestRejectedError])
def test_c20_a_write_that_is_given_up_lets_go_of_its_buffer(
    kind: type[StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looked at the bytes when it broke keeps none while the object is held."""
    emptied: list[bytearray] = []
    clear = pool.empty

    def empty(data: bytearray) -> None:
        clear(data)
        emptied.append(data)

    monkeypatch.setattr(pool, "empty", empty)
    world, target = world_of()

    def breaks(_store: Target, body: Any) -> None:
        pieces = body.pieces()
        piece = next(pieces)
        error = kind("PutObject", "s3://to/k", f"broke after {len(piece)} bytes")
        early = error  # A frame that refers to its own error waits for the garbage collector.
        raise early

    target.before = breaks
    lengths: list[int] = []
    world.on_moment = lambda m: (
        lengths.extend(map(len, emptied)) if m.is_("PutObject") and emptied else None
    )
    assert world.run_one(WHOLE).status is Status.COPIED
    assert target.writes == ["streamed", "held"]
    assert lengths == [0]


def test_the_capability_is_asked_for_and_not_the_service() -> None:
    """Nothing streams unless it says so."""
    assert not Capabilities().streams_objects
    store = MemoryStore(capabilities=replace(AMAZON_S3, streams_objects=False))

    class Body:
        def read(self, _size: int = -1, /) -> bytes:
            raise AssertionError("it was read")

    with pytest.raises(UnsupportedError):
        store.put_object_stream("k", Body(), 1, upload=NewUpload(), content_md5="")
    assert CopyConfig().multipart_threshold > reading.READ_STEP
