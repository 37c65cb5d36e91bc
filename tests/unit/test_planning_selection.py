"""Plans of a part of a source: conditions, lists of prefixes, lists of keys."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    ListingError,
    ObjectsFailedError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.filters import Selection
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import sorting
from airflow_provider_s3resume.transfer.checking import check_sides
from airflow_provider_s3resume.transfer.loading import load_entries, load_manifest
from airflow_provider_s3resume.transfer.name_lists import MOST_IGNORED, ListFile
from airflow_provider_s3resume.transfer.selecting import Scope
from tests.unit.planning_cases import NOW, FailingCall, Sync, copied, put, store, without_state

KEYS = ("a/1.csv", "a/1.tmp", "a/2.csv", "ab/1.csv", "b/1.csv", "c")


def given(**conditions: object) -> Scope:
    """Return a scope of conditions."""
    return Scope(selection=Selection.parse(conditions))


def listed(name: str, data: bytes, parameter: str | None = None) -> ListFile:
    """Return a list that lies in a bucket of its own."""
    at = store("lists")
    put(at, name, data)
    return ListFile(
        parameter=parameter or "the list", uri=f"s3://lists/{name}", name=name, store=at
    )


def prefixes(text: str) -> Scope:
    """Return a scope of prefixes."""
    return Scope(prefix_list=listed("prefixes", text.encode()))


def keys(data: bytes | str, name: str = "keys.txt") -> Scope:
    """Return a scope of keys."""
    return Scope(key_list=listed(name, data if isinstance(data, bytes) else data.encode()))


def filled(**more: Any) -> Sync:
    """Return a sync whose source has a few keys."""
    sync = Sync(**more)
    for key in KEYS:
        put(sync.source, key, key.encode())
    return sync


def chosen(sync: Sync, manifest: Manifest) -> list[str]:
    """Return the keys that a plan copies."""
    return sorted(e.key for ref in manifest.batches for e in load_entries(sync.state, ref))


@pytest.fixture
def asked() -> Counter[str]:
    """Count calls by operation and side, once a store was :func:`watched`."""
    return Counter()


def watched(at: MemoryStore, asked: Counter[str]) -> None:
    """Count the calls of a store."""

    def count(operation: str, _: Mapping[str, Any]) -> None:
        asked[f"{at.bucket}.{operation}"] += 1

    at.observer.before = count


# --- conditions ---------------------------------------------------------------------------------


def test_c09_what_is_filtered_counts_as_present() -> None:
    """No object at the target becomes one that only lies there because its source was left out."""
    sync = filled(scope=given(include=["*.csv"], exclude=["b/**"]))
    for key in (*KEYS, "foreign"):
        put(sync.target, key, b"older")
    before = without_state(sync.target)
    report = sync.run()
    assert report.skipped == {"not_selected": 3, "only_at_target": 1}
    assert copied_keys(sync, before) == {"a/1.csv", "a/2.csv", "ab/1.csv"}
    assert set(without_state(sync.target)) == {*KEYS, "foreign"}
    whole = replace(sync, scope=Scope())
    assert set(whole.plan()[1].counts) == {
        "copy.size_differs",
        "skip.same_digest",
        "skip.only_at_target",
    }


def copied_keys(sync: Sync, before: Mapping[str, bytes]) -> set[str]:
    """Return the keys whose objects at the target are others than before."""
    return {key for key, data in without_state(sync.target).items() if before.get(key) != data}


def test_c09_an_object_that_is_left_out_is_not_refused_either() -> None:
    """What is not meant need not fit the target; what is our own state stays that."""
    limits = replace(store("x").limits, max_key_bytes=5)
    target, state = store("target", limits=limits), store("state")
    sync = filled(target=target, state_store=state, scope=given(exclude=["a*/**"]))
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1, "refuse.key_too_long": 1} | {
        "skip.not_selected": 4
    }


def test_ages_count_from_the_moment_of_the_plan() -> None:
    """Not from that of the task, nor from the time at the target."""
    sync = Sync(scope=given(min_age="10"))
    put(sync.source, "old", last_modified=NOW - 10)
    put(sync.source, "new", last_modified=NOW - 9)
    _, manifest = sync.plan()
    assert chosen(sync, manifest) == ["old"]
    assert manifest.selection == {"min_age_s": 10}


def test_the_plan_and_the_report_say_what_was_asked_for() -> None:
    """Counts and bytes of what was left out stand beside it."""
    scope = replace(
        given(include=["*.csv"]), ignore_list=listed("ignore", b"source/a*\nsource/b?\n")
    )
    sync = filled(scope=scope)
    key, _ = sync.plan()
    manifest = load_manifest(sync.state, key)
    asked_for = {"include": ["*.csv"], "ignore_list": "s3://lists/ignore"}
    assert manifest.selection == {**asked_for, "ignore": ["source/a*", "source/b?"]}
    assert not manifest.partial
    assert manifest.sizes == {"copy.missing_at_target": 7, "skip.not_selected": 30}
    report = sync.report(key)
    assert report.selection == {**asked_for, "ignore": 2}
    assert report.skipped_bytes == {"not_selected": 30}
    text = report.short_text()
    assert "not_selected 5 (30 bytes)" in text
    assert "selected by ignore 2, ignore_list s3://lists/ignore, include ['*.csv']" in text


def test_another_selection_is_another_plan() -> None:
    """Its digest, which names it, is another one."""
    sync = filled(scope=given(include=["*.csv"]))
    one = sync.plan()[1]
    sync.scope = given(include=["*.csv", "zzz"])
    other = replace(sync.plan()[1], run_id=one.run_id, batches=one.batches)
    assert one.counts == other.counts
    assert one.digest != other.digest


def test_a_plan_of_everything_says_nothing_of_a_selection() -> None:
    """Nor does its report."""
    sync = filled()
    report = sync.run()
    assert (report.selection, report.partial) == ({}, False)
    assert "selected by" not in report.short_text()


def test_c07_what_a_selection_leaves_out_stays_proven() -> None:
    """A record of pairs whose ETags cannot be compared loses none to a plan of some keys."""
    sync = Sync(target=store("target", capabilities=replace(AMAZON_S3, md5_etags=False)))
    for key in KEYS:
        put(sync.source, key, key.encode())
    sync.run()
    assert set(sync.plan()[1].counts) == {"skip.proven_before"}
    put(sync.source, "a/1.csv", b"changed")
    for scope in (given(include=["a/1.csv"]), prefixes("a/1.csv"), keys("a/1.csv\n")):
        sync.scope = scope
        put(sync.source, "a/1.csv", f"changed for {scope}".encode())
        assert sync.run().copied == 1
    sync.scope = Scope()
    assert sync.plan()[1].counts == {"skip.proven_before": len(KEYS)}


# --- an ignore list -----------------------------------------------------------------------------


def test_an_ignore_list_is_read_whatever_wrote_it() -> None:
    """A byte order mark, line ends of Windows, blank lines and a missing last end do no harm."""
    data = "\ufeffsource/a/*\r\n\r\n   \nsource/c".encode()
    sync = filled(scope=Scope(ignore_list=listed("i", data)))
    assert chosen(sync, sync.plan()[1]) == ["ab/1.csv", "b/1.csv"]


@pytest.mark.parametrize("data", [b"", b"\n \r\n", "\ufeff\n".encode()])
def test_an_ignore_list_that_holds_nothing_is_warned_of(data: bytes) -> None:
    """In the plan and in the report: it is seldom what was meant."""
    sync = filled(scope=Scope(ignore_list=listed("i", data)))
    told = "selection.ignore_list: s3://lists/i holds no pattern, so it excludes nothing"
    sides = check_sides(sync.source, sync.target, sync.state, sync.request(), now=NOW)
    assert told in sides.warnings
    key, manifest = sync.plan()
    assert chosen(sync, manifest) == sorted(KEYS)
    assert manifest.selection == {"ignore_list": "s3://lists/i", "ignore_list_lines": 0}
    assert f"warning: {told}" in sync.report(key).short_text().split("\n")


def test_lines_that_look_like_comments_are_warned_of() -> None:
    """They are patterns, as ever: an ignore list has no comments."""
    scope = Scope(ignore_list=listed("i", b"# logs\n; more\nsource/a/*\n"))
    sync = filled(scope=scope)
    key, manifest = sync.plan()
    assert chosen(sync, manifest) == ["ab/1.csv", "b/1.csv", "c"]
    [warning] = scope.check()
    assert "2 lines begin with '#' or ';': they are patterns here" in warning
    assert f"warning: {warning}" in sync.report(key).short_text()


def test_an_ignore_list_of_patterns_is_not_warned_of() -> None:
    """Nor is a plan without one."""
    for scope in (Scope(ignore_list=listed("i", b"source/a/*\n")), Scope(), prefixes("a/")):
        assert scope.check() == []
        sync = filled(scope=scope)
        assert "warning" not in sync.report(sync.plan()[0]).short_text()


def test_an_ignore_list_that_is_too_long_is_refused() -> None:
    """Before anything is listed."""
    data = b"x\n" * (MOST_IGNORED + 1)
    sync = filled(scope=Scope(ignore_list=listed("i", data, "selection.ignore_list")))
    with pytest.raises(InvalidInputError, match=r"selection\.ignore_list: found .*at most 10000"):
        sync.plan()


def test_a_list_may_lie_on_the_worker(tmp_path: Any) -> None:
    """Whoever writes the DAG may name a file there."""
    path = tmp_path / "ignore.txt"
    path.write_bytes(b"source/*.csv\n")
    file = ListFile(parameter="p", uri=str(path), name=str(path))
    sync = filled(scope=Scope(ignore_list=file))
    assert chosen(sync, sync.plan()[1]) == ["a/1.tmp", "c"]
    gone = replace(file, name=str(tmp_path / "none"))
    sync.scope = Scope(ignore_list=gone)
    with pytest.raises(InvalidInputError, match="No such file"):
        sync.plan()


# --- prefixes -----------------------------------------------------------------------------------


def test_a_list_of_prefixes_lists_each_of_them_once(asked: Counter[str]) -> None:
    """Sorted, nested ones folded; what does not exist lists nothing."""
    sync = filled(scope=prefixes("b/\r\na/\n\na/1\nnone/\n \na/\n"))
    for key in ("a/1.csv", "a/only", "z"):
        put(sync.target, key, b"older")
    watched(sync.source, asked)
    key, manifest = sync.plan()
    assert chosen(sync, manifest) == ["a/1.csv", "a/1.tmp", "a/2.csv", "b/1.csv"]
    assert manifest.counts["skip.only_at_target"] == 1
    assert manifest.partial
    assert manifest.selection == {
        "prefix_list": "s3://lists/prefixes",
        "prefix_list_names": 3,
    }
    assert sync.report(key).partial
    # One page to see that the source can be listed, and those of three prefixes.
    assert asked["source.ListObjectsV2"] == 1 + 2 + 1 + 1


def test_a_prefix_is_no_folder_unless_it_ends_like_one() -> None:
    """As everywhere in S3: ``a`` begins ``ab/``, ``a/`` does not."""
    sync = filled(scope=prefixes("a"))
    assert "ab/1.csv" in chosen(sync, sync.plan()[1])
    sync.scope = prefixes("a/")
    assert "ab/1.csv" not in chosen(sync, sync.plan()[1])


def test_prefixes_lie_in_the_source() -> None:
    """One that does not is refused with its line, before anything is stored."""
    sync = filled(source_prefix="a/", target_prefix="to/", scope=prefixes("a/1\na/2\n"))
    sync.run()
    assert set(without_state(sync.target)) == {"to/1.csv", "to/1.tmp", "to/2.csv"}
    sync.scope = prefixes("a/1\n\nb/\n")
    with pytest.raises(InvalidInputError, match=r"line 3 of s3://lists/prefixes: found 'b/'"):
        sync.plan()


@pytest.mark.parametrize("text", ["", "\n\r\n", "\ufeff"])
def test_an_empty_list_is_refused(text: str) -> None:
    """That nothing is looked at is not what anybody meant."""
    for scope in (prefixes(text), keys(text)):
        sync = filled(scope=scope)
        with pytest.raises(InvalidInputError, match="which holds nothing"):
            sync.plan()


def test_many_prefixes_are_listed_in_order_without_holding_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of them, more than are held at once, in any order of the file."""
    monkeypatch.setattr(sorting, "ROWS_IN_MEMORY", 100)
    sync = Sync()
    names = [f"p{n:04d}/" for n in range(2000)]
    for name in names[::7]:
        put(sync.source, name + "x")
        put(sync.source, name + "y")
    sync.scope = prefixes("\n".join(sorted(names, key=lambda n: n[::-1])))
    _, manifest = sync.plan()
    assert manifest.copy_objects == 2 * len(names[::7])
    assert manifest.selection["prefix_list_names"] == 2000


