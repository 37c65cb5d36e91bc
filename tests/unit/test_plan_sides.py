"""Which places may be synced with each other, by their names alone."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.objects import Location
from airflow_provider_s3resume.plan.sides import (
    Services,
    check_overlap,
    check_pair,
    check_symlinks,
    check_unknown,
    parse_object,
    parse_pair,
    parse_places,
)

ONE = Services(source="https://one", target="https://one", state="https://one")
TWO = Services(source="https://one", target="https://two", state="https://two")


def test_the_state_location_is_in_the_target_bucket_by_default() -> None:
    """Without a URI of its own, it is a fixed prefix at the root of the bucket."""
    places = parse_places("s3://aaa/x/", "s3://bbb/y/")
    assert places.state == Location(bucket="bbb", prefix=".s3resume/")


@pytest.mark.parametrize(
    ("source", "target", "state", "parameter"),
    [
        ("a/x/", "s3://bbb/", None, "source_uri"),
        ("", "s3://bbb/", None, "source_uri"),
        (None, "s3://bbb/", None, "source_uri"),
        ("http://aaa/x", "s3://bbb/", None, "source_uri"),
        ("s3:///x", "s3://bbb/", None, "source_uri"),
        ("s3://a b/x", "s3://bbb/", None, "source_uri"),
        ("s3://aaa/", "bb", None, "target_uri"),
        ("s3://aaa/", 7, None, "target_uri"),
        ("s3://aaa/" + "x" * 1025, "s3://bbb/", None, "source_uri"),
        ("s3://aaa/x/", "s3://bbb/y", None, "target_uri"),
        ("s3://aaa/x", "s3://bbb/y/", None, "target_uri"),
        ("s3://aaa/x", "s3://bbb/", None, "target_uri"),
        ("s3://aaa/", "s3://bbb/y", None, "target_uri"),
        ("s3://aaa/", "s3://bbb/", "s3://ccc/state", "state_uri"),
        ("s3://aaa/", "s3://bbb/", "s3://ccc/", "state_uri"),
        ("s3://aaa/", "s3://bbb/", "s3://ccc//", "state_uri"),
        ("s3://aaa/", "s3://bbb/", "cc", "state_uri"),
        ("oss://aaa/", "oss://bbb/", None, "target_uri"),
        ("s3://aaa/", "oss://bbb/", "s3://ccc/state/", "target_uri"),
        ("s3://aaa/", "file:///bbb/", None, "state_uri"),
        ("s3://aaa/", "file:///bbb", "s3://ccc/state/", "target_uri"),
        ("s3://aaa/", "file://bbb/c/", "s3://ccc/state/", "target_uri"),
        ("file:///aaa", "s3://bbb/", None, "source_uri"),
        ("file:///aaa/./b/", "s3://bbb/", None, "source_uri"),
        ("file:///" + "x" * 1025 + "/", "s3://bbb/", None, "source_uri"),
        ("file:///aaa/", "file:///bbb/", "s3://ccc/state/", "target_uri"),
        ("s3://aaa/", "s3://bbb/", "file:///ccc/state/", "state_uri"),
        ("oss://aaa/", "s3://bbb/", "oss://ccc/state/", "state_uri"),
    ],
)
def test_places_that_cannot_be_meant_are_refused_by_name(
    source: object, target: object, state: object, parameter: str
) -> None:
    """The error names the parameter, what was found, and what is accepted."""
    with pytest.raises(InvalidInputError, match="accepted is") as raised:
        parse_places(source, target, state)
    assert raised.value.parameter == parameter


@pytest.mark.parametrize(("source", "target"), [("x", "y"), ("x/", ""), ("", "y/"), ("", "")])
def test_prefixes_of_one_kind_are_accepted(source: str, target: str) -> None:
    """Both end where a name ends, or neither does."""
    places = parse_places(f"s3://aaa/{source}", f"s3://bbb/{target}")
    assert (places.source.prefix, places.target.prefix) == (source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("s3://aaa/", "s3://aaa/"),
        ("s3://aaa/x/", "s3://aaa/x/"),
        ("s3://aaa/", "s3://aaa/x/"),
        ("s3://aaa/x/", "s3://aaa/"),
        ("s3://aaa/x/", "s3://aaa/x/y/"),
        ("s3://aaa/x", "s3://aaa/xy"),
    ],
)
def test_a_place_inside_the_other_is_refused_in_one_bucket_only(source: str, target: str) -> None:
    """The same names at two services are two buckets."""
    places = parse_places(source, target)
    with pytest.raises(InvalidInputError) as raised:
        check_overlap(places, ONE)
    assert raised.value.parameter == "target_uri"
    check_overlap(places, TWO)


def test_neighbours_in_one_bucket_are_accepted() -> None:
    """Two prefixes of one bucket that do not hold each other."""
    check_overlap(parse_places("s3://aaa/x/", "s3://aaa/y/"), ONE)


@pytest.mark.parametrize(
    ("source", "target", "parameter"),
    [
        ("s3://bbb/.s3resume/", "s3://ccc/", "source_uri"),
        ("s3://aaa/", "s3://bbb/.s3resume/x/", "target_uri"),
    ],
)
def test_c33_a_side_inside_the_state_location_is_refused(
    source: str, target: str, parameter: str
) -> None:
    """What lies there is never data; the state inside of a side is another thing, and fine."""
    with pytest.raises(InvalidInputError) as raised:
        check_overlap(parse_places(source, target, "s3://bbb/.s3resume/"), ONE)
    assert raised.value.parameter == parameter
    check_overlap(parse_places("s3://aaa/", "s3://bbb/", "s3://bbb/.s3resume/"), ONE)
    check_overlap(parse_places("s3://aaa/", "s3://bbb/", "s3://aaa/.s3resume/"), ONE)


def test_an_object_needs_a_key() -> None:
    """A bucket alone is no object."""
    assert parse_object("s3://aaa/k", "source_uri").prefix == "k"
    with pytest.raises(InvalidInputError, match="source_uri"):
        parse_object("s3://aaa/", "source_uri")


def test_a_bucket_of_oss_is_written_through_its_s3_endpoint_only() -> None:
    """It may be a source; refused as a target, the message says what to write instead."""
    assert parse_places("oss://aaa/x/", "s3://bbb/y/").source.scheme == "oss"
    with pytest.raises(InvalidInputError, match=r"S3-compatible endpoint and 's3://bbb/y/'"):
        parse_places("oss://aaa/x/", "oss://bbb/y/")


@pytest.mark.parametrize(
    ("source", "target", "state", "parameter"),
    [
        ("oss://aaa/", "s3://bbb/k", None, "source_uri"),
        ("oss://aaa/k", "s3://bbb/", None, "target_uri"),
        ("oss://aaa/k", "oss://bbb/k", None, "target_uri"),
        ("oss://aaa/k", "s3://bbb/k", "oss://ccc/state/", "state_uri"),
    ],
)
def test_a_pair_of_objects_is_read_like_places(
    source: str, target: str, state: str | None, parameter: str
) -> None:
    """Its state location is the target bucket's, unless it has one of its own."""
    places = parse_pair("oss://aaa/k", "s3://bbb/l")
    assert (places.source.prefix, places.target.prefix) == ("k", "l")
    assert places.state == Location(bucket="bbb", prefix=".s3resume/")
    with pytest.raises(InvalidInputError) as raised:
        parse_pair(source, target, state)
    assert raised.value.parameter == parameter


