"""Selections: what they mean, and what is no selection."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.filters import SELECTION_NAMES, Selection
from airflow_provider_s3resume.plan.objects import ListedObject

NOW = 1_700_000_000.0


def one(key: str = "dir/a.csv", **more: Any) -> ListedObject:
    """Return a listed object."""
    given = {"size": 10, "etag": "e", "last_modified": NOW - 100.0, **more}
    return ListedObject(key=key, **given)


def selected(given: Mapping[str, object], listed: ListedObject, **more: Any) -> bool:
    """Tell whether a selection means an object."""
    made = Selection.parse(given)
    assert made is not None
    return made.selector(now=NOW, bucket="bucket", **more)(listed)


@pytest.mark.parametrize(
    ("given", "inside", "outside"),
    [
        ({"min_size": 10}, one(size=10), one(size=9)),
        ({"max_size": "1 KiB"}, one(size=1024), one(size=1025)),
        ({"min_age": "100"}, one(last_modified=NOW - 100), one(last_modified=NOW - 99)),
        ({"max_age": "2m"}, one(last_modified=NOW - 120), one(last_modified=NOW - 121)),
        (
            {"modified_after": "2026-01-01"},
            one(last_modified=1767225600.0),
            one(last_modified=1767225599.0),
        ),
        (
            {"modified_before": "2026-01-01T01:00:00+01:00"},
            one(last_modified=1767225599.0),
            one(last_modified=1767225600.0),
        ),
        ({"storage_classes": "STANDARD"}, one(storage_class=None), one(storage_class="GLACIER")),
        (
            {"exclude_storage_classes": ["GLACIER"]},
            one(storage_class="STANDARD"),
            one(storage_class="GLACIER"),
        ),
        (
            {"exclude_storage_classes": "STANDARD"},
            one(storage_class="GLACIER"),
            one(storage_class=None),
        ),
        ({"include": "*.csv\n*.txt\r\n\n"}, one("x/b.txt"), one("x/b.bin")),
        ({"exclude": ["b/**"]}, one("a/b.csv"), one("b/a.csv")),
        ({"include_regex": r"^a\d$"}, one("a1"), one("a12")),
        ({"exclude_regex": [r"\.tmp$"]}, one("a"), one("a.tmp")),
    ],
)
def test_each_condition(
    given: Mapping[str, object], inside: ListedObject, outside: ListedObject
) -> None:
    """The bounds themselves are inside, but for the end of a window of times."""
    assert selected(given, inside)
    assert not selected(given, outside)


@pytest.mark.parametrize("name", ["include", "include_regex", "storage_classes"])
@pytest.mark.parametrize("blank", ["\n", " \r\n \n"])
def test_blank_lines_do_not_select_everything(name: str, blank: str) -> None:
    """What selects is named in none of them; what excludes may be empty."""
    with pytest.raises(InvalidInputError, match=rf"selection\.{name}: .*one line at least"):
        Selection.parse({name: blank})
    with pytest.raises(InvalidInputError, match=rf"selection\.{name}: .*none of them blank"):
        Selection.parse({name: ["*", blank]})
    assert Selection.parse({name.replace("include", "exclude"): ""}) is None
    assert Selection.parse({"exclude": blank, "exclude_regex": blank}) is None


def test_what_excludes_wins_whatever_the_order() -> None:
    """An object has to fit one of what includes, and nothing of what excludes."""
    given = {"include": ["*.csv"], "include_regex": ["^keep/"], "exclude": ["tmp/**"]}
    assert selected(given, one("a.csv"))
    assert selected(given, one("keep/x"))
    assert not selected(given, one("tmp/a.csv"))
    assert not selected(given, one("other"))
    assert selected(dict(reversed(given.items())), one("a.csv"))


@pytest.mark.parametrize(
    ("prefix", "key", "pattern", "fits"),
    [
        ("dir/", "dir/a.csv", "/a.csv", True),
        ("dir/", "dir/sub/a.csv", "/a.csv", False),
        ("dir/fi", "dir/file.csv", "/file.csv", True),
        ("dir/file.csv", "dir/file.csv", "/file.csv", True),
        ("dir/file.csv", "dir/file.csv.bak", "/file.csv", False),
        ("", "dir/a.csv", "/dir/a.csv", True),
    ],
)
def test_a_pattern_looks_at_the_key_behind_the_last_slash_of_the_prefix(
    prefix: str, key: str, pattern: str, *, fits: bool
) -> None:
    """So one object of a bucket can be named by its name in its folder."""
    assert selected({"include": pattern}, one(key), source_prefix=prefix) is fits
    assert selected({"exclude": pattern}, one(key), source_prefix=prefix) is not fits


def test_an_ignore_list_looks_at_bucket_and_key() -> None:
    """As the predecessor's did, wildcards crossing slashes."""
    made = Selection().with_ignored(["bucket/tmp/*", "*/secret?", "other/*"])
    select = made.selector(now=NOW, bucket="bucket", source_prefix="tmp/")
    assert not select(one("tmp/a/b"))
    assert not select(one("x/y/secret1"))
    assert select(one("x/secret12"))
    assert made.to_json_dict() == {"ignore": ["bucket/tmp/*", "*/secret?", "other/*"]}


