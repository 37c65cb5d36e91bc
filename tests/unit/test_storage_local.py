"""What a folder does that no bucket has to: links, changing files, names of its own, and kills."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    InvalidInputError,
    ListingError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
    TransientStoreError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm, md5_of_etag
from airflow_provider_s3resume.plan.objects import ByteRange, Hindrance, ListedObject
from airflow_provider_s3resume.plan.parts import PartLayout
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage import _local_errors, _local_placing
from airflow_provider_s3resume.storage._local_paths import Tree, flush_folder
from airflow_provider_s3resume.storage._local_settings import (
    LocalSettings,
    Symlinks,
    local_settings_from_extra,
)
from airflow_provider_s3resume.storage._local_walk import MARKER_ETAG
from airflow_provider_s3resume.storage.base import Condition, NewUpload
from airflow_provider_s3resume.storage.local import LocalStore
from tests.conformance.actions import checksum, complete, put, read, send_parts
from tests.support.folders import files_of, folder_store, unfinished_of

READS = LocalSettings()
FOLLOW = LocalSettings(symlinks=Symlinks.FOLLOW)
MARKERS = LocalSettings(writes=True, directory_markers=True)
DATA = bytes(range(256)) * 40


def listed(store: LocalStore, prefix: str = "") -> dict[str, ListedObject]:
    """Return what a store lists, by key."""
    return {one.key: one for one in store.list_objects(prefix)}


def hindrances(store: LocalStore) -> dict[str, Hindrance | None]:
    """Return what hinders each object that is listed."""
    return {key: one.hindrance for key, one in listed(store).items()}


# --- c10: a file that changes while it is read ----------------------------------------------------


def test_c10_a_file_rewritten_between_two_ranges_is_another_object(tmp_path: Path) -> None:
    """Of the same size, by whoever wrote it: the second range is refused."""
    file = tmp_path / "k"
    file.write_bytes(DATA)
    store = folder_store(tmp_path, READS)
    identity = store.head("k").identity()
    with store.open_range("k", ByteRange(start=0, stop=10), identity) as reader:
        assert reader.readinto(memoryview(bytearray(10))) == 10
    file.write_bytes(DATA[::-1])
    os.utime(file, ns=(1, 1))
    with pytest.raises(PreconditionFailedError):
        store.open_range("k", ByteRange(start=10, stop=20), identity)


def test_c10_a_file_replaced_with_an_older_one_is_another_object(tmp_path: Path) -> None:
    """Size and time may be the same: the inode is not."""
    file, other = tmp_path / "k", tmp_path / "other"
    for path in (file, other):
        path.write_bytes(DATA)
        os.utime(path, ns=(5, 5))
    store = folder_store(tmp_path, READS)
    identity = store.head("k").identity()
    other.replace(file)
    with pytest.raises(PreconditionFailedError):
        store.open_range("k", None, identity)
    ignoring = folder_store(tmp_path, replace(READS, inodes=False))
    assert ignoring.head("k").etag == f"f-0-{len(DATA):x}-5"


def test_c10_a_file_changed_in_the_middle_of_a_range_ends_the_read(tmp_path: Path) -> None:
    """With an error after which it is opened again, and then found to be another one."""
    file = tmp_path / "k"
    file.write_bytes(DATA)
    store = folder_store(tmp_path, READS)
    identity = store.head("k").identity()
    buffer = memoryview(bytearray(100))
    with store.open_range("k", None, identity) as reader:
        assert reader.readinto(buffer) == 100
        with file.open("r+b") as writer:
            writer.seek(5000)
            writer.write(b"new")
        os.utime(file, ns=(1, 1))
        with pytest.raises(TransientStoreError, match="changed while it was read"):
            reader.readinto(buffer)
    with pytest.raises(PreconditionFailedError):
        store.open_range("k", ByteRange(start=100, stop=200), identity)


def test_c10_a_file_cut_short_while_it_is_read_ends_the_read(tmp_path: Path) -> None:
    """Never with fewer bytes than the range has."""
    file = tmp_path / "k"
    file.write_bytes(DATA)
    store = folder_store(tmp_path, READS)
    with store.open_range("k", None, store.head("k").identity()) as reader:
        os.truncate(file, 0)
        with pytest.raises(TransientStoreError):
            reader.readinto(memoryview(bytearray(10)))


def test_c07_no_etag_of_a_file_looks_like_an_md5(tmp_path: Path) -> None:
    """Neither listed, nor of HEAD, nor of a part."""
    store = folder_store(tmp_path)
    upload_id = store.create_upload("big", NewUpload())
    [part] = send_parts(store, "big", upload_id, [b"x"])
    written = put(store, "k", b"x")
    for etag in (written.etag, store.head("k").etag, listed(store)["k"].etag, part.etag):
        assert etag is not None
        assert md5_of_etag(etag) is None
    assert not store.capabilities.md5_etags
    assert not store.head("k").md5_etag
    assert not listed(store)["k"].md5_etag


# --- links, and what is no file -------------------------------------------------------------------


def linked(folder: Path) -> Path:
    """Make a folder in another one, with links of every kind in it; return it."""
    outside, data = folder / "outside", folder / "root" / "data"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (data / "dir").mkdir(parents=True)
    (data / "dir" / "file").write_bytes(b"file")
    (folder / "root" / "beside").write_bytes(b"beside")
    (data / "to-file").symlink_to("dir/file")
    (data / "to-dir").symlink_to("dir")
    (data / "to-beside").symlink_to("../beside")
    (data / "to-outside").symlink_to(outside / "secret")
    (data / "to-outside-dir").symlink_to("../../outside")
    (data / "to-nothing").symlink_to("nothing")
    (data / "dir" / "to-above").symlink_to("..")
    return data


LINKS = ["to-file", "to-dir", "to-beside", "to-outside", "to-outside-dir", "to-nothing"]


@pytest.mark.parametrize(
    ("policy", "hindrance"),
    [(Symlinks.REPORT, Hindrance.SYMLINK), (Symlinks.FAIL, Hindrance.REFUSED_SYMLINK)],
)
def test_links_are_named_and_not_read(
    tmp_path: Path, policy: Symlinks, hindrance: Hindrance
) -> None:
    """Also those that lead to something in the folder."""
    data = linked(tmp_path)
    store = folder_store(data, LocalSettings(symlinks=policy), root=tmp_path / "root")
    expected = dict.fromkeys([*LINKS, "dir/to-above"], hindrance)
    assert hindrances(store) == {"dir/file": None, **expected}
    for key in LINKS:
        with pytest.raises(ObjectNotFoundError):
            store.head(key)


def test_c43_links_are_followed_as_far_as_they_stay_in_the_root(tmp_path: Path) -> None:
    """To files and directories; out of the root, to nothing and in circles they are refused."""
    data = linked(tmp_path)
    store = folder_store(data, FOLLOW, root=tmp_path / "root")
    found = listed(store)
    bad = {
        "dir/to-above": Hindrance.DANGLING_SYMLINK,
        "to-nothing": Hindrance.DANGLING_SYMLINK,
        "to-outside": Hindrance.OUTSIDE_SYMLINK,
        "to-outside-dir": Hindrance.OUTSIDE_SYMLINK,
    }
    good = {"dir/file": b"file", "to-beside": b"beside", "to-dir/file": b"file", "to-file": b"file"}
    # Seen through the link, the way up leads to a directory that the walk is in, too.
    bad["to-dir/to-above"] = Hindrance.DANGLING_SYMLINK
    assert {key: one.hindrance for key, one in found.items()} == {**dict.fromkeys(good), **bad}
    for key, body in good.items():
        assert read(store, key) == body
        assert (found[key].etag, found[key].size) == (store.head(key).etag, len(body))
    for key in ("to-outside", "to-outside-dir/secret", "to-nothing"):
        with pytest.raises(StoreError):
            store.head(key)


def test_c43_a_link_put_in_the_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    """Nor one in the place of a directory on the way, after both were listed."""
    (tmp_path / "secret").write_bytes(b"s")
    folder = tmp_path / "folder"
    (folder / "dir").mkdir(parents=True)
    (folder / "dir" / "secret").write_bytes(b"f")
    store = folder_store(folder, READS)
    identity = store.head("dir/secret").identity()
    (folder / "dir" / "secret").unlink()
    (folder / "dir" / "secret").symlink_to(tmp_path / "secret")
    with pytest.raises(ObjectNotFoundError):
        store.open_range("dir/secret", None, replace(identity, etag=None))
    (folder / "dir" / "secret").unlink()
    (folder / "dir").rmdir()
    (folder / "dir").symlink_to(tmp_path)
    with pytest.raises(ObjectNotFoundError):
        store.open_range("dir/secret", None, replace(identity, etag=None))


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    """A pipe and a socket are not read, which could last for ever; an odd name is in no bucket."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(tmp_path)
        listening.bind("socket")
        os.chdir(here)
    (tmp_path / os.fsdecode(b"odd\xff")).write_bytes(b"x")
    store = folder_store(tmp_path, READS)
    assert hindrances(store) == {
        "odd\udcff": Hindrance.UNREACHABLE_KEY,
        "pipe": Hindrance.SPECIAL_FILE,
        "socket": Hindrance.SPECIAL_FILE,
    }
    with pytest.raises(ObjectNotFoundError):
        store.head("pipe")


