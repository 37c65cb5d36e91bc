"""Folders, lists, key mappings, archived objects and dry runs, as limited identities use them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial

from airflow_provider_s3resume.plan.policies import Resources
from tests.support.demo_data import bytes_of
from tests.support.parity_cases_selection import backwards
from tests.support.parity_folders import download_of, upload_of
from tests.support.parity_sides import S3Side
from tests.support.parity_world import PART, S3Trip, World
from tests.support.permitted_features import (
    PREFIXES,
    FeatureWorld,
    Stage,
    between,
    mirrored,
    using,
)

_BELOW = PREFIXES[0]
_LISTED = {
    "ignore_list": ("ignore.txt", "*/b.csv\n"),
    "prefix_list": ("prefixes.txt", f"{_BELOW}a\n{_BELOW}none\n"),
    "key_list": ("keys.jsonl", f'"{_BELOW}a.csv"\n'),
}
"""Names of lists, and what they say to have ``a.csv`` copied and ``b.csv`` not."""


def _fill(source: S3Side, *names: str) -> None:
    for name in names:
        source.put(f"{_BELOW}{name}", bytes_of(name, 2_000), ContentType="text/csv")
    source.put("beside", b"nobody may read this")


def _copying(trip: S3Trip, **planning: object) -> Callable[[], object]:
    return partial(trip.sync, *PREFIXES, planning=planning)


# --- folders ------------------------------------------------------------------------------------


@using(
    "upload a folder (local_to_s3_upload)",
    "folder that nothing leaves",
    "links in a source folder: name, follow inside path, fail",
    "empty directories as dir/ objects",
    "content types by the end of the name",
    "file systems without lasting inode numbers",
)
def upload(world: FeatureWorld) -> Stage:
    """Upload a folder in a folder, with a link and an empty directory."""
    trip = upload_of(world)
    folder = trip.folder / "data"
    (folder / "empty").mkdir(parents=True)
    (folder / "page.html").write_bytes(bytes_of("page", 3_000))
    (folder / "large").write_bytes(bytes_of("large", 2 * PART + 3))
    (folder / "link").symlink_to("page.html")
    wire = world.wire(trip.target.endpoint.endpoint_url)
    trip.lead(target=wire)
    fields = {"directory_markers": True, "guess_content_type": True, "inodes": False}
    extra = {"path": str(trip.folder), **fields}
    conn_id = trip.sides()["source_conn_id"].upper()
    connection = {"conn_type": "s3resume_local", "extra": extra}
    os.environ[f"AIRFLOW_CONN_{conn_id}"] = json.dumps(connection)

    def arrived() -> None:
        keys = {f"out/{name}" for name in ("empty/", "page.html", "large", "link")}
        assert set(trip.target.all_keys()) == keys
        found = [trip.target.read(f"out/{name}") for name in ("link", "page.html")]
        assert found[0].sha256 == found[1].sha256
        assert found[1].headers["content-type"] == "text/html"

    return Stage(
        trip=trip,
        prefixes=("data/", "out/"),
        act=partial(trip.sync, "data/", "out/", planning={"symlinks": "follow"}, part_size=PART),
        arrived=arrived,
        source_wire=None,
        target_wire=wire,
    )


@using("download into a folder (s3_to_local_download)", "folder that nothing leaves")
def download(world: FeatureWorld) -> Stage:
    """Read below a prefix, into a folder; a bucket keeps the state."""
    trip = download_of(world)
    for name in ("a", "dir/b"):
        trip.source.put(f"{_BELOW}{name}", bytes_of(name, 2_000))
    trip.source.put_parts(f"{_BELOW}parts", [bytes_of("1", PART), b"end"])
    to_all = (_BELOW, "")
    wires = [world.wire(side.endpoint.endpoint_url) for side in (trip.source, trip.target)]
    trip.lead(source=wires[0], target=wires[1])
    return Stage(
        trip=trip,
        prefixes=to_all,
        act=partial(trip.sync, *to_all),
        arrived=mirrored(trip, "a", "dir/b", "parts", prefixes=to_all),
        source_wire=wires[0],
        target_wire=wires[1],
    )


# --- what is meant, and where it goes -----------------------------------------------------------


@using(
    "globs, regexes, size, age, times, storage class",
    enforced=frozenset(),
)
def patterns(world: World) -> Stage:
    """Use a few of them at once."""
    trip = world.s3()
    _fill(trip.source, "a.csv", "b.csv", "c.txt")
    selection = {"include": ["*.csv"], "exclude_regex": "^b", "max_size": "1 MiB", "max_age": "1d"}
    return between(world, trip, _copying(trip, selection=selection), mirrored(trip, "a.csv"))


def _listed(kind: str, world: World) -> Stage:
    trip = world.s3()
    _fill(trip.source, "a.csv", "b.csv")
    name, text = _LISTED[kind]
    trip.source.put(f"lists/{name}", text.encode())
    uri = trip.source.uri(f"lists/{name}")
    act = _copying(trip, selection={kind: uri})
    resources = Resources(lists=(uri,))
    return between(world, trip, act, mirrored(trip, "a.csv"), resources=resources)


_OF_LISTS = {"names": {"s3:GetObject": r"AccessDenied.*lists/"}}
using("ignore list", **_OF_LISTS, enforced=frozenset({"s3:GetObject"}))(
    partial(_listed, "ignore_list")
)
using("prefix list", **_OF_LISTS, enforced=frozenset({"s3:GetObject"}))(
    partial(_listed, "prefix_list")
)
using("key list (CSV, JSONL, text)", **_OF_LISTS, enforced=frozenset({"s3:GetObject"}))(
    partial(_listed, "key_list")
)


@using("take a prefix off, put one on", enforced=frozenset())
def renamed(world: World) -> Stage:
    """Behind the prefixes of both sides."""
    trip = world.s3()
    _fill(trip.source, "old/a", "b")
    act = _copying(trip, key_mapping={"strip_prefix": "old/", "add_prefix": "new/"})
    pairs = {"out/new/a": f"{_BELOW}old/a", "out/new/b": f"{_BELOW}b"}
    return between(world, trip, act, lambda: trip.arrived(pairs))


@using("a function of your own")
def renamed_by_function(world: World) -> Stage:
    """Turn the order of keys round."""
    trip = world.s3()
    _fill(trip.source, "ab", "cd")
    act = _copying(trip, key_function=f"{backwards.__module__}:{backwards.__name__}")
    pairs = {f"out/{backwards(key)}": f"{_BELOW}{key}" for key in ("ab", "cd")}
    return between(world, trip, act, lambda: trip.arrived(pairs))


@using("report, refuse, or try")
def archived(world: World) -> Stage:
    """Where no listing tells whether an object was restored, each is asked for."""
    trip = world.other_kinds()
    _fill(trip.source, "warm")
    trip.source.put(f"{_BELOW}cold", b"cold", StorageClass="GLACIER")

    def act() -> None:
        assert trip.sync(*PREFIXES).report["skipped"]["archived"] == 1

    return between(world, trip, act, mirrored(trip, "warm"))


@using("plan and report, copy nothing")
def dry_run(world: World) -> Stage:
    """Say what would be copied."""
    trip = world.s3()
    _fill(trip.source, "a", "b")

    def act() -> None:
        report = trip.sync(*PREFIXES, planning={"plan_only": True}).report
        assert (report["planned"], report["copied"]) == (2, 0)

    def arrived() -> None:
        assert trip.target.all_keys() == []

    return between(world, trip, act, arrived)
