"""Plans whose keys go to others than the exchange of prefixes says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    ListingError,
    PlanRefusedError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.filters import Selection
from airflow_provider_s3resume.plan.manifest import Side
from airflow_provider_s3resume.plan.objects import KeyMapping
from airflow_provider_s3resume.plan.renaming import Renaming
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import sorting
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.loading import load_entries
from airflow_provider_s3resume.transfer.name_lists import ListFile
from airflow_provider_s3resume.transfer.proven import pair_name
from airflow_provider_s3resume.transfer.selecting import Scope
from airflow_provider_s3resume.transfer.state import StateLocation
from tests.unit.planning_cases import NOW, Sync, put, store, without_state


def by(function: Callable[[str], object], **more: Any) -> Renaming:
    """Return a renaming by a function."""
    return Renaming(function=function, function_name="m:f", **more)


def backwards(key: str) -> str:
    """Return a key read from its end."""
    return key[::-1]


def filled(*keys: str, **more: Any) -> Sync:
    """Return a sync whose source has these keys, each with its own name as data."""
    sync = Sync(**more)
    for key in keys:
        put(sync.source, key, key.encode())
    return sync


def lists(name: str, text: str) -> ListFile:
    """Return a list."""
    at = store("lists")
    put(at, name, text.encode())
    return ListFile(parameter="p", uri=f"s3://lists/{name}", name=name, store=at)


# --- prefixes taken off and put on --------------------------------------------------------------


def test_a_prefix_is_put_before_every_key() -> None:
    """Nothing is sorted for that; the same keys are found again."""
    sync = filled("d/a", "d/b/c", source_prefix="d/", target_prefix="t/")
    sync.renaming = Renaming(add_prefix="new/")
    report = sync.run()
    assert without_state(sync.target) == {"t/new/a": b"d/a", "t/new/b/c": b"d/b/c"}
    assert report.key_mapping == {"add_prefix": "new/"}
    assert "keys mapped by add_prefix new/" in report.short_text()
    assert sync.plan()[1].counts == {"skip.same_digest": 2}


def test_a_prefix_is_taken_off_the_keys_that_have_it() -> None:
    """Others stay as they are; what lies at the target only is still seen."""
    sync = filled("old/a", "older/b", "c", renaming=Renaming(strip_prefix="old/"))
    put(sync.target, "zzz")
    report = sync.run()
    assert {k for k in without_state(sync.target) if k != "zzz"} == {"a", "older/b", "c"}
    assert report.skipped == {"only_at_target": 1}
    assert sync.plan()[1].counts == {"skip.same_digest": 3, "skip.only_at_target": 1}


def test_prefixes_are_opaque_and_a_folder_ends_with_a_slash() -> None:
    """``p`` begins ``pq/x``, ``p/`` does not: a folder is meant by its slash alone."""
    mapping = KeyMapping()
    folder = Renaming(strip_prefix="p/", add_prefix="q/")
    assert folder.target_key("p/x", mapping) == "q/x"
    assert folder.target_key("pq/x", mapping) == "q/pq/x"
    opaque = Renaming(strip_prefix="p", add_prefix="r")
    assert opaque.target_key("pq/x", mapping) == "rq/x"
    for renaming in (folder, opaque):
        assert renaming.target_key("x/p/y", mapping) == f"{renaming.add_prefix}x/p/y"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strip": "a"}, r"key_mapping: found 'strip', accepted is add_prefix, strip_prefix"),
        ({"strip_prefix": 5}, r"key_mapping\.strip_prefix: found 5, accepted is a text"),
        ({"strip_prefix": "p", "add_prefix": "q/"}, r"key_mapping\.add_prefix: found 'q/'"),
        ({"strip_prefix": "p/", "add_prefix": "q"}, r"add_prefix: found 'q'.*ends with '/' or"),
        ({"strip_prefix": "p"}, r"key_mapping\.add_prefix: found '', .*does not end with '/'"),
    ],
)
def test_half_a_folder_is_refused(given: Mapping[str, object], message: str) -> None:
    """Where one prefix ends like a folder and the other does not, keys would be joined wrongly."""
    with pytest.raises(InvalidInputError, match=message):
        Renaming.parse(given)
    assert Renaming.parse({"strip_prefix": "", "add_prefix": None}) is None


# --- functions ----------------------------------------------------------------------------------


def test_a_function_may_turn_the_order_round() -> None:
    """What is there is found there; batches are neighbours at the target, and list as such."""
    names = [f"{n:03d}/x" for n in range(40)]
    sync = filled(*names, renaming=by(backwards), batch_limits=BatchLimits(max_objects=7))
    report = sync.run()
    assert without_state(sync.target) == {backwards(name): name.encode() for name in names}
    assert (report.copied, report.verified, report.failed) == (40, 40, 0)
    del sync.target.objects["x/710"]
    put(sync.target, "foreign")
    _, manifest = sync.plan()
    assert manifest.counts == {
        "copy.missing_at_target": 1,
        "skip.same_digest": 39,
        "skip.only_at_target": 1,
    }
    assert manifest.key_mapping == {"function": "m:f"}


def test_another_attempt_of_a_batch_finds_what_is_there() -> None:
    """By the keys of the plan: the function is not asked again."""
    asked: list[str] = []

    def function(key: str) -> str:
        asked.append(key)
        return backwards(key)

    sync = filled("ab", "cd", "ef", renaming=by(function))
    _, manifest = sync.plan()
    before = len(asked)
    sync.copy(manifest)
    del sync.target.objects["dc"]
    (ref,) = manifest.batches
    result = copy_batch(
        sync.source,
        sync.target,
        sync.state,
        ref,
        CopyConfig(part_concurrency=2, object_concurrency=2),
        stop=sync.stop,
        now=NOW,
    )
    assert result.figures.bytes_moved == 2
    assert sync.target.data("dc") == b"cd"
    assert len(asked) == before


def test_all_steps_of_a_renaming_are_taken_in_order() -> None:
    """Off with the prefix, through the function, on with the other one, behind the target's."""
    renaming = by(str.upper, strip_prefix="old/", add_prefix="new/")
    mapping = KeyMapping(source_prefix="s/", target_prefix="t/")
    assert renaming.target_key("s/old/a", mapping) == "t/new/A"
    assert renaming.to_json_dict() == {
        "strip_prefix": "old/",
        "add_prefix": "new/",
        "function": "m:f",
    }


