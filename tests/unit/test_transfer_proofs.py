"""c18: proofs by digests that the target does not know: the source's own CRC-64, or an MD5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.storage.base import Capabilities, WriteOptions
from airflow_provider_s3resume.storage.checksums import checksum_value
from airflow_provider_s3resume.storage.memory import MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Proof, Status
from tests.support.transfer_world import CONFIG, KEY, OLD, Moment, World, no_waits, pattern

OSS = Capabilities(part_layout=False, reread_for_md5=True)
"""What matters here of Alibaba Cloud OSS as a source."""

CRC64XZ = ChecksumAlgorithm.CRC64XZ
SMALL, LARGE = pattern(15), pattern(45)
STREAMED = CopyConfig(part_size=9 << 20, multipart_threshold=1, memory_budget=16 << 20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


def world_of(
    data: bytes,
    *,
    crc: bool = True,
    md5: bool = True,
    target: Capabilities = AMAZON_S3,
    target_traits: MemoryTraits | None = None,
    read_size: int | None = 7,
) -> World:
    """Return a world whose source vouches for its object as OSS does, or does not.

    :param crc: the object has a CRC-64.
    :param md5: its ETag is its MD5: an object of type Normal.
    """
    world = World(
        source=OSS,
        target=target,
        source_traits=MemoryTraits(read_size=read_size, adds_checksum=False),
        target_traits=target_traits,
    )
    world.seed(data)
    value = Checksum(algorithm=CRC64XZ, value=checksum_value(CRC64XZ, data), full_object=True)
    world.source.objects[KEY] = replace(
        world.source.objects[KEY],
        checksums=(value,) if crc else (),
        md5_etag=md5,
        etag=world.source.objects[KEY].etag if md5 else "0123456789ABCDEF0123456700000000",
    )
    world.seed_old_target()
    world.plan()
    return world


def flip(at: int, times: int | None = None) -> Callable[[str, bytes], bytes]:
    """Return a transit that flips one byte of the object, on so many reads (``None``: on all).

    The reads of the source's parts are told apart by their bytes.
    """
    left = [times if times is not None else 1 << 30]

    def transit(operation: str, data: bytes) -> bytes:
        if operation != "GetObject":
            return data
        for whole in (SMALL, LARGE):
            start = whole.find(data)
            if data and start >= 0 and start <= at < start + len(data) and left[0]:
                left[0] -= 1
                changed = bytearray(data)
                changed[at - start] ^= 0x10
                return bytes(changed)
        return data

    return transit


def assert_refused(world: World, outcome: Outcome) -> None:
    """Make sure that nothing was replaced and nothing left behind."""
    assert outcome.status is Status.FAILED
    assert (outcome.error_kind, outcome.retryable) == ("VerificationError", True)
    assert world.target.data(KEY) == OLD
    assert not world.target.uploads


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_c18_the_sources_crc64_is_the_proof(data: bytes) -> None:
    """The CRC-64 of what was sent is the one that the source's service vouches for."""
    world = world_of(data)
    outcome = world.run_one()
    assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.CRC64)
    assert world.target.data(KEY) == data
    # The target was given a checksum that it knows.
    assert world.target.objects[KEY].checksums[0].algorithm is ChecksumAlgorithm.CRC64NVME


def test_c18_an_empty_object_is_proven_by_its_crc64() -> None:
    """The CRC-64 of no bytes is compared like any other."""
    world = world_of(b"")
    assert world.run_one().proof is Proof.CRC64


def test_c18_a_streamed_part_is_proven_by_its_crc64() -> None:
    """Also parts that are sent while they are read have their CRC-64 taken."""
    data = pattern(1 << 10) * (9 << 10) + b"end"
    world = world_of(data, read_size=None)
    world.target.limits = replace(world.target.limits, max_part_size=1 << 30)
    world.target.state.limits = world.target.limits
    outcome = world.run_one(STREAMED)
    assert (outcome.proof, outcome.sent_parts) == (Proof.CRC64, 2)


@pytest.mark.parametrize("md5", [True, False])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_c18_a_byte_flipped_on_the_way_is_caught_by_the_crc64(data: bytes, *, md5: bool) -> None:
    """Whatever byte it is: the old target object stays, and nothing of the new one appears."""
    for at in range(len(data)):
        world = world_of(data, md5=md5)
        world.source.in_transit = flip(at)
        assert_refused(world, world.run_one())


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_c18_a_byte_flipped_on_the_way_is_caught_by_the_md5(data: bytes) -> None:
    """An object of before there were CRCs has an MD5: its bytes are compared with that."""
    for at in range(len(data)):
        world = world_of(data, crc=False)
        world.source.in_transit = flip(at)
        assert_refused(world, world.run_one())