def test_c40_nothing_in_a_directory_with_an_odd_name_is_in_a_bucket(tmp_path: Path) -> None:
    """However plain its own name is: its key is not one that can be asked for."""
    odd = tmp_path / os.fsdecode(b"d\xff")
    (odd / "deeper").mkdir(parents=True)
    (odd / "deeper" / "file").write_bytes(b"x")
    (odd / "file").write_bytes(b"x")
    unreachable = Hindrance.UNREACHABLE_KEY
    files = dict.fromkeys(["d\udcff/deeper/file", "d\udcff/file"], unreachable)
    assert hindrances(folder_store(tmp_path, READS)) == files
    folders = dict.fromkeys(["d\udcff/", "d\udcff/deeper/"], unreachable)
    marked = replace(READS, directory_markers=True)
    assert hindrances(folder_store(tmp_path, marked)) == files | folders


# --- the listing ----------------------------------------------------------------------------------


def test_c01_a_directory_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a shorter listing."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "b").write_bytes(b"x")
    (tmp_path / "a").write_bytes(b"x")
    store = folder_store(tmp_path, READS)
    real = os.scandir

    def refuse(folder: int) -> object:
        if os.path.sameopenfile(folder, opened):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    opened = os.open(tmp_path / "dir", os.O_RDONLY)
    monkeypatch.setattr(os, "scandir", refuse)
    try:
        with pytest.raises(AccessDeniedError):
            list(store.list_objects())
    finally:
        os.close(opened)