@pytest.mark.parametrize("most", [2, 100_000])
def test_c04_two_keys_that_would_meet_refuse_the_plan(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any copy, naming both, however many keys lie between them."""
    monkeypatch.setattr(sorting, "ROWS_IN_MEMORY", most)
    names = [f"k{n}" for n in range(20)]
    sync = filled("A", *names, "a", renaming=by(str.lower))
    with pytest.raises(PlanRefusedError, match=r"source keys 'A' and 'a' are both mapped to 'a'"):
        sync.plan()
    assert without_state(sync.target) == {}
    assert not [key for key in sync.target.objects if key.endswith("manifest.json")]
    sync.renaming = Renaming(strip_prefix="x/")
    put(sync.source, "x/k3")
    with pytest.raises(PlanRefusedError, match=r"source keys 'k3' and 'x/k3'"):
        sync.plan()


def test_c04_what_is_not_meant_meets_nobody() -> None:
    """A key that is left out is no second one; it counts as present all the same (c09)."""
    sync = filled("A", "a", "b", renaming=by(str.lower))
    sync.scope = Scope(selection=Selection(exclude=("A", "b")))
    put(sync.target, "b")
    put(sync.target, "foreign")
    _, manifest = sync.plan()
    assert manifest.counts == {
        "copy.missing_at_target": 1,
        "skip.not_selected": 2,
        "skip.only_at_target": 1,
    }


def test_c09_a_key_that_is_left_out_claims_its_object_beside_another() -> None:
    """Two source keys of one target key, of which one is meant: the target object is theirs."""
    sync = filled("A", "a", renaming=by(str.lower))
    sync.scope = Scope(selection=Selection(exclude=("A",)))
    put(sync.target, "a", b"a")
    assert sync.plan()[1].counts == {"skip.not_selected": 1, "skip.same_digest": 1}


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda _: None, "returned NoneType for 'a'"),
        (lambda _: b"a", "returned bytes for 'a'"),
        (lambda _: "", "returned an empty key for 'a'"),
        (lambda _: 1 // 0, "raised ZeroDivisionError for 'a'"),
    ],
)
def test_a_function_that_returns_no_key_refuses_the_plan(
    function: Callable[[str], object], told: str
) -> None:
    """The key is named, and nothing of what the function said."""
    sync = filled("a", renaming=by(function))
    with pytest.raises(InvalidInputError, match=rf"key_function: found .m:f, which {told}") as why:
        sync.plan()
    assert why.value.__cause__ is None


def test_c33_nothing_is_mapped_into_the_state_location() -> None:
    """It is refused by name, and our own state is never a source."""
    sync = filled("a", "b", renaming=by(lambda key: ".s3resume/runs/x" if key == "a" else key))
    assert sync.plan()[1].counts == {
        "copy.missing_at_target": 1,
        "refuse.in_state_location": 1,
    }


def test_c07_pairs_that_only_a_record_tells_equal_are_found_again() -> None:
    """The record is in the order of source keys, the plan in that of target keys."""
    target = store("target", capabilities=replace(AMAZON_S3, md5_etags=False))
    sync = filled("aw", "bz", "cd", "dy", target=target, renaming=by(backwards))
    sync.run()
    key, manifest = sync.plan()
    assert manifest.counts == {"skip.proven_before": 4}
    sync.verify(key)
    assert sync.plan()[1].counts == {"skip.proven_before": 4}
    sync.renaming = by(lambda key: backwards(key) if key != "cd" else 1 // 0)
    del sync.source.objects["cd"]
    assert sync.plan()[1].counts == {"skip.proven_before": 3, "skip.only_at_target": 1}


def test_c07_two_mappings_between_the_same_places_have_records_of_their_own() -> None:
    """Each whole run writes its record anew, and must not write over the other's."""
    plain, sides = Side(service="s", uri="s3://a/"), Side(service="s", uri="s3://b/")
    names = {
        pair_name(plain, sides, mapping)
        for mapping in (None, {}, {"add_prefix": "x/"}, {"add_prefix": "y/"})
    }
    assert len(names) == 3
    assert pair_name(plain, sides) == pair_name(plain, sides, {})


def test_named_keys_and_prefixes_are_renamed_too() -> None:
    """And nothing is said of what lies at the target only, as not all of it was looked at."""
    sync = filled("a/1", "a/2", "b/1", renaming=by(backwards))
    put(sync.target, "1/a", b"a/1")
    put(sync.target, "foreign")
    sync.scope = Scope(prefix_list=lists("p", "a/\n"))
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1, "skip.same_digest": 1}
    sync.scope = Scope(key_list=lists("k.txt", "b/1\na/1\nnone\n"))
    _, manifest = sync.plan()
    assert manifest.counts == {
        "copy.missing_at_target": 1,
        "skip.same_digest": 1,
        "refuse.not_at_source": 1,
    }
    (ref,) = manifest.batches
    assert [e.target_key for e in load_entries(sync.state, ref)] == ["1/b"]


