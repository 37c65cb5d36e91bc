"""Keys travel as they are; those that a target cannot hold are named, or refuse the plan."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, PlanRefusedError
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.parts import GIB, Limits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.loading import load_entries
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.verification import load_noted
from tests.unit.planning_cases import NOW, SMALL, Sync, copied, md5, put, store, without_state

ODD_KEYS = [
    "a//b",
    "/a",
    "//",
    "a/",
    "a",
    "a/b",
    "./a",
    "../a",
    "a/../b",
    "a+b",
    "a b",
    " a ",
    "a%2Fb",
    "a%00",
    "'quoted' \"twice\"",
    "line\nbreak",
    "line\u2028separator",
    "\x85next",
    "tab\tand\r\x01\x1f\x7f",
    "\0",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "\uff61",
    "\U0001f600",
    "\\u0041",
    "{}",
    "k" * 1024,
    "é" * 512,
]
FOLDING = replace(AMAZON_S3, folds_keys=True)


@pytest.mark.parametrize(
    ("source_prefix", "target_prefix"), [("", ""), ("in/", "out/there/"), ("", "copy/")]
)
def test_c04_odd_keys_arrive_under_exactly_the_mapped_key(
    source_prefix: str, target_prefix: str
) -> None:
    """Through listing, manifest, batch files, copy and verification no key changes a byte."""
    sync = Sync(source_prefix=source_prefix, target_prefix=target_prefix)
    # Prefixes take room, so the longest keys are made to fit both.
    room = 1024 - max(len(source_prefix), len(target_prefix))
    keys = [key.encode()[:room].decode(errors="ignore") for key in ODD_KEYS]
    for key in keys:
        put(sync.source, source_prefix + key, b"of " + key.encode())
    report = sync.run()
    assert (report.planned, report.copied, report.failed) == (len(keys), len(keys), 0)
    assert without_state(sync.target) == {
        target_prefix + key: b"of " + key.encode() for key in keys
    }
    assert sync.run().planned == 0


def test_c04_keys_stand_in_the_batch_files_as_they_are() -> None:
    """What a batch says is what the listing said, key for key."""
    sync = Sync(batch_limits=BatchLimits(max_objects=4))
    for key in ODD_KEYS:
        put(sync.source, key)
    _, manifest = sync.plan()
    entries = [one for ref in manifest.batches for one in load_entries(sync.state, ref)]
    assert sorted(one.key for one in entries) == sorted(ODD_KEYS)
    assert all(one.key == one.target_key for one in entries)
    assert all(ref.objects <= 4 for ref in manifest.batches)


@pytest.mark.parametrize(
    ("source_prefix", "target_prefix", "keys"),
    [
        ("", "", ["a/b", "a//b"]),
        ("", "", ["a//b", "a///b"]),
        ("", "", ["/a", "a"]),
        ("in/", "", ["in//a", "in/a"]),
        ("in/", "out/", ["in/a//b", "in/a/b"]),
        ("in//", "out/", ["in//a//b", "in//a/b"]),
        ("", "out/", ["/x", "x"]),
        ("", "out/", ["a/./b", "a/b"]),
    ],
)
def test_c04_keys_that_would_meet_at_a_folding_target_refuse_the_plan(
    source_prefix: str, target_prefix: str, keys: list[str]
) -> None:
    """Both keys are named, and nothing that a transfer would act on is stored."""
    sync = Sync(
        target=store("target", capabilities=FOLDING),
        source_prefix=source_prefix,
        target_prefix=target_prefix,
    )
    for key in keys:
        put(sync.source, key)
    with pytest.raises(PlanRefusedError, match="are one key at the target") as refused:
        sync.plan()
    assert all(repr(key) in str(refused.value) for key in keys)
    assert not [key for key in sync.target.keys() if "/runs/" in key]  # noqa: SIM118
    assert not without_state(sync.target)


def test_c04_unkept_keys_are_named_and_fail_the_run_after_the_others_were_copied() -> None:
    """A key that meets no other one is refused by name; all others arrive."""
    sync = Sync(target=store("target", capabilities=FOLDING))
    for key in ("a//b", "./dot", "plain", "x/y"):
        put(sync.source, key)
    key, manifest = sync.plan()
    noted = {one.key: one.reason for one in load_noted(sync.state, manifest.noted)}
    assert noted == {"a//b": "key_not_kept", "./dot": "key_not_kept"}
    sync.copy(manifest)
    sync.verify(key)
    report = sync.report(key)
    assert set(without_state(sync.target)) == {"plain", "x/y"}
    assert (report.copied, report.failed) == (2, 2)
    assert report.refused == {"key_not_kept": 2}
    assert {one.key for one in report.failures} == set(noted)
    with pytest.raises(Exception, match=r"2 objects failed.*a//b"):
        report.raise_for_failures()


def test_c04_a_target_that_folds_too_many_keys_is_the_wrong_target() -> None:
    """More than a thousand such keys refuse the plan as a whole."""
    sync = Sync(target=store("target", capabilities=FOLDING))
    for number in range(1001):
        put(sync.source, f"a//{number}")
    with pytest.raises(PlanRefusedError, match="more than 1000 source keys"):
        sync.plan()
    assert not without_state(sync.target)


def test_c04_a_mapping_that_leaves_no_key_is_refused_by_name() -> None:
    """The marker object of the source prefix itself has no key at the root of a target."""
    sync = Sync(source_prefix="in/", target_prefix="")
    put(sync.source, "in/", b"")
    put(sync.source, "in/a")
    _, manifest = sync.plan()
    assert manifest.counts == {"copy.missing_at_target": 1, "refuse.key_not_kept": 1}


def test_a_key_too_long_at_the_target_is_refused_by_name() -> None:
    """The mapping made it too long, and the report says which."""
    sync = Sync(target_prefix="longer/")
    put(sync.source, "k" * 1018)
    put(sync.source, "k" * 1017)
    report = sync.run()
    assert report.refused == {"key_too_long": 1}
    assert (report.copied, report.failed) == (1, 1)


def test_c08_empty_objects_and_directory_markers_are_copied_like_any_other() -> None:
    """Zero bytes and a slash at the end make no exception."""
    sync = Sync()
    for key, data in {"empty": b"", "dir/": b"", "dir/sub/": b"marker"}.items():
        put(sync.source, key, data)
    report = sync.run()
    assert (report.copied, report.verified) == (3, 3)
    assert without_state(sync.target) == {"empty": b"", "dir/": b"", "dir/sub/": b"marker"}
    assert sync.run().planned == 0


def test_c21_what_the_targets_parts_cannot_hold_is_refused_at_plan_time() -> None:
    """The largest object follows from the store's own limits on parts, not from a constant."""
    limits = replace(SMALL, max_part_size=10, max_parts=3)
    sync = Sync(target=store("target", limits=limits))
    put(sync.source, "fits", b"x" * 30)
    put(sync.source, "too large", b"x" * 31)
    _, manifest = sync.plan()
    assert manifest.counts == {"copy.missing_at_target": 1, "refuse.too_large": 1}
    (noted,) = load_noted(sync.state, manifest.noted)
    assert (noted.key, noted.size) == ("too large", 31)


