"""URIs, and which places may be synced at all: refused by name, before anything is asked."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, ManifestError
from airflow_provider_s3resume.plan.objects import ByteRange, KeyRange, Location, object_uri
from airflow_provider_s3resume.plan.sides import (
    Places,
    Services,
    check_overlap,
    check_pair,
    check_unknown,
    parse_object,
    parse_places,
)

ONE = Services(source="https://s3", target="https://s3", state="https://s3")
TWO = Services(source="https://one", target="https://two", state="https://two")


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/prefix/", "bucket", "prefix/"),
        ("s3://bucket//prefix//x", "bucket", "/prefix//x"),
        ("s3://bucket/a%2Fb c+d?e#f", "bucket", "a%2Fb c+d?e#f"),
        ("s3://bucket/\U0001f600/\n", "bucket", "\U0001f600/\n"),
        ("s3://my.bucket-1_x/a@b:c", "my.bucket-1_x", "a@b:c"),
        ("oss://bucket/../x", "bucket", "../x"),
        ("s3://bucket/s3://bucket/x", "bucket", "s3://bucket/x"),
    ],
)
def test_c04_a_uri_is_taken_as_it_stands(uri: str, bucket: str, prefix: str) -> None:
    """Nothing of the prefix is decoded, folded or trimmed."""
    found = Location.parse(uri, parameter="source_uri")
    assert (found.bucket, found.prefix) == (bucket, prefix)
    assert found.uri == f"{found.scheme}://{bucket}/{prefix}"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "bucket",
        "bucket/prefix",
        "s3:",
        "s3:/bucket/x",
        "s3://",
        "s3:///prefix",
        "s3://ab",
        "s3://-bucket/x",
        "s3://bucket-/x",
        "s3://buc ket/x",
        "s3://bucket\n/x",
        "s3://bucket\n",
        "s3://b\u00fccket/x",
        "s3://" + "b" * 256,
        "S3://bucket/x",
        "gs://bucket/x",
        "https://bucket.s3.amazonaws.com/x",
        "file:/etc/passwd",
        " s3://bucket/x",
        None,
        7,
        b"s3://bucket/x",
        ["s3://bucket/x"],
        {},
    ],
)
@pytest.mark.parametrize("parameter", ["source_uri", "target_uri", "state_uri"])
def test_what_is_no_uri_is_refused(uri: object, parameter: str) -> None:
    """The message names the parameter, what was found and what is accepted."""
    given = {"source_uri": "s3://source/", "target_uri": "s3://target/", parameter: uri}
    if parameter == "state_uri" and uri is None:
        assert parse_places(**given).state.uri == "s3://target/.s3resume/"
        return
    with pytest.raises(InvalidInputError) as refused:
        parse_places(**given)
    assert refused.value.parameter == parameter
    accepted = "a URI such as 's3://bucket/prefix/'"
    assert str(refused.value) == f"{parameter}: found {uri!r}, accepted is {accepted}"


def test_a_prefix_longer_than_any_key_is_refused() -> None:
    """It is counted in UTF-8 bytes."""
    assert Location.parse("s3://bucket/" + "é" * 512, parameter="p").prefix == "é" * 512
    with pytest.raises(InvalidInputError, match="at most 1024 UTF-8 bytes"):
        Location.parse("s3://bucket/" + "é" * 512 + "x", parameter="p")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (
            "https://b.s3.amazonaws.com/k?X-Amz-Signature=SECRET&x=1",
            "https://b.s3.amazonaws.com/k?***",
        ),
        ("s3://AKIA:SECRET@bucket/prefix", "s3://***@bucket/prefix"),
        ("AKIA:SECRET@bucket/prefix", "***@bucket/prefix"),
        ("s3://bucket?versionId=SECRET", "s3://bucket?***"),
    ],
)
def test_c42_a_refused_uri_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    """A presigned URL or credentials pasted into a parameter do not reach the log."""
    with pytest.raises(InvalidInputError) as refused:
        Location.parse(uri, parameter="source_uri")
    assert "SECRET" not in str(refused.value)
    assert refused.value.found == shown


def places(source: str, target: str, state: str | None = None) -> Places:
    """Return the places of these URIs."""
    return parse_places(source, target, state)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("s3://b/", "s3://b/"),
        ("s3://b/a/", "s3://b/a/"),
        ("s3://b/a/", "s3://b/"),
        ("s3://b/", "s3://b/a/"),
        ("s3://b/a/", "s3://b/a/x/"),
        ("s3://b/data", "s3://b/data2"),
        ("s3://b/data2", "s3://b/data"),
    ],
)
def test_a_sync_onto_itself_is_refused(source: str, target: str) -> None:
    """A target that is, holds or lies in the source, by prefixes of keys; elsewhere it is fine."""
    found = places(source.replace("://b", "://bucket"), target.replace("://b", "://bucket"))
    with pytest.raises(InvalidInputError, match=r"target_uri: found .* neither holds nor lies in"):
        check_overlap(found, ONE)
    check_overlap(found, TWO)
    assert found.source.bucket == found.target.bucket


def test_neighbours_in_one_bucket_may_be_synced() -> None:
    """Prefixes that hold nothing of each other are two places."""
    found = places("s3://bucket/a/", "s3://bucket/ab/")
    check_overlap(found, ONE)
    assert found.state.uri == "s3://bucket/.s3resume/"


@pytest.mark.parametrize(
    ("source", "target", "state", "parameter"),
    [
        ("s3://bucket/.s3resume/x/", "s3://other/", "s3://bucket/.s3resume/", "source_uri"),
        ("s3://other/", "s3://bucket/.s3resume/", None, "target_uri"),
        ("s3://other/", "s3://bucket/.s3resume/runs/", None, "target_uri"),
    ],
)
def test_c33_a_sync_inside_of_the_state_location_is_refused(
    source: str, target: str, state: str | None, parameter: str
) -> None:
    """Neither side may be our own records; a state inside of a side is fine."""
    with pytest.raises(InvalidInputError, match=rf"{parameter}: found .* outside of the state"):
        check_overlap(places(source, target, state), ONE)
    check_overlap(places("s3://bucket/", "s3://other/", "s3://bucket/.s3resume/"), ONE)


@pytest.mark.parametrize(
    ("source", "target"),
    [("s3://one/a/", "s3://two/a"), ("s3://one/a", "s3://two/a/"), ("s3://one/a", "s3://two/")],
)
def test_prefixes_of_two_kinds_are_refused(source: str, target: str) -> None:
    """Else ``a`` and ``a/`` would glue names together."""
    with pytest.raises(InvalidInputError, match=r"target_uri: found .* accepted is a prefix that"):
        places(source, target)


@pytest.mark.parametrize(
    "state", ["s3://bucket", "s3://bucket/", "s3://bucket/x", "s3://bucket//x/"]
)
def test_a_state_location_that_is_no_folder_is_refused(state: str) -> None:
    """It ends with a slash and does not begin with one."""
    with pytest.raises(InvalidInputError, match=r"state_uri: found .* ends with '/'"):
        places("s3://source/", "s3://target/", state)


def test_an_object_is_not_copied_onto_itself() -> None:
    """The same key of the same bucket at the same service, and nothing else."""
    one, other = parse_object("s3://bucket/k", "source_uri"), parse_object("s3://bucket/K", "t")
    with pytest.raises(
        InvalidInputError, match="target_uri: found 's3://bucket/k', accepted is an"
    ):
        check_pair(one, one, same_service=True)
    check_pair(one, one, same_service=False)
    check_pair(one, other, same_service=True)
    with pytest.raises(InvalidInputError, match="source_uri: found 's3://bucket/'"):
        parse_object("s3://bucket/", "source_uri")


def test_names_that_nothing_reads_are_refused() -> None:
    """A misspelt parameter does not pass for its default."""
    check_unknown({"rule": 1}, ["rule", "dry_run"], what="params")
    with pytest.raises(
        InvalidInputError, match="params: found 'dry-run, rul', accepted is dry_run"
    ):
        check_unknown({"rul": 1, "dry-run": 2}, ["rule", "dry_run"], what="params")


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_a_byte_range_of_nothing_cannot_be_made(start: int, stop: int) -> None:
    """Half-open, from a first byte to one behind it."""
    with pytest.raises(ValueError, match=f"not a byte range: {start}:{stop}"):
        ByteRange(start=start, stop=stop)
    assert ByteRange(start=0, stop=1).http == "bytes=0-0"


def test_a_key_range_is_half_open_in_the_order_of_bytes() -> None:
    """An astral key lies behind the end of the basic plane, whatever UTF-16 says."""
    span = KeyRange(start="\uff61", stop="\U0001f600")
    assert [span.contains(k) for k in ("\uff60", "\uff61", "\uffff", "\U0001f600")] == [
        False,
        True,
        True,
        False,
    ]
    assert object_uri("bucket", "a b") == "s3://bucket/a b"


def test_errors_say_what_was_found_and_what_is_accepted() -> None:
    """One form for all of them; whether a retry helps stands on the class."""
    error = ManifestError("manifest", found="x", accepted="y")
    assert str(error) == "manifest: found 'x', accepted is y"
    assert (error.parameter, error.found, error.accepted) == ("manifest", "x", "y")
    assert not error.retryable
