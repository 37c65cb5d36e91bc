"""Keys that older tools cut, decode, fold, or lose."""

from __future__ import annotations

from tests.conformance.keys import ODD_KEYS, PREFIXES_OF_OTHERS
from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_registry import case
from tests.support.parity_world import PART, S3Trip, World, refusal

_GROUP = "keys"


def _arrive(trip: S3Trip, *keys: str) -> None:
    for number, key in enumerate(keys):
        trip.source.put(key, bytes_of(key, 10 + number), ContentType="text/plain")
    run = trip.sync()
    assert run.report["verified"] == len(keys)
    trip.arrived({key: key for key in keys})


@case(_GROUP, "Unicode, composed and decomposed")
def unicode_keys(world: World) -> None:
    """Two keys that look the same are two objects."""
    _arrive(world.s3(), "日本/語.txt", "caf\u00e9", "cafe\u0301", "Ünï-çödé/ß", "😀/🚀.bin")


@case(_GROUP, "plus signs, spaces, and percent signs")
def form_signs(world: World) -> None:
    """Nothing is decoded that was not encoded."""
    _arrive(world.s3(), "a+b", "a b", "a%2Fb", "a%20b", "a%2Bb", "100%", "a+b c%20d/e+f g")


@case(_GROUP, "signs that mean something in URLs and shells")
def url_signs(world: World) -> None:
    """Question marks, hashes, quotes, brackets."""
    keys = ("a?b", "a#b", "a&b=c", "a'b", 'a"b', "a<b>c", "a:b;c,d", "a|b*c", "a{b}[c]^`~")
    _arrive(world.s3(), *keys, "a@b$c!(d)")


@case(_GROUP, "keys that begin others")
def beginnings(world: World) -> None:
    """And whose order is another by bytes, by UTF-16, and by folders."""
    _arrive(world.plain(), *PREFIXES_OF_OTHERS)


@case(_GROUP, "a large object whose key begins the key of another that is being sent")
def beginning_of_an_upload(world: World) -> None:
    """Unfinished uploads are looked for by prefix: the other's is not this one's."""
    trip = world.s3()
    theirs = trip.target.client.create_multipart_upload(Bucket=trip.target.bucket, Key="film.bak")[
        "UploadId"
    ]
    trip.source.put_parts("film", [bytes_of("1", PART), bytes_of("2", PART), b"end"])
    trip.sync()
    trip.same()
    assert trip.target.uploads() == [theirs]


@case(_GROUP, "slashes and dots where folders would have none")
def slashes_and_dots(world: World) -> None:
    """``//``, a leading slash, ``./`` and ``../`` are parts of a key like any other."""
    _arrive(world.plain(), "a//b", "a/b", "/a", "a", "//a", "./a", "../a", "a/./b", "a/../b", "...")


@case(_GROUP, "line breaks and control characters")
def control_characters(world: World) -> None:
    """They are legal in keys."""
    _arrive(world.plain(), "a\nb", "a\rb", "a\tb", "a\x01b", "a\x7fb", " a", "a ", "a\\b")


@case(_GROUP, "keys of 1,024 bytes")
def longest_keys(world: World) -> None:
    """The longest that there are, one of them in two-byte signs."""
    longest = [ODD_KEYS[-1], "é" * 512, "k" * 1024]
    assert {len(key.encode()) for key in longest} == {1024}
    _arrive(world.plain(), *longest)


@case(_GROUP, "a target that makes two keys one")
def folded_keys(world: World) -> None:
    """They are refused by name; nothing is copied over one another."""
    trip = world.other_kinds()
    trip.source.put("a//b", b"one")
    trip.source.put("a/b", b"other")
    assert "a//b" in refusal(trip.sync)
    assert trip.target.all_keys() == []


@case(_GROUP, "odd keys in parts")
def in_parts(world: World) -> None:
    """The same in uploads, whose requests carry the key four times."""
    trip = world.s3()
    for key in ("größe + 100%.bin", "a b/c+d%2Fe.bin"):
        trip.source.put(key, bytes_of(key, 17 * MIB), ContentType="text/plain")
    trip.sync(part_size=PART)
    trip.same()