def test_c21_the_configured_part_size_is_checked_against_the_stores_own_limits() -> None:
    """A target that takes parts of 8 bytes at most refuses larger ones before any byte moves."""
    limits = Limits(min_part_size=2, max_part_size=8)
    sync = Sync(target=store("target", limits=limits))
    put(sync.source, "k", b"x" * 20)
    _, manifest = sync.plan()
    with pytest.raises(InvalidInputError, match=r"part_size: found 9, accepted is .* from 2 to 8"):
        sync.copy(manifest, part_size=9)
    assert not without_state(sync.target)


def pairs(sync: Sync, named: list[tuple[str, str]]) -> int:
    """Plan named pairs; return the number of batches."""
    sync.state.ensure(NOW)
    _, manifest = pairs_manifest(sync.source, sync.target, sync.state, named, "pairs", now=NOW)
    return len(manifest.batches)


def test_named_pairs_are_one_batch_whatever_their_size() -> None:
    """One task copies them all, in key order, each with what the plan saw at the target."""
    sync = Sync()
    put(sync.target, "to/b", b"old")
    for key in ("b", "a"):
        put(sync.source, key, b"new")
    _, manifest = pairs_manifest(
        sync.source, sync.target, sync.state, [("b", "to/b"), ("a", "to/a")], "pairs", now=NOW
    )
    assert manifest.partial
    (ref,) = manifest.batches
    entries = {one.key: one for one in load_entries(sync.state, ref)}
    assert entries["b"].target_etag == md5(b"old")
    assert not entries["a"].target_there
    assert copied(manifest) == {"asked_for": 2}
    sync.copy(manifest)
    assert without_state(sync.target) == {"to/a": b"new", "to/b": b"new"}


