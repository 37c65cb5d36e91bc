"""Copies between null servers, planned here and made by a task's code in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from airflow_provider_s3resume.hooks.sides import PlanReference, Sides
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from tests.support.ports import LOOPBACK
from tests.support.processes import children
from tests.support.tls import Certificate

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE_CONN, TARGET_CONN = "null_source", "null_target"
KIB_PER_MIB = 1024


class NullS3:
    """A null server in a process of its own.

    :param certificate: to speak TLS.
    """

    def __init__(self, certificate: Certificate | None = None) -> None:
        self._tls = certificate
        self.secure = certificate is not None
        files = [str(certificate.cert_file), str(certificate.key_file)] if certificate else []
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.null_s3", *files],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._child.stdout is None:
            raise AssertionError("it was asked for a pipe")
        self.port = int(self._child.stdout.readline())

    def env(self) -> dict[str, str]:
        """Return the connections of both sides."""
        scheme = "https" if self._tls else "http"
        extra: dict[str, object] = {
            "endpoint_url": f"{scheme}://{LOOPBACK}:{self.port}",
            "region_name": "us-east-1",
            "s3resume": {
                "addressing_style": "path",
                "conditional_writes": False,
                "full_object_checksum": False,
            },
        }
        if self._tls:
            extra["verify"] = str(self._tls.ca_file)
        known = {"conn_type": "aws", "login": "null-access", "password": "null-secret"}
        connection = json.dumps({**known, "extra": extra})
        return {f"AIRFLOW_CONN_{name.upper()}": connection for name in (SOURCE_CONN, TARGET_CONN)}

    def plan(self, keys: Iterable[str], name: str) -> dict[str, Any]:
        """Plan to copy these keys, and return the one batch; reads the connections of ``env``."""
        sides = Sides(
            source_conn_id=SOURCE_CONN,
            source_uri="s3://source/",
            target_conn_id=TARGET_CONN,
            target_uri="s3://target/",
            state_uri="s3://state/s3resume/",
        )
        opened = sides.open(named=True)
        pairs = [(key, key) for key in keys]
        key, manifest = pairs_manifest(
            opened.source, opened.target, opened.state, pairs, name, now=time.time()
        )
        self.ask("POST", "/keep")
        return PlanReference.of(sides, key, manifest, named=True).to_batches(manifest)[0]

    def ask(self, method: str, path: str) -> bytes:
        """Give an order."""
        connection: http.client.HTTPConnection
        if self._tls:
            trusted = ssl.create_default_context(cafile=str(self._tls.ca_file))
            connection = http.client.HTTPSConnection(LOOPBACK, self.port, context=trusted)
        else:
            connection = http.client.HTTPConnection(LOOPBACK, self.port)
        connection.request(method, path)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def totals(self) -> dict[str, int]:
        """Return what has arrived since the last reset."""
        found: dict[str, int] = json.loads(self.ask("GET", "/totals"))
        return found

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._child.communicate(timeout=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A copy to be made by ``null_task``.

    :param part_size: bytes, ``None`` for the default.
    """

    batch: dict[str, Any]
    memory_budget: int
    part_size: int | None = None
    part_concurrency: int | None = 256
    object_concurrency: int | None = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What became of it; all sizes in MiB.

    :param before: RSS with all imported and clients made, before the copy.
    :param peak_rss: by the kernel's own count.
    :param peak_pss: by sampling; of all processes of the task. 0 if it was not asked for.
    """

    result: dict[str, Any]
    before: float
    peak_rss: float
    peak_pss: float


def run_order(order: Order, env: dict[str, str], folder: Path, *, sampled: bool = True) -> Made:
    """Make the copy in a process of its own.

    :param sampled: also find the peak of PSS, which takes a tenth of a processor.
    """
    file = folder / "order.json"
    fields = {name: getattr(order, name) for name in Order.__dataclass_fields__}
    file.write_text(json.dumps(fields))
    log = (folder / "null_task.log").open("w")
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.null_task", str(file)],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    peak = 0.0
    if sampled:
        _, peak = peak_pss(
            lambda: [child.pid, *children(child.pid)] if child.poll() is None else []
        )
    out, _ = child.communicate()
    log.close()
    if child.returncode != 0:
        raise RuntimeError((folder / "null_task.log").read_text()[-4000:])
    told = json.loads(out.splitlines()[-1])
    return Made(result=told["result"], before=told["before"], peak_rss=told["peak"], peak_pss=peak)


def peak_pss(processes: Callable[[], list[int]], every_s: float = 0.02) -> tuple[float, float]:
    """Return the peaks of RSS and PSS of processes, in MiB, summed up, until there are none."""
    rss = pss = 0.0
    while pids := processes():
        found = [memory_of(pid) for pid in pids]
        rss = max(rss, sum(one[0] for one in found))
        pss = max(pss, sum(one[1] for one in found))
        time.sleep(every_s)
    return rss, pss


def memory_of(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of a process in MiB, zeros once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    found = dict(line.split()[:2] for line in lines[1:])
    return int(found["Rss:"]) / KIB_PER_MIB, int(found["Pss:"]) / KIB_PER_MIB