def test_c01_a_file_that_becomes_a_directory_is_an_error(tmp_path: Path) -> None:
    """What is in it would be missing from the listing."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    listing = folder_store(tmp_path, READS).list_objects()
    assert next(listing).key == "a"
    (tmp_path / "b").unlink()
    (tmp_path / "b").mkdir()
    with pytest.raises(ListingError, match="list again"):
        next(listing)


def test_what_was_deleted_while_it_was_listed_is_left_out(tmp_path: Path) -> None:
    """Files and directories alike."""
    for name in ("a", "b/c", "d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listing = folder_store(tmp_path, READS).list_objects()
    assert next(listing).key == "a"
    (tmp_path / "b" / "c").unlink()
    (tmp_path / "b").rmdir()
    (tmp_path / "d").unlink()
    assert list(listing) == []


def test_c03_a_folder_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    """As a source; a target is made by its first write, in a root that has to be there."""
    source = folder_store(tmp_path / "new", READS, root=tmp_path)
    calls = (source.check_access, lambda: list(source.list_objects()), lambda: source.head("k"))
    for call in calls:
        with pytest.raises(BucketNotFoundError):
            call()
    target = folder_store(tmp_path / "new" / "er", root=tmp_path)
    target.check_access()
    assert list(target.list_objects()) == []
    assert not (tmp_path / "new").exists()
    put(target, "a/b", b"x")
    assert files_of(tmp_path / "new") == {"er/a/b": b"x"}
    elsewhere = folder_store(tmp_path / "none" / "here", root=tmp_path / "none")
    with pytest.raises(BucketNotFoundError):
        list(elsewhere.list_objects())


def test_directories_are_objects_where_that_is_asked_for(tmp_path: Path) -> None:
    """Each of them is made, and removed, as such; what is in one does not change it (c08)."""
    store = folder_store(tmp_path, MARKERS)
    put(store, "empty/", b"")
    put(store, "dir/file", b"x")
    put(store, "dir/", b"", condition=Condition(absent=True))
    assert list(listed(store)) == ["dir/", "dir/file", "empty/"]
    assert {listed(store)[key].etag for key in ("dir/", "empty/")} == {MARKER_ETAG}
    assert (store.head("dir/").size, read(store, "empty/")) == (0, b"")
    assert (tmp_path / "empty").is_dir()
    with pytest.raises(StoreError):
        put(store, "full/", b"bytes")
    store.delete_object("empty/")
    store.delete_object("empty/")
    assert list(listed(store)) == ["dir/", "dir/file"]
    assert list(listed(folder_store(tmp_path))) == ["dir/file"]


def test_content_types_are_guessed_only_if_asked_for(tmp_path: Path) -> None:
    """By the end of the name; what it says of an encoding is left out."""
    (tmp_path / "page.html").write_bytes(b"x")
    (tmp_path / "data.json.gz").write_bytes(b"x")
    assert folder_store(tmp_path, READS).head("page.html").attributes.content_type is None
    guessing = folder_store(tmp_path, replace(READS, guess_content_type=True))
    assert guessing.head("page.html").attributes.content_type == "text/html"
    found = guessing.head("data.json.gz").attributes
    assert (found.content_type, found.content_encoding) == ("application/json", None)


# --- c43: nothing is written outside --------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["../out", "a/../../out", "/out", "a//b", ".", "..", "a\0b", "x" * 256, "a/", ""]
)
def test_c43_keys_that_are_no_paths_in_the_folder_are_refused(tmp_path: Path, key: str) -> None:
    """By every call that writes, before anything is made."""
    folder = tmp_path / "folder"
    folder.mkdir()
    store = folder_store(folder)
    for call in (lambda: put(store, key, b"x"), lambda: store.create_upload(key, NewUpload())):
        with pytest.raises(UnsupportedError, match="no file can have this key"):
            call()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_c43_no_link_is_written_through(tmp_path: Path) -> None:
    """One in the place of a directory ends the write; one in the place of the file is replaced."""
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    for path in (outside, folder):
        path.mkdir()
    (outside / "file").write_bytes(b"theirs")
    (folder / "dir").symlink_to(outside)
    (folder / "file").symlink_to(outside / "file")
    store = folder_store(folder)
    assert hindrances(store) == {"dir": Hindrance.SYMLINK, "file": Hindrance.SYMLINK}
    upload_id = store.create_upload("dir/file", NewUpload())
    records = send_parts(store, "dir/file", upload_id, [b"ours"])
    with pytest.raises(StoreError, match="nothing is written through it"):
        complete(store, "dir/file", upload_id, records, b"ours")
    with pytest.raises(StoreError, match="nothing is written through it"):
        put(store, "dir/new/file", b"ours")
    with pytest.raises(PreconditionFailedError):
        put(store, "file", b"ours", condition=Condition(absent=True))
    with pytest.raises(PreconditionFailedError):
        put(store, "file", b"ours", condition=Condition(etag=listed(store)["file"].etag))
    put(store, "file", b"ours")
    assert files_of(outside) == {"file": b"theirs"}
    assert not (folder / "file").is_symlink()


def test_c43_an_area_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    """What has no name yet would lie outside."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    for path in (folder, outside):
        path.mkdir()
    (folder / ".s3resume-parts").symlink_to(outside)
    store = folder_store(folder)
    with pytest.raises(StoreError):
        put(store, "k", b"x")
    assert list(outside.iterdir()) == []