def test_c01_a_prefix_that_cannot_be_listed_is_an_error() -> None:
    """On either side; nothing is stored."""
    for side in ("source", "target"):
        sync = filled(scope=prefixes("a/\nb/\n"))
        at: MemoryStore = getattr(sync, side)

        def fail(operation: str, arguments: Mapping[str, Any]) -> None:
            if operation == "ListObjectsV2" and arguments.get("prefix") == "b/":
                raise TransientStoreError(operation, "b/", "made to fail")

        at.observer.before = fail
        with pytest.raises(TransientStoreError, match="made to fail"):
            sync.plan()
        assert not [key for key in sync.target.objects if key.endswith("manifest.json")]


def test_a_part_of_a_bucket_does_not_say_where_to_cut_it() -> None:
    """The last plan of everything stays the last one."""
    sync = filled()
    key, _ = sync.plan()
    sync.scope = prefixes("a/")
    sync.plan()
    latest = [name for name in sync.target.keys() if "/latest/" in name]  # noqa: SIM118
    assert [sync.target.data(name).decode() for name in latest] == [key]


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("k.txt", "b/1.csv\na/1.csv\n\nb/1.csv"),
        ("k.csv", 'size,Key\r\n1,b/1.csv\r\n\r\n2,"a/1.csv"\r\n'),
        ("k.CSV", "\ufeffkey\nb/1.csv\na/1.csv"),
        ("k.jsonl", '"b/1.csv"\n\n{"key": "a/1.csv", "size": 3}\n'),
        ("k.ndjson", '"b\\u002f1.csv"\r\n"a/1.csv"'),
    ],
)
def test_a_list_of_keys_in_each_form(name: str, data: str, asked: Counter[str]) -> None:
    """Each key once, in order; nothing but these is asked for, and nothing is listed."""
    sync = filled(scope=keys(data, name))
    put(sync.target, "a/1.csv", b"a/1.csv")
    put(sync.target, "only")
    watched(sync.source, asked)
    _, manifest = sync.plan()
    assert manifest.counts == {"copy.missing_at_target": 1, "skip.same_digest": 1}
    assert chosen(sync, manifest) == ["b/1.csv"]
    assert manifest.partial
    assert manifest.selection == {"key_list": f"s3://lists/{name}", "key_list_names": 2}
    # And whether our own state lies there.
    assert asked["source.HeadObject"] == 2 + 1
    # To see that the source answers.
    assert asked["source.ListObjectsV2"] == 1