@pytest.mark.parametrize("crc", [True, False])
def test_a_byte_flipped_once_in_a_small_object_is_read_again(*, crc: bool) -> None:
    """A small object is held: the same attempt reads it twice again and gets it right."""
    target = replace(AMAZON_S3, part_checksums=(ChecksumAlgorithm.CRC64NVME,))
    for at in range(len(SMALL)):
        world = world_of(SMALL, crc=crc, target=target)
        world.source.in_transit = flip(at, times=1 + at % 2)
        outcome = world.run_one()
        assert outcome.proof is (Proof.CRC64 if crc else Proof.ETAG)
        assert world.target.data(KEY) == SMALL


def test_c18_a_byte_flipped_once_in_a_large_object_is_caught_and_the_retry_is_right() -> None:
    """The upload is aborted; the next attempt reads everything again."""
    world = world_of(LARGE)
    world.source.in_transit = flip(23, times=1)
    assert_refused(world, world.run_one())
    outcome = world.run_one()
    assert (outcome.proof, outcome.kept_parts) == (Proof.CRC64, 0)
    assert world.target.data(KEY) == LARGE


def test_c18_a_source_that_vouches_for_other_bytes_is_refused() -> None:
    """A wrong CRC header cannot be told from wrong bytes."""
    for data in (SMALL, LARGE):
        world = world_of(data)
        other = Checksum(algorithm=CRC64XZ, value=checksum_value(CRC64XZ, b"x"), full_object=True)
        stored = world.source.objects[KEY]
        world.source.objects[KEY] = replace(stored, checksums=(other,))
        assert_refused(world, world.run_one())


def test_a_large_object_with_an_md5_only_is_read_twice() -> None:
    """The parts are read side by side, then all of it in order; the report says by what."""
    world = world_of(LARGE, crc=False)
    outcome = world.run_one()
    assert (outcome.proof, outcome.sent_parts) == (Proof.MD5, 5)
    assert world.traffic.count("GetObject", side="source") == 10
    assert world.target.data(KEY) == LARGE


@pytest.mark.parametrize("checksums", ["crc64nvme", "md5", "none"])
def test_the_second_reading_goes_by_what_is_known_of_each_part(checksums: str) -> None:
    """A checksum, the Content-MD5, or the ETag of the part, as the target has it."""
    known = {
        "crc64nvme": (ChecksumAlgorithm.CRC64NVME,),
        "md5": (ChecksumAlgorithm.MD5,),
        "none": (),
    }[checksums]
    target = replace(AMAZON_S3, part_checksums=known, full_object_checksum=False)
    assert world_of(LARGE, crc=False, target=target).run_one().proof is Proof.MD5
    for at in (0, 19, 44):
        world = world_of(LARGE, crc=False, target=target)
        world.source.in_transit = flip(at, times=1)
        assert_refused(world, world.run_one())


def test_c18_a_second_reading_that_differs_is_refused() -> None:
    """If one of two readings was wrong, nothing says which of them."""
    world = world_of(LARGE, crc=False)
    reads = [0]

    def second_only(operation: str, data: bytes) -> bytes:
        reads[0] += operation == "GetObject"
        return flip(41)(operation, data) if reads[0] > 5 else data

    world.source.in_transit = second_only
    assert_refused(world, world.run_one())


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_an_object_with_no_digest_is_proven_by_its_parts(data: bytes) -> None:
    """An appendable object of before there were CRCs: its ETag looks like an MD5 and is none."""
    world = world_of(data, crc=False, md5=False)
    outcome = world.run_one()
    assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.PARTS)
    assert world.target.data(KEY) == data


def test_c10_an_object_that_grows_while_it_is_copied_starts_over() -> None:
    """What lands is one state of it, whole, with the digest of that state."""
    grown = LARGE + b"appended"
    for number in range(1, 60):
        world = world_of(LARGE, md5=False)
        came: list[Moment] = []

        def grow(
            moment: Moment, number: int = number, world: World = world, came: list[Moment] = came
        ) -> None:
            if moment.number != number:
                return
            came.append(moment)
            value = checksum_value(CRC64XZ, grown)
            world.source.objects[KEY] = replace(
                world.source.objects[KEY],
                data=grown,
                etag="FEDCBA9876543210FEDCBA9800000000",
                checksums=(Checksum(algorithm=CRC64XZ, value=value, full_object=True),),
            )

        world.on_moment = grow
        outcome = world.run_one()
        if not came:
            break
        assert outcome.status in LANDED, number
        assert outcome.proof is Proof.CRC64, number
        assert world.target.data(KEY) in {LARGE, grown}, number
    assert number > 10


