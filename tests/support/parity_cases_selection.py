"""Which objects are meant, where they go, and who moves their bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_registry import case
from tests.support.parity_sides import S3Side
from tests.support.parity_world import PART, World, refusal

_GROUP = "selection"
_LISTS = "lists/"


def backwards(key: str) -> str:
    """Return a key read from its end: a mapping that turns the order of keys round."""
    return key[::-1]


def _fill(source: S3Side, *keys: str) -> None:
    for number, key in enumerate(keys):
        source.put(key, bytes_of(key, 50 + 1000 * number), ContentType="text/plain")


def _list(source: S3Side, name: str, *lines: str, end: str = "\n") -> str:
    """Put a list beside the data, and return its URI."""
    source.put(f"{_LISTS}{name}", "".join(line + end for line in lines).encode())
    return source.uri(f"{_LISTS}{name}")


@case(_GROUP, "an ignore list with shell wildcards on bucket and key")
def ignore_list(world: World) -> None:
    """As the file of the older tool has them: ``*`` crosses slashes, upper case is another."""
    trip = world.s3()
    _fill(trip.source, "d/a.log", "d/deep/b.log", "d/c.LOG", "d/data.csv", "d/tmp/x.csv")
    bucket = trip.source.bucket
    ignored = _list(trip.source, "ignore.txt", f"{bucket}/d/*.log", f"{bucket}/d/tmp/?.csv")
    run = trip.sync("d/", "d/", planning={"selection": {"ignore_list": ignored}})
    trip.arrived({key: key for key in ("d/c.LOG", "d/data.csv")})
    assert run.report["skipped"]["not_selected"] == 3


@case(_GROUP, "a list of prefixes")
def prefix_list(world: World) -> None:
    """With the ends of lines of another system, an empty line, and one below another."""
    trip = world.s3()
    _fill(trip.source, "d/2024/a", "d/2025/01/b", "d/2025/02/c", "d/2026/d")
    lines = ("d/2026/", "", "d/2025/", "d/2025/02/")
    listed = _list(trip.source, "prefixes.txt", *lines, end="\r\n")
    trip.sync("d/", "d/", planning={"selection": {"prefix_list": listed}})
    trip.arrived({key: key for key in ("d/2025/01/b", "d/2025/02/c", "d/2026/d")})


@case(_GROUP, "lists in a third bucket, read with another connection")
def list_elsewhere(world: World) -> None:
    """As a list of prefixes may lie beside the machine that copies."""
    trip = world.s3()
    _fill(trip.source, "d/2025/a", "d/2026/b", "d/2026/c.tmp")
    bucket = f"lists-{trip.number}"
    trip.target.client.create_bucket(Bucket=bucket)
    bodies = {"prefixes.txt": b"d/2026/\n", "ignore.txt": b"*.tmp\n"}
    for name, body in bodies.items():
        trip.target.client.put_object(Bucket=bucket, Key=name, Body=body)
    selection = {
        "prefix_list": f"s3://{bucket}/prefixes.txt",
        "ignore_list": f"s3://{bucket}/ignore.txt",
        "lists_conn_id": trip.sides()["target_conn_id"],
    }
    trip.sync("d/", "d/", planning={"selection": selection})
    trip.arrived({"d/2026/b": "d/2026/b"})


@case(_GROUP, "a list of keys, as CSV and as JSON lines")
def key_lists(world: World) -> None:
    """Nothing else is looked at."""
    trip = world.s3()
    _fill(trip.source, "d/a,b", "d/c", "d/e f", "d/not")
    rows = _list(trip.source, "keys.csv", "number,key", '1,"d/a,b"', "2,d/c")
    trip.sync("d/", "d/", planning={"selection": {"key_list": rows}})
    trip.arrived({key: key for key in ("d/a,b", "d/c")})
    lines = _list(trip.source, "keys.jsonl", '{"key": "d/e f"}', '"d/c"')
    trip.sync("d/", "d/", planning={"selection": {"key_list": lines}})
    trip.arrived({key: key for key in ("d/a,b", "d/c", "d/e f")})


@case(_GROUP, "patterns that include and exclude")
def patterns(world: World) -> None:
    """What excludes wins."""
    trip = world.s3()
    _fill(trip.source, "a.csv", "sub/b.csv", "sub/tmp/c.csv", "d.parquet", "e.txt")
    selection = {"include": ["*.csv", "*.parquet"], "exclude_regex": r"(^|/)tmp/"}
    trip.sync(planning={"selection": selection})
    trip.arrived({key: key for key in ("a.csv", "sub/b.csv", "d.parquet")})


@case(_GROUP, "by size and by time")
def size_and_time(world: World) -> None:
    """What is out of bounds stays, and is counted."""
    trip = world.s3()
    for key, size in (("small", 10), ("middle", 5_000), ("large", 2 * MIB)):
        trip.source.put(key, bytes_of(key, size))
    trip.sync(planning={"selection": {"min_size": "1 KiB", "max_size": "1 MiB"}})
    trip.arrived({"middle": "middle"})
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    run = trip.sync(planning={"selection": {"modified_after": later}})
    assert (run.report["planned"], run.report["skipped"]["not_selected"]) == (0, 3)
    trip.arrived({"middle": "middle"})


@case(_GROUP, "a prefix taken off, and another put before")
def renamed(world: World) -> None:
    """The full key is kept by putting the source's prefix before it."""
    trip = world.s3()
    _fill(trip.source, "in/2025/a", "in/2025/b", "in/new/c")
    mapping = {"strip_prefix": "2025/", "add_prefix": "archive/"}
    trip.sync("in/", "out/", planning={"key_mapping": mapping})
    pairs = {"a": "2025/a", "b": "2025/b", "new/c": "new/c"}
    trip.arrived({f"out/archive/{target}": f"in/{source}" for target, source in pairs.items()})


