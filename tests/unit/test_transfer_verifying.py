"""What a verification, or a look at what has landed, does not take for a proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import ManifestError, PreconditionFailedError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.storage._memory_bucket import StoredObject
from airflow_provider_s3resume.storage.checksums import checksum_value
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.outcomes import Proof
from airflow_provider_s3resume.transfer.proving import Expected, look
from airflow_provider_s3resume.transfer.reading_back import has_landed
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import verify_run
from tests.support.service_world import service_world, verification_of
from tests.support.transfer_world import KEY, NOW, World, pattern
from tests.unit.planning_cases import Sync, put

KMS = MemoryTraits(encryption="aws:kms")
CRC = ChecksumAlgorithm.CRC64NVME


def crc_of(data: bytes) -> Checksum:
    """Return the full-object CRC of bytes."""
    return Checksum(algorithm=CRC, value=checksum_value(CRC, data), full_object=True)


def proven(world: World) -> World:
    """Copy an object whose checksum alone proves it."""
    world.seed(pattern(5))
    world.plan()
    assert world.run_one().proof is Proof.CHECKSUM
    return world


def change(store: MemoryStore, how: Callable[[StoredObject], StoredObject]) -> None:
    """Let an object be another one, without a word."""
    store.objects[KEY] = how(store.objects[KEY])


def test_c18_a_target_whose_checksum_is_another_is_not_verified() -> None:
    """Size and ETag are as they were written: the one digest that can be compared differs."""
    world = proven(World(target_traits=KMS))
    change(world.target, lambda there: replace(there, checksums=(crc_of(b"other"),)))
    summary = verification_of(world)
    assert (summary.verified, summary.failed) == (0, 1)
    assert "full-object checksums of both sides differ" in summary.failures[0].error


def test_c18_a_source_that_was_replaced_since_is_no_witness() -> None:
    """Neither for nor against: the copy was proven against what it was then."""
    world = proven(World(target_traits=KMS))
    world.seed(pattern(5, seed=1))
    summary = verification_of(world)
    assert (dict(summary.proofs), summary.failed) == ({"parts": 1}, 0)


@pytest.mark.parametrize("by_service", [False, True])
def test_c18_no_more_is_claimed_than_is_still_shown(*, by_service: bool) -> None:
    """Of what the service copied nobody here has compared a part."""
    world = proven(service_world(target_traits=KMS) if by_service else World(target_traits=KMS))
    change(world.target, lambda there: replace(there, checksums=()))
    expected = "copied_by_service" if by_service else "parts"
    assert dict(verification_of(world).proofs) == {expected: 1}


def test_c18_what_nothing_was_compared_of_is_never_verified() -> None:
    """It is named, with the way out."""
    blind = replace(AMAZON_S3, part_checksums=(), full_object_checksum=False, md5_etags=False)
    world = World(target=blind)
    world.seed(pattern(5))
    world.plan()
    assert world.run_one().proof is Proof.NONE
    summary = verification_of(world)
    assert (summary.verified, summary.failed) == (0, 1)
    assert "nothing was compared" in summary.failures[0].error


def test_c40_a_run_is_verified_at_its_own_buckets() -> None:
    """Another one may have objects of the same names."""
    world = proven(World(target_traits=KMS))
    assert world.ref is not None
    other = MemoryStore("other", service="memory://target")
    with pytest.raises(ManifestError, match="target of the manifest"):
        verify_run(world.source, other, world.state, world.ref.manifest, stop=StopSignal(), now=NOW)


def test_c40_a_dry_run_has_landed_nothing_and_misses_nothing() -> None:
    """Whatever stands under its batches is not of this plan."""
    sync = Sync()
    put(sync.source, "a")
    key, _ = sync.plan(dry_run=True)
    summary = sync.verify(key)
    assert (summary.verified, summary.failed, summary.not_landed) == (0, 0, 0)


# --- a target that is read again ----------------------------------------------------------------

FOLDER = replace(AMAZON_S3, reads_back=True, md5_etags=False)
DATA = pattern(1000)


def landed(there: bytes, before: Callable[[str, Mapping[str, Any]], None] | None = None) -> bool:
    """Tell whether what lies there is taken for ``DATA``."""
    store = MemoryStore("to", capabilities=FOLDER, traits=MemoryTraits(adds_checksum=False))
    put(store, KEY, there)
    found = look(store, KEY)
    if before is not None:
        store.observer.before = before
    expected = Expected(size=len(DATA), etag=None, checksum=crc_of(DATA))
    return has_landed(store, found, expected, StopSignal())


def test_c16_what_is_read_back_has_to_be_the_very_bytes() -> None:
    """Not others of the same number, as another worker or another tool may have written them."""
    assert landed(DATA)
    assert not landed(DATA[:-1] + b"x")
    assert not landed(DATA[:-1])
    assert not landed(b"")


def test_c16_what_is_written_to_while_it_is_read_has_not_landed() -> None:
    """It is another object by now."""

    def replaced(operation: str, _: Mapping[str, Any]) -> None:
        if operation == "GetObject":
            raise PreconditionFailedError(operation, "s3://to/k", "another ETag")

    assert not landed(DATA, replaced)
