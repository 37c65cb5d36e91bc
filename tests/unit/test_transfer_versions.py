"""Copies of a version that was chosen, and what becomes of versions that are not there."""

from __future__ import annotations

import dataclasses
import time

import pytest

from airflow_provider_s3resume.exceptions import (
    BucketNotFoundError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
)
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.oss_world import OSSWorld
from tests.support.service_world import service_world, verification_of
from tests.support.transfer_world import CONFIG, KEY, NOW, OLD, TINY, Moment, World, pattern

SMALL, LARGE = 5, 45


def planned(world: World, size: int, version: str = "v1") -> World:
    """Plan to copy an older version; the newest one has other bytes."""
    world.seed(pattern(size))
    world.source.state.versions[KEY, "v1"] = world.source.objects[KEY]
    world.seed(pattern(size, seed=9))
    _, manifest = pairs_manifest(
        world.source,
        world.target,
        world.state,
        [(KEY, KEY)],
        "run",
        now=NOW,
        versions={KEY: version},
    )
    world.ref = manifest.batches[0]
    world.forget_traffic()
    return world


def delete_version(world: World) -> None:
    """Delete the version that was chosen."""
    world.source.state.versions.clear()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_chosen_version_is_copied_and_not_the_newest(size: int) -> None:
    """In one request and in parts; the newest may be replaced all the while."""
    world = planned(World(), size)

    def replace(moment: Moment) -> None:
        if moment.is_("GetObject", side="source", after=True):
            world.seed(pattern(size, seed=moment.number + 20))

    world.on_moment = replace
    assert world.run_one().status is Status.COPIED
    assert world.target.data(KEY) == pattern(size)


def test_the_service_copies_the_chosen_version() -> None:
    """The copy names it, and the newest one is not asked for."""
    world = planned(service_world(), SMALL)
    outcome = world.run_one()
    assert (outcome.by_service, outcome.status) == (True, Status.COPIED)
    assert world.target.data(KEY) == pattern(SMALL)


def test_a_version_is_verified_against_itself() -> None:
    """The newest one has another checksum, which says nothing."""
    world = planned(World(target_traits=MemoryTraits(encryption="aws:kms")), SMALL)
    assert world.run_one().proof is Proof.CHECKSUM
    assert dict(verification_of(world).proofs) == {"checksum": 1}


def test_a_version_that_does_not_exist_is_refused_by_name() -> None:
    """At plan time, with the key and the version; nothing is written."""
    world = World()
    with pytest.raises(ObjectNotFoundError, match=rf"from/{KEY}: version 'v9': NoSuchVersion"):
        planned(world, SMALL, version="v9")
    assert not world.target.objects


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_version_that_was_deleted_since_the_plan_is_gone(size: int) -> None:
    """Named as such, and no fault of the network; the newest one is not taken for it."""
    world = planned(World(), size)
    delete_version(world)
    outcome = world.run_one()
    assert outcome.status is Status.GONE
    assert outcome.notes == ("the source version was deleted since the plan",)
    assert not world.target.objects


def test_a_version_that_is_deleted_in_the_middle_of_its_copy_is_gone() -> None:
    """Its upload is aborted, and the old target stays."""
    world = World()
    world.seed_old_target()
    planned(world, LARGE)

    def delete(moment: Moment) -> None:
        if moment.is_("UploadPart", after=True):
            delete_version(world)

    world.on_moment = delete
    assert world.run_one().status is Status.GONE
    assert world.target.data(KEY) == OLD
    assert not world.target.uploads


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject"])
def test_an_object_that_is_deleted_in_the_middle_of_its_copy_is_gone(operation: str) -> None:
    """Whichever call is the first to miss it."""
    world = World()
    world.seed(pattern(LARGE))
    world.plan()
    asked: list[int] = []

    def delete(moment: Moment) -> None:
        if moment.is_(operation, side="source"):
            asked.append(1)
            if len(asked) == (1 if operation == "HeadObject" else 3):
                world.on_moment = lambda _: None
                del world.source.objects[KEY]

    world.on_moment = delete
    outcome = world.run_one()
    assert outcome.status is Status.GONE
    assert outcome.notes == ("the source object was deleted since the plan",)
    assert not world.target.uploads


def test_c03_a_vanished_bucket_is_not_a_deleted_version() -> None:
    """HEAD answers 404 to both: the bucket itself is asked before a version is called gone."""
    world = planned(World(), SMALL)
    world.source.state.exists = False
    [failure] = world.run().failures
    assert failure.error_kind == "BucketNotFoundError"


def test_c10_the_null_version_may_be_replaced_and_is_not_mixed() -> None:
    """It is the one id that passes on to another object: the copy fails, and the target stays."""
    world = planned(World(), LARGE)

    def replace(moment: Moment) -> None:
        if moment.is_("UploadPart", after=True):
            other = dataclasses.replace(world.source.objects[KEY])
            world.source.state.versions[KEY, "v1"] = other

    world.on_moment = replace
    [failure] = world.run().failures
    assert failure.error_kind == "SourceChangedError"
    assert not world.target.objects