def test_c40_a_named_key_that_is_not_there_fails_the_run() -> None:
    """All others are copied; the target's object of that key is left alone."""
    sync = filled(scope=keys("a/1.csv\nnone\nzzz\n"))
    put(sync.target, "none")
    report = sync.run()
    assert report.refused == {"not_at_source": 2}
    assert "only_at_target" not in report.skipped
    assert (report.copied, report.failed) == (1, 2)
    assert [failure.key for failure in report.failures] == ["none", "zzz"]
    with pytest.raises(ObjectsFailedError, match="the source does not have it"):
        report.raise_for_failures()
    assert "none" in sync.target.objects


def test_c04_named_keys_are_what_stands_there() -> None:
    """Nothing is decoded, stripped or cut but the forms' own ways of writing."""
    strange = ["a+b", "a%2Fb", " a ", "a//b", "./a", 'quo"te', "line\nbreak", "é", "e\u0301", "a,b"]
    sync = Sync()
    for key in strange:
        put(sync.source, key, key.encode())
    lines = "\n".join(json.dumps(key) for key in strange)
    quoted = "\n".join('"' + key.replace('"', '""') + '"' for key in strange)
    for scope in (keys(lines, "k.jsonl"), keys("key\n" + quoted, "k.csv")):
        sync.scope = scope
        assert chosen(sync, sync.plan()[1]) == sorted(strange)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("k.parquet", b"a", r"found 's3://lists/k\.parquet', accepted is a file whose name ends"),
        ("k.csv", b"name\na", r"line 1 .*accepted is a row of names with the name 'key'"),
        ("k.csv", b"size,key\n1\n", r"line 2 .*accepted is a row of 2 fields"),
        ("k.csv", b'key\n"a"b\n', r"accepted is CSV"),
        ("k.jsonl", b'"a"\n{"name": "b"}\n', r"line 2 .*accepted is a JSON text"),
        ("k.jsonl", b'"a"\nb\n', r"line 2 .*found 'b'"),
        ("k.txt", b"a\n\xff\n", r"line 2 .*accepted is UTF-8"),
        ("k.txt", b"a\n" + b"x" * 1025, r"line 2 .*1 to 1024 UTF-8 bytes"),
        ("k.txt", b"x" * 70_000, r"line 1 .*lines of at most 65536 bytes"),
        ("k.csv", b"key\na\nother/b\n", r"line 3 .*found 'other/b', accepted is what begins with"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_line(name: str, data: bytes, message: str) -> None:
    """Before anything is listed, and nothing is stored."""
    scope = Scope(key_list=listed(name, data, "selection.key_list"))
    sync = filled(source_prefix="a", target_prefix="a", scope=scope)
    with pytest.raises(InvalidInputError, match=message):
        sync.plan()


def test_a_list_that_is_not_there_is_refused_by_name() -> None:
    """The parameter and the URI."""
    file = replace(listed("k.txt", b"a", "selection.key_list"), name="other.txt")
    sync = filled(scope=Scope(key_list=file))
    with pytest.raises(InvalidInputError, match=r"selection\.key_list: found .*no such object"):
        sync.plan()


def test_two_lists_of_what_to_look_at_are_refused() -> None:
    """Which of them would win is nothing to guess."""
    one, other = prefixes("a").prefix_list, keys("a").key_list
    with pytest.raises(InvalidInputError, match=r"selection\.key_list: .*with a prefix_list"):
        Scope(prefix_list=one, key_list=other)


def test_c04_a_key_that_begins_with_another_is_a_key_of_its_own() -> None:
    """Prefixes fold into each other; keys do not."""
    sync = filled(scope=keys("c\na/1.csv\na\n"))
    put(sync.source, "a")
    assert chosen(sync, sync.plan()[1]) == ["a", "a/1.csv", "c"]


def test_conditions_hold_for_named_keys_too() -> None:
    """A key that is named and does not fit is left out, and said to be."""
    sync = filled(
        scope=replace(keys("a/1.csv\na/1.tmp\n"), selection=Selection(exclude=("*.tmp",)))
    )
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1, "skip.not_selected": 1}


