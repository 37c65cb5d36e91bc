"""A plan of named keys: what is asked at both sides, and what becomes of each key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    ObjectNotFoundError,
    StoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.diff import DiffRule
from airflow_provider_s3resume.plan.messages import KeyFate, KeyState
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.named import NamedPlan, plan_keys
from airflow_provider_s3resume.transfer.planning import PlanRequest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
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