@pytest.mark.parametrize("given", [{}, {"include": ""}, {"include": []}, {"min_size": None}])
def test_an_empty_selection_is_none(given: Mapping[str, object]) -> None:
    """What a form leaves empty selects everything, and costs nothing."""
    assert Selection.parse(given) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"includes": "*"}, r"selection: found 'includes', accepted is .*include"),
        ({"include": 5}, r"selection\.include: found 5"),
        ({"include": ["a", 5]}, r"selection\.include: found"),
        ({"include": ["a["]}, r"selection\.include: found"),
        ({"exclude_regex": "(a+)+"}, r"selection\.exclude_regex: found"),
        ({"min_size": "10 MB"}, r"selection\.min_size: found '10 MB', .*KiB"),
        ({"max_size": -1}, r"selection\.max_size: found -1"),
        ({"max_size": True}, r"selection\.max_size: found True"),
        ({"min_age": "1 month"}, r"selection\.min_age: found '1 month', .*s, m, h, d, w"),
        ({"modified_after": "yesterday"}, r"selection\.modified_after: found 'yesterday'.*ISO"),
        ({"modified_after": 5}, r"selection\.modified_after: found 5"),
        ({"storage_classes": "COLD"}, r"selection\.storage_classes: found 'COLD'.*STANDARD"),
        ({"storage_classes": "Standard"}, r"selection\.storage_classes: found 'Standard'"),
        ({"min_size": 2, "max_size": 1}, r"selection\.max_size: found 1, accepted is at least"),
        ({"min_age": "2h", "max_age": "1h"}, r"selection\.max_age_s: found 3600"),
        (
            {"modified_after": "2026-01-02", "modified_before": "2026-01-02"},
            r"selection\.modified_before: found",
        ),
    ],
)
def test_what_is_no_selection_is_refused_by_name(given: Mapping[str, object], message: str) -> None:
    """The name, what was found, and what is accepted."""
    with pytest.raises(InvalidInputError, match=message):
        Selection.parse(given)


def test_classes_are_those_of_the_source() -> None:
    """A class of OSS is none of S3, and the other way round."""
    assert Selection.parse({"storage_classes": "ColdArchive"}, scheme="oss") is not None
    with pytest.raises(InvalidInputError, match=r"classes of oss:// objects: Standard"):
        Selection.parse({"storage_classes": "GLACIER"}, scheme="oss")
    made = Selection(storage_classes=("Standard",))
    assert made.selector(now=NOW, bucket="b", scheme="oss")(one(storage_class=None))


def test_times_may_be_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAG may give a datetime; without a zone it is UTC, wherever the worker is."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        zone = timezone(timedelta(hours=2))
        aware = datetime(2026, 1, 1, 2, tzinfo=zone)
        for given in (aware, aware.astimezone(UTC).replace(tzinfo=None), "2026-01-01T00:00:00Z"):
            made = Selection.parse({"modified_after": given})
            assert made == Selection(modified_after=1767225600.0)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_was_asked_for_is_told_and_nothing_else() -> None:
    """All of it can be read in the manifest."""
    made = Selection.parse({"include": "*.csv", "min_size": "0", "max_age": "1w"})
    assert made is not None
    assert made.to_json_dict() == {"include": ["*.csv"], "min_size": 0, "max_age_s": 604_800}
    assert len(SELECTION_NAMES) == 12
