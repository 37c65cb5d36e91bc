"""Copies by a service pass through every layer of its store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    StoreError,
    ThrottledError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.objects import ByteRange
from airflow_provider_s3resume.storage.base import Condition, NewUpload
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import Budget, Layer, Meter, requests_of
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.server_side import Origin, ServerSide, server_side_of

PLAIN = NewUpload()
ABSENT = Condition(absent=True)


class Scene:
    """A bucket that its service copies to, behind all layers, and what was asked of it."""

    def __init__(self) -> None:
        self.source, self.raw = MemoryStore("from"), MemoryStore("to")
        self.raw.copies_from = {"from": self.source}
        self.source.put_object("k", b"some bytes", upload=PLAIN, checksum=None)
        self.origin = Origin(bucket="from", key="k", identity=self.source.head("k").identity())
        self.meter = Meter()
        self.failures: list[StoreError] = []
        self.raw.observer.before = self._before
        budget = Budget(bytes_per_s=1 << 20, requests_per_s=1 << 20)
        self.store = build_store(self.raw, budget=budget, meter=self.meter, wait=lambda _: False)

    def _before(self, operation: str, _: Mapping[str, Any]) -> None:
        if operation in {"CopyObject", "UploadPartCopy"} and self.failures:
            raise self.failures.pop()

    @property
    def calls(self) -> ServerSide:
        """The part for copies."""
        found = server_side_of(self.store)
        assert found is not None
        return found

    def count(self, operation: str) -> int:
        """Return how many calls of an operation were made."""
        return self.meter.snapshot().calls.get(operation, 0)


def test_calls_are_counted_and_paced_like_all_others() -> None:
    """And no byte is counted: none was sent."""
    scene = Scene()
    assert scene.calls.look_at(scene.origin) == scene.source.head("k")
    scene.calls.copy_object("k", scene.origin, upload=PLAIN, condition=ABSENT)
    upload_id = scene.store.create_upload("p", PLAIN)
    whole = ByteRange(start=0, stop=10)
    scene.calls.copy_part("p", upload_id, 1, scene.origin, whole)
    assert [part.size for part in scene.store.list_parts("p", upload_id)] == [10]
    assert scene.raw.data("k") == b"some bytes"
    names = ("HeadObject", "CopyObject", "UploadPartCopy")
    assert [scene.count(name) for name in names] == [1, 1, 1]
    assert scene.meter.snapshot().bytes_sent == 0
    assert requests_of(scene.store).made == 5


def test_c16_a_conditional_copy_is_not_made_again_unheard() -> None:
    """It would meet its own success: whoever asked for it looks."""
    scene = Scene()
    scene.failures = [TransientStoreError("CopyObject", "s3://to/k", "reset")]
    with pytest.raises(TransientStoreError):
        scene.calls.copy_object("k", scene.origin, upload=PLAIN, condition=ABSENT)
    assert scene.count("CopyObject") == 1


@pytest.mark.parametrize("kind", [TransientStoreError, ThrottledError])
def test_what_can_be_repeated_is(kind: type[StoreError]) -> None:
    """A part, a copy without a condition, and whatever was throttled."""
    scene = Scene()
    condition = ABSENT if kind is ThrottledError else None
    scene.failures = [kind("CopyObject", "s3://to/k", "again")]
    scene.calls.copy_object("k", scene.origin, upload=PLAIN, condition=condition)
    upload_id = scene.store.create_upload("p", PLAIN)
    scene.failures = [kind("UploadPartCopy", "s3://to/p", "again")]
    scene.calls.copy_part("p", upload_id, 1, scene.origin, ByteRange(start=0, stop=10))
    assert (scene.count("CopyObject"), scene.count("UploadPartCopy")) == (2, 2)


def test_a_store_without_copies_has_none_behind_layers() -> None:
    """It says so before it is asked."""
    assert server_side_of(build_store(MemoryStore())) is None


def test_calls_go_to_the_store_that_lies_below_by_then() -> None:
    """A renewed client takes the place of the one before, which may have had more to give."""
    scene = Scene()
    layer = Layer(scene.raw)
    calls = server_side_of(layer)
    assert calls is not None
    layer.inner = MemoryStore("other")
    with pytest.raises(UnsupportedError):
        calls.look_at(scene.origin)
    layer.inner = scene.raw
    assert calls.look_at(scene.origin).size == 10
