"""Archived source objects: found when the plan is made, never tried in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    ObjectNotFoundError,
    PlanRefusedError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.archives import (
    ARCHIVE_CLASSES,
    OnArchived,
    has_restored_copy,
    is_archived,
)
from airflow_provider_s3resume.plan.objects import ListedObject
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.loading import load_entries
from airflow_provider_s3resume.transfer.name_lists import ListFile
from airflow_provider_s3resume.transfer.selecting import Scope
from tests.unit.planning_cases import Sync, put, store, without_state


def frozen(at: MemoryStore, key: str, storage_class: str = "GLACIER", **more: Any) -> None:
    """Put an object of a class into a store."""
    put(at, key, key.encode(), options=WriteOptions(storage_class=storage_class), **more)


def says_nothing(at: MemoryStore, tiers: Mapping[str, bool] | None = None) -> Counter[str]:
    """Let a listing not tell of restored copies, nor HEAD of tiers but these; count the HEADs."""
    inner_list, inner_head = at.list_objects, at.head
    asked: Counter[str] = Counter()

    def list_objects(*given: Any) -> Iterator[ListedObject]:
        return (replace(one, restored=None) for one in inner_list(*given))

    def head(key: str, **more: Any) -> Any:
        if not key.startswith(".s3resume/"):
            asked[key] += 1
        info = inner_head(key, **more)
        return replace(info, archived=(tiers or {}).get(key, info.archived))

    at.list_objects = list_objects  # type: ignore[method-assign, assignment]
    at.head = head  # type: ignore[method-assign]
    return asked


def planned(sync: Sync) -> set[str]:
    """Return the keys that the next plan copies."""
    return {e.key for ref in sync.plan()[1].batches for e in load_entries(sync.state, ref)}


def test_an_archived_object_is_reported_and_all_others_are_copied() -> None:
    """With its count and bytes; nothing is asked for it, and the run is in order."""
    sync = Sync()
    put(sync.source, "a")
    put(sync.source, "warm", options=WriteOptions(storage_class="GLACIER_IR"))
    frozen(sync.source, "cold")
    frozen(sync.source, "colder", "DEEP_ARCHIVE")
    seen = Counter[str]()

    def count(operation: str, given: Mapping[str, Any]) -> None:
        seen[f"{operation} {given.get('key')}"] += 1

    sync.source.observer.before = count
    report = sync.run()
    report.raise_for_failures()
    assert set(without_state(sync.target)) == {"a", "warm"}
    assert report.skipped == {"archived": 2}
    assert report.skipped_bytes == {"archived": 10}
    assert report.archived == ("cold", "colder")
    assert not [call for call in seen if "cold" in call]
    text = report.short_text()
    assert "archived 2 (10 bytes)" in text
    assert "archived, not copied: 'cold'" in text
    assert "archived" not in report.to_json_dict()


def test_a_restored_copy_is_copied() -> None:
    """As long as the service has it."""
    sync = Sync()
    frozen(sync.source, "cold", restored=True)
    report = sync.run()
    report.raise_for_failures()
    assert (report.copied, report.archived) == (1, ())
    assert sync.plan()[1].counts == {"skip.same_digest": 1}


def test_an_archived_object_that_the_target_has_is_none_to_speak_of() -> None:
    """Only what would be copied counts as archived."""
    sync = Sync()
    for at in (sync.source, sync.target):
        put(at, "same", b"same", options=WriteOptions(storage_class="GLACIER"))
    assert sync.plan()[1].counts == {"skip.same_digest": 1}


def test_c31_an_archived_object_counts_as_present() -> None:
    """Its older copy at the target is none that lies there only."""
    sync = Sync()
    frozen(sync.source, "cold")
    put(sync.target, "cold", b"older")
    assert sync.plan()[1].counts == {"skip.archived": 1}
    assert without_state(sync.target) == {"cold": b"older"}


def test_a_plan_may_be_refused_for_archived_objects() -> None:
    """With their number, their bytes and the first names; nothing is stored."""
    sync = Sync(archived=OnArchived.FAIL)
    put(sync.source, "a")
    for number in range(7):
        frozen(sync.source, f"cold{number}")
    message = r"7 source objects of 35 bytes .*'cold0', .*'cold4' and 2 more; nothing was copied"
    with pytest.raises(PlanRefusedError, match=message):
        sync.plan()
    assert not [key for key in sync.target.objects if key.endswith("manifest.json")]
    for key in list(sync.source.objects):
        if key.startswith("cold"):
            del sync.source.objects[key]
    assert planned(sync) == {"a"}


def test_archived_objects_may_be_tried() -> None:
    """Where a bucket lets them be read at once; where not, each fails at once, once."""
    sync = Sync(archived=OnArchived.TRY)
    frozen(sync.source, "cold")
    report = sync.run()
    assert report.failure_kinds == {"ObjectArchivedError": 1}


def test_c41_an_object_archived_since_the_plan_fails_at_once() -> None:
    """It is read once, and no retry is promised."""
    sync = Sync()
    put(sync.source, "a")
    key, manifest = sync.plan()
    sync.source.objects["a"] = replace(
        sync.source.objects["a"], options=WriteOptions(storage_class="GLACIER")
    )
    (result,) = sync.copy(manifest)
    assert [(o.error_kind, o.retryable) for o in result.failures] == [
        ("ObjectArchivedError", False)
    ]
    assert sync.report(key).failed == 1


def test_what_a_listing_does_not_say_is_asked_for() -> None:
    """Restored copies where it says nothing of them, and archive tiers, which it never tells."""
    sync = Sync()
    put(sync.source, "plain")
    frozen(sync.source, "restored", restored=True)
    frozen(sync.source, "cold")
    frozen(sync.source, "tier", "INTELLIGENT_TIERING")
    frozen(sync.source, "deep", "INTELLIGENT_TIERING")
    put(sync.target, "there", b"there")
    put(sync.source, "there", b"there", options=WriteOptions(storage_class="INTELLIGENT_TIERING"))
    asked = says_nothing(sync.source, {"deep": True})
    _, manifest = sync.plan()
    assert manifest.counts == {
        "copy.missing_at_target": 3,
        "skip.archived": 2,
        "skip.same_digest": 1,
    }
    assert asked == {"restored": 1, "cold": 1, "tier": 1, "deep": 1}


def test_many_are_asked_for_at_once_and_in_order() -> None:
    """What needs no question stays in its place between those that do."""
    sync = Sync()
    for number in range(700):
        if number % 3:
            put(sync.source, f"k{number:03d}")
        else:
            frozen(sync.source, f"k{number:03d}", restored=number % 2 == 0)
    asked = says_nothing(sync.source)
    _, manifest = sync.plan()
    archived = len(range(3, 700, 6))
    assert manifest.counts == {"copy.missing_at_target": 700 - archived, "skip.archived": archived}
    assert len(asked) == len(range(0, 700, 3))
    (ref,) = manifest.batches
    keys = [entry.key for entry in load_entries(sync.state, ref)]
    assert keys == sorted(keys)


@pytest.mark.parametrize("error", [ObjectNotFoundError, AccessDeniedError])
def test_what_only_the_copy_can_tell_is_left_to_it(error: type[StoreError]) -> None:
    """An object that is gone by now, or that may not be asked about."""
    sync = Sync()
    frozen(sync.source, "tier", "INTELLIGENT_TIERING")
    fail_heads(sync.source, error)
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1}


def test_c01_a_question_that_fails_is_an_error() -> None:
    """It is not taken for an answer; the plan is made again."""
    sync = Sync()
    frozen(sync.source, "tier", "INTELLIGENT_TIERING")
    fail_heads(sync.source, TransientStoreError)
    with pytest.raises(TransientStoreError):
        sync.plan()


def fail_heads(at: MemoryStore, error: type[StoreError]) -> None:
    """Let every HEAD of a store fail."""

    def fail(operation: str, given: Mapping[str, Any]) -> None:
        if operation == "HeadObject" and given.get("key") == "tier":
            raise error(operation, "tier", "made to fail")

    at.observer.before = fail


def test_named_keys_are_looked_at_in_the_same_way() -> None:
    """Their HEAD tells already."""
    lists = store("lists")
    put(lists, "k.txt", b"cold\nwarm\n")
    file = ListFile(parameter="p", uri="s3://lists/k.txt", name="k.txt", store=lists)
    sync = Sync(scope=Scope(key_list=file))
    frozen(sync.source, "cold")
    frozen(sync.source, "warm", restored=True)
    asked = says_nothing(sync.source)
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1, "skip.archived": 1}
    assert asked == {"cold": 1, "warm": 1}


@pytest.mark.parametrize(
    ("storage_class", "restore", "tier", "archived"),
    [
        (None, None, None, False),
        ("STANDARD", None, None, False),
        ("GLACIER_IR", None, None, False),
        ("GLACIER", None, None, True),
        ("GLACIER", 'ongoing-request="true"', None, True),
        ("GLACIER", 'ongoing-request="false", expiry-date="Fri, 1 Jan 2027 00:00:00 GMT"', None, 0),
        ("DEEP_ARCHIVE", None, None, True),
        ("STANDARD", None, "ARCHIVE_ACCESS", False),
        ("INTELLIGENT_TIERING", None, None, False),
        ("INTELLIGENT_TIERING", None, "ARCHIVE_ACCESS", True),
        ("INTELLIGENT_TIERING", 'ongoing-request="true"', "DEEP_ARCHIVE_ACCESS", True),
        ("Standard", None, None, False),
        ("IA", None, None, False),
        *((name, None, None, True) for name in sorted(ARCHIVE_CLASSES)),
    ],
)
def test_headers_say_what_has_to_be_restored(
    storage_class: str | None, restore: str | None, tier: str | None, *, archived: bool
) -> None:
    """As the documentation of HeadObject of both services has them."""
    assert is_archived(storage_class, restore, tier) is bool(archived)


def test_no_header_says_that_nothing_was_restored() -> None:
    """Nor does an empty one."""
    words: Iterable[str | None] = (None, "", 'ongoing-request="true"')
    assert not any(has_restored_copy(word) for word in words)


@pytest.mark.parametrize("word", ["", "ignore", None, True])
def test_another_word_is_refused_by_name(word: object) -> None:
    """The accepted ones are named."""
    with pytest.raises(InvalidInputError, match=r"archived: found .*'report', 'fail', 'try'"):
        OnArchived.parse(word)
