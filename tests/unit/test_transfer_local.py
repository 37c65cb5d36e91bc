"""Copies from and to a folder: they end right whatever happens, and a second run copies nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, PlanRefusedError
from airflow_provider_s3resume.plan.diff import Action, Reason, Verb
from airflow_provider_s3resume.plan.file_keys import FileTree
from airflow_provider_s3resume.plan.filters import Selection
from airflow_provider_s3resume.plan.objects import ContentAttributes, ListedObject
from airflow_provider_s3resume.plan.storage_classes import ClassMapping
from airflow_provider_s3resume.storage._local_settings import LocalSettings, Symlinks
from airflow_provider_s3resume.storage._local_uploads import Uploads
from airflow_provider_s3resume.storage.base import NewUpload, WriteOptions, uri_of
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import uploads
from airflow_provider_s3resume.transfer.checking import check_sides
from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords, Stored
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.name_lists import ListFile
from airflow_provider_s3resume.transfer.outcomes import LANDED, Status
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.selecting import Scope
from airflow_provider_s3resume.transfer.tree_targets import without_collisions
from tests.support.folder_world import FolderWorld, Step
from tests.support.folders import files_of, folder_store, unfinished_of
from tests.support.transfer_world import (
    CONFIG,
    KEY,
    NOW,
    OLD,
    KilledError,
    no_waits,
    pattern,
    put_object,
)

DATA = pattern(45)
NO_SUMS = MemoryTraits(read_size=7, adds_checksum=False)
MOST_STEPS = 400
PARALLEL = replace(CONFIG, part_concurrency=3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing."""
    no_waits(monkeypatch)


def download(folder: Path, data: bytes = DATA, parts: tuple[int, ...] = ()) -> FolderWorld:
    """Return a world in which an object is to be downloaded over an old file."""
    world = FolderWorld(folder, uploads=False)
    put_object(world.bucket, KEY, data, parts=parts)
    (folder / KEY).parent.mkdir()
    (folder / KEY).write_bytes(OLD)
    world.plan_one()
    return world


def upload(folder: Path, data: bytes = DATA) -> FolderWorld:
    """Return a world in which a file is to be uploaded over an old object."""
    world = FolderWorld(folder, uploads=True)
    (folder / KEY).parent.mkdir()
    (folder / KEY).write_bytes(data)
    put_object(world.bucket, KEY, OLD)
    world.plan_one()
    return world


def recorded(world: FolderWorld) -> bool:
    """Tell whether a checkpoint is there that names no upload yet."""
    records = CheckpointRecords(world.state)
    source, target = world.sides
    uris = [f"{side.service} {uri_of(side, KEY)}" for side in (source, target)]
    stored = records.load(uris[0], uris[1])
    return isinstance(stored, Stored) and stored.checkpoint.upload_id is None


