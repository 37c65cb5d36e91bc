"""Objects of all sizes: where single requests end, how parts are cut, and how many there are."""

from __future__ import annotations

from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_registry import case
from tests.support.parity_world import PART, World

_GROUP = "sizes"
_THRESHOLD = 16 * MIB
"""Up to here an object is written in one request."""

_EDGES = {"just below": -1, "at": 0, "just above": 1}


def _cut_into(etag: str) -> int | None:
    """Return of how many parts an ETag tells, ``None`` for an object that has none."""
    _, dash, count = etag.partition("-")
    return int(count) if dash else None


@case(_GROUP, "an empty object")
def empty(world: World) -> None:
    """Also in place of one that has bytes."""
    trip = world.s3()
    trip.source.put("empty", ContentType="text/plain")
    trip.source.put("emptied")
    trip.target.put("emptied", b"old bytes")
    trip.sync()
    trip.same()


@case(_GROUP, "a folder's marker")
def marker(world: World) -> None:
    """The empty object whose key ends with a slash, as consoles make it."""
    for trip in (world.s3(), world.plain()):
        trip.source.put("folder/")
        trip.source.put("folder/file", b"file")
        trip.source.put("folder/sub/")
        trip.sync()
        trip.same()


@case(_GROUP, "objects of a few bytes")
def tiny(world: World) -> None:
    """One byte, two, three, and so on."""
    trip = world.s3()
    for size in range(1, 40):
        trip.source.put(f"tiny/{size}", bytes_of(f"tiny {size}", size))
    trip.sync()
    trip.same()


def _at_threshold(edge: str, more: int) -> None:
    @case(_GROUP, f"{edge} the size from which on objects are sent in parts")
    def play(world: World) -> None:
        trip = world.s3()
        trip.source.put("object", bytes_of(edge, _THRESHOLD + more))
        trip.sync()
        trip.same()
        assert _cut_into(trip.target.etag("object")) == (2 if more > 0 else None)


def _at_part_end(edge: str, more: int) -> None:
    @case(_GROUP, f"{edge} the end of a part")
    def play(world: World) -> None:
        trip = world.s3()
        trip.source.put("object", bytes_of(edge, 4 * PART + more))
        trip.sync(part_size=PART)
        trip.same()
        assert _cut_into(trip.target.etag("object")) == (5 if more > 0 else 4)


for _edge, _more in _EDGES.items():
    _at_threshold(_edge, _more)
    _at_part_end(_edge, _more)


@case(_GROUP, "a part size of 8 MiB")
def chosen_part_size(world: World) -> None:
    """Three parts of an object of 20 MiB."""
    trip = world.s3()
    trip.source.put("object", bytes_of("object", 20 * MIB))
    trip.sync(part_size=8 * MIB)
    trip.same()
    assert _cut_into(trip.target.etag("object")) == 3


@case(_GROUP, "an object that was sent in parts of 5, 7 and 6 MiB")
def uneven(world: World) -> None:
    """The parts are sent as they were cut: both services' own ETags are the same."""
    trip = world.s3()
    trip.source.put_parts("object", [bytes_of(f"{n}", n * MIB) for n in (5, 7, 6)])
    trip.sync()
    trip.same()
    assert trip.target.etag("object") == trip.source.etag("object")


@case(_GROUP, "an object of 40 parts")
def forty_parts(world: World) -> None:
    """200 MiB, cut as at the source."""
    trip = world.s3()
    piece = bytes_of("piece", PART)
    pieces = [number.to_bytes(8, "big") + piece[8:] for number in range(40)]
    trip.source.put_parts("object", pieces)
    trip.sync()
    trip.same()
    assert trip.target.etag("object") == trip.source.etag("object")


@case(_GROUP, "an object of 1,100 parts")
def eleven_hundred_parts(world: World) -> None:
    """More than a page of a listing of parts holds."""
    piece = 64 * 1024
    trip = world.plain(limits={"min_part_size": piece})
    trip.source.put("object", bytes_of("object", 1_100 * piece - 7))
    trip.sync(part_size=piece, server_side_copy="never")
    trip.same()
    assert _cut_into(trip.target.etag("object")) == 1_100


@case(_GROUP, "parts that grow where there would be too many of them")
def grown_parts(world: World) -> None:
    """A service that takes four parts gets four of an object of 37 MiB."""
    trip = world.s3(limits={"max_parts": 4})
    trip.source.put("object", bytes_of("object", 37 * MIB))
    trip.sync(part_size=PART)
    trip.same()
    count = _cut_into(trip.target.etag("object"))
    assert count is not None
    assert count <= 4


@case(_GROUP, "an object larger than the memory that a task may use")
def larger_than_memory(world: World) -> None:
    """48 MiB through 16 MiB."""
    trip = world.s3()
    trip.source.put("object", bytes_of("object", 48 * MIB))
    trip.sync(memory_budget=16 * MIB, part_size=PART)
    trip.same()