def half_done() -> World:
    """Return a world where three of five parts are at the target and recorded."""
    world = world_of(LARGE)
    run_without_the_last_parts(world)
    return world


def run_without_the_last_parts(world: World) -> None:
    """Make an attempt whose parts 4 and 5 fail."""

    def fail(moment: Moment) -> None:
        if moment.is_("UploadPart") and moment.arguments["part_number"] >= 4:
            raise TransientStoreError("UploadPart", "s3://to/dir/object", "broken")

    world.on_moment = fail
    assert world.run_one().status is Status.FAILED
    world.on_moment = lambda _: None
    world.forget_traffic()


def test_c17_kept_parts_keep_their_crc64() -> None:
    """A resumed copy is proven by its CRC-64 without reading the kept parts again."""
    world = half_done()
    recorded = world.checkpoint()
    assert recorded.source_algorithm == "CRC64XZ"
    assert [part.source_checksum for part in recorded.parts] == [
        checksum_value(CRC64XZ, LARGE[at : at + 10]) for at in (0, 10, 20)
    ]
    outcome = world.run_one()
    assert (outcome.proof, outcome.kept_parts, outcome.reread_parts) == (Proof.CRC64, 3, 0)
    assert world.traffic.part_numbers() == [4, 5]
    assert world.traffic.count("GetObject", side="source") == 2


def test_c11_parts_recorded_without_the_crc64_are_read_again_and_not_sent_again() -> None:
    """A checkpoint of an earlier release says nothing of the source's kind of digest."""
    world = half_done()
    world.change_checkpoint(
        lambda found: replace(
            found,
            source_algorithm="",
            parts=tuple(replace(part, source_checksum=None) for part in found.parts),
        )
    )
    outcome = world.run_one()
    assert (outcome.proof, outcome.kept_parts, outcome.reread_parts) == (Proof.CRC64, 3, 3)
    assert world.traffic.part_numbers() == [4, 5]


def test_c11_parts_recorded_with_another_kind_of_digest_are_read_again_once() -> None:
    """Values of two algorithms are never combined; what was read again is recorded anew."""
    world = half_done()
    recorded = world.checkpoint()
    world.change_checkpoint(
        lambda found: replace(
            found,
            source_algorithm="CRC32",
            parts=tuple(replace(part, source_checksum="AAAAAA==") for part in found.parts),
        )
    )
    run_without_the_last_parts(world)
    assert world.checkpoint().source_algorithm == "CRC64XZ"
    assert world.checkpoint().parts == recorded.parts
    outcome = world.run_one()
    assert (outcome.proof, outcome.kept_parts, outcome.reread_parts) == (Proof.CRC64, 3, 0)


def test_c11_a_kill_among_parts_that_are_read_again_mixes_no_digests() -> None:
    """What is recorded after the first of them says nothing yet of the others."""
    for at in range(60):
        world = half_done()
        world.change_checkpoint(
            lambda found: replace(
                found,
                source_algorithm="CRC32",
                parts=tuple(replace(part, source_checksum="AAAAAA==") for part in found.parts),
            )
        )
        world.forget_traffic()
        if not world.run_killed(CONFIG, at):
            break
        outcome = world.run_one()
        assert outcome.status in LANDED, at
        assert outcome.proof in {Proof.CRC64, Proof.PARTS}, at
    assert at > 10


def test_c18_a_part_recorded_with_another_crc64_is_refused() -> None:
    """The record is a hint: if it is wrong, the whole does not fit and nothing is completed."""
    world = half_done()

    world.change_checkpoint(
        lambda found: replace(
            found,
            parts=(
                replace(found.parts[0], source_checksum=checksum_value(CRC64XZ, b"other")),
                *found.parts[1:],
            ),
        )
    )
    assert_refused(world, world.run_one())
    assert world.run_one().proof is Proof.CRC64