# --- c17: kills -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "parts", "config"),
    [
        (15, (), CONFIG),
        (0, (), CONFIG),
        (45, (), CONFIG),
        (45, (12, 12, 12, 9), CONFIG),
        (45, (), PARALLEL),
    ],
    ids=["single", "empty", "chosen-layout", "reproduced-layout", "parallel"],
)
def test_c17_a_download_killed_anywhere_is_gone_on_with(
    tmp_path: Path, size: int, parts: tuple[int, ...], config: CopyConfig
) -> None:
    """The file is the old one or the new one, whole; what is on the disk is not asked for again."""
    data = pattern(size)
    for step in range(MOST_STEPS):
        folder = tmp_path / str(step)
        world = download(folder, data, parts)
        if not world.run_killed(step, config):
            break
        where = f"killed at step {step}"
        assert files_of(folder)[KEY] in {OLD, data}, where
        store = folder_store(folder)
        gap = recorded(world)
        begun = store.list_uploads(KEY)
        held = sum(len(store.list_parts(KEY, one.upload_id)) for one in begun)
        whole = files_of(folder)[KEY] == data
        world.steps.clear()
        world.run(config)
        outcome = world.outcome()
        assert outcome.status in LANDED, where
        assert files_of(folder) == {KEY: data}, where
        assert outcome.kept_parts >= (0 if whole else held), where
        sent = world.count("UploadPart", local=True)
        assert sent <= max(len(parts) or -(-size // 10), 1) - held, where
        if whole and size > 20:
            assert sent == 0, where
        left = [one.upload_id for one in begun] if gap else []
        assert unfinished_of(folder) == left, where
    assert 10 < step < MOST_STEPS


def test_c17_an_upload_killed_anywhere_is_gone_on_with(tmp_path: Path) -> None:
    """What the bucket holds is not sent again."""
    for step in range(MOST_STEPS):
        world = upload(tmp_path / str(step))
        if not world.run_killed(step):
            break
        where = f"killed at step {step}"
        assert world.bucket.data(KEY) in {OLD, DATA}, where
        held = {n for one in world.bucket.uploads.values() for n in one.parts}
        world.steps.clear()
        world.run()
        sent = [
            s.arguments["part_number"]
            for s in world.steps
            if s.operation == "UploadPart" and not s.after
        ]
        assert not held & set(sent), where
        assert world.outcome().status in LANDED, where
        assert world.bucket.data(KEY) == DATA, where
    assert 10 < step < MOST_STEPS


@pytest.mark.parametrize("old", [True, False])
def test_c17_a_download_killed_inside_of_its_complete_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, old: bool
) -> None:
    """The file has its name, the upload is still there: it is read back, and nothing sent."""
    world = FolderWorld(tmp_path / "folder", uploads=False)
    put_object(world.bucket, KEY, DATA)
    if old:
        (world.folder / KEY).parent.mkdir()
        (world.folder / KEY).write_bytes(OLD)
    world.plan_one()

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Uploads, "remove", die)
        with pytest.raises(KilledError):
            world.run()
    assert files_of(world.folder) == {KEY: DATA}
    assert len(unfinished_of(world.folder)) == 1
    world.steps.clear()
    world.run()
    assert world.outcome().status is Status.ALREADY_THERE
    assert world.count("UploadPart", local=True) == 0
    assert files_of(world.folder) == {KEY: DATA}
    assert unfinished_of(world.folder) == []


def test_c15_a_file_that_another_worker_landed_is_recognised(tmp_path: Path) -> None:
    """No ETag of a file says so: it is read back, small or large."""
    for name, size in (("small", 15), ("large", 45)):
        data = pattern(size)
        world = download(tmp_path / name, data)
        twin_done = False

        def race(step: Step) -> None:
            nonlocal twin_done
            last = {"PutObject", "CompleteMultipartUpload"}
            if step.local and step.operation in last and not step.after and not twin_done:
                twin_done = True
                target = world.folder / KEY  # noqa: B023 - used within the turn
                target.write_bytes(data)  # noqa: B023 - the same

        world.on_step = race
        world.run()
        assert world.outcome().status is Status.ALREADY_THERE, name
        assert files_of(world.folder) == {KEY: data}


def test_c18_a_file_that_somebody_else_wrote_is_not_replaced(tmp_path: Path) -> None:
    """Since the plan: the object fails, and the file stays."""
    for name, size in (("small", 15), ("large", 45)):
        world = download(tmp_path / name, pattern(size))
        (world.folder / KEY).write_bytes(b"theirs")
        world.run()
        assert world.outcome().error_kind == "TargetChangedError", name
        assert files_of(world.folder) == {KEY: b"theirs"}


# --- c10: a source that changes -------------------------------------------------------------------


@pytest.mark.parametrize("size", [15, 45], ids=["single", "parts"])
def test_c10_a_file_rewritten_while_it_is_uploaded_arrives_as_one_of_the_two(
    tmp_path: Path, size: int
) -> None:
    """Never mixed: it is begun again as it is now, and the report says so."""
    new = pattern(size, seed=3)
    for nth in range(1, 5):
        world = upload(tmp_path / f"{size}-{nth}", pattern(size))
        file, reads = world.folder / KEY, 0

        def rewrite(step: Step) -> None:
            nonlocal reads
            if step.local and step.operation == "GetObject" and step.after:
                reads += 1
                if reads == nth:  # noqa: B023 - used within the turn
                    file.write_bytes(new)  # noqa: B023 - the same
                    os.utime(file, ns=(nth, nth))  # noqa: B023 - the same

        world.on_step = rewrite
        world.run()
        assert world.bucket.data(KEY) in {pattern(size), new}
        if reads >= nth:
            assert world.bucket.data(KEY) == new
            assert "the source was replaced since the plan" in world.outcome().notes


