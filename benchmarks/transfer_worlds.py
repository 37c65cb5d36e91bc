"""Where a case is copied: between the buckets of a null server, or of a SeaweedFS.

Each copy has a turn of its own, which begins with an empty target, and at whose end is judged what
arrived there: a program that copies wrongly ends the benchmark.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_s3resume.plan.manifest import BatchRef
from benchmarks.transfer_cases import LATENCY_MS, Case
from benchmarks.transfer_engine import SOURCE, STATE, TARGET, Place, plan
from benchmarks.transfer_native import NullServer
from tests.support.demo_data import bytes_of
from tests.support.seaweed import SeaweedServer
from tests.support.stage import SEAWEED
from tests.support.tls import make_certificate

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

NULL_EXTRA: dict[str, object] = {
    "addressing_style": "path",
    "checksums": "crc64nvme",
    "full_object_checksum": True,
    "conditional_writes": False,
}
_SEEDERS = 16


@dataclass(kw_only=True)
class Turn:
    """One copy.

    :param batch: the plan of the engine.
    :param told: what the null server says of what arrived, once the turn has ended.
    """

    place: Place
    batch: BatchRef
    told: dict[str, Any] = field(default_factory=dict)


class World(Protocol):
    """Servers with the objects of a case."""

    @property
    def place(self) -> Place:
        """Where they are."""

    def turn(self) -> AbstractContextManager[Turn]:
        """Give an empty target, and judge in the end what arrived in it."""


class NullWorld:
    """A null server, and the plan of a case in its state bucket."""

    def __init__(self, server: NullServer, case: Case) -> None:
        self.server, self._case = server, case
        ca_file = str(server.ca_file) if server.ca_file else None
        extra = {**NULL_EXTRA, **case.extra}
        self.place = Place(endpoint_url=server.endpoint_url, ca_file=ca_file, extra=extra)
        self.key, self.manifest = plan(self.place, case.prefix, case.prefix, case.name)
        server.keep()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Give an empty target, and judge in the end what arrived in it."""
        self.server.reset()
        spent = self.server.totals()["server_cpu_s"]
        turn = Turn(place=self.place, batch=self.manifest.batches[0])
        yield turn
        turn.told = self.server.totals()
        turn.told["server_cpu_s"] -= spent
        judge(turn.told, self._case)


def judge(told: dict[str, Any], case: Case) -> None:
    """Compare what arrived at a null server with the case.

    :raises RuntimeError: if that is not it.
    """
    found = {name: told[name] for name in ("objects", "bytes", "strange", "bad", "uploads")}
    right = {
        "objects": case.objects,
        "bytes": case.bytes,
        "strange": 0,
        "bad": 0,
        "uploads": 0,
    }
    if found != right:
        raise RuntimeError(f"{case.name}: {found} has arrived, and should be {right}")


@contextmanager
def null_world(case: Case, folder: Path, *, delayed: bool = True) -> Iterator[NullWorld]:
    """Start the null server of a case.

    :param delayed: with the latency of the case, if it has any.
    """
    certificate = make_certificate(folder / "tls") if case.wire == "tls" else None
    delay_ms = LATENCY_MS if case.wire == "delay" and delayed else 0
    with NullServer(certificate, delay_ms=delay_ms) as server:
        yield NullWorld(server, case)


class SeaweedWorld:
    """A SeaweedFS, the same at the start of each turn: with the source's objects, and no others.

    Its data are written once, and each turn starts a server on a copy of them.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self._case, self._seed, self._data = case, folder / "seed", folder / "data"
        self._server = SeaweedServer(self._seed, "bench-access", "bench-secret")
        with self._server as server:
            _seed(server.client(), case)
            self._place = _seaweed_place(server)

    @property
    def place(self) -> Place:
        """Where the objects are."""
        return self._place

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Give an empty target, and judge in the end what arrived in it."""
        shutil.rmtree(self._data, ignore_errors=True)
        shutil.copytree(self._seed, self._data)
        secret, port = self.place.secret_key, self._server.port
        with SeaweedServer(self._data, self.place.access_key, secret, port) as server:
            prefix = self._case.prefix
            _, manifest = plan(self.place, prefix, prefix, self._case.name)
            yield Turn(place=self.place, batch=manifest.batches[0])
            _compare(server.client(), self._case)


@contextmanager
def seaweed_world(case: Case, folder: Path) -> Iterator[SeaweedWorld]:
    """Fill a SeaweedFS for a case, and remove its files in the end."""
    place = folder / "seaweed"
    shutil.rmtree(place, ignore_errors=True)
    try:
        yield SeaweedWorld(case, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _seaweed_place(server: SeaweedServer) -> Place:
    extra = {**SEAWEED, "addressing_style": "path"}
    return Place(
        endpoint_url=server.endpoint_url,
        access_key=server.access_key,
        secret_key=server.secret_key,
        extra=extra,
    )


def _seed(client: S3Client, case: Case) -> None:
    for bucket in (SOURCE, TARGET, STATE):
        client.create_bucket(Bucket=bucket)

    def put(key: str) -> None:
        body = bytes_of(key, case.size)
        client.put_object(Bucket=SOURCE, Key=case.prefix + key, Body=body)

    with ThreadPoolExecutor(_SEEDERS) as pool:
        list(pool.map(put, case.keys))


def _compare(client: S3Client, case: Case) -> None:
    source, target = (_listed(client, bucket) for bucket in (SOURCE, TARGET))
    if source != target or len(target) != case.objects:
        other = sorted(source.items() ^ target.items())[:3]
        raise RuntimeError(f"{case.name}: the target is not what the source is: {other} …")


def _listed(client: S3Client, bucket: str) -> dict[str, tuple[int, str]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {
        found["Key"]: (found["Size"], found["ETag"])
        for page in pages
        for found in page.get("Contents", ())
    }
