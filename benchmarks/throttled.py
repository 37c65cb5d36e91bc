"""How long a copy takes, and how often it asks, where a service takes N requests a second.

``make bench-throttle`` (or ``.venv/bin/python -m benchmarks.throttled``). A server on loopback, in
a process of its own, takes N requests a second of one side, or of both, and answers 503 SlowDown to
what comes beside that (``benchmarks.throttled_server``); ``copy_batch`` copies many small objects,
or objects of many parts, between two of its buckets, with as many threads as are said.

Each copy is made once without a limit, to count the requests that it needs. With the limit:

- ``time``: the time that it took, by the ideal one: what is needed beyond the burst that the server
  allows, by N; or what it took without a limit, if that is more. At most 1.3.
- ``requests``: the requests that were made of the throttled side, by those that are needed. At most
  1.2.
- ``failed``: objects that failed. None.

``control`` lines are for comparison, and bind nobody: the same without the layer that adapts, with
waits of 1 s, 2 s … 60 s after each refusal and ten tries, as it was before that layer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from airflow_provider_s3resume.plan.manifest import BatchRef
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import RetryPolicy
from airflow_provider_s3resume.storage.s3 import (
    S3Store,
    client_config,
    store_settings_from_extra,
)
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal

ROOT = Path(__file__).resolve().parents[1]
MOST_TIME, MOST_REQUESTS = 1.3, 1.2
BEFORE = RetryPolicy(throttled_attempts=10, throttled_base_s=1.0, throttled_most_s=60.0)
EXTRA: dict[str, object] = {
    "addressing_style": "path",
    "checksums": "md5",
    "conditional_writes": False,
    "object_tags": False,
    "connections": 256,
    "limits": {"min_part_size": MIB},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A copy and a limit.

    :param objects: number of small objects, or of objects of 15 and more parts of 1 MiB.
    :param sides: which sides are throttled.
    :param rate: requests a second.
    :param burst_s: what the server allows at once, as a time.
    """

    kind: str
    objects: int
    sides: tuple[str, ...]
    rate: float
    burst_s: float
    threads: int
    control: bool = False

    @property
    def name(self) -> str:
        """What the lines call it."""
        side = "both" if len(self.sides) > 1 else self.sides[0]
        return f"{self.kind}-{side}-{self.rate:g}/s-burst-{self.burst_s:g}s-threads-{self.threads}"

    @property
    def keys(self) -> list[str]:
        """The source objects."""
        if self.kind == "small":
            return [f"small/{number:05d}" for number in range(self.objects)]
        return [f"big/{parts}x1" for parts in range(15, 15 + self.objects)]

    @property
    def gates(self) -> dict[str, dict[str, float]]:
        """What the server is told."""
        gate = {"rate": self.rate, "burst": self.rate * self.burst_s}
        return dict.fromkeys(self.sides, gate)