# --- whole runs -----------------------------------------------------------------------------------

TREE = {
    "a.txt": b"a",
    "a/b": pattern(45),
    "a/c/d": b"",
    "a-b": pattern(20),
    "\u00e9 e": b"x",
}


def fill(folder: Path) -> None:
    """Put files into a folder."""
    for key, data in TREE.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)


def test_c07_a_folder_is_uploaded_once(tmp_path: Path) -> None:
    """What was proven is recorded under the ETags of both sides; one that was touched is copied."""
    world = FolderWorld(tmp_path / "folder", uploads=True)
    fill(world.folder)
    manifest, report = world.sync("one")
    assert (report.copied, report.verified, report.failed) == (5, 5, 0)
    assert report.verified_by == {"parts": 5}
    assert {key: world.bucket.data(key) for key in world.bucket.keys()} == TREE  # noqa: SIM118
    manifest, report = world.sync("two")
    assert (manifest.copy_objects, report.skipped) == (0, {"proven_before": 5})
    (world.folder / "a/b").write_bytes(pattern(45, seed=1))
    manifest, report = world.sync("three")
    assert (report.copied, report.reasons) == (1, {"digest_unknown": 1})
    assert world.bucket.data("a/b") == pattern(45, seed=1)
    assert world.sync("four")[0].copy_objects == 0


@pytest.mark.parametrize(
    ("traits", "proofs"),
    [(MemoryTraits(read_size=7), {"checksum": 5}), (NO_SUMS, {"md5": 5})],
    ids=["checksums", "etags-only"],
)
def test_c07_a_bucket_is_downloaded_once(
    tmp_path: Path, traits: MemoryTraits, proofs: dict[str, int]
) -> None:
    """The proof is that of the bytes read back, by what the source's service vouches for."""
    world = FolderWorld(tmp_path / "folder", uploads=False, traits=traits)
    for key, data in TREE.items():
        put_object(world.bucket, key, data, parts=(30, 15) if len(data) == 45 else ())
    manifest, report = world.sync("one")
    assert (report.copied, report.verified, report.failed) == (5, 5, 0)
    assert report.verified_by == proofs
    assert files_of(world.folder) == TREE
    manifest, report = world.sync("two")
    assert (manifest.copy_objects, report.skipped) == (0, {"proven_before": 5})
    (world.folder / "a.txt").write_bytes(b"b")
    assert world.sync("three")[1].copied == 1
    assert files_of(world.folder) == TREE


def test_a_download_is_newer_than_its_source(tmp_path: Path) -> None:
    """As between two buckets: by time alone it is not copied again."""
    world = FolderWorld(tmp_path / "folder", uploads=False)
    put_object(world.bucket, "k", b"x")
    world.bucket.objects["k"] = replace(world.bucket.objects["k"], last_modified=NOW)
    assert world.sync("one", rule="size+newer")[1].copied == 1
    assert world.sync("two", rule="size+newer")[1].skipped == {"not_newer": 1}


def test_verification_fails_if_a_file_was_changed_after_the_copy(tmp_path: Path) -> None:
    """It is not the file that was read back."""
    world = FolderWorld(tmp_path / "folder", uploads=False)
    put_object(world.bucket, "k", DATA)

    def change(step: Step) -> None:
        done = step.operation == "ListObjectsV2" and step.local and not step.after
        if done and (world.folder / "k").exists():
            (world.folder / "k").write_bytes(DATA[::-1])

    world.on_step = change
    report = world.sync("one")[1]
    assert (report.copied, report.verified, report.failed) == (1, 0, 1)


def test_c19_what_a_folder_cannot_hold_is_in_the_report(tmp_path: Path) -> None:
    """Headers, metadata and tags by their names; that there are no content types is said once."""
    world = FolderWorld(tmp_path / "folder", uploads=False)
    rich = ContentAttributes(
        content_type="text/plain",
        content_encoding="gzip",
        metadata={"owner": "me"},
        tags={"class": "public"},
    )
    plain = ContentAttributes(content_type="text/plain")
    for size in (5, 45):
        put_object(world.bucket, f"rich-{size}", pattern(size), upload=NewUpload(attributes=rich))
        put_object(world.bucket, f"type-{size}", pattern(size), upload=NewUpload(attributes=plain))
    report = world.sync("one")[1]
    assert report.copied == 4
    assert report.notes == {"not kept by a folder: content_encoding, metadata, tags": 2}
    source, target = world.sides
    found = check_sides(source, target, world.state, PlanRequest(run_id="r"), now=NOW)
    assert [warning for warning in found.warnings if "folder" in warning] == [
        "the target is a folder: content types, headers, metadata and tags are lost"
    ]


