"""A plan of named keys: what is asked at both sides, and what becomes of each key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    ObjectNotFoundError,
    StoreError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.diff import DiffRule
from airflow_provider_s3resume.plan.messages import KeyFate, KeyState
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage._memory_reader import no_hook
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.named import (
    NamedPlan,
    fates_of,
    opaque_pairs,
    plan_keys,
)
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import (
    proofs_prefix,
    verification_name,
    verify_run,
)
from tests.unit.planning_cases import put


class Named:
    """Two buckets, and plans of some of their keys."""

    def __init__(self, **request: Any) -> None:
        self.source = MemoryStore("source", service="memory://src")
        self.target = MemoryStore("target", service="memory://tgt")
        self.request = PlanRequest(run_id="events", **request)

    def plan(self, *keys: str) -> NamedPlan:
        """Plan these keys."""
        state = StateLocation(self.target)
        given = (self.source, self.target, state, keys, self.request)
        return plan_keys(*given, now=1.0, stop=StopSignal())


def refuse(store: MemoryStore, key: str, kind: type[StoreError], detail: str) -> list[str]:
    """Let HEAD of one key be answered with an error; note down all keys that are asked for."""
    asked: list[str] = []

    def before(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation != "HeadObject":
            return
        asked.append(arguments["key"])
        if arguments["key"] == key:
            raise kind(operation, key, detail)

    store.observer.before = before
    return asked


def test_c40_what_one_head_does_not_find_is_not_gone_while_the_listing_has_it() -> None:
    """A gateway's own 404 looks like a deleted object's: its message must not be deleted."""
    sync = Named()
    put(sync.source, "there", b"1")
    put(sync.source, "there/too", b"1")
    refuse(sync.source, "there", ObjectNotFoundError, "404")
    plan = sync.plan("gone", "there", "there/too")
    assert plan.fates["gone"] == KeyFate(state=KeyState.GONE)
    assert plan.fates["there"].state is KeyState.PENDING
    assert "the listing does" in plan.fates["there"].reason
    assert plan.manifest.copy_objects == 1


def test_c40_a_key_whose_head_is_refused_is_pending() -> None:
    """A bare 405 says nothing about the object, and the other keys are planned."""
    sync = Named()
    put(sync.source, "a", b"1")
    put(sync.source, "b", b"1")
    refuse(sync.source, "a", StoreError, "405 (HTTP 405): no message")
    plan = sync.plan("a", "b")
    assert plan.fates["a"].state is KeyState.PENDING
    assert plan.manifest.copy_objects == 1


def test_the_criterion_metadata_holds_for_named_keys() -> None:
    """An object whose headers alone have changed is copied, as a scan would."""
    sync = Named(rule=DiffRule.parse("size+etag+metadata"))
    for key in ("changed", "same"):
        put(sync.source, key, b"1", attributes=ContentAttributes(content_type="text/plain"))
        put(sync.target, key, b"1", attributes=ContentAttributes(content_type="text/plain"))
    put(sync.source, "changed", b"1", attributes=ContentAttributes(content_type="text/html"))
    plan = sync.plan("changed", "same")
    assert plan.manifest.counts == {"copy.metadata_differs": 1, "skip.same_digest": 1}


def test_an_archived_object_is_refused_and_not_tried_for_ever() -> None:
    """No attempt can read it; one that the target has is equal as any other."""
    sync = Named()
    frozen = WriteOptions(storage_class="GLACIER")
    put(sync.source, "cold", b"1", options=frozen)
    put(sync.source, "copied", b"1", options=frozen)
    put(sync.target, "copied", b"1")
    plan = sync.plan("cold", "copied")
    assert plan.fates["cold"] == KeyFate(state=KeyState.REFUSED, reason="archived")
    assert plan.fates["copied"].state is KeyState.EQUAL
    assert plan.manifest.copy_objects == 0


def test_a_key_that_the_target_cannot_hold_is_refused_without_asking_for_it() -> None:
    """Some services answer such a question with an error, which would be taken for a fault."""
    sync = Named(target_prefix="prefix/")
    long = "k" * 1020
    put(sync.source, long, b"1")
    put(sync.source, "a", b"1")
    asked = refuse(sync.target, f"prefix/{long}", StoreError, "KeyTooLongError (HTTP 400)")
    plan = sync.plan("a", long)
    assert plan.fates[long] == KeyFate(state=KeyState.REFUSED, reason="key_too_long")
    assert "prefix/a" in asked
    assert f"prefix/{long}" not in asked


def test_a_key_that_no_request_can_name_is_refused() -> None:
    """The client library raises; another attempt would, too."""
    sync = Named()
    refuse(sync.source, "a", UnsupportedError, "the key cannot be sent")
    plan = sync.plan("a")
    assert plan.fates == {"a": KeyFate(state=KeyState.REFUSED, reason="unreachable_key")}


@pytest.mark.parametrize("keys", [(), ("a",)])
def test_a_plan_of_named_keys_says_that_there_may_be_others(keys: tuple[str, ...]) -> None:
    """It passes for no plan of everything."""
    sync = Named()
    put(sync.source, "a", b"1")
    assert sync.plan(*keys).manifest.partial


def copied(sync: Named, plan: NamedPlan) -> None:
    """Copy every batch of a plan."""
    state = StateLocation(sync.target)
    config = CopyConfig(part_concurrency=2, object_concurrency=1)
    for ref in plan.manifest.batches:
        copy_batch(sync.source, sync.target, state, ref, config, stop=StopSignal(), now=1.0)


def verified(sync: Named, plan: NamedPlan) -> None:
    """Verify a plan's copies."""
    state = StateLocation(sync.target)
    verify_run(sync.source, sync.target, state, plan.manifest_key, stop=StopSignal(), now=2.0)


