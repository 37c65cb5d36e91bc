"""c11, c13, c14: which earlier upload is gone on with, and what of it is sent again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import AccessDeniedError, TransientStoreError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.resume import ListedPart
from airflow_provider_s3resume.storage._memory_bucket import StoredPart, etag_of
from airflow_provider_s3resume.storage.base import NewUpload, UploadInfo, WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import uploads
from airflow_provider_s3resume.transfer.checkpoints import Stored
from airflow_provider_s3resume.transfer.outcomes import Status
from airflow_provider_s3resume.transfer.uploads import UploadRecord
from tests.support.transfer_world import (
    CONFIG,
    KEY,
    OLD,
    Moment,
    World,
    no_waits,
    pattern,
    put_object,
    when,
)

DATA = pattern(45)
COUNT = 5  # of parts of 10 bytes, the last one of 5


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


def half_done(world: World | None = None, *, recorded: bool = True) -> World:
    """Return a world where three of five parts are held; unrecorded if so wanted."""
    world = world or World()
    world.seed(DATA)
    world.seed_old_target()
    world.plan()

    def fail_the_rest(moment: Moment) -> None:
        # A part that is queued behind a failing one may still be begun: the fifth fails as well.
        if moment.is_("UploadPart") and moment.arguments["part_number"] >= COUNT - 1:
            raise TransientStoreError("UploadPart", "s3://to/dir/object", "broken")

    world.on_moment = fail_the_rest
    assert world.run_one().status is Status.FAILED
    world.on_moment = lambda _: None
    if not recorded:
        world.change_checkpoint(lambda found: replace(found, parts=()))
    assert sorted(world.held_parts()) == [1, 2, 3]
    world.forget_traffic()
    return world


def parts_of(world: World) -> dict[int, list[StoredPart]]:
    """Return the parts of the one open upload, to be tampered with."""
    (upload,) = world.target.uploads.values()
    return upload.parts


def stored_part(data: bytes, checksum: str | None = None) -> StoredPart:
    """Return a part as another tool would have sent it."""
    return StoredPart(data=data, etag=etag_of(data, WriteOptions(), md5=True), checksum=checksum)


def test_c14_a_failing_part_fails_the_object_and_keeps_the_others() -> None:
    """The next attempt sends what is missing and nothing else, and says what it kept."""
    world = half_done()
    assert len(world.checkpoint().parts) == 3
    outcome = world.run_one()
    assert world.traffic.part_numbers() == [4, 5]
    assert world.target.data(KEY) == DATA
    assert (outcome.kept_parts, outcome.sent_parts, outcome.reread_parts) == (3, 2, 0)
    assert outcome.bytes_moved == 15


def test_c14_a_hopeless_part_is_reported_and_not_a_later_fault() -> None:
    """Of several parts that fail, the error that no retry helps is the object's error."""
    world = World()
    world.seed(DATA)
    world.plan()

    def fail(moment: Moment) -> None:
        if moment.is_("UploadPart"):
            number = moment.arguments["part_number"]
            kind = AccessDeniedError if number == 2 else TransientStoreError
            raise kind("UploadPart", "s3://to/dir/object", f"part {number}")

    world.on_moment = fail
    outcome = world.run_one(replace(CONFIG, part_concurrency=COUNT))
    assert (outcome.error_kind, outcome.retryable) == ("AccessDeniedError", False)


def test_c11_unrecorded_parts_are_read_again_and_not_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Killed between upload and record: compared with the source range, counted as reread."""
    world = half_done(recorded=False)
    with caplog.at_level(logging.INFO):
        outcome = world.run_one()
    assert world.traffic.part_numbers() == [4, 5]
    assert (outcome.kept_parts, outcome.reread_parts, outcome.sent_parts) == (3, 3, 2)
    assert world.target.data(KEY) == DATA
    assert "kept 3 of 5 parts, 3 to be read again, 2 to be sent" in caplog.text


def test_c11_unrecorded_parts_without_listed_checksums_are_compared_by_etag() -> None:
    """Where ListParts gives no checksum, the MD5 of the source range is compared."""
    world = half_done(recorded=False)
    for sent in parts_of(world).values():
        sent[:] = [replace(part, checksum=None) for part in sent]
    world.target.limits = world.target.state.limits = replace(world.target.limits, max_parts=99)
    listed = world.target.list_parts(KEY, next(iter(world.target.uploads)))
    assert all(part.checksum is None for part in listed)
    world.forget_traffic()
    outcome = world.run_one()
    assert outcome.reread_parts == 3
    assert world.traffic.part_numbers() == [4, 5]


def test_c11_parts_that_cannot_be_compared_are_sent_again() -> None:
    """A target whose ETags are no MD5s and that lists no checksums proves nothing."""
    world = World(target=replace(AMAZON_S3, md5_etags=False))
    world = half_done(world, recorded=False)
    for sent in parts_of(world).values():
        sent[:] = [replace(part, checksum=None) for part in sent]
    outcome = world.run_one()
    assert sorted(world.traffic.part_numbers()) == [1, 2, 3, 4, 5]
    assert (outcome.kept_parts, outcome.reread_parts, outcome.sent_parts) == (0, 0, 5)
    assert outcome.bytes_moved == len(DATA)
    assert world.target.data(KEY) == DATA


def test_c11_another_part_size_does_not_matter() -> None:
    """The layout is the checkpoint's: parts are kept whatever is configured since."""
    world = half_done()
    outcome = world.run_one(replace(CONFIG, part_size=7))
    assert world.traffic.part_numbers() == [4, 5]
    assert outcome.kept_parts == 3
    assert world.target.data(KEY) == DATA