def test_archived_objects_are_found_under_their_own_keys() -> None:
    """Renamed or not."""
    sync = filled("a", renaming=by(str.upper))
    put(sync.source, "cold", options=WriteOptions(storage_class="GLACIER"))
    asked: list[str] = []

    def note(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation == "HeadObject":
            asked.append(arguments["key"])

    sync.source.observer.before = note
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1, "skip.archived": 1}
    # Its listing has told, and that was not lost while objects were sorted.
    assert "cold" not in asked


@given(
    keys=st.sets(st.text(alphabet="ab/é😀\uff61", min_size=1, max_size=4), max_size=12),
    there=st.sets(st.text(alphabet="ab/é😀\uff61", min_size=1, max_size=4), max_size=8),
)
def test_c05_the_merge_finds_what_a_dictionary_finds(keys: set[str], there: set[str]) -> None:
    """Whatever order the renamed keys have, on both sides of the surrogates."""
    sync = filled(*keys, renaming=by(backwards))
    for key in there:
        put(sync.target, key, backwards(key).encode())
    _, manifest = sync.plan()
    mapped = {backwards(key) for key in keys}
    counts = {
        "copy.missing_at_target": len(mapped - there),
        "skip.same_digest": len(mapped & there),
        "skip.only_at_target": len(there - mapped),
    }
    assert manifest.counts == {name: n for name, n in counts.items() if n}