def states(sync: Named, plan: NamedPlan) -> dict[str, str]:
    """Return what became of the keys."""
    fates = fates_of(StateLocation(sync.target), plan.manifest_key)
    return {key: fate.state.value for key, fate in fates.items()}


def test_c40_only_what_a_verification_has_proven_counts_as_verified() -> None:
    """Not what has landed, and not what was not at the target any more when it was looked at."""
    sync = Named()
    for key in ("a", "b", "same"):
        put(sync.source, key, key.encode())
    put(sync.target, "same", b"same")
    plan = sync.plan("a", "b", "gone", "same")
    known = {"gone": "gone", "same": "equal"}
    assert states(sync, plan) == {**known, "a": "pending", "b": "pending"}
    copied(sync, plan)
    assert states(sync, plan) == {**known, "a": "pending", "b": "pending"}
    del sync.target.objects["b"]
    verified(sync, plan)
    assert states(sync, plan) == {**known, "a": "verified", "b": "pending"}


def test_c40_a_verification_of_other_outcomes_says_nothing() -> None:
    """The copies have been tried again since, whatever came of it."""
    sync = Named()
    put(sync.source, "a", b"1")
    plan = sync.plan("a")
    copied(sync, plan)
    verified(sync, plan)
    assert states(sync, plan) == {"a": "verified"}
    del sync.target.objects["a"]
    sync.source.observer.before = denied("GetObject")
    copied(sync, plan)
    assert states(sync, plan) == {"a": "pending"}
    sync.source.observer.before = no_hook
    put(sync.target, "a", b"1")
    copied(sync, plan)
    assert states(sync, plan) == {"a": "pending"}
    verified(sync, plan)
    assert states(sync, plan) == {"a": "verified"}


def test_c40_a_verification_of_another_plan_says_nothing() -> None:
    """It may lie in the same place, as of an attempt before."""
    sync = Named()
    put(sync.source, "a", b"1")
    plan = sync.plan("a")
    copied(sync, plan)
    verified(sync, plan)
    state = StateLocation(sync.target)
    name = verification_name(plan.manifest_key)
    text = state.read_text(name) or ""
    state.write_text(name, text.replace(plan.manifest.digest, "0" * 64))
    assert states(sync, plan) == {"a": "pending"}


def test_c40_a_proof_of_what_has_not_landed_says_nothing() -> None:
    """A line of an earlier verification may have stayed."""
    sync = Named()
    for key in ("a", "b"):
        put(sync.source, key, b"1")
    plan = sync.plan("a", "b")
    sync.source.observer.before = denied("GetObject", "b")
    copied(sync, plan)
    verified(sync, plan)
    [ref] = plan.manifest.batches
    state = StateLocation(sync.target)
    name = f"{proofs_prefix(plan.manifest_key)}{ref.index:05d}.jsonl"
    text = state.read_text(name) or ""
    state.write_text(name, text + text.replace('"key":"a"', '"key":"b"'))
    assert states(sync, plan) == {"a": "verified", "b": "pending"}