def foreign(world: World) -> None:
    """Put other bytes of the right size in, as if another tool had sent them."""
    world.change_checkpoint(lambda found: replace(found, parts=found.parts[1:]))
    parts_of(world)[1] = [stored_part(b"x" * 10)]


def other_etag(world: World) -> None:
    """Replace a recorded part by other bytes."""
    parts_of(world)[1] = [stored_part(b"x" * 10)]


def short(world: World) -> None:
    """Cut a part short."""
    parts_of(world)[1] = [stored_part(DATA[:9])]


def beyond(world: World) -> None:
    """Add a part that the layout has no place for."""
    parts_of(world)[9] = [stored_part(DATA[:10])]


def twice(world: World) -> None:
    """Have a part listed twice, with different bytes."""
    world.target.state.traits = MemoryTraits(lists_resent_parts=True)
    parts_of(world)[1].append(stored_part(b"x" * 10))


def gone(world: World) -> None:
    """Abort the upload behind our back."""
    world.target.uploads.clear()


def other_algorithm(world: World) -> None:
    """Have the parts carry another checksum than today's."""
    crc32 = ChecksumAlgorithm.CRC32.value
    world.change_checkpoint(lambda found: replace(found, algorithm=crc32))


REASONS: dict[Callable[[World], None], str] = {
    foreign: "part 1: it is not what its source range is",
    other_etag: "part 1 has ETag",
    short: "part 1 has 9 bytes, expected 10",
    beyond: "part 9 does not belong to a layout of 5 parts",
    twice: "part 1 is listed twice",
    gone: "the upload does not exist any more",
    other_algorithm: "parts carry CRC32 checksums",
}


@pytest.mark.parametrize("tamper", REASONS, ids=lambda tamper: tamper.__name__)
def test_c11_starts_over_with_a_stated_reason(
    tamper: Callable[[World], None], caplog: pytest.LogCaptureFixture
) -> None:
    """What is not provably ours is given up: aborted, sent anew, and the reason is told."""
    world = half_done()
    old_upload = next(iter(world.target.uploads))
    tamper(world)
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert world.target.data(KEY) == DATA
    (note,) = [note for note in outcome.notes if note.startswith("started over: ")]
    assert REASONS[tamper] in note
    assert REASONS[tamper] in caplog.text
    assert outcome.kept_parts == 0
    assert world.target.uploads == {}
    new = [sent for sent in world.traffic.parts if sent.upload_id != old_upload]
    assert sorted(sent.part_number for sent in new) == [1, 2, 3, 4, 5]


def test_c11_a_replaced_source_starts_over() -> None:
    """A checkpoint of another source identity is not gone on with; its upload is aborted."""
    world = half_done()
    world.seed(pattern(45, seed=3))
    world.plan(run="later")
    outcome = world.run_one()
    assert world.target.data(KEY) == pattern(45, seed=3)
    assert sorted(world.traffic.part_numbers()) == [1, 2, 3, 4, 5]
    assert any("the source was replaced: was ETag" in note for note in outcome.notes)
    assert world.target.uploads == {}


def test_c11_a_part_sent_twice_alike_is_one_part() -> None:
    """Where a lost answer made a part be sent again, and both are listed, nothing starts over."""
    world = World(target_traits=MemoryTraits(lists_resent_parts=True))
    world = half_done(world)
    parts_of(world)[1] *= 2
    outcome = world.run_one()
    assert world.traffic.part_numbers() == [4, 5]
    assert outcome.kept_parts == 3
    assert world.target.data(KEY) == DATA