def test_c43_the_folder_has_to_lie_in_that_of_its_connection(tmp_path: Path) -> None:
    """Links in its path and in the root's are resolved first."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for path in (root, outside, tmp_path / "root-2"):
        path.mkdir()
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to("deeper")
    (tmp_path / "link-to-root").symlink_to(root)
    for folder in (root / "out", root / "out" / "x", outside, tmp_path / "root-2", tmp_path):
        with pytest.raises(InvalidInputError, match="target_uri") as raised:
            folder_store(folder, root=root)
        assert str(root) in str(raised.value)
    found = Tree.resolved(
        str(tmp_path / "link-to-root"), str(root / "in" / "x"), may_miss=True, parameter="uri"
    )
    assert (found.root, found.below) == (str(root), ("deeper", "x"))


def test_c43_an_upload_id_is_no_path(tmp_path: Path) -> None:
    """It comes from a checkpoint; it names an upload, or none."""
    store = folder_store(tmp_path)
    store.create_upload("k", NewUpload())
    (tmp_path / ".s3resume-parts" / ("x" * 32)).mkdir()
    for upload_id in ("../k", ".", "", "/etc", "x" * 32, "a" * 32):
        with pytest.raises(UploadNotFoundError):
            store.list_parts("k", upload_id)
        store.abort_upload("k", upload_id)
    assert len(store.list_uploads("k")) == 1


def test_c43_a_file_that_is_not_whole_has_no_name(tmp_path: Path) -> None:
    """Until Complete, and again after a Complete or a write that was refused."""
    store = folder_store(tmp_path)
    upload_id = store.create_upload("big", NewUpload())
    records = send_parts(store, "big", upload_id, [b"12345", b"678"])
    assert files_of(tmp_path) == {}
    assert listed(store) == {}
    put(store, "big", b"theirs")
    with pytest.raises(PreconditionFailedError):
        complete(store, "big", upload_id, records, b"", Condition(absent=True))
    with pytest.raises(StoreError):
        store.put_object(
            "new", b"x", upload=NewUpload(), checksum=checksum(ChecksumAlgorithm.MD5, b"y")
        )
    assert files_of(tmp_path) == {"big": b"theirs"}
    assert unfinished_of(tmp_path) == [upload_id]
    complete(store, "big", upload_id, records, b"", Condition(etag=store.head("big").etag))
    assert files_of(tmp_path) == {"big": b"12345678"}
    assert unfinished_of(tmp_path) == []


# --- c33: the area of unfinished files ------------------------------------------------------------


def test_c33_unfinished_files_are_never_listed(tmp_path: Path) -> None:
    """Nor are those of a folder in the one that is listed; another directory of that name is."""
    inner = folder_store(tmp_path / "in", root=tmp_path)
    inner.create_upload("k", NewUpload())
    outer = folder_store(tmp_path)
    outer.create_upload("k", NewUpload())
    (tmp_path / "theirs" / ".s3resume-parts").mkdir(parents=True)
    (tmp_path / "theirs" / ".s3resume-parts" / "file").write_bytes(b"x")
    source = folder_store(tmp_path, READS)
    assert list(listed(source)) == ["theirs/.s3resume-parts/file"]
    assert read(source, "theirs/.s3resume-parts/file") == b"x"
    with pytest.raises(UnsupportedError, match="reserved"):
        put(outer, "theirs/.s3resume-parts/file", b"x")


def test_c33_a_directory_of_that_name_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """And refused by name."""
    (tmp_path / ".s3resume-parts").mkdir()
    (tmp_path / ".s3resume-parts" / "file").write_bytes(b"theirs")
    with pytest.raises(StoreError, match="did not make; rename it"):
        put(folder_store(tmp_path), "k", b"x")
    assert [p.name for p in (tmp_path / ".s3resume-parts").iterdir()] == ["file"]


def test_what_a_killed_write_of_a_small_file_left_is_swept_away_a_day_later(tmp_path: Path) -> None:
    """Not sooner, as another may be writing it; uploads are left to their checkpoints (c34)."""
    store = folder_store(tmp_path)
    upload_id = store.create_upload("k", NewUpload())
    area = tmp_path / ".s3resume-parts"
    for name in ("put-old", "put-new"):
        (area / name).write_bytes(b"half")
    # Begun, and killed before it was said whose it is.
    (area / ("b" * 32)).mkdir()
    (area / ("b" * 32) / "data").write_bytes(b"")
    for name in ("put-old", upload_id, "b" * 32):
        os.utime(area / name, (1, 1))
    put(folder_store(tmp_path), "other", b"x")
    assert unfinished_of(tmp_path) == sorted(["put-new", upload_id])


# --- uploads --------------------------------------------------------------------------------------


def begun(store: LocalStore, layout: PartLayout) -> str:
    """Begin an upload whose parts are cut in a known way."""
    return store.create_upload("k", NewUpload(layout=layout))


def test_parts_are_written_where_they_belong(tmp_path: Path) -> None:
    """In whatever order they come: nothing is written twice, and Complete renames the file."""
    store = folder_store(tmp_path)
    upload_id = begun(store, PartLayout(size=10, part_size=4))
    data = tmp_path / ".s3resume-parts" / upload_id / "data"
    inode = data.stat().st_ino
    etags = {n: store.upload_part("k", upload_id, n, b, None) for n, b in PARTS.items()}
    assert data.read_bytes() == b"aaaabbbbcc"
    records = [PartRecord(part_number=n, size=len(PARTS[n]), etag=etags[n]) for n in (1, 2, 3)]
    store.complete_upload("k", upload_id, records, size=10, checksum=None)
    assert (tmp_path / "k").stat().st_ino == inode
    assert files_of(tmp_path) == {"k": b"aaaabbbbcc"}


PARTS = {3: b"cc", 1: b"aaaa", 2: b"bbbb"}


def test_parts_are_put_in_order_however_few_bytes_a_read_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a layout they lie as they came; what follows a short read keeps its place."""
    store = folder_store(tmp_path)
    upload_id = store.create_upload("k", NewUpload())
    etags = {n: store.upload_part("k", upload_id, n, b, None) for n, b in PARTS.items()}
    records = [PartRecord(part_number=n, size=len(PARTS[n]), etag=etags[n]) for n in (1, 2, 3)]
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 3), at))
    store.complete_upload("k", upload_id, records, size=10, checksum=None)
    assert files_of(tmp_path) == {"k": b"aaaabbbbcc"}