def test_c17_killed_at_any_point_a_copy_proven_by_its_crc64_ends_right() -> None:
    """Killed before or after every call, the next attempt sends no part that landed."""
    for at in range(200):
        world = world_of(LARGE)
        if not world.run_killed(CONFIG, at):
            break
        held = world.held_parts()
        world.forget_traffic()
        world.run()
        assert world.target.data(KEY) == LARGE, at
        assert world.outcome().proof in {Proof.CRC64, Proof.PARTS}, at
        if world.checkpoint_names() == []:
            continue
        assert not set(world.traffic.part_numbers()) & set(held), at
    assert at > 20


def test_a_target_that_checks_only_md5_still_gets_the_sources_checksum_compared() -> None:
    """Between S3 services, too: a CRC that the target does not know is compared here."""
    target = replace(AMAZON_S3, part_checksums=(ChecksumAlgorithm.MD5,), full_object_checksum=False)
    for data in (SMALL, LARGE):
        world = World(target=target)
        world.seed(data)
        world.plan()
        assert world.source.objects[KEY].checksums[0].algorithm is ChecksumAlgorithm.CRC64NVME
        outcome = world.run_one()
        assert outcome.proof is (Proof.ETAG if data is SMALL else Proof.CHECKSUM)


def test_an_md5_alone_is_no_reason_to_read_twice_where_nobody_asked_for_it() -> None:
    """Reading everything again costs as much as the copy: the source's connection asks for it."""
    world = World(source_traits=MemoryTraits(adds_checksum=False))
    world.seed(LARGE)
    world.plan()
    assert world.run_one().proof is Proof.PARTS
    assert world.traffic.count("GetObject", side="source") == 5


def test_c19a_an_opaque_etag_over_a_known_layout_is_no_corruption() -> None:
    """A service may tell its parts and make its ETags in a way of its own."""
    world = World(source_traits=MemoryTraits(adds_checksum=False))
    world.seed(LARGE, parts=(15, 15, 15))
    stored = world.source.objects[KEY]
    world.source.objects[KEY] = replace(stored, md5_etag=False, etag="0" * 32 + "-3")
    world.plan()
    outcome = world.run_one()
    assert (outcome.proof, outcome.sent_parts) == (Proof.PARTS, 3)


def flip_what_is_sent(operation: str, data: bytes) -> bytes:
    """Change a byte of whatever is sent to the target."""
    if operation not in {"PutObject", "UploadPart"} or not data:
        return data
    return bytes([data[0] ^ 1, *data[1:]])


KMS = replace(CONFIG, options=WriteOptions(encryption="aws:kms"))
BLIND = replace(AMAZON_S3, part_checksums=(), full_object_checksum=False)


@pytest.mark.parametrize("crc", [True, False])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("target", "config"),
    [(replace(BLIND, md5_etags=False), CONFIG), (BLIND, KMS)],
    ids=["opaque ETags", "KMS"],
)
def test_c18_bytes_that_nobody_looked_at_are_not_proven(
    target: Capabilities, config: CopyConfig, data: bytes, *, crc: bool
) -> None:
    """The source's digest is of what was read; if the target shows nothing, nothing is proven."""
    world = world_of(data, crc=crc, target=target)
    world.target.in_transit = flip_what_is_sent
    outcome = world.run_one(config)
    assert world.target.data(KEY) != data
    assert outcome.proof is Proof.NONE


@pytest.mark.parametrize(
    ("data", "crc", "md5"),
    [(SMALL, True, False), (LARGE, True, True), (LARGE, False, True)],
    ids=["small", "large", "large with an MD5"],
)
def test_c18_checksums_that_a_target_ignores_are_no_end_to_end_proof(
    data: bytes, *, crc: bool, md5: bool
) -> None:
    """Under KMS its ETags tell nothing either: what is left is that it should have checked."""
    traits = MemoryTraits(ignores_checksums=True, adds_checksum=False)
    world = world_of(data, crc=crc, md5=md5, target_traits=traits)
    outcome = world.run_one(KMS)
    assert outcome.proof is Proof.PARTS


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_target_that_shows_its_checksums_needs_no_md5_etags(data: bytes) -> None:
    """Amazon S3 under KMS: the checksums that it gives back say what has arrived."""
    assert world_of(data).run_one(KMS).proof is Proof.CRC64


def test_an_etag_that_is_no_md5_does_not_outweigh_a_crc64() -> None:
    """OSS says of most objects what they are; the bytes have the CRC-64 that it vouches for."""
    world = world_of(SMALL)
    stored = world.source.objects[KEY]
    world.source.objects[KEY] = replace(stored, etag="0" * 32)
    world.plan()
    outcome = world.run_one()
    assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.CRC64)
    assert world.target.data(KEY) == SMALL