def denied(operation: str, key: str = "a") -> Callable[[str, Mapping[str, Any]], None]:
    """Return what refuses calls about a key."""

    def before(called: str, arguments: Mapping[str, Any]) -> None:
        if (called, arguments.get("key")) == (operation, key):
            raise AccessDeniedError(called, key, "AccessDenied (HTTP 403)")

    return before


def test_c03_a_side_that_does_not_answer_this_time_fails_the_plan() -> None:
    """Another attempt may find out; the key is neither gone nor put off."""
    sync = Named()
    for key in ("a", "b"):
        put(sync.source, key, b"1")
    refuse(sync.source, "a", TransientStoreError, "HTTP 503")
    with pytest.raises(TransientStoreError, match="HTTP 503"):
        sync.plan("a", "b")
    assert not [key for key in sync.target.objects if key.endswith("manifest.json")]


def test_c03_keys_of_which_none_can_be_asked_for_are_the_sides_fault() -> None:
    """It fails as it would if it could not be listed."""
    sync = Named()
    put(sync.source, "a", b"1")
    refuse(sync.source, "a", AccessDeniedError, "403")
    with pytest.raises(AccessDeniedError):
        sync.plan("a")


def test_c03_a_key_that_no_listing_can_be_asked_about_is_not_gone() -> None:
    """HEAD finds nothing, and whether the bucket has it nobody may know."""
    sync = Named()
    put(sync.source, "b", b"1")

    def before(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation == "ListObjectsV2" and arguments.get("prefix") == "a":
            raise AccessDeniedError(operation, "a", "403")

    sync.source.observer.before = before
    plan = sync.plan("a", "b")
    assert plan.fates["a"].state is KeyState.PENDING
    assert plan.manifest.copy_objects == 1


def test_a_retry_asks_for_each_named_key_and_lists_nothing() -> None:
    """Between two of them may lie any number of others."""
    sync = Named()
    for key in ("a", "z"):
        put(sync.source, key, b"1")
    plan = sync.plan("a", "z")
    copied(sync, plan)
    listed: list[str] = []

    def before(operation: str, arguments: Mapping[str, Any]) -> None:
        if operation == "ListObjectsV2":
            listed.append(arguments.get("prefix", ""))

    sync.target.observer.before = before
    copied(sync, plan)
    assert [one for one in listed if not one.startswith(".s3resume/")] == []


def test_c07_pairs_are_kept_of_verified_objects_alone_and_only_where_etags_do_not_tell() -> None:
    """In the order of their keys."""
    sync = Named()
    sync.target = MemoryStore("target", traits=MemoryTraits(encryption="aws:kms"))
    for key in ("z", "a", "open", "lost"):
        put(sync.source, key, key.encode())
    plan = sync.plan("z", "a", "open", "lost")
    sync.source.observer.before = denied("GetObject", "open")
    copied(sync, plan)
    del sync.target.objects["lost"]
    verified(sync, plan)
    state = StateLocation(sync.target)
    fates = fates_of(state, plan.manifest_key)
    assert [pair.key for pair in opaque_pairs(state, plan.manifest_key, fates)] == ["a", "z"]
    told = Named()
    put(told.source, "a", b"1")
    plan = told.plan("a")
    copied(told, plan)
    verified(told, plan)
    state = StateLocation(told.target)
    assert opaque_pairs(state, plan.manifest_key, fates_of(state, plan.manifest_key)) == []


def test_c18_a_target_of_which_no_copy_could_be_proven_is_refused() -> None:
    """Before any key is asked for."""
    sync = Named()
    nothing = replace(AMAZON_S3, part_checksums=(), md5_etags=False, full_object_checksum=False)
    sync.target = MemoryStore("target", service="memory://tgt", capabilities=nothing)
    put(sync.source, "a", b"1")
    with pytest.raises(InvalidInputError):
        sync.plan("a")
    assert sync.target.objects == {}


def test_c07_a_named_plan_passes_for_none_that_has_looked_at_every_key() -> None:
    """Its rule says so: its verification must not write the record that scans have made."""
    sync = Named()
    put(sync.source, "a", b"1")
    assert sync.plan("a").manifest.rule == "asked_for"
