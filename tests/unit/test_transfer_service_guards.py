"""Copies by a service: when it is not asked, what is no refusal, and what is no proof."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    InvalidInputError,
    ObjectArchivedError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.storage._memory_copying import MemoryCopying
from airflow_provider_s3resume.storage.base import Written
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.storage.server_side import server_side_of
from airflow_provider_s3resume.transfer import service_copy
from airflow_provider_s3resume.transfer.config import CopyConfig, ServerSideCopy
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from airflow_provider_s3resume.transfer.server_side import ServiceCopies
from tests.support.service_world import is_whole, relayed_bytes, report_of, service_world
from tests.support.transfer_world import CONFIG, KEY, Moment, no_waits, pattern

REQUIRE = dataclasses.replace(CONFIG, server_side_copy=ServerSideCopy.REQUIRE)
BARE = MemoryTraits(adds_checksum=False, ignores_checksums=True)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)
    monkeypatch.setattr(service_copy, "_FIRST_WAIT_S", 0.0001)


def refusing(operation: str, kind: type[StoreError]) -> Callable[[Moment], None]:
    """Return what refuses an operation of the target's."""

    def refuse(moment: Moment) -> None:
        if moment.is_(operation):
            raise kind(operation, f"s3://to/{moment.key}", f"{kind.__name__[:-5]} (HTTP 403): no")

    return refuse


def flip_copied(called: str, data: bytes) -> bytes:
    """Let one byte of a copy be another one."""
    return bytes([data[0] ^ 1, *data[1:]]) if called == "CopyObject" else data


# --- who is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["source", "target"])
def test_c19_objects_under_a_customers_key_are_relayed(side: str) -> None:
    """Copies take neither side's key; the report says why, and what has to be copied so fails."""
    keyed = dataclasses.replace(AMAZON_S3, customer_key="mark", md5_etags=False)
    world = service_world(source=keyed) if side == "source" else service_world(target=keyed)
    world.seed(pattern(5))
    world.plan()
    with pytest.raises(InvalidInputError, match=r"server_side_copy.*keys of the customer"):
        world.run(REQUIRE)
    assert world.run_one().status is Status.COPIED
    assert not [m for m in world.traffic.moments if m.side == "target" and "origin" in m.arguments]
    assert list(report_of(world).relayed_because) == [
        "objects are encrypted with keys of the customer"
    ]


@pytest.mark.parametrize("data", [pattern(5, seed=1), pattern(6)])
def test_c10_another_object_of_the_same_name_and_time_is_not_copied(data: bytes) -> None:
    """The bucket that the target's credentials see has other bytes, or more of them."""
    world = service_world()
    world.seed(pattern(5))
    at = world.source.objects[KEY].last_modified
    other = MemoryStore("from", service="memory://one", clock=lambda: at)
    world.seed(data, store=other)
    world.target.copies_from = {"from": other}
    world.plan()
    with pytest.raises(InvalidInputError, match="another bucket under the source's name"):
        world.run(REQUIRE)
    outcome = world.run_one()
    assert (outcome.by_service, world.target.data(KEY)) == (False, pattern(5))
    assert world.traffic.count("CopyObject") == 0


def test_c41_a_service_that_does_not_answer_this_time_is_not_called_unable() -> None:
    """Where it has to copy, another attempt may find it willing; else all is relayed."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()

    def fail(moment: Moment) -> None:
        if moment.is_("HeadObject") and "origin" in moment.arguments:
            raise TransientStoreError("HeadObject", "s3://from/k", "HTTP 503")

    world.on_moment = fail
    with pytest.raises(TransientStoreError, match="HTTP 503"):
        world.run(REQUIRE)
    assert relayed_bytes(world) == 0
    assert not world.run_one().by_service


def test_a_batch_whose_first_objects_are_gone_is_not_tried() -> None:
    """There is nothing to look at with both sides' credentials."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    del world.source.objects[KEY]
    assert world.run_one().status is Status.GONE
    assert list(report_of(world).relayed_because) == [
        "its first objects are not at the source any more"
    ]


def test_c20_no_more_reasons_are_kept_than_a_report_shows() -> None:
    """However many objects are refused, each for another one."""
    copies = ServiceCopies(server_side_of(service_world().target), "from")
    copies.copied()
    for number in range(50):
        copies.refused(AccessDeniedError("CopyObject", "s3://to/k", f"Denied{number}"))
    assert len(copies.reasons) == 10
    assert copies.calls is not None


# --- what is no refusal, and what is one --------------------------------------------------------


def test_a_refusal_that_is_about_neither_object_has_the_bytes_relayed() -> None:
    """The source is as it was planned, and so is the target: the service sees something else."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    world.on_moment = refusing("CopyObject", PreconditionFailedError)
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(5))
    assert (outcome.status, outcome.by_service) == (Status.COPIED, False)


@pytest.mark.parametrize("config", [CONFIG, REQUIRE], ids=["auto", "require"])
@pytest.mark.parametrize("parts", [(), (10, 10, 10)])
def test_c10_a_replaced_source_is_no_refusal(parts: tuple[int, ...], config: CopyConfig) -> None:
    """The copy starts over, and nothing is relayed for it."""
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
    outcome = world.run_one(config)
    assert is_whole(world, outcome, pattern(30, seed=1))
    assert outcome.by_service
    assert relayed_bytes(world) == 0
    assert report_of(world).relayed_because == {}


def test_an_upload_that_vanished_is_begun_anew_by_the_service() -> None:
    """That is an answer about the upload, and none about whether it copies."""
    world = service_world()
    world.seed(pattern(30), parts=(10, 10, 10))
    world.plan()
    asked: list[int] = []

    def abort(moment: Moment) -> None:
        if moment.is_("UploadPartCopy"):
            asked.append(1)
            if len(asked) == 2:
                world.target.uploads.clear()

    world.on_moment = abort
    first = world.run_one()
    outcome = world.run_one() if first.error else first
    assert is_whole(world, outcome, pattern(30))
    assert outcome.by_service
    assert relayed_bytes(world) == 0


def test_c41_an_archived_object_is_not_read_after_the_service_said_so() -> None:
    """No other way helps; the error is the service's own."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    world.on_moment = refusing("CopyObject", ObjectArchivedError)
    [failure] = world.run().failures
    assert (failure.error_kind, failure.retryable) == ("ObjectArchivedError", False)
    assert relayed_bytes(world) == 0