@pytest.mark.parametrize("text", ["no JSON", '{"schema": 99}', '{"schema": 1}'])
def test_c11_a_damaged_checkpoint_starts_over(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """A record that cannot be read is said to be so, and written over."""
    world = half_done()
    (name,) = world.checkpoint_names()
    put_object(world.state_store, name, text.encode())
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert world.target.data(KEY) == DATA
    assert "the checkpoint cannot be used" in caplog.text


class ListsPrefixes(MemoryStore):
    """A service whose listing of uploads takes the key for a prefix."""

    def list_uploads(self, key: str) -> list[UploadInfo]:
        """Return too many."""
        return [
            UploadInfo(key=upload.key, upload_id=upload_id, initiated=upload.initiated)
            for upload_id, upload in self.uploads.items()
            if upload.key.startswith(key)
        ]

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        """Take another key's upload for one without parts."""
        upload = self.uploads.get(upload_id)
        if upload is not None and upload.key != key:
            return []
        return super().list_parts(key, upload_id)


def test_c13_an_upload_of_a_longer_key_is_not_this_objects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Killed right after Create: only the upload of this very key is named."""
    world = World()
    world.seed(DATA)
    world.target.__class__ = ListsPrefixes
    world.plan()
    assert world.run_killed(CONFIG, when("CreateMultipartUpload", after=True))
    longer = world.target.create_upload(KEY + "-longer", NewUpload())
    assert len(world.target.uploads) == 2
    world.run_one()
    assert world.target.data(KEY) == DATA
    assert longer in world.target.uploads
    assert longer not in caplog.text
    (ours,) = set(world.target.uploads) - {longer}
    assert ours in caplog.text
    aborted = [
        moment.arguments["upload_id"]
        for moment in world.traffic.moments
        if moment.is_("AbortMultipartUpload")
    ]
    assert aborted == []


def test_c11_records_are_not_written_for_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two writings of the checkpoint several parts are acknowledged."""
    monkeypatch.setattr(uploads, "FLUSH_PARTS", 8)
    world = World()
    world.seed(pattern(400))
    world.plan()
    world.run()
    written = world.traffic.count("PutObject", side="state")
    assert len(world.traffic.parts) == 40
    assert written < 15


def test_c15_two_records_of_one_upload_join_their_parts() -> None:
    """What another worker on the same upload recorded meanwhile is kept beside one's own."""
    world = half_done()
    stored = world.records.load(*world.uris())
    assert isinstance(stored, Stored)
    parts = {part.part_number: part for part in stored.checkpoint.parts}
    world.change_checkpoint(lambda found: replace(found, parts=()))
    empty = world.records.load(*world.uris())
    assert isinstance(empty, Stored)
    one, other = UploadRecord(world.records, empty), UploadRecord(world.records, empty)
    for record, number in ((one, 1), (other, 2), (one, 3)):
        record.acknowledge(parts[number])
        record.flush()
    assert sorted(part.part_number for part in world.checkpoint().parts) == [1, 2, 3]
    assert sorted(one.parts()) == [1, 2, 3]


def test_c15_a_record_that_another_upload_took_is_left_alone() -> None:
    """A worker whose record was taken goes on with its upload, and overwrites nothing."""
    world = half_done()
    stored = world.records.load(*world.uris())
    assert isinstance(stored, Stored)
    mine = UploadRecord(world.records, stored)
    world.change_checkpoint(lambda found: replace(found, upload_id="another", parts=()))
    mine.acknowledge(replace(stored.checkpoint.parts[0], part_number=4))
    mine.flush()
    assert world.checkpoint().upload_id == "another"
    assert world.checkpoint().parts == ()
    assert sorted(mine.parts()) == [1, 2, 3, 4]


def test_c11_a_smaller_object_clears_the_larger_ones_upload_away() -> None:
    """An object that is replaced by a small one leaves neither upload nor checkpoint."""
    world = half_done()
    world.seed(b"small now")
    outcome = world.run_one()
    assert world.target.data(KEY) == b"small now"
    assert outcome.status is Status.COPIED
    assert world.target.uploads == {}
    assert world.checkpoint_names() == []


def test_c14_a_failed_record_does_not_hide_the_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object's error is the part's, also when the checkpoint cannot be written either."""
    monkeypatch.setattr(uploads, "FLUSH_PARTS", 8)
    world = World()
    world.seed(DATA)
    world.seed_old_target()
    world.plan()

    def fail(moment: Moment) -> None:
        if moment.is_("UploadPart") and moment.arguments["part_number"] == 3:
            raise AccessDeniedError("UploadPart", "s3://to/dir/object", "no")
        recording = moment.is_("PutObject", side="state") and "checkpoints/" in moment.key
        if recording and world.traffic.count("UploadPart") > 1:
            raise TransientStoreError("PutObject", "s3://state", "down")

    world.on_moment = fail
    outcome = world.run_one()
    assert outcome.error_kind == "AccessDeniedError"
    assert outcome.status is Status.FAILED
    assert world.target.data(KEY) == OLD
    assert "were not recorded" in caplog.text