def test_c18_one_wrong_byte_of_a_download_is_seen_by_the_sources_own_digests(
    tmp_path: Path,
) -> None:
    """A CRC of the whole, the MD5 of a small object, the MD5s of parts: the old file stays."""
    cases: dict[str, tuple[int, tuple[int, ...], MemoryTraits | None]] = {
        "crc": (45, (), None),
        "md5": (15, (), NO_SUMS),
        "parts": (45, (12, 12, 12, 9), NO_SUMS),
    }
    for name, (size, parts, traits) in cases.items():
        folder = tmp_path / name
        world = FolderWorld(folder, uploads=False, traits=traits)
        put_object(world.bucket, "k", pattern(size), parts=parts)
        (folder / "k").write_bytes(OLD)
        world.bucket.in_transit = _flipped
        report = world.sync("one")[1]
        assert report.failure_kinds == {"VerificationError": 1}, name
        assert files_of(folder) == {"k": OLD}
        assert unfinished_of(folder) == []


def _flipped(operation: str, data: bytes) -> bytes:
    if operation != "GetObject" or len(data) < 9:
        return data
    return data[:8] + bytes([data[8] ^ 1]) + data[9:]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("storage_class", WriteOptions(storage_class="GLACIER")),
        ("encryption", WriteOptions(encryption="aws:kms")),
        ("acl", WriteOptions(acl="private")),
        ("storage_class", None),
    ],
)
def test_c19_what_no_file_can_have_is_refused_before_anything_is_copied(
    tmp_path: Path, name: str, options: WriteOptions | None
) -> None:
    """By the name of the parameter, also where each object was to have the class of its source."""
    world = download(tmp_path / "folder")
    config = (
        replace(CONFIG, options=options)
        if options is not None
        else replace(CONFIG, storage_classes=ClassMapping.of(None))
    )
    with pytest.raises(InvalidInputError, match=f"{name}: .* for a target that is a folder"):
        world.run(config)
    assert files_of(world.folder) == {KEY: OLD}


# --- keys -----------------------------------------------------------------------------------------