CASES = (
    Case(kind="small", objects=800, sides=("target",), rate=50, burst_s=0.1, threads=64),
    Case(
        kind="small", objects=800, sides=("source",), rate=50, burst_s=1, threads=64, control=True
    ),
    Case(kind="small", objects=2400, sides=("target",), rate=200, burst_s=1, threads=256),
    Case(
        kind="small", objects=1600, sides=("source", "target"), rate=100, burst_s=0.1, threads=256
    ),
    Case(kind="parts", objects=40, sides=("target",), rate=50, burst_s=1, threads=64, control=True),
    Case(kind="parts", objects=40, sides=("source",), rate=50, burst_s=0.1, threads=64),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one copy took."""

    seconds: float
    failed: int
    counts: dict[str, dict[str, int]]


class Bench:
    """The server, and copies between its buckets."""

    def __init__(self, port: int) -> None:
        self._port = port

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.request(method, path, json.dumps(body))
        text = connection.getresponse().read()
        connection.close()
        return json.loads(text or b"null")

    def _store(self, bucket: str, *, adaptive: bool) -> ObjectStore:
        address = f"http://127.0.0.1:{self._port}"
        settings = store_settings_from_extra(EXTRA)
        options: dict[str, Any] = client_config(settings)
        client = boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id="k",
            aws_secret_access_key="s",  # noqa: S106 - nobody looks at it
            region_name="us-east-1",
            config=Config(**options),
        )
        raw = S3Store(client, bucket, service=f"{address}/{bucket}", settings=settings)
        return build_store(raw, adaptive=adaptive, retry=None if adaptive else BEFORE)

    def _plan(self, case: Case) -> BatchRef:
        source, target = (self._store(name, adaptive=True) for name in ("source", "target"))
        state = StateLocation(self._store("state", adaptive=True))
        pairs = [(key, key) for key in case.keys]
        _, manifest = pairs_manifest(source, target, state, pairs, case.name, now=time.time())
        (ref,) = manifest.batches
        return ref

    def run(self, case: Case, *, limited: bool, adaptive: bool = True) -> Run:
        """Copy everything anew."""
        self._ask("POST", "/gates", {})
        self._ask("POST", "/reset")
        ref = self._plan(case)
        source, target = (self._store(name, adaptive=adaptive) for name in ("source", "target"))
        state = StateLocation(self._store("state", adaptive=adaptive))
        config = CopyConfig(
            part_size=MIB,
            multipart_threshold=MIB,
            memory_budget=512 * MIB,
            part_concurrency=case.threads,
            object_concurrency=case.threads,
        )
        self._ask("POST", "/gates", case.gates if limited else {})
        began = time.monotonic()
        result: BatchResult = copy_batch(
            source, target, state, ref, config, stop=StopSignal(), now=time.time()
        )
        seconds = time.monotonic() - began
        counts = self._ask("GET", "/gates")
        self._ask("POST", "/gates", {})
        landed = {one.key for one in self._store("target", adaptive=True).list_objects()}
        missing = set(case.keys) - landed - {outcome.key for outcome in result.failures}
        if missing:
            raise SystemExit(f"{case.name}: neither copied nor failed: {sorted(missing)[:5]}")
        return Run(seconds=seconds, failed=len(result.failures), counts=counts)


@contextmanager
def bench() -> Iterator[Bench]:
    """Start the server, and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.throttled_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield Bench(int(server.stdout.readline()))
        server.stdin.close()


def judge(case: Case, free: Run, run: Run, word: str) -> bool:
    """Print a run's lines; return whether it keeps the bounds."""
    needed = {side: free.counts[side]["taken"] for side in case.sides}
    made = {side: run.counts[side]["taken"] + run.counts[side]["refused"] for side in case.sides}
    paced = max((n - case.rate * case.burst_s) / case.rate for n in needed.values())
    ideal = max(paced, free.seconds)
    figures = {
        "time": (run.seconds / ideal, MOST_TIME),
        "requests": (max(made[side] / needed[side] for side in case.sides), MOST_REQUESTS),
        "failed": (float(run.failed), 0.0),
    }
    refused = ", ".join(f"{side} {run.counts[side]['refused']}" for side in case.sides)
    print(
        f"{word} {case.name}: {run.seconds:.1f} s, ideal {ideal:.1f} s, without a limit "
        f"{free.seconds:.1f} s; needed {max(needed.values())} requests; refused: {refused}"
    )
    for name, (value, most) in figures.items():
        verdict = "ok" if value <= most else "short"
        print(f"{word} {name}-{case.name} {value:.3f} {most:.2f} {verdict}", flush=True)
    return all(value <= most for value, most in figures.values())


def main() -> int:
    """Run the cases; 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(description="Copies from and to a service that throttles.")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--no-control", action="store_true", help="leave the comparison out")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    kept = True
    with bench() as server:
        for case in (one for one in CASES if given.only in one.name):
            free = server.run(case, limited=False)
            kept &= judge(case, free, server.run(case, limited=True), "ratio")
            if case.control and not given.no_control:
                judge(case, free, server.run(case, limited=True, adaptive=False), "control")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