def test_a_word_about_symlinks_is_for_sources_that_have_them() -> None:
    """And is one of two."""
    oss, s3 = Location(bucket="aaa", scheme="oss"), Location(bucket="aaa")
    for word in (None, "follow", "report"):
        check_symlinks(oss, word)
    check_symlinks(s3, None)
    with pytest.raises(InvalidInputError, match=r"symlinks: found 'copy', accepted is 'follow' or"):
        check_symlinks(oss, "copy")
    with pytest.raises(InvalidInputError, match=r"symlinks: .* objects of s3://aaa/ are never lin"):
        check_symlinks(s3, "report")


def test_an_object_is_not_copied_onto_itself() -> None:
    """The same bucket and key at one service are one object, at two they are two."""
    place = Location(bucket="aaa", prefix="k")
    with pytest.raises(InvalidInputError, match="target_uri"):
        check_pair(place, place, same_service=True)
    check_pair(place, place, same_service=False)
    check_pair(place, Location(bucket="aaa", prefix="l"), same_service=True)


def test_unknown_names_are_refused_and_the_known_ones_named() -> None:
    """A misspelt parameter must not pass for its default."""
    check_unknown({"a": 1}, ["a", "b"], what="params")
    with pytest.raises(InvalidInputError, match=r"'c, d'.*accepted is a, b"):
        check_unknown({"d": 1, "a": 1, "c": 2}, ["b", "a"], what="params")


def test_a_folder_is_a_location_without_a_bucket() -> None:
    """Its URI is the path, and nothing in it is decoded."""
    places = parse_places("file:///data/a%20b/ü/", "s3://bbb/y/")
    assert places.source == Location(bucket="", prefix="data/a%20b/ü/", scheme="file")
    assert places.source.uri == "file:///data/a%20b/ü/"
    pair = parse_pair("s3://aaa/k", "file:///data/k", "s3://ccc/state/")
    assert (pair.target.prefix, pair.state.bucket) == ("data/k", "ccc")
    with pytest.raises(InvalidInputError, match="from one folder to another"):
        parse_pair("file:///a/k", "file:///b/k", "s3://ccc/state/")
    with pytest.raises(InvalidInputError, match="state_uri"):
        parse_pair("s3://aaa/k", "file:///data/k")


def test_links_in_a_folder_may_fail_the_run() -> None:
    """Which those of a bucket cannot be asked to do."""
    folder = Location(bucket="", prefix="a/", scheme="file")
    for word in (None, "follow", "report", "fail"):
        check_symlinks(folder, word)
    with pytest.raises(InvalidInputError, match="symlinks"):
        check_symlinks(Location(bucket="aaa", scheme="oss"), "fail")