def test_c01_a_listing_that_fails_is_an_error_here_too() -> None:
    """Half way through either side."""
    for side in ("source", "target"):
        sync = filled(*map(str, range(10)), renaming=by(backwards))
        for key in map(str, range(10)):
            put(sync.target, key, key.encode())
        at = getattr(sync, side)
        inner = at.list_objects

        def broken(*given: Any, inner: Any = inner) -> Any:
            for number, one in enumerate(inner(*given)):
                if number == 5:
                    raise TransientStoreError("ListObjectsV2", "k", "made to fail")
                yield one

        at.list_objects = broken
        with pytest.raises(TransientStoreError, match="made to fail"):
            sync.plan()


def test_c02_a_target_out_of_order_is_an_error_here_too() -> None:
    """It is never merged."""
    sync = filled("a", "b", renaming=by(backwards), state_store=store("state"))
    for key in ("a", "b", "c"):
        put(sync.target, key)
    found = list(sync.target.list_objects())[::-1]
    sync.target.list_objects = lambda *_: iter(found)  # type: ignore[method-assign]
    with pytest.raises(ListingError, match="target listing"):
        sync.plan()


def test_the_name_of_a_function_is_no_pattern_of_more() -> None:
    """What the report shows is what was written."""
    sync = filled("a", renaming=by(lambda key: re.sub("a", "b", key)))
    assert sync.run().key_mapping == {"function": "m:f"}


def test_c33_our_own_state_meets_nobody() -> None:
    """It is no data, whatever a function makes of its keys."""
    sync = filled("a", renaming=by(lambda key: "x" if key.startswith(".s3resume/") else key))
    sync.state = StateLocation(sync.source)
    for number in range(3):
        sync.state.ensure(NOW)
        sync.state.write_text(f"record-{number}", "{}")
    counts = dict(sync.plan()[1].counts)
    assert counts.pop("skip.own_state") >= 4
    assert counts == {"copy.missing_at_target": 1}


def test_a_key_that_the_target_cannot_hold_is_refused_without_asking_for_it() -> None:
    """Some services answer such a question with an error, which would fail the plan."""
    sync = filled("a", "b", renaming=by(lambda key: "k" * 1025 if key == "a" else key))
    sync.scope = Scope(key_list=lists("k.txt", "a\nb\n"))
    asked: list[str] = []

    def note(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation == "HeadObject":
            asked.append(arguments["key"])

    sync.target.observer.before = note
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1, "refuse.key_too_long": 1}
    assert "b" in asked
    assert "k" * 1025 not in asked


def test_c40_a_key_that_no_request_can_name_is_refused_here_too() -> None:
    """What hinders an object is not lost while objects are sorted."""
    sync = filled("a", "b", renaming=by(backwards))
    sync.scope = Scope(key_list=lists("k.txt", "a\nb\n"))

    def refuse(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation == "HeadObject" and arguments["key"] == "a":
            raise UnsupportedError(operation, "a", "the key cannot be sent")

    sync.source.observer.before = refuse
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1, "refuse.unreachable_key": 1}


def test_a_plan_in_another_order_does_not_say_where_to_cut() -> None:
    """The last plan of keys in their own order stays the last one."""
    sync = filled("a", "b")
    key, _ = sync.plan()
    sync.renaming = by(backwards)
    sync.plan()
    latest = [name for name in sync.target.keys() if "/latest/" in name]  # noqa: SIM118
    assert [sync.target.data(name).decode() for name in latest] == [key]
