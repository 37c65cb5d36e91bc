"""What is copied: whole buckets, prefixes, named objects, lists, and what is new."""

from __future__ import annotations

from tests.support.demo_data import MIB, bytes_of
from tests.support.iam import DENIED
from tests.support.parity_registry import case
from tests.support.parity_sides import S3Side
from tests.support.parity_world import PART, World, refusal
from tests.support.wire_rules import Match, Replace, Rule

_GROUP = "S3 to S3"
_LISTING = "ListObjectsV2"


def _fill(source: S3Side, *prefixes: str) -> list[str]:
    """Put a few objects under each prefix, and return their keys."""
    keys = [f"{prefix}{name}" for prefix in prefixes for name in ("a.txt", "dir/b.bin", "z")]
    for number, key in enumerate(keys):
        source.put(key, bytes_of(key, 100 + 1000 * number), ContentType="text/plain")
    return keys


@case(_GROUP, "a whole bucket, small and large objects together")
def whole_bucket(world: World) -> None:
    """A run of every kind of size, verified, with a report that adds up."""
    trip = world.s3()
    keys = _fill(trip.source, "", "2026/01/", "2026/02/")
    trip.source.put("large/one.bin", bytes_of("one", 20 * MIB))
    trip.source.put_parts("large/two.bin", [bytes_of("two", PART), bytes_of("end", 77)])
    run = trip.sync()
    trip.same()
    assert run.report["copied"] == run.report["verified"] == len(keys) + 2
    assert run.report["failed"] == 0


@case(_GROUP, "from one kind of S3 service to another")
def to_another_service(world: World) -> None:
    """Both are named by their endpoints; neither is Amazon's."""
    for back in (False, True):
        trip = world.other_kinds(back=back)
        _fill(trip.source, "", "docs/")
        trip.source.put("large.bin", bytes_of("large", 17 * MIB))
        trip.sync()
        trip.same()


@case(_GROUP, "a prefix")
def prefix(world: World) -> None:
    """What stands beside it stays where it is."""
    trip = world.s3()
    keys = _fill(trip.source, "reports/", "other/")
    trip.sync("reports/", "reports/")
    trip.arrived({key: key for key in keys if key.startswith("reports/")})


@case(_GROUP, "a prefix onto another prefix")
def other_prefix(world: World) -> None:
    """The rest of a key is put behind the target's prefix."""
    trip = world.s3()
    keys = _fill(trip.source, "reports/2026/")
    trip.sync("reports/2026/", "mirror/")
    trip.arrived({f"mirror/{key.removeprefix('reports/2026/')}": key for key in keys})


@case(_GROUP, "a whole bucket below a prefix")
def below_prefix(world: World) -> None:
    """And a prefix onto the top of a bucket."""
    trip, back = world.s3(), world.s3()
    keys = _fill(trip.source, "")
    trip.sync("", "from/source/")
    trip.arrived({f"from/source/{key}": key for key in keys})
    keys = _fill(back.source, "deep/down/")
    back.sync("deep/down/", "")
    back.arrived({key.removeprefix("deep/down/"): key for key in keys})


@case(_GROUP, "a prefix is not the one that begins with it")
def neighbours(world: World) -> None:
    """``p/`` holds nothing of ``pq/``."""
    trip = world.s3()
    keys = _fill(trip.source, "p/", "pq/", "p")
    trip.sync("p/", "p/")
    trip.arrived({key: key for key in keys if key.startswith("p/")})


@case(_GROUP, "a prefix that ends within a name")
def within_name(world: World) -> None:
    """``log-2026`` means all that begins so."""
    trip = world.s3()
    keys = _fill(trip.source, "log-2025-", "log-2026-", "log-2026/")
    trip.sync("log-2026", "copy-of-log-2026")
    trip.arrived({f"copy-of-{key}": key for key in keys if key.startswith("log-2026")})


@case(_GROUP, "a single object")
def single_object(world: World) -> None:
    """By its own name; nothing else is copied, whatever begins with it."""
    trip = world.s3()
    trip.source.put("data/file", b"this one", ContentType="text/plain")
    trip.source.put("data/file.bak", b"not this one")
    trip.copy("data/file")
    trip.arrived({"data/file": "data/file"})