def test_c18_a_part_that_is_not_there_whole_any_more_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Its bytes were read back once: the file that they were in was cut short since."""
    store = folder_store(tmp_path)
    upload_id = store.create_upload("k", NewUpload())
    etags = {n: store.upload_part("k", upload_id, n, b, None) for n, b in PARTS.items()}
    records = [PartRecord(part_number=n, size=len(PARTS[n]), etag=etags[n]) for n in (1, 2, 3)]
    os.truncate(tmp_path / ".s3resume-parts" / upload_id / "data", 8)
    with pytest.raises(TransientStoreError, match="part 2 has 4 bytes, 2 are there"):
        store.complete_upload("k", upload_id, records, size=10, checksum=None)
    assert files_of(tmp_path) == {}


def test_c18_parts_in_order_that_were_cut_short_are_no_file(tmp_path: Path) -> None:
    """Zeros in place of what is missing would have the right size."""
    store = folder_store(tmp_path)
    upload_id = begun(store, PartLayout(size=10, part_size=4))
    bodies = {1: b"aaaa", 2: b"bbbb", 3: b"cc"}
    etags = {n: store.upload_part("k", upload_id, n, b, None) for n, b in bodies.items()}
    records = [PartRecord(part_number=n, size=len(bodies[n]), etag=etags[n]) for n in (1, 2, 3)]
    os.truncate(tmp_path / ".s3resume-parts" / upload_id / "data", 9)
    with pytest.raises(TransientStoreError, match="the parts have 10 bytes, 9 are there"):
        store.complete_upload("k", upload_id, records, size=10, checksum=None)
    assert files_of(tmp_path) == {}


def test_a_part_that_does_not_fit_the_layout_is_refused(tmp_path: Path) -> None:
    """It would lie over another one."""
    store = folder_store(tmp_path)
    upload_id = begun(store, PartLayout(size=11, part_size=5, sizes=(5, 4, 2)))
    for number, body in ((1, b"123"), (4, b"12"), (0, b"12345")):
        with pytest.raises(StoreError, match="InvalidPart"):
            store.upload_part("k", upload_id, number, body, None)
    assert store.list_parts("k", upload_id) == []


def test_c17_a_part_is_there_once_it_was_acknowledged_and_not_before(tmp_path: Path) -> None:
    """A line that a kill cut short is none, and does not spoil the next one."""
    store = folder_store(tmp_path)
    upload_id = begun(store, PartLayout(size=10, part_size=4))
    log = tmp_path / ".s3resume-parts" / upload_id / "parts.jsonl"
    store.upload_part("k", upload_id, 1, b"aaaa", None)
    whole = log.read_bytes()
    store.upload_part("k", upload_id, 2, b"bbbb", None)
    log.write_bytes(log.read_bytes()[:-20])
    again = folder_store(tmp_path)
    assert [part.part_number for part in again.list_parts("k", upload_id)] == [1]
    again.upload_part("k", upload_id, 3, b"cc", None)
    assert [part.part_number for part in again.list_parts("k", upload_id)] == [1, 3]
    assert log.read_bytes().startswith(whole)


def test_c17_a_part_that_is_written_over_is_none_until_it_is_whole_again(tmp_path: Path) -> None:
    """Killed in the middle, what the log said of it before is not true any more."""
    store = folder_store(tmp_path)
    upload_id = begun(store, PartLayout(size=8, part_size=4))
    first = store.upload_part("k", upload_id, 1, b"aaaa", None)

    class Dying:
        def read(self, _size: int = -1, /) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.upload_part_stream("k", upload_id, 1, Dying(), 4, None)
    assert store.list_parts("k", upload_id) == []
    assert store.upload_part("k", upload_id, 1, b"aaaa", None) == first


def test_c18_bytes_that_are_not_on_the_disk_are_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part and a small file are read back: one flipped bit is seen."""
    store = folder_store(tmp_path)
    upload_id = begun(store, PartLayout(size=8, part_size=4))
    real = os.pwrite

    def flip(fd: int, data: memoryview, offset: int) -> int:
        changed = bytearray(data)
        if bytes(changed) in {b"aaaa", b"small"}:
            changed[1] ^= 1
        return real(fd, changed, offset)

    monkeypatch.setattr(os, "pwrite", flip)
    sent = checksum(ChecksumAlgorithm.CRC64NVME, b"aaaa")
    with pytest.raises(StoreError, match="BadDigest: CRC64NVME of the bytes in the file"):
        store.upload_part("k", upload_id, 1, b"aaaa", sent)
    with pytest.raises(StoreError, match="BadDigest"):
        put(store, "k", b"small")
    assert store.list_parts("k", upload_id) == []
    assert files_of(tmp_path) == {}


