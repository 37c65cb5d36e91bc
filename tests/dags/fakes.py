"""Airflow without Airflow: buckets in memory behind connections, and the context of one task."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Self

import pytest
from airflow.sdk import AssetAlias, BaseOperator

from airflow_provider_s3resume.exceptions import BucketNotFoundError
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.layers import Budget
from airflow_provider_s3resume.storage.memory import MemoryStore
from tests.dags.seeding import put

SIDES: dict[str, Any] = {
    "source_conn_id": "src",
    "source_uri": "s3://source/data/",
    "target_conn_id": "tgt",
    "target_uri": "s3://target/copy/",
}


class Buckets:
    """Buckets by connection and name; two connections are two services."""

    def __init__(self) -> None:
        self.source = MemoryStore("source", service="memory://src")
        self.target = MemoryStore("target", service="memory://tgt")
        self._stores = {("src", "source"): self.source, ("tgt", "target"): self.target}
        self.opened: list[tuple[str | None, str]] = []
        self.budgets: list[Budget | None] = []

    @classmethod
    def behind_connections(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Return buckets that every hook finds instead of real ones."""
        buckets = cls()

        def get_store(
            hook: S3ResumeHook, bucket: str, *, wait: Any = None, budget: Budget | None = None
        ) -> MemoryStore:
            del wait
            buckets.budgets.append(budget)
            return buckets.find(hook, bucket)

        monkeypatch.setattr(S3ResumeHook, "get_store", get_store)
        return buckets

    def add(self, conn_id: str, bucket: str) -> MemoryStore:
        """Make one more bucket."""
        store = MemoryStore(bucket, service=f"memory://{conn_id}")
        return self._stores.setdefault((conn_id, bucket), store)

    def replace_source(self, store: MemoryStore) -> None:
        """Put another bucket in the place of the source."""
        self.source = self._stores["src", "source"] = store

    def replace_target(self, store: MemoryStore) -> None:
        """Put another bucket in the place of the target."""
        self.target = self._stores["tgt", "target"] = store

    def find(self, hook: S3ResumeHook, bucket: str) -> MemoryStore:
        """Return the bucket of a hook's connection."""
        self.opened.append((hook.s3_conn_id, bucket))
        found = self._stores.get((hook.s3_conn_id or "", bucket))
        if found is None:
            raise BucketNotFoundError("ListObjectsV2", f"s3://{bucket}/", "NoSuchBucket (HTTP 404)")
        return found

    def fill(self, **more: bytes) -> dict[str, bytes]:
        """Put a few objects into the source: small ones, an empty one, one of several parts."""
        data = {"a.txt": b"a" * 10, "dir/": b"", "dir/b.bin": b"b" * 4096, **more}
        for name, body in data.items():
            put(self.source, f"data/{name}", body)
        big = bytes(range(256)) * (17 * MIB // 256)
        put(self.source, "data/big.bin", big, part_size=5 * MIB)
        return {**data, "big.bin": big}

    def copied(self) -> dict[str, bytes]:
        """Return what lies under the target prefix."""
        return {
            key.removeprefix("copy/"): self.target.data(key)
            for key in self.target.objects
            if key.startswith("copy/")
        }


class FakeTaskInstance:
    """What operators use of a task instance."""

    def __init__(self, task_id: str, try_number: int = 1, run_id: str = "manual__1") -> None:
        self.dag_id = "dag"
        self.task_id = task_id
        self.run_id = run_id
        self.try_number = try_number
        self.map_index = -1
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.xcoms[key] = value

    def xcom_pull(self, **_: Any) -> None:
        """Find nothing."""


class FakeEvents:
    """Outlet events: what was added to each alias, by its name."""

    def __init__(self) -> None:
        self.added: dict[str, list[tuple[Any, Any]]] = {}

    def __getitem__(self, alias: AssetAlias) -> Any:
        """Return the events of an alias."""
        added = self.added.setdefault(alias.name, [])
        return SimpleNamespace(
            added=added, add=lambda asset, extra=None: added.append((asset, extra))
        )


def context_of(
    task: BaseOperator, *, try_number: int = 1, conf: Mapping[str, Any] | None = None, **more: Any
) -> Any:
    """Return the context of one try of a task."""
    return {
        "ti": FakeTaskInstance(task.task_id, try_number),
        "task": task,
        "params": {},
        "dag": SimpleNamespace(params=more.pop("dag_params", {})),
        "dag_run": SimpleNamespace(conf=dict(conf or {})),
        "outlet_events": FakeEvents(),
        **more,
    }