def test_named_pairs_of_many_bytes_stay_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on the bytes of a planned batch does not cut what was named."""
    sync = Sync()
    heads = {"a": 60 * GIB, "b": 60 * GIB}
    for key in heads:
        put(sync.source, key)
    real = sync.source.head
    monkeypatch.setattr(sync.source, "head", lambda key, **_: replace(real(key), size=heads[key]))
    assert pairs(sync, [("a", "a"), ("b", "b")]) == 1


def test_a_retry_of_named_pairs_asks_for_each_key_instead_of_listing_what_lies_between() -> None:
    """Two keys at both ends of a large bucket do not make it list the bucket."""
    sync = Sync()
    for key in ("a", "z"):
        put(sync.source, key)
    for number in range(30):
        put(sync.target, f"m{number}")
    _, manifest = pairs_manifest(
        sync.source, sync.target, sync.state, [("a", "a"), ("z", "z")], "pairs", now=NOW
    )
    sync.copy(manifest)
    listed: list[str] = []
    sync.target.observer.before = lambda operation, arguments: (
        listed.append(arguments["prefix"]) if operation == "ListObjectsV2" else None
    )
    (again,) = sync.copy(manifest)
    assert again.figures.bytes_moved == 0
    assert "" not in listed


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([("a", "x"), ("b", "x")], "'x' for 'a' and 'b', accepted is one source object"),
        ([("a", "x"), ("a", "x")], "one source object for each target key"),
        ([("a", "x"), ("a", "y")], "'a' for 'x' and 'y', accepted is each source object once"),
        ([("a", ".s3resume/x")], "accepted is a key outside of '.s3resume/'"),
        ([("a", "")], "accepted is a key that the target can hold exactly"),
        ([("a", "k" * 1025)], "accepted is a key that the target can hold exactly"),
    ],
)
def test_named_pairs_that_cannot_be_are_refused_before_anything_is_asked(
    named: list[tuple[str, str]], message: str
) -> None:
    """Two sources for one key, two keys for one source, our own records, keys that cannot be."""
    sync = Sync()
    with pytest.raises(InvalidInputError, match=r"(target|source) key: found ") as refused:
        pairs(sync, named)
    assert message in str(refused.value).replace('"', "")


def test_named_pairs_are_refused_where_the_target_folds_their_keys() -> None:
    """A folding target is asked for what it is, not for who it is."""
    sync = Sync(target=store("target", capabilities=FOLDING))
    with pytest.raises(InvalidInputError, match="can hold exactly"):
        pairs(sync, [("a", "x//y")])
    put(sync.source, "a")
    assert pairs(sync, [("a", "x/y")]) == 1


def test_the_cost_of_listing_a_batch_again_counts_the_targets_keys() -> None:
    """Ten thousand foreign keys between two planned ones are what a listing would cost."""
    sync = Sync()
    for key in ("a", "z"):
        put(sync.source, key)
    for number in range(50):
        put(sync.target, f"m{number:02d}")
    _, manifest = sync.plan()
    assert manifest.batches[0].listed == 52
