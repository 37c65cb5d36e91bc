"""Differences in metadata alone: the rule's criterion ``metadata``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.diff import Action, DiffRule, Reason, Verb
from airflow_provider_s3resume.plan.objects import ContentAttributes, ListedObject, ObjectInfo
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage._memory_reader import Observer, no_hook
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import metadata
from airflow_provider_s3resume.transfer.metadata import differ, with_metadata
from tests.unit.planning_cases import Sync, put, store

RULE = DiffRule.parse("size+etag+metadata")
OURS = ContentAttributes(content_type="text/plain", metadata={"a": "1"}, cache_control="no-store")


def of(**attributes: Any) -> dict[str, Any]:
    """Return an object's attributes: all as they are above, but for those given."""
    return {"attributes": replace(OURS, **attributes)}


def heads(sync: Sync) -> list[tuple[str, str]]:
    """Note down the HEAD requests for data from now on: which store, and which key."""
    asked: list[tuple[str, str]] = []

    def watch(name: str, at: MemoryStore) -> None:
        def before(operation: str, arguments: Mapping[str, Any]) -> None:
            if operation == "HeadObject" and not arguments["key"].startswith(".s3resume/"):
                asked.append((name, arguments["key"]))

        at.observer = Observer(before, no_hook)

    watch("source", sync.source)
    watch("target", sync.target)
    return asked


@pytest.mark.parametrize(
    "theirs",
    [
        {"metadata": {"a": "2"}},
        {"metadata": {}},
        {"metadata": {"a": "1", "b": "2"}},
        {"content_type": "text/html"},
        {"content_encoding": "gzip"},
        {"content_language": "de"},
        {"content_disposition": "inline"},
        {"cache_control": None},
        {"expires": "Thu, 01 Dec 1994 16:00:00 GMT"},
        {"website_redirect": "/x"},
        {"tags": {"t": "1"}},
    ],
)
def test_a_difference_in_metadata_alone_copies_if_it_is_asked_for(theirs: dict[str, Any]) -> None:
    """And then the two are the same; without the criterion nothing is asked."""
    sync = Sync(rule=RULE)
    put(sync.source, "k", **of())
    put(sync.target, "k", **of(**theirs))
    _, plain = Sync(source=sync.source, target=sync.target).plan()
    assert plain.counts == {"skip.same_digest": 1}
    _, manifest = sync.plan()
    assert manifest.counts == {"copy.metadata_differs": 1}
    sync.copy(manifest)
    assert sync.target.objects["k"].attributes == OURS
    _, again = sync.plan()
    assert again.counts == {"skip.same_digest": 1}


def test_c07_pairs_of_the_same_metadata_are_not_copied() -> None:
    """Names of metadata are compared as HTTP compares them."""
    sync = Sync(rule=RULE)
    put(sync.source, "k", **of(metadata={"Some-Name": "x"}))
    put(sync.target, "k", **of(metadata={"some-name": "x"}))
    _, manifest = sync.plan()
    assert manifest.counts == {"skip.same_digest": 1}


def test_only_pairs_that_are_equal_otherwise_are_asked() -> None:
    """One HEAD on each side for each of them."""
    sync = Sync(rule=RULE)
    for key in ("changed", "new", "same"):
        put(sync.source, key, **of())
    put(sync.target, "changed", b"atad", **of())
    put(sync.target, "same", **of())
    put(sync.target, "theirs", **of())
    sync.plan()
    asked = heads(sync)
    _, manifest = sync.plan()
    assert sorted(asked) == [("source", "same"), ("target", "same")]
    assert manifest.counts == {
        "copy.digest_differs": 1,
        "copy.missing_at_target": 1,
        "skip.only_at_target": 1,
        "skip.same_digest": 1,
    }


@pytest.mark.parametrize("rule", ["size+metadata", "size+newer+metadata"])
def test_it_goes_with_every_other_criterion(rule: str) -> None:
    """Whatever it was that made the two equal."""
    sync = Sync(rule=DiffRule.parse(rule))
    put(sync.source, "k", last_modified=1.0, **of())
    put(sync.target, "k", last_modified=2.0, **of(metadata={}))
    assert sync.plan()[1].counts == {"copy.metadata_differs": 1}


def test_the_rule_is_read_back_as_it_is_written() -> None:
    """It stands in the manifest."""
    assert RULE.text == "size+etag+metadata"
    assert DiffRule.parse(RULE.text) == RULE
    with pytest.raises(InvalidInputError, match="metadata"):
        DiffRule.parse("size+tags")