def test_a_list_is_read_on_where_its_body_broke_off() -> None:
    """And one that changes while it is read is no list."""
    file = listed("k.txt", b"a/1.csv\n" * 1000)
    at = file.store
    assert isinstance(at, MemoryStore)
    at.observer.before = FailingCall(operation="GetObject", number=1)
    assert len(list(file.keys())) == 1000
    at.observer.before = FailingCall(operation="GetObject", number=1, error=AccessDeniedError)
    with pytest.raises(AccessDeniedError):
        list(file.keys())


def test_many_named_keys_are_asked_for_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are held at once, in any order of the file, each once."""
    monkeypatch.setattr(sorting, "ROWS_IN_MEMORY", 100)
    sync = Sync()
    names = [f"k{n:04d}" for n in range(1500)]
    for name in names:
        put(sync.source, name)
    wanted = sorted(names, key=lambda n: n[::-1])
    sync.scope = keys("\n".join([*wanted, *wanted]))
    _, manifest = sync.plan()
    assert copied(manifest) == {"missing_at_target": 1500}
    assert chosen(sync, manifest) == names


def test_c01_a_key_that_cannot_be_asked_for_is_an_error() -> None:
    """Not one that is missing (c03); nothing is stored."""
    for side in ("source", "target"):
        sync = filled(scope=keys("a/1.csv\nb/1.csv\nc\n"))
        at: MemoryStore = getattr(sync, side)

        def fail(operation: str, arguments: Mapping[str, Any]) -> None:
            if operation == "HeadObject" and arguments.get("key") == "b/1.csv":
                raise AccessDeniedError(operation, "b/1.csv", "made to fail")

        at.observer.before = fail
        with pytest.raises(AccessDeniedError):
            sync.plan()
        assert not [key for key in sync.target.objects if key.endswith("manifest.json")]


def test_c02_an_unordered_listing_under_a_prefix_is_still_an_error() -> None:
    """Folding prefixes does not hide it."""
    sync = filled(scope=prefixes("a/"))
    order = iter(list(sync.source.list_objects("a/"))[::-1])
    sync.source.list_objects = lambda *_: order  # type: ignore[method-assign]
    with pytest.raises(ListingError, match="out of byte order"):
        sync.plan()


@pytest.mark.parametrize("kind", ["keys", "prefixes"])
def test_another_attempt_lists_nothing_that_no_plan_has_listed(
    kind: str, asked: Counter[str]
) -> None:
    """Between two named keys may lie a hundred million others: what landed is asked for."""
    names = ["a/1.csv", "c"]
    sync = filled(scope=keys("\n".join(names)) if kind == "keys" else prefixes("\n".join(names)))
    for number in range(100):
        put(sync.target, f"b/{number:03d}")
    key, manifest = sync.plan()
    sync.copy(manifest)
    listed_again: list[str] = []

    def note(operation: str, arguments: Mapping[str, Any]) -> None:
        asked[f"target.{operation}"] += 1
        if operation == "ListObjectsV2":
            listed_again.append(arguments["prefix"])

    sync.target.observer.before = note
    result = sync.copy(manifest)
    assert not [prefix for prefix in listed_again if not prefix.startswith(".s3resume/")]
    assert [one.figures.bytes_moved for one in result] == [0]
    assert asked["target.HeadObject"] >= len(names)
    assert sync.verify(key).verified == len(names)
    before = asked["target.ListObjectsV2"]
    sync.scope = prefixes("a/")
    key, manifest = sync.plan()
    sync.copy(manifest)
    assert sync.verify(key).verified == len(chosen(sync, manifest)) == 2
    # Under one prefix all was listed: a page of it costs less than asking for each.
    (ref,) = manifest.batches
    assert ref.listed < 10
    assert before < asked["target.ListObjectsV2"]