def test_c43_keys_that_no_file_can_have_are_refused_by_name(tmp_path: Path) -> None:
    """All others arrive; nothing is outside of the folder."""
    world = FolderWorld(tmp_path / "folder", uploads=False)
    bad = ["../out", "/etc/passwd", "a//b", "a/./b", "a\0b", "x" * 256, ".s3resume-parts/x", "d/"]
    for key in [*bad, "good"]:
        put_object(world.bucket, key, b"x")
    put_object(world.bucket, "marker/", b"")
    report = world.sync("one")[1]
    assert files_of(world.folder) == {"good": b"x"}
    assert {failure.key for failure in report.failures} == set(bad)
    assert report.refused == {"key_not_kept": 6, "key_too_long": 1, "reserved_key": 1}
    assert report.skipped == {"directory_marker": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_c08_directories_that_are_not_made_are_named(tmp_path: Path) -> None:
    """Without the choice of directories they are skipped: by count and name, with the way out."""
    world = FolderWorld(tmp_path / "folder", uploads=False)
    for key in ("empty/", "full/", "full/file", "nothing"):
        put_object(world.bucket, key, b"x" if key == "full/file" else b"")
    manifest, report = world.sync("one")
    assert manifest.counts == {"copy.missing_at_target": 2, "skip.directory_marker": 2}
    assert report.skipped == {"directory_marker": 2}
    assert report.directory_markers == ("empty/", "full/")
    told = report.short_text().split("\n")
    for key in report.directory_markers:
        assert f"directory, not made as directory_markers is off: {key!r}" in told
    assert "directory_markers" not in report.to_json_dict()
    assert files_of(world.folder) == {"full/file": b"x", "nothing": b""}
    assert not (world.folder / "empty").exists()
    assert world.sync("two")[1].planned == 0


def test_c08_directories_go_both_ways_where_that_is_asked_for(tmp_path: Path) -> None:
    """An empty one, and one with files in it; and a second run copies nothing."""
    marked = LocalSettings(writes=True, directory_markers=True)
    down = FolderWorld(tmp_path / "down", uploads=False, settings=marked)
    for key in ("full/", "full/file", "empty/", "implied/file"):
        put_object(down.bucket, key, b"" if key.endswith("/") else b"x")
    assert down.sync("one")[1].copied == 4
    assert (tmp_path / "down" / "empty").is_dir()
    again = down.sync("two")[1]
    assert again.planned == 0
    assert again.skipped == {"proven_before": 4, "only_at_target": 1}
    settings = LocalSettings(directory_markers=True)
    up = FolderWorld(tmp_path / "down", uploads=True, settings=settings)
    assert up.sync("one")[1].failed == 0
    assert up.bucket.keys() == ["empty/", "full/", "full/file", "implied/", "implied/file"]
    assert up.sync("two")[1].planned == 0


@pytest.mark.parametrize(
    "keys",
    [("a", "a/b"), ("a", "a-1", "a.1", "a/b/c"), ("x/a", "x/a/b")],
)
def test_c04_a_key_that_is_a_file_and_a_directory_is_refused(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    """Both in the source, or one of them in the folder already; before anything is copied."""
    world = FolderWorld(tmp_path / "one", uploads=False)
    for key in keys:
        put_object(world.bucket, key, b"x")
    with pytest.raises(PlanRefusedError, match=r"a file and a directory.*nothing was copied"):
        world.sync("one")
    assert files_of(world.folder) == {}
    for there, wanted in ((keys[0], keys[-1]), (keys[-1], keys[0])):
        world = FolderWorld(tmp_path / f"there-{there.replace('/', '_')}", uploads=False)
        (world.folder / there).parent.mkdir(parents=True, exist_ok=True)
        (world.folder / there).write_bytes(b"old")
        put_object(world.bucket, wanted, b"x")
        with pytest.raises(PlanRefusedError):
            world.sync("one")
        assert files_of(world.folder) == {there: b"old"}


@pytest.mark.parametrize(
    "reason",
    [
        Reason.NOT_SELECTED,
        Reason.ARCHIVED,
        Reason.SYMLINK,
        Reason.OWN_STATE,
        Reason.DIRECTORY_MARKER,
    ],
)
def test_c04_what_is_left_out_collides_only_if_the_target_has_it(reason: Reason) -> None:
    """The file is not written; one that is there already stays one."""
    tree = replace(AMAZON_S3, file_tree=FileTree())
    below = Action(verb=Verb.COPY, reason=Reason.ASKED_FOR, key="a/b", target_key="a/b")
    left = Action(verb=Verb.SKIP, reason=reason, key="a", target_key="a")
    assert list(without_collisions(iter([left, below]), tree)) == [left, below]
    there = ListedObject(key="a", size=1, etag="f-1", last_modified=0.0)
    with pytest.raises(PlanRefusedError, match="a file and a directory"):
        list(without_collisions(iter([replace(left, target=there), below]), tree))


def test_c04_a_file_that_is_not_selected_lets_a_directory_of_its_name_be(tmp_path: Path) -> None:
    """Unless the folder has it."""
    world = FolderWorld(tmp_path / "folder", uploads=False)
    for key in ("a", "a/b"):
        put_object(world.bucket, key, b"x")
    scope = Scope(selection=Selection.parse({"exclude": ["a"]}))
    assert world.sync("one", scope=scope)[1].copied == 1
    assert files_of(world.folder) == {"a/b": b"x"}
    (world.folder / "a" / "b").unlink()
    (world.folder / "a").rmdir()
    (world.folder / "a").write_bytes(b"old")
    with pytest.raises(PlanRefusedError, match="a file and a directory"):
        world.sync("two", scope=scope)


def test_c40_a_link_of_a_key_list_that_leads_outside_is_refused_by_name(tmp_path: Path) -> None:
    """The other keys of the list are copied."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"theirs")
    world = FolderWorld(
        tmp_path / "folder", uploads=True, settings=LocalSettings(symlinks=Symlinks.FOLLOW)
    )
    (world.folder / "ours").write_bytes(b"ours")
    (world.folder / "link").symlink_to(tmp_path / "outside" / "file")
    (world.folder / "dir").symlink_to(tmp_path / "outside")
    lists = MemoryStore("lists", service="memory://lists")
    put_object(lists, "keys.txt", b"dir/file\nlink\nours\n")
    listed = ListFile(parameter="key_list", uri="s3://lists/keys.txt", name="keys.txt", store=lists)
    report = world.sync("one", scope=Scope(key_list=listed))[1]
    assert (report.copied, report.refused) == (1, {"unreachable_key": 2})
    assert {failure.key for failure in report.failures} == {"dir/file", "link"}
    assert world.bucket.keys() == ["ours"]


def test_c40_a_file_in_a_directory_with_an_odd_name_is_refused_by_name(tmp_path: Path) -> None:
    """It is not planned, to fail for ever."""
    world = FolderWorld(tmp_path / "folder", uploads=True)
    odd = world.folder / os.fsdecode(b"d\xff")
    odd.mkdir()
    (odd / "file").write_bytes(b"x")
    (world.folder / "ours").write_bytes(b"ours")
    report = world.sync("one")[1]
    assert (report.copied, report.planned) == (1, 1)
    assert report.refused == {"unreachable_key": 1}


def test_c43_a_link_in_the_folder_is_neither_replaced_nor_written_through(tmp_path: Path) -> None:
    """In the place of a file it is refused by name, in that of a directory the plan is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "k").write_bytes(b"theirs")
    world = FolderWorld(tmp_path / "folder", uploads=False)
    (world.folder / "k").symlink_to(outside / "k")
    put_object(world.bucket, "k", b"ours")
    put_object(world.bucket, "l", b"ours")
    report = world.sync("one")[1]
    assert (report.copied, report.refused) == (1, {"target_no_file": 1})
    (world.folder / "dir").symlink_to(outside)
    put_object(world.bucket, "dir/k", b"ours")
    with pytest.raises(PlanRefusedError):
        world.sync("two")
    assert files_of(outside) == {"k": b"theirs"}


def test_links_in_a_source_end_as_their_policy_says(tmp_path: Path) -> None:
    """Skipped and named, followed, or refused."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"x")
    (folder / "link").symlink_to("file")
    ends = {
        Symlinks.REPORT: (["file"], {"symlink": 1}, {}),
        Symlinks.FOLLOW: (["file", "link"], {}, {}),
        Symlinks.FAIL: (["file"], {}, {"symlink_refused": 1}),
    }
    for policy, (keys, skipped, refused) in ends.items():
        world = FolderWorld(folder, uploads=True, settings=LocalSettings(symlinks=policy))
        report = world.sync("one")[1]
        assert world.bucket.keys() == keys
        assert (report.skipped, report.refused) == (skipped, refused)
        assert report.links == (("link",) if policy is Symlinks.REPORT else ())


def test_named_objects_have_to_fit_into_a_folder_together(tmp_path: Path) -> None:
    """Each by itself, and none under another."""
    world = FolderWorld(tmp_path / "folder", uploads=False)
    for key in ("a", "b", "c/"):
        put_object(world.bucket, key, b"")
    source, target = world.sides
    for pairs in ([("a", "../x")], [("a", "x"), ("b", "x/y")], [("c/", "c/")]):
        with pytest.raises(InvalidInputError, match="target key"):
            pairs_manifest(source, target, world.state, pairs, "run", now=NOW)


def test_c11_parts_that_a_folders_log_knows_are_not_read_at_the_source_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the checkpoint was never written after them."""
    monkeypatch.setattr(uploads, "FLUSH_PARTS", 100)
    world = download(tmp_path / "folder")
    at = [0]

    def third(step: Step) -> None:
        if step.local and step.operation == "UploadPart" and step.after:
            at[0] += 1
        if at[0] == 3:
            raise KilledError

    world.on_step = third
    with pytest.raises(KilledError):
        world.run()
    world.on_step = lambda _: None
    world.steps.clear()
    world.run()
    outcome = world.outcome()
    assert (outcome.kept_parts, outcome.reread_parts, outcome.sent_parts) == (3, 0, 2)
    read = [s for s in world.steps if s.operation == "GetObject" and "byte_range" in s.arguments]
    assert sum(s.arguments.get("key") == KEY and not s.after for s in read) == 2
    assert files_of(world.folder) == {KEY: DATA}