@case(_GROUP, "a single object under another key")
def renamed_object(world: World) -> None:
    """A large one, in parts."""
    trip = world.s3()
    trip.source.put("in/film.mp4", bytes_of("film", 18 * MIB), ContentType="video/mp4")
    trip.copy("in/film.mp4", "out/2026/film.mp4", part_size=PART)
    trip.arrived({"out/2026/film.mp4": "in/film.mp4"})


@case(_GROUP, "a list of named objects")
def named_objects(world: World) -> None:
    """One task for each line of a work list."""
    trip = world.s3()
    keys = _fill(trip.source, "a/", "b/", "c/")
    wanted = keys[::2]
    for key in wanted:
        trip.copy(key)
    trip.arrived({key: key for key in wanted})


@case(_GROUP, "several pairs of buckets")
def pairs_of_buckets(world: World) -> None:
    """A list of pairs, each with prefixes of its own."""
    for source_prefix, target_prefix in (("", ""), ("x/", "y/"), ("deep/er/", "deep/er/")):
        trip = world.s3()
        keys = _fill(trip.source, source_prefix)
        trip.sync(source_prefix, target_prefix)
        names = {f"{target_prefix}{key.removeprefix(source_prefix)}": key for key in keys}
        trip.arrived(names)


@case(_GROUP, "a second run copies nothing")
def second_run(world: World) -> None:
    """No object of the target is written again, whatever its size and its parts."""
    trip = world.s3()
    _fill(trip.source, "", "dir/")
    trip.source.put("large.bin", bytes_of("large", 17 * MIB))
    trip.source.put_parts("parts.bin", [bytes_of("1", PART), bytes_of("2", PART), b"end"])
    trip.sync()
    before = trip.target.written()
    run = trip.sync()
    assert (run.report["planned"], run.report["copied"], run.copies) == (0, 0, [])
    assert trip.target.written() == before
    trip.same()


@case(_GROUP, "only what is new since the last run")
def new_objects(world: World) -> None:
    """Two new objects, and one that has changed."""
    trip = world.s3()
    keys = _fill(trip.source, "", "dir/")
    trip.sync()
    before = trip.target.written()
    trip.source.put("dir/new-1", b"new")
    trip.source.put("new-2", bytes_of("new", 16 * MIB + 1))
    trip.source.put(keys[0], b"changed, and longer than before" * 10)
    run = trip.sync()
    assert run.report["copied"] == 3
    after = trip.target.written()
    assert {key for key in keys if after[key] == before[key]} == set(keys[1:])
    trip.same()


@case(_GROUP, "an object of the same size and other bytes")
def same_size(world: World) -> None:
    """Tools that compare sizes alone leave the old one there for ever."""
    trip = world.s3()
    trip.source.put("small", b"new bytes")
    trip.target.put("small", b"old bytes")
    trip.source.put("large", bytes_of("new", 17 * MIB))
    trip.target.put("large", bytes_of("old", 17 * MIB))
    trip.sync()
    trip.same()


@case(_GROUP, "the older tools' own rule, sizes alone")
def size_alone(world: World) -> None:
    """What has the same size is left alone, the other is copied."""
    trip = world.s3()
    trip.source.put("same-size", b"new bytes")
    trip.target.put("same-size", b"old bytes")
    trip.source.put("other-size", b"new and longer bytes")
    trip.target.put("other-size", b"old bytes")
    old = trip.target.read("same-size")
    run = trip.sync(planning={"rule": "size"})
    assert run.report["copied"] == 1
    assert trip.target.read("same-size") == old
    assert trip.target.read("other-size") == trip.source.read("other-size")


@case(_GROUP, "a dry run counts, and sends nothing")
def dry_run(world: World) -> None:
    """Count and size of what differs; the run after it copies just that."""
    trip = world.s3()
    keys = _fill(trip.source, "", "dir/")
    trip.target.put("only-there", b"stays")
    size = sum(trip.source.read(key).size for key in keys)
    run = trip.sync(planning={"plan_only": True})
    assert (run.report["planned"], run.report["planned_bytes"]) == (len(keys), size)
    assert trip.target.all_keys() == ["only-there"]
    run = trip.sync()
    assert (run.report["copied"], run.report["bytes"]) == (len(keys), size)
    for key in keys:
        assert trip.target.read(key) == trip.source.read(key)


