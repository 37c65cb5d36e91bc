"""The servers of ``make demo-parity``, and syncs between them as their tasks make them.

Every sync runs the operators' own ``execute`` (list, diff, transfer for each batch, verify,
report), with connections from the environment, as a worker of Airflow does it.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.exceptions import ObjectsFailedError
from airflow_provider_s3resume.operators.clean_uploads import CleanStrayUploadsOperator
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.plan import ListSyncOperator, PlanSyncOperator
from airflow_provider_s3resume.operators.report import ReportSyncOperator
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.sensors.bucket_diff import BucketDiffSensor
from tests.dags.fakes import context_of
from tests.support.endpoints import S3Endpoint
from tests.support.ministack import MinistackServer
from tests.support.oss_server import OSSServer
from tests.support.parity_sides import OSSSide, S3Side, Side, differences
from tests.support.processes import Child
from tests.support.seaweed import SeaweedServer
from tests.support.tls import make_certificate
from tests.support.wire import Wire

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ROOT = Path(__file__).resolve().parent.parent.parent
SEAWEED: Mapping[str, object] = {"list_order": "unordered", "key_folding": True}
MINISTACK: Mapping[str, object] = {"checksums": "md5", "part_layout": False}
STATE_BUCKET = "parity-state"
PART = 5 * MIB
PARTS_OF_5_MIB: Mapping[str, Any] = {"part_size": PART, "part_concurrency": 1}
"""Arguments of transfer tasks that send parts of 5 MiB one after the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What the tasks of a sync returned.

    :param plan: the plan's reference.
    :param copies: of each transfer task.
    :param report: its figures.
    """

    plan: Mapping[str, Any]
    copies: Sequence[Mapping[str, Any]]
    verification: Mapping[str, Any]
    report: Mapping[str, Any]


class World:
    """All servers; ``s3``, ``plain`` and so on give a trip between new buckets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seaweeds = [
            SeaweedServer(folder / name, f"{name}-key", f"{name}-{secrets.token_hex(8)}")
            for name in ("source", "target")
        ]
        self.ministack = MinistackServer(folder / "ministack")
        self.oss_server = OSSServer()
        self._secure: SeaweedServer | None = None
        self._clients: dict[S3Endpoint, S3Client] = {}
        self._servers = ExitStack()
        self._of_case = ExitStack()
        self.numbers = itertools.count(1)

    def __enter__(self) -> Self:
        """Start the servers."""
        with ExitStack() as stack:
            for server in self.seaweeds:
                stack.enter_context(server)
            stack.enter_context(self.ministack)
            stack.enter_context(self.oss_server)
            endpoints = [*(server.endpoint for server in self.seaweeds), self.ministack.endpoint]
            self._clients = {endpoint: endpoint.client() for endpoint in endpoints}
            for endpoint in endpoints[1:]:
                # One for all cases: what a service promises is tried once a day and location.
                self._clients[endpoint].create_bucket(Bucket=STATE_BUCKET)
            self._servers = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the servers."""
        self._servers.close()

    def end_case(self) -> None:
        """End what a case has started."""
        self._of_case.close()

    # Trips.

    def s3(self, **said: object) -> S3Trip:
        """Give two buckets of two SeaweedFS.

        :param said: more for the target's connection.
        """
        number = next(self.numbers)
        source, target = (server.endpoint for server in self.seaweeds)
        return S3Trip(
            self._s3_side(source, f"source-{number}", SEAWEED),
            self._s3_side(target, f"target-{number}", {**SEAWEED, **said}),
            number,
        )

    def plain(self, **said: object) -> S3Trip:
        """Give two buckets of MiniStack, which keeps every key as it is, and versions."""
        number = next(self.numbers)
        endpoint = self.ministack.endpoint
        return S3Trip(
            self._s3_side(endpoint, f"source-{number}", MINISTACK),
            self._s3_side(endpoint, f"target-{number}", {**MINISTACK, **said}),
            number,
        )

    def other_kinds(self, *, back: bool = False) -> S3Trip:
        """Give a bucket of MiniStack and one of SeaweedFS, or the other way about."""
        number = next(self.numbers)
        ends = [
            (self.ministack.endpoint, MINISTACK),
            (self.seaweeds[1].endpoint, SEAWEED),
        ]
        (source, said), (target, told) = reversed(ends) if back else ends
        return S3Trip(
            self._s3_side(source, f"source-{number}", said),
            self._s3_side(target, f"target-{number}", told),
            number,
        )

    def oss(self) -> OSSTrip:
        """Give a bucket of OSS and one of SeaweedFS."""
        number = next(self.numbers)
        target = self.seaweeds[1].endpoint
        return OSSTrip(
            OSSSide(self.oss_server, f"source-{number}"),
            self._s3_side(target, f"target-{number}", SEAWEED),
            number,
        )

    def oss_to_plain(self) -> OSSTrip:
        """Give a bucket of OSS and one of MiniStack, which tells storage classes."""
        number = next(self.numbers)
        return OSSTrip(
            OSSSide(self.oss_server, f"source-{number}"),
            self._s3_side(self.ministack.endpoint, f"target-{number}", MINISTACK),
            number,
        )

    def secure(self) -> SeaweedServer:
        """Give a SeaweedFS that speaks TLS, which is started for the first case that asks."""
        if self._secure is None:
            folder = self.folder / "secure"
            key = secrets.token_hex(8)
            certificate = make_certificate(folder)
            server = SeaweedServer(folder / "data", "secure-key", key, certificate=certificate)
            self._secure = self._servers.enter_context(server)
        return self._secure

    def wire(self, server_url: str) -> Wire:
        """Give a wire in front of a server, until the case ends."""
        return self._of_case.enter_context(Wire(server_url))

    def start_copy(self, batch: Mapping[str, Any], **copying: Any) -> Child:
        """Start a transfer task in a process of its own, which the end of the case ends."""
        name = f"copy-{next(self.numbers)}"
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"batch": dict(batch), "copying": copying}))
        command: list[str | Path] = [sys.executable, "-m", "tests.support.parity_attempt", file]
        child = Child(name, command, log_file=self.folder / f"{name}.log", cwd=ROOT)
        return self._of_case.enter_context(child)

    def _s3_side(self, endpoint: S3Endpoint, bucket: str, said: Mapping[str, object]) -> S3Side:
        return S3Side(endpoint, self._clients[endpoint], bucket, said)


class Trip:
    """A source and a target, and the tasks that copy from one to the other."""

    def __init__(self, source: Side, target: S3Side, number: int) -> None:
        self.target = target
        self._source = source
        self._conn_ids = (f"parity_source_{number}", f"parity_target_{number}")
        self.number = number
        self._runs = itertools.count(1)
        self.state_uri = f"s3://{STATE_BUCKET}/.s3resume/"
        self.lead()

    def lead(self, *, source: Wire | None = None, target: Wire | None = None) -> None:
        """Let the connections lead to the servers, or through these wires."""
        sides: tuple[Side, Side] = (self._source, self.target)
        for conn_id, side, wire in zip(self._conn_ids, sides, (source, target), strict=True):
            address = None if wire is None else wire.url
            os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = side.connection(address)

    def forget(self) -> None:
        """Remove the connections from the environment."""
        for conn_id in self._conn_ids:
            os.environ.pop(f"AIRFLOW_CONN_{conn_id.upper()}", None)

    def sides(self, source_prefix: str = "", target_prefix: str = "") -> dict[str, Any]:
        """Return what all operators are told."""
        return {
            "source_conn_id": self._conn_ids[0],
            "source_uri": self._source.uri(source_prefix),
            "target_conn_id": self._conn_ids[1],
            "target_uri": self.target.uri(target_prefix),
            "state_uri": self.state_uri,
        }

    def plan(
        self,
        source_prefix: str = "",
        target_prefix: str = "",
        *,
        taken: Mapping[str, Any] | None = None,
        **planning: Any,
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Run the tasks ``list`` and ``diff``; return the batches and the plan's reference.

        :param taken: a plan that is there already.
        """
        run_id = f"parity_{self.number}_{next(self._runs)}"
        told = {**self.sides(source_prefix, target_prefix), **planning}
        listed = ListSyncOperator(task_id="list", **told)
        found = listed.execute(context_for(listed, run_id))
        diffed = PlanSyncOperator(task_id="diff", sides_name=found["sides"], plan=taken, **told)
        context = context_for(diffed, run_id)
        batches = diffed.execute(context)
        return batches, context["ti"].xcoms["plan"]

    def sense(
        self, source_prefix: str = "", target_prefix: str = "", **sensing: Any
    ) -> dict[str, Any] | None:
        """Ask the sensor once; return the plan, if there is enough to copy."""
        run_id = f"parity_{self.number}_{next(self._runs)}"
        told = {**self.sides(source_prefix, target_prefix), **sensing}
        sensor = BucketDiffSensor(task_id="sense", deferrable=False, **told)
        found = sensor.poke(context_for(sensor, run_id)).xcom_value
        return None if found is None else dict(found)

    def transfer(
        self, batch: Mapping[str, Any], *, try_number: int = 1, **copying: Any
    ) -> dict[str, Any]:
        """Run one transfer task."""
        task = ResumableMultipartCopyOperator(task_id="transfer", batch=batch, **copying)
        return task.execute(context_for(task, "transfer", batch["index"], try_number))

    def finish(self, plan: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run the tasks ``verify`` and ``report``; return what they say."""
        verify = VerifyCopyOperator(task_id="verify", plan=plan)
        verified = verify.execute(context_for(verify, "verify"))
        report = ReportSyncOperator(task_id="report", plan=plan)
        return verified, report.execute(context_for(report, "report"))

    def sync(
        self,
        source_prefix: str = "",
        target_prefix: str = "",
        *,
        planning: Mapping[str, Any] | None = None,
        **copying: Any,
    ) -> Run:
        """Run all five tasks of a sync."""
        batches, plan = self.plan(source_prefix, target_prefix, **(planning or {}))
        copies = [self.transfer(batch, **copying) for batch in batches]
        verification, report = self.finish(plan)
        return Run(plan=plan, copies=copies, verification=verification, report=report)

    def copy(self, source_key: str, target_key: str | None = None, **copying: Any) -> None:
        """Copy one named object."""
        named = self.sides(source_key, source_key if target_key is None else target_key)
        task = ResumableMultipartCopyOperator(task_id="copy", **named, **copying)
        task.execute(context_for(task, f"parity_{self.number}_{next(self._runs)}"))

    def clean(self, **cleaning: Any) -> dict[str, Any]:
        """Run the cleaner of unfinished uploads."""
        sides = self.sides()
        told = {name: sides[name] for name in ("target_conn_id", "target_uri", "state_uri")}
        task = CleanStrayUploadsOperator(task_id="clean", **told, **cleaning)
        return task.execute(context_for(task, f"parity_{self.number}_{next(self._runs)}"))

    # What became of it.

    def arrived(self, pairs: Mapping[str, str]) -> None:
        """Make sure that the target holds these objects, as the source has them, and no others.

        :param pairs: target key → source key.
        """
        wanted = {target: self._source.read(source) for target, source in pairs.items()}
        found = {key: self.target.read(key) for key in self.target.all_keys()}
        lines = differences(wanted, found)
        assert not lines, "\n".join(lines)

    def same(self) -> None:
        """Make sure that both sides hold the same."""
        keys = self._source.all_keys()
        assert keys, "the source holds nothing"
        self.arrived({key: key for key in keys})


class S3Trip(Trip):
    """From one S3 to another."""

    source: S3Side

    def __init__(self, source: S3Side, target: S3Side, number: int) -> None:
        super().__init__(source, target, number)
        self.source = source

    def wired(self, world: World) -> tuple[Wire, Wire]:
        """Let both connections lead through wires, and return them."""
        wires = (
            world.wire(self.source.endpoint.endpoint_url),
            world.wire(self.target.endpoint.endpoint_url),
        )
        self.lead(source=wires[0], target=wires[1])
        return wires


class OSSTrip(Trip):
    """From OSS to S3."""

    source: OSSSide

    def __init__(self, source: OSSSide, target: S3Side, number: int) -> None:
        super().__init__(source, target, number)
        self.source = source


def refusal(act: Callable[[], object]) -> str:
    """Return what a task says that fails for good, as it has to."""
    try:
        act()
    except AirflowFailException as error:
        return str(error)
    raise AssertionError("nothing was refused")


def failure(act: Callable[[], object]) -> str:
    """Return what a task says that fails so that another attempt is made, as it has to."""
    try:
        act()
    except ObjectsFailedError as error:
        if not error.retryable:
            raise
        return str(error)
    raise AssertionError("nothing failed")


def context_for(task: BaseOperator, run_id: str, index: int = -1, try_number: int = 1) -> Any:
    """Return what Airflow tells a task of itself and its run."""
    context = context_of(task, try_number=try_number)
    context["ti"].run_id = run_id
    context["ti"].map_index = index
    return context