class OSSVersions:
    """A versioned key of OSS, and a batch that copies one version of it into a memory store."""

    def __init__(self, oss: OSSWorld) -> None:
        oss.server.state.create_bucket(oss.bucket, versioned=True)
        self.oss, self.source, self.target = oss, oss.store(), MemoryStore("to", limits=TINY)
        self.state = StateLocation(MemoryStore("state"))
        oss.put("k", b"first")
        self.first = self.source.head("k").version_id or ""
        oss.put("k", b"second")

    def delete(self, version_id: str | None = None) -> str:
        """Delete a version, or put a delete marker over all; return the marker's id."""
        bucket = self.oss.server.state.bucket(self.oss.bucket)
        marker = bucket.delete("k", version_id, int(time.time()))
        return marker.version_id if marker is not None else ""

    def plan(self, version_id: str | None) -> None:
        """Plan the copy."""
        versions = None if version_id is None else {"k": version_id}
        _, manifest = pairs_manifest(
            self.source, self.target, self.state, [("k", "k")], "run", now=NOW, versions=versions
        )
        self.ref = manifest.batches[0]

    def copy(self) -> Outcome:
        """Make an attempt at it."""
        copy_batch(
            self.source, self.target, self.state, self.ref, CONFIG, stop=StopSignal(), now=NOW
        )
        [outcome] = load_outcomes(self.state, self.ref.manifest, self.ref.index) or []
        return outcome


def test_a_version_of_oss_is_copied(oss: OSSWorld) -> None:
    """And not the newest one."""
    versions = OSSVersions(oss)
    versions.plan(versions.first)
    assert versions.copy().status is Status.COPIED
    assert versions.target.data("k") == b"first"


def test_versions_of_oss_that_are_not_there_are_refused_by_name(oss: OSSWorld) -> None:
    """A delete marker is none."""
    versions = OSSVersions(oss)
    marker = versions.delete()
    with pytest.raises(ObjectNotFoundError, match=rf"version '{marker}': .*delete marker"):
        versions.plan(marker)
    with pytest.raises(ObjectNotFoundError, match="delete marker"):
        versions.plan(None)


def test_a_version_of_oss_that_was_deleted_since_the_plan_is_gone(oss: OSSWorld) -> None:
    """The newest one is there all the same."""
    versions = OSSVersions(oss)
    versions.plan(versions.first)
    versions.delete(versions.first)
    outcome = versions.copy()
    assert outcome.status is Status.GONE
    assert outcome.notes == ("the source version was deleted since the plan",)


def test_an_object_of_oss_that_was_deleted_since_the_plan_is_gone(oss: OSSWorld) -> None:
    """Under a delete marker, too."""
    versions = OSSVersions(oss)
    versions.plan(None)
    versions.delete()
    assert versions.copy().status is Status.GONE


def tagged(size: int, of: str) -> tuple[bytes, ContentAttributes]:
    """Return bytes and attributes that tell one version from another."""
    return pattern(size, seed=ord(of)), ContentAttributes(tags={"of": of}, metadata={"of": of})


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_c19_the_tags_are_those_of_the_chosen_version(size: int) -> None:
    """Not those of the newest one, nor is the copy disturbed by its other ETag."""
    world = World()
    data, attributes = tagged(size, "a")
    world.seed(data, attributes=attributes)
    world.source.state.versions[KEY, "v1"] = world.source.objects[KEY]
    newest, others = tagged(size + 1, "b")
    world.seed(newest, attributes=others)
    pairs = [(KEY, KEY)]
    _, manifest = pairs_manifest(
        world.source, world.target, world.state, pairs, "run", now=NOW, versions={KEY: "v1"}
    )
    world.ref = manifest.batches[0]
    assert world.run_one().status is Status.COPIED
    assert world.target.data(KEY) == data
    assert world.target.objects[KEY].attributes == attributes


@pytest.mark.parametrize("operation", ["CopyObject", "UploadPartCopy"])
def test_c10_a_version_that_the_service_takes_for_another_is_relayed(operation: str) -> None:
    """The version itself is looked at: the newest one says nothing about it."""
    size = LARGE if operation == "UploadPartCopy" else SMALL
    limits = dataclasses.replace(TINY, max_single_put=30)
    world = planned(service_world(limits=limits), size)

    def refuse(moment: Moment) -> None:
        if moment.is_(operation):
            raise PreconditionFailedError(operation, "s3://to/k", "PreconditionFailed (HTTP 412)")

    world.on_moment = refuse
    outcome = world.run_one()
    assert (outcome.status, outcome.by_service) == (Status.COPIED, False)
    assert world.target.data(KEY) == pattern(size)


def missed(world: World, **answers: type[StoreError]) -> str | None:
    """Let operations on the source be answered so; return the kind of the failure."""

    def answer(moment: Moment) -> None:
        kind = answers.get(moment.operation)
        if kind is not None and moment.side == "source" and not moment.after:
            raise kind(moment.operation, "s3://from/k", "made to fail")

    world.on_moment = answer
    [failure] = world.run().failures
    return failure.error_kind


def test_c03_a_version_is_gone_only_in_a_bucket_that_answers() -> None:
    """A vanished one answers 404 to HEAD and GET alike; the bucket itself is asked."""
    world = planned(World(), SMALL)
    found = missed(
        world,
        HeadObject=ObjectNotFoundError,
        GetObject=ObjectNotFoundError,
        HeadBucket=BucketNotFoundError,
    )
    assert found == "BucketNotFoundError"


def test_c10_a_version_that_a_get_takes_for_another_is_not_gone() -> None:
    """HEAD missed it; the copy fails, and may be tried again."""
    world = planned(World(), SMALL)
    found = missed(world, HeadObject=ObjectNotFoundError, GetObject=PreconditionFailedError)
    assert found == "SourceChangedError"