@case(_GROUP, "hundreds of small objects in several tasks")
def many_small(world: World) -> None:
    """Four batches, as four mapped tasks would copy them."""
    trip = world.s3()
    for number in range(240):
        trip.source.put(f"{number % 7}/{number:04}.csv", bytes_of(f"csv {number}", 37 * number))
    run = trip.sync(planning={"max_objects": 60})
    assert len(run.copies) == 4
    assert run.report["verified"] == 240
    trip.same()


@case(_GROUP, "objects of the target alone stay")
def target_alone(world: World) -> None:
    """Nothing is deleted that the source does not have."""
    trip = world.s3()
    keys = _fill(trip.source, "")
    trip.target.put("archive/kept", b"kept")
    old = trip.target.read("archive/kept")
    trip.sync()
    assert sorted(trip.target.all_keys()) == sorted([*keys, "archive/kept"])
    assert trip.target.read("archive/kept") == old


@case(_GROUP, "equal objects whose parts differ")
def other_parts(world: World) -> None:
    """Their ETags cannot be compared: proven once, they are not copied again."""
    trip = world.s3()
    pieces = [bytes_of("1", PART), bytes_of("2", PART), b"end"]
    trip.source.put_parts("object", pieces)
    trip.target.put("object", b"".join(pieces))
    trip.sync()
    before = trip.target.written()
    run = trip.sync()
    assert run.report["planned"] == 0
    assert trip.target.written() == before
    trip.same()


@case(_GROUP, "as soon as enough is there")
def sensed(world: World) -> None:
    """A sensor waits for so many objects; its plan is what is copied."""
    trip = world.s3()
    trip.source.put("one", b"1")
    assert trip.sense(min_objects=2) is None
    trip.source.put("two", b"2")
    plan = trip.sense(min_objects=2)
    assert plan is not None
    batches, taken = trip.plan(taken=plan)
    for batch in batches:
        trip.transfer(batch)
    trip.finish(taken)
    trip.same()


@case(_GROUP, "with a limit on bytes and requests a second")
def limited(world: World) -> None:
    """It takes longer, and is whole."""
    trip = world.s3()
    _fill(trip.source, "", "dir/")
    trip.source.put("large.bin", bytes_of("large", 20 * MIB))
    trip.sync(max_bytes_per_s=32 * MIB, max_requests_per_s=200)
    trip.same()


@case(_GROUP, "with a fixed number of objects and parts at once")
def fixed_concurrency(world: World) -> None:
    """Five files and five parts at once, as one of the older tools has by default."""
    trip = world.s3()
    for number in range(6):
        trip.source.put(f"{number}.bin", bytes_of(f"{number}", 17 * MIB + number))
    trip.sync(object_concurrency=5, part_concurrency=5, part_size=PART)
    trip.same()


@case(_GROUP, "named objects replace what is there")
def replaced(world: World) -> None:
    """Without a look at it, as the older tools do where they compare nothing."""
    trip = world.s3()
    for key in ("equal", "other"):
        trip.source.put(key, b"source " + key.encode())
    trip.target.put("equal", b"source equal")
    trip.target.put("other", b"target")
    for key in ("equal", "other"):
        trip.copy(key)
    trip.same()


@case(_GROUP, "a listing that breaks off half way")
def broken_listing(world: World) -> None:
    """It is no shorter listing: nothing is copied, where older tools call the rest equal."""
    trip = world.s3()
    keys = [f"{number:04}" for number in range(1_001)]
    for key in keys:
        trip.source.put(key)
    source, _ = trip.wired(world)
    later = Match(operation=_LISTING, query={"continuation-token": None})
    source.add(Rule(when=later, action=Replace(status=403, body=DENIED)))
    assert _LISTING in refusal(trip.sync)
    assert source.seen(later)
    assert trip.target.all_keys() == []
    source.clear()
    trip.sync()
    assert sorted(trip.target.all_keys()) == keys


@case(_GROUP, "a target that cannot be listed")
def unlistable_target(world: World) -> None:
    """It is not an empty one: what is there is not written again."""
    trip = world.s3()
    _fill(trip.source, "")
    trip.sync()
    before = trip.target.written()
    trip.source.put("new", b"new")
    _, target = trip.wired(world)
    listing = Match(operation=_LISTING, path=f"^/{trip.target.bucket}")
    target.add(Rule(when=listing, action=Replace(status=403, body=DENIED)))
    assert _LISTING in refusal(trip.sync)
    assert trip.target.written() == before
