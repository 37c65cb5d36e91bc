"""From a folder of the worker to a bucket, and back."""

from __future__ import annotations

from pathlib import Path

from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_folders import download_of, download_of_oss, upload_of
from tests.support.parity_registry import case
from tests.support.parity_world import PART, World, refusal

_GROUP = "folders"
_FILES = {"a.txt": 1_000, "dir/b.bin": 200_000, "dir/deep/empty": 0, "ünï/code +%.txt": 77}


def _fill(folder: Path) -> None:
    for name, size in _FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes_of(name, size))


def _mark(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_ino, found.st_mtime_ns


@case(_GROUP, "a folder to a bucket")
def upload(world: World) -> None:
    """Small, large and empty files, under names of all kinds; a second run copies nothing."""
    trip = upload_of(world)
    _fill(trip.folder)
    (trip.folder / "film.mp4").write_bytes(bytes_of("film", 17 * MIB))
    trip.sync(part_size=PART)
    trip.same()
    assert trip.sync().report["planned"] == 0


@case(_GROUP, "a folder of a folder to a prefix")
def upload_below(world: World) -> None:
    """What lies beside it stays where it is."""
    trip = upload_of(world)
    _fill(trip.folder)
    trip.sync("dir/", "mirror/")
    trip.arrived({f"mirror/{name}": f"dir/{name}" for name in ("b.bin", "deep/empty")})


@case(_GROUP, "a single file to a bucket, and a single object to a folder")
def single(world: World) -> None:
    """By their own names, under others; nothing else is copied."""
    trip, back = upload_of(world), download_of(world)
    _fill(trip.folder)
    trip.copy("dir/b.bin", "copies/b")
    trip.arrived({"copies/b": "dir/b.bin"})
    for key in ("film.mp4", "film.mp4.bak"):
        back.source.put(key, bytes_of(key, 18 * MIB))
    back.copy("film.mp4", "films/one.mp4", part_size=PART)
    back.arrived({"films/one.mp4": "film.mp4"})


@case(_GROUP, "content types by the ends of files' names")
def content_types(world: World) -> None:
    """As one of the older tools has them; of a name that tells none, none is made up."""
    trip = upload_of(world, plain=True, guess_content_type=True)
    types = {"a.html": "text/html", "b.json": "application/json", "c.png": "image/png"}
    for name in (*types, "plain"):
        (trip.folder / name).write_bytes(b"content")
    trip.sync()
    trip.same()
    found = {name: trip.target.head(name)["ContentType"] for name in types}
    assert found == types
    assert trip.target.head("plain")["ContentType"] in {
        "application/octet-stream",
        "binary/octet-stream",
    }


@case(_GROUP, "empty directories")
def directories(world: World) -> None:
    """As objects whose keys end with a slash, if asked to."""
    trip = upload_of(world, plain=True, directory_markers=True)
    (trip.folder / "empty" / "deep").mkdir(parents=True)
    (trip.folder / "file").write_bytes(b"content")
    trip.sync()
    assert sorted(trip.target.all_keys()) == ["empty/", "empty/deep/", "file"]
    assert trip.sync().report["planned"] == 0


@case(_GROUP, "links in a folder")
def links(world: World) -> None:
    """Reported; followed inside of the folder, if asked to; never out of it."""
    trip = upload_of(world)
    (trip.folder / "file").write_bytes(b"content")
    (trip.folder / "link").symlink_to("file")
    run = trip.sync()
    assert run.report["skipped"] == {"symlink": 1}
    assert trip.target.all_keys() == ["file"]
    trip.sync(planning={"symlinks": "follow"})
    assert trip.target.read("link") == trip.target.read("file")


@case(_GROUP, "an ignore list for a folder")
def upload_selected(world: World) -> None:
    """Patterns hold for files, too."""
    trip = upload_of(world)
    _fill(trip.folder)
    trip.sync(planning={"selection": {"exclude": ["*.bin", "/ünï/**"]}})
    trip.arrived({name: name for name in ("a.txt", "dir/deep/empty")})


@case(_GROUP, "a bucket to a folder")
def download(world: World) -> None:
    """Whole files under their names, and nothing else; a second run copies nothing."""
    trip = download_of(world)
    for name, size in _FILES.items():
        trip.source.put(name, bytes_of(name, size))
    trip.source.put_parts("film.mp4", [bytes_of("1", PART), bytes_of("2", PART), b"end"])
    trip.sync()
    trip.same()
    assert trip.sync().report["planned"] == 0


@case(_GROUP, "a bucket of OSS to a folder")
def download_from_oss(world: World) -> None:
    """Small objects and one that was sent in parts; a second run copies nothing."""
    trip = download_of_oss(world)
    for name, size in _FILES.items():
        trip.source.put(name, bytes_of(name, size))
    parts = [bytes_of("1", PART), bytes_of("2", PART), b"end"]
    trip.source.state.put_multipart(trip.source.bucket, "film.mp4", parts)
    trip.sync()
    trip.same()
    assert trip.sync().report["planned"] == 0


@case(_GROUP, "a changed object replaces its file")
def download_again(world: World) -> None:
    """And no other file is touched."""
    trip = download_of(world)
    for key in ("kept", "changed"):
        trip.source.put(key, b"old " + key.encode())
    trip.sync()
    kept = _mark(trip.folder / "kept")
    trip.source.put("changed", b"new and longer")
    assert trip.sync().report["copied"] == 1
    trip.same()
    assert _mark(trip.folder / "kept") == kept


@case(_GROUP, "keys that lead out of the folder")
def escaping(world: World) -> None:
    """They are refused by name, and all others arrive."""
    trip = download_of(world, plain=True)
    trip.source.put("inside", b"fine")
    trip.source.put("../outside", b"not fine")
    batches, plan = trip.plan()
    for batch in batches:
        trip.transfer(batch)
    assert "'../outside'" in refusal(lambda: trip.finish(plan))
    assert trip.files() == {"inside"}
    assert not (trip.folder.parent / "outside").exists()