@pytest.mark.parametrize("kind", [ThrottledError, CredentialsExpiredError, RangeMismatchError])
def test_c41_what_another_attempt_may_get_is_no_refusal(kind: type[StoreError]) -> None:
    """The object has failed for now; nothing is relayed for it, nor for any other."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    world.on_moment = refusing("CopyObject", kind)
    [failure] = world.run().failures
    assert failure.retryable
    assert relayed_bytes(world) == 0
    assert report_of(world).relayed_because == {}


def test_c41_a_throttled_copy_is_not_looked_for() -> None:
    """It was refused, and repeated below as often as can help."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    world.on_moment = refusing("CopyObject", ThrottledError)
    world.run()
    assert world.traffic.count("CopyObject") == 1


def test_c16_a_copy_that_never_gets_an_answer_is_given_up_after_a_few_tries() -> None:
    """With the network's own error; the target was looked at each time."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    world.on_moment = refusing("CopyObject", TransientStoreError)
    [failure] = world.run().failures
    assert (failure.error_kind, failure.retryable) == ("TransientStoreError", True)
    assert world.traffic.count("CopyObject") == 4


def test_c16_a_copy_that_lands_late_is_this_tasks_own() -> None:
    """Its first answer was lost, nothing was there yet; the second try meets it."""
    world = service_world()
    world.seed(pattern(5))
    world.plan()
    asked: list[int] = []

    def late(moment: Moment) -> None:
        if moment.is_("CopyObject"):
            asked.append(1)
            if len(asked) == 1:
                raise TransientStoreError("CopyObject", "s3://to/k", "reset")
            if len(asked) == 2:
                world.seed(pattern(5), store=world.target)

    world.on_moment = late
    outcome = world.run_one()
    assert (outcome.status, outcome.by_service) == (Status.COPIED, True)


def test_c18_a_refusal_because_of_the_source_proves_no_condition_on_the_target() -> None:
    """The second copy, which tries the condition, met a source that was replaced meanwhile.

    So nothing is known, and the next object's copy is tried again.
    """
    world = service_world(target_traits=MemoryTraits(ignores_copy_conditions=True))
    for key in ("a", "b"):
        world.seed(pattern(5), key=key)
    world.plan("a", "b")
    asked: list[str] = []

    def replace(moment: Moment) -> None:
        if moment.is_("CopyObject"):
            asked.append(moment.key)
            if len(asked) == 2:
                world.seed(pattern(5, seed=1), key=moment.key)

    world.on_moment = replace
    world.run().raise_for_failures()
    assert asked == ["a", "a", "b", "b"]
    assert [world.outcome(key).unprotected for key in "ab"] == [True, True]
    assert world.target.data("a") == pattern(5)


# --- proofs -------------------------------------------------------------------------------------


def test_c18_a_wrong_copy_is_found_by_its_etag_where_nothing_else_can_be_compared() -> None:
    """Both ETags are MD5s, and they differ: that is no word of the service's to be taken."""
    world = service_world(source_traits=BARE, target_traits=BARE)
    world.seed(pattern(5))
    world.plan()
    world.target.in_transit = flip_copied
    [failure] = world.run().failures
    assert failure.error_kind == "VerificationError"


def test_c18_a_wrong_copy_is_found_by_its_checksum_where_etags_are_no_md5s() -> None:
    """The service itself shows two checksums."""
    world = service_world(target_traits=MemoryTraits(encryption="aws:kms"))
    world.seed(pattern(5))
    world.plan()
    world.target.in_transit = flip_copied
    [failure] = world.run().failures
    assert failure.error_kind == "VerificationError"
    assert "full-object checksum" in str(failure.error)


def test_c18_a_parts_checksum_of_another_kind_is_not_taken_for_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service may show more than the upload was begun with."""
    inner = MemoryCopying.copy_part

    def with_another(*given: Any) -> Written:
        written = inner(*given)
        other = Checksum(algorithm=ChecksumAlgorithm.CRC32C, value="AAAAAA==", full_object=True)
        return dataclasses.replace(written, checksums=(other, *written.checksums))

    monkeypatch.setattr(MemoryCopying, "copy_part", with_another)
    world = service_world()
    world.seed(pattern(20), parts=(12, 8))
    world.plan()
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(20))
    assert outcome.by_service


def test_c19a_etags_that_are_no_md5s_are_no_corruption_here_either() -> None:
    """The target says that its are none; no more is claimed than the service's word."""
    opaque = dataclasses.replace(AMAZON_S3, md5_etags=False)
    world = service_world(target=opaque, source_traits=BARE, target_traits=BARE)
    world.seed(pattern(5))
    world.plan()
    outcome = world.run_one()
    assert is_whole(world, outcome, pattern(5))
    assert (outcome.by_service, outcome.proof) == (True, Proof.SERVICE)