def test_an_upload_for_which_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    """Before any byte is moved."""
    store = folder_store(tmp_path)
    with pytest.raises(StoreError, match=r"are needed, .* are free: free some space"):
        begun(store, PartLayout(size=1 << 60, part_size=1 << 59))
    assert unfinished_of(tmp_path) == []


def test_c15_a_worker_that_comes_too_late_does_not_touch_the_finished_file(tmp_path: Path) -> None:
    """Two workers write one upload; one completes it, and there is nothing left to write to."""
    one, two = folder_store(tmp_path), folder_store(tmp_path)
    upload_id = begun(one, PartLayout(size=4, part_size=4))
    [record] = send_parts(one, "k", upload_id, [b"aaaa"])
    etag = one.complete_upload("k", upload_id, [record], size=4, checksum=None).etag
    with pytest.raises(UploadNotFoundError):
        two.upload_part("k", upload_id, 1, b"aaaa", None)
    with pytest.raises(UploadNotFoundError):
        two.complete_upload("k", upload_id, [record], size=4, checksum=None)
    assert two.head("k").etag == etag


def test_a_file_system_without_hard_links_is_asked_whether_the_name_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT has none, nor have some network file systems."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    store = folder_store(tmp_path)
    put(store, "k", b"first", condition=Condition(absent=True))
    with pytest.raises(PreconditionFailedError):
        put(store, "k", b"second", condition=Condition(absent=True))
    assert files_of(tmp_path) == {"k": b"first"}
    assert unfinished_of(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
def test_a_directory_is_not_replaced_by_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    """Empty or not, and whatever else is asked: an empty one is in no listing to be seen in."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    store = folder_store(tmp_path)
    put(store, "dir/k", b"x")
    (tmp_path / "empty").mkdir()
    for key in ("dir", "empty"):
        for condition in (None, Condition(absent=True)):
            with pytest.raises(StoreError, match="a directory stands there"):
                put(store, key, b"x", condition=condition)
    assert files_of(tmp_path) == {"dir/k": b"x"}
    assert unfinished_of(tmp_path) == []


@pytest.mark.parametrize("absent", [True, False])
def test_c18_a_file_put_there_right_after_ours_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, absent: bool
) -> None:
    """The ETag that a write gives is that of the file that was written and read back."""
    store = folder_store(tmp_path)

    def flush_and_lose(fd: int) -> None:
        flush_folder(fd)
        (tmp_path / "theirs").write_bytes(b"theirs")
        (tmp_path / "theirs").replace(tmp_path / "k")

    monkeypatch.setattr(_local_placing, "flush_folder", flush_and_lose)
    written = put(store, "k", b"ours", condition=Condition(absent=True) if absent else None)
    assert files_of(tmp_path) == {"k": b"theirs"}
    assert written.etag != store.head("k").etag
    monkeypatch.undo()
    (tmp_path / "k").unlink()
    assert put(store, "k", b"ours").etag == store.head("k").etag


# --- errors, settings, identity -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "operation", "kind", "retryable"),
    [
        (2, "GetObject", ObjectNotFoundError, False),
        (20, "GetObject", ObjectNotFoundError, False),
        (40, "GetObject", ObjectNotFoundError, False),
        (20, "PutObject", StoreError, False),
        (13, "PutObject", AccessDeniedError, False),
        (30, "PutObject", AccessDeniedError, False),
        (28, "UploadPart", StoreError, False),
        (5, "UploadPart", TransientStoreError, True),
        (116, "GetObject", TransientStoreError, True),
        (18, "PutObject", StoreError, False),
    ],
)
def test_c41_an_error_of_the_system_is_one_of_ours(
    number: int,
    operation: str,
    kind: type[StoreError],
    retryable: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """Those of network file systems may be over by the next try; a full disk is not."""
    found = _local_errors.error_of(operation, "file:///k", OSError(number, os.strerror(number)))
    assert type(found) is kind
    assert found.retryable is retryable
    assert os.strerror(number) in str(found)


def test_a_source_is_never_written_to(tmp_path: Path) -> None:
    """By no call; not even an empty directory is made."""
    store = folder_store(tmp_path, READS)
    for call in (
        lambda: put(store, "k", b"x"),
        lambda: store.create_upload("k", NewUpload()),
        lambda: store.delete_object("k"),
    ):
        with pytest.raises(UnsupportedError, match="only read"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_another_folder_under_the_same_path_is_another_service(tmp_path: Path) -> None:
    """A worker that has another one there must not take its files for deleted ones (c40)."""
    one = tmp_path / "one"
    one.mkdir()
    (tmp_path / "two").mkdir()
    before = folder_store(one, READS, root=tmp_path).service
    assert before == f"file://{one.stat().st_ino:x}"
    one.rename(tmp_path / "was")
    (tmp_path / "two").rename(one)
    assert folder_store(one, READS, root=tmp_path).service != before
    ignoring = folder_store(one, replace(READS, inodes=False), root=tmp_path)
    assert ignoring.service == "file://localhost"
    target = folder_store(tmp_path / "to-be-made", root=tmp_path)
    assert target.service == f"file://{tmp_path.stat().st_ino:x}"


@pytest.mark.parametrize(
    ("extra", "accepted"),
    [
        ({}, True),
        ({"symlinks": "follow", "directory_markers": True, "inodes": False}, True),
        ({"symlinks": "keep"}, False),
        ({"symlinks": True}, False),
        ({"directory_markers": "yes"}, False),
        ({"guess_content_type": 1}, False),
    ],
)
def test_a_field_that_says_nothing_is_refused_by_name(
    extra: dict[str, object],
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """With the connection's name."""
    if accepted:
        found = local_settings_from_extra(extra, "source_conn_id 'x'", writes=False)
        assert found.symlinks.value == extra.get("symlinks", "report")
        return
    with pytest.raises(InvalidInputError, match="source_conn_id 'x'"):
        local_settings_from_extra(extra, "source_conn_id 'x'", writes=False)


def test_the_area_is_closed_to_others(tmp_path: Path) -> None:
    """What is unfinished may be anything; the finished file has the worker's own mode."""
    store = folder_store(tmp_path)
    put(store, "k", b"x")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / ".s3resume-parts").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o666 & ~mask