@case(_GROUP, "keys that a function makes")
def renamed_by_function(world: World) -> None:
    """In whatever order they come out."""
    trip = world.s3()
    _fill(trip.source, "ab", "cd", "ef")
    name = f"{__name__}:{backwards.__name__}"
    trip.sync(planning={"key_function": name})
    trip.arrived({backwards(key): key for key in ("ab", "cd", "ef")})


@case(_GROUP, "two keys that would meet at one")
def meeting_keys(world: World) -> None:
    """They are refused by name, before anything is copied."""
    trip = world.s3()
    _fill(trip.source, "in/a", "in/2025/a", "in/b")
    mapping = {"strip_prefix": "2025/"}
    said = refusal(lambda: trip.sync("in/", "out/", planning={"key_mapping": mapping}))
    assert "in/a" in said
    assert "in/2025/a" in said
    assert trip.target.all_keys() == []


@case(_GROUP, "by storage class")
def by_class(world: World) -> None:
    """Those that are named; all others stay."""
    trip = world.other_kinds()
    for name in ("STANDARD", "STANDARD_IA", "GLACIER_IR"):
        trip.source.put(name, name.encode(), StorageClass=name)
    trip.sync(planning={"selection": {"storage_classes": ["STANDARD", "GLACIER_IR"]}})
    trip.arrived({key: key for key in ("STANDARD", "GLACIER_IR")})


@case(_GROUP, "archived objects")
def archived(world: World) -> None:
    """Reported with their bytes and not tried; the others arrive."""
    trip = world.other_kinds()
    trip.source.put("cold", bytes_of("cold", 3_000), StorageClass="GLACIER")
    trip.source.put("instant", bytes_of("instant", 2_000), StorageClass="GLACIER_IR")
    trip.source.put("warm", bytes_of("warm", 1_000))
    run = trip.sync()
    trip.arrived({key: key for key in ("instant", "warm")})
    assert run.report["skipped"]["archived"] == 1
    assert run.report["skipped_bytes"]["archived"] == 3_000


@case(_GROUP, "a dry run says what a run would ask")
def dry_run(world: World) -> None:
    """Counts, bytes and requests; nothing is copied."""
    trip = world.s3()
    trip.source.put("small", bytes_of("small", 1_000))
    trip.source.put("large", bytes_of("large", 18 * MIB))
    _, plan = trip.plan(plan_only=True, part_size=PART)
    _, report = trip.finish(plan)
    assert trip.target.all_keys() == []
    assert (report["planned"], report["copied"]) == (2, 0)
    assert report["requests"]["target.PutObject"] == 1
    assert report["requests"]["target.UploadPart"] == 4


@case(_GROUP, "two buckets of one service")
def by_service(world: World) -> None:
    """The service copies by itself; nothing of it is read here."""
    trip = world.plain()
    trip.source.put("large", bytes_of("large", 17 * MIB), ContentType="video/mp4")
    trip.source.put("middle", bytes_of("middle", MIB), CacheControl="no-store")
    run = trip.sync(server_side_copy="require")
    trip.same()
    assert (run.report["by_service"], run.report["bytes"]) == (2, 0)