def test_c14_a_retry_copies_what_it_has_not_copied() -> None:
    """The digests are the same before and after: they do not tell that it was done."""
    sync = Sync(rule=RULE)
    for key in ("done", "failed"):
        put(sync.source, key, **of())
        put(sync.target, key, **of(metadata={}))
    _, manifest = sync.plan()
    writes: list[str] = []

    def refuse(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation == "PutObject" and arguments["key"] in {"done", "failed"}:
            writes.append(arguments["key"])
            if arguments["key"] == "failed" and len(writes) < 3:
                raise AccessDeniedError(operation, "failed", "not now")

    sync.target.observer = Observer(refuse, no_hook)
    (first,) = sync.copy(manifest, object_concurrency=1)
    assert first.counts == {"copied": 1, "failed": 1}
    writes.append("second attempt")
    (second,) = sync.copy(manifest, object_concurrency=1)
    assert second.counts == {"copied": 2}
    assert writes.count("done") == 1
    assert sync.target.objects["failed"].attributes == OURS


def test_c03_a_pair_that_cannot_be_asked_is_never_taken_for_equal() -> None:
    """The plan fails."""
    sync = Sync(rule=RULE)
    put(sync.source, "k", **of())
    put(sync.target, "k", **of())

    def refuse(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation == "HeadObject" and arguments["key"] == "k":
            raise AccessDeniedError(operation, "k", "no")

    sync.source.observer = Observer(refuse, no_hook)
    with pytest.raises(AccessDeniedError):
        sync.plan()


def equal(key: str) -> Action:
    """Return the action for a pair that is equal by its digest."""
    listed = ListedObject(key=key, size=4, etag=None, last_modified=0.0)
    return Action(
        verb=Verb.SKIP,
        reason=Reason.SAME_DIGEST,
        key=key,
        target_key=key,
        source=listed,
        target=listed,
    )


def test_many_pairs_are_asked_at_once_and_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are threads, and no more are held than are asked ahead."""
    monkeypatch.setattr(metadata, "_AT_ONCE", 4)
    monkeypatch.setattr(metadata, "_AHEAD", 8)
    source, target = store("source"), store("target")
    keys = [f"k{n:03d}" for n in range(60)]
    for n, key in enumerate(keys):
        put(source, key, **of())
        put(target, key, **of(metadata={} if n % 3 == 0 else OURS.metadata))
    together, taken = threading.Barrier(4, timeout=20), []

    def before(operation: str, _: Mapping[str, Any]) -> None:
        if operation == "HeadObject":
            together.wait()

    source.observer = Observer(before, no_hook)

    def actions() -> Any:
        for key in keys:
            taken.append(key)
            yield equal(key)

    found = []
    for action in with_metadata(actions(), source, target):
        found.append(action)
        assert len(taken) - len(found) <= 9
    assert [a.key for a in found] == keys
    assert [a.key for a in found if a.verb is Verb.COPY] == keys[::3]


def test_an_object_that_was_replaced_since_the_listing_is_left_to_the_next_plan() -> None:
    """It is another pair by now."""
    source, target = store("source"), store("target")
    put(source, "k", **of())
    put(target, "k", **of(metadata={}))
    listed = ListedObject(key="k", size=4, etag="another", last_modified=0.0)
    (action,) = with_metadata([replace(equal("k"), source=listed)], source, target)
    assert action.verb is Verb.SKIP
    (action,) = with_metadata([equal("gone")], source, target)
    assert action.verb is Verb.SKIP


def info(tag_count: int | None = None, **attributes: Any) -> ObjectInfo:
    """Return headers."""
    return ObjectInfo(
        key="k",
        size=1,
        etag="e",
        last_modified=0.0,
        tag_count=tag_count,
        attributes=ContentAttributes(**attributes),
    )


def test_what_a_side_does_not_tell_is_no_difference() -> None:
    """A content type that the source leaves out, and tags that may not be counted."""
    assert not differ(info(), info(content_type="binary/octet-stream"), tags=True)
    assert not differ(info(None), info(2), tags=True)
    assert not differ(info(2), info(None), tags=False)
    assert differ(info(2), info(None), tags=True)
    assert differ(info(content_type="text/plain"), info(), tags=True)
    assert AMAZON_S3.tags


@pytest.mark.parametrize("size", [9, 12 * MIB])
def test_c16_an_untouched_old_object_is_not_taken_for_the_copy(size: int) -> None:
    """A write that failed without an effect is made again: the old bytes are the same ones."""
    sync = Sync(rule=RULE)
    put(sync.source, "k", bytes(size), **of())
    put(sync.target, "k", bytes(size), **of(metadata={}))
    _, manifest = sync.plan()
    lost: list[str] = []

    def before(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation in {"PutObject", "CompleteMultipartUpload"} and arguments["key"] == "k":
            lost.append(operation)
            if len(lost) == 1:
                raise TransientStoreError(operation, "s3://target/k", "InternalError")

    sync.target.observer = Observer(before, no_hook)
    sync.copy(manifest)
    assert len(lost) >= 2
    assert sync.target.objects["k"].attributes == OURS


@pytest.mark.parametrize("side", ["source", "target"])
def test_c07_a_folder_has_no_metadata_to_compare(side: str) -> None:
    """All of it would be copied in every run, or what the target has be taken off it."""
    keeps = replace(AMAZON_S3, keeps_attributes=False)
    folder = store(side, capabilities=keeps)
    sync = Sync(rule=RULE, source=folder) if side == "source" else Sync(rule=RULE, target=folder)
    with pytest.raises(InvalidInputError, match=r"rule: found 'size.etag.metadata'.*folder"):
        sync.plan()


def test_c16_an_untouched_old_object_is_not_taken_for_a_copy_by_the_service() -> None:
    """The answer was lost, and nothing had been made: the copy is asked for again."""
    sync = Sync(rule=RULE)
    sync.source.service = sync.target.service = "memory://one"
    sync.target.copies_from = {"source": sync.source}
    put(sync.source, "first", b"a larger one", **of())
    put(sync.source, "k", **of())
    put(sync.target, "k", **of(metadata={}))
    _, manifest = sync.plan()
    lost: list[str] = []

    def before(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation == "CopyObject" and arguments["key"] == "k":
            lost.append(operation)
            if len(lost) == 1:
                raise TransientStoreError(operation, "s3://target/k", "InternalError")

    sync.target.observer = Observer(before, no_hook)
    [result] = sync.copy(manifest, object_concurrency=1)
    assert result.counts == {"copied": 2}
    assert len(lost) >= 2
    assert sync.target.objects["k"].attributes == OURS
