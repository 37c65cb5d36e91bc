"""What is done under a fault of the table, and what must be true of it afterwards."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import boto3
from botocore.config import Config

from airflow_provider_s3resume.exceptions import ObjectsFailedError
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
from airflow_provider_s3resume.transfer.checkpoints import INTENTS, CheckpointRecords, Stored
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.loading import load_entries, load_outcomes
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import verify_run
from tests.conftest import SeaweedPair
from tests.fault.table_calls import HUGE, LARGE, SMALL, WHOLE, Row
from tests.fault.table_faults import QUICK_TIMES, Fault
from tests.support.endpoints import CLIENTS, NO_PROXIES, S3Endpoint
from tests.support.tls import Certificate
from tests.support.wire import Wire
from tests.support.wire_rules import Match, Replace, Rule

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART: Final = 2048
SIZES: Final[Mapping[str, tuple[int, ...]]] = {LARGE: (2 * PART,), HUGE: (5 * MIB, 300)}
"""The parts of the objects in parts: but for the last one, 5 MiB is the servers' least."""
SOURCE_PREFIX: Final = "data/"
FAR_PREFIX: Final = "far/"
OLD: Final = b"the old object"
METADATA: Final = {"made-by": "the table"}
TAGS: Final = {"kind": "row"}
EXTRA: Final[Mapping[str, object]] = {
    "key_folding": True,
    "addressing_style": "path",
    "read_timeout_s": 20,
}
POLICY: Final = RetryPolicy(
    attempts=6,
    base_s=0.04,
    most_s=0.2,
    throttled_attempts=5,
    throttled_base_s=0.02,
    throttled_most_s=0.1,
)
_DENIED: Final = b"<Error><Code>AccessDenied</Code><Message>part 2</Message></Error>"


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all cells share: the servers with the source objects, and the certificates.

    :param wanted: the source objects by their names under the prefix.
    """

    servers: SeaweedPair
    bucket: str
    wanted: Mapping[str, bytes]
    ours: Certificate
    foreign: Certificate

    @cached_property
    def direct(self) -> Mapping[str, ObjectStore]:
        """The stores of both sides without wires, by side."""
        made = {}
        for side in ("source", "target"):
            endpoint = getattr(self.servers, side).endpoint
            made[side] = make_store(endpoint, self.bucket, side, EXTRA, POLICY)
        return made

    @cached_property
    def client(self) -> S3Client:
        """A client of the target, past all that is tested."""
        return self.servers.target.client()

    def seed(self) -> None:
        """Put the source objects there."""
        client, bucket = self.servers.source.client(), self.bucket
        for server in self.servers:
            server.client().create_bucket(Bucket=bucket)
        tagging = "&".join(f"{name}={value}" for name, value in TAGS.items())
        client.put_object(
            Bucket=bucket,
            Key=SOURCE_PREFIX + SMALL,
            Body=self.wanted[SMALL],
            Metadata=METADATA,
            Tagging=tagging,
        )
        client.put_object(
            Bucket=bucket,
            Key=FAR_PREFIX + WHOLE,
            Body=self.wanted[WHOLE],
            Metadata=METADATA,
        )
        for name, sizes in SIZES.items():
            key = (FAR_PREFIX if name == HUGE else SOURCE_PREFIX) + name
            upload = client.create_multipart_upload(
                Bucket=bucket, Key=key, Metadata=METADATA, Tagging=tagging
            )["UploadId"]
            parts: list[CompletedPartTypeDef] = []
            start = 0
            for number, size in enumerate(sizes, 1):
                answer = client.upload_part(
                    Bucket=bucket,
                    Key=key,
                    UploadId=upload,
                    PartNumber=number,
                    Body=self.wanted[name][start : start + size],
                )
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
                start += size
            client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            )


def make_store(
    endpoint: S3Endpoint, bucket: str, side: str, extra: Mapping[str, object], policy: RetryPolicy
) -> ObjectStore:
    """Return a store as a hook would make it; its service is named by its side."""
    settings = store_settings_from_extra(extra)
    options: dict[str, Any] = {**client_config(settings), "proxies": NO_PROXIES}
    with CLIENTS:
        client = boto3.client(
            "s3",
            endpoint_url=endpoint.endpoint_url,
            aws_access_key_id=endpoint.access_key,
            aws_secret_access_key=endpoint.secret_key,
            region_name=endpoint.region,
            verify=str(endpoint.ca_file) if endpoint.ca_file else None,
            config=Config(**options),
        )
    raw = S3Store(client, bucket, service=f"http://{side}", settings=settings)
    # A store that cannot renew its credentials would not try again when they have expired.
    return build_store(raw, retry=policy, refresh=lambda: None)


class World:
    """Two buckets behind wires, with keys and a state location of one cell's own."""

    def __init__(self, shared: Shared, fault: Fault, row: Row, name: str) -> None:
        self.shared = shared
        self.fault = fault
        self.row = row
        self.prefix = f"{name}/"
        self.state_prefix = f"state-{name}/"
        certificate = shared.ours if fault.tls else None
        self.wires: dict[str, Wire] = {
            "source": Wire(shared.servers.source.endpoint_url, certificate=certificate),
            "target": Wire(shared.servers.target.endpoint_url, certificate=certificate),
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Listen."""
        for wire in self.wires.values():
            self._stack.enter_context(wire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the wires."""
        self._stack.close()

    @property
    def wire(self) -> Wire:
        """The wire that the row's call goes over."""
        return self.wires["source" if self.row.place == "source" else "target"]

    def strike(self) -> Rule:
        """Begin the fault."""
        action = self.fault.action(self.shared.foreign)
        rule = Rule(when=self.row.applies_to, action=action, times=self.fault.times)
        return self.wire.add(rule)

    def mend(self) -> None:
        """End the fault."""
        for wire in self.wires.values():
            wire.clear()
            wire.come_back()
        if self.fault.tls:
            self.wire.show(self.shared.ours)

    def open(self, side: str) -> ObjectStore:
        """Return a store whose calls go over a wire."""
        endpoint: S3Endpoint = getattr(self.shared.servers, side).endpoint
        endpoint = endpoint.through(self.wires[side].url)
        if self.fault.tls:
            endpoint = replace(endpoint, ca_file=self.shared.ours.ca_file)
        fault, policy = self.fault, POLICY
        if fault.slow and fault.lasts:
            policy = replace(POLICY, attempts=2)
        extra = {**EXTRA, **(QUICK_TIMES if fault.slow else {})}
        return make_store(endpoint, self.shared.bucket, side, extra, policy)

    def state(self, store: ObjectStore) -> StateLocation:
        """Return the cell's state location."""
        return StateLocation(store, self.state_prefix)

    def target_data(self, name: str) -> bytes | None:
        """Return an object of the target, past the wire."""
        key = self.prefix + name
        listed = self.shared.client.list_objects_v2(Bucket=self.shared.bucket, Prefix=key)
        if key not in {entry["Key"] for entry in listed.get("Contents", ())}:
            return None
        answer = self.shared.client.get_object(Bucket=self.shared.bucket, Key=key)
        return answer["Body"].read()

    def open_uploads(self) -> set[str]:
        """Return the ids of the cell's unfinished uploads."""
        found = self.shared.client.list_multipart_uploads(
            Bucket=self.shared.bucket, Prefix=self.prefix
        )
        uploads = found.get("Uploads", ())
        return {u["UploadId"] for u in uploads if u["Key"].startswith(self.prefix)}

    def kept_intents(self) -> int:
        """Return how many intents are kept of uploads that were begun and never recorded."""
        target = self.shared.direct["target"]
        return len(list(target.list_objects(self.state(target).prefix + INTENTS)))


class Scenario(ABC):
    """Something that a user does; each attempt is made of new stores, as a new task's would."""

    def __init__(self, world: World) -> None:
        self.world = world

    @abstractmethod
    def prepare(self) -> None:
        """Make what has to be there before, without a fault."""

    @abstractmethod
    def attempt(self) -> None:
        """Do it once.

        :raises S3ResumeError: if it fails.
        """

    @abstractmethod
    def check_right(self) -> None:
        """Make sure that the last attempt did what it had to."""

    def check_whole(self) -> None:  # noqa: B027 - what writes nothing does no harm
        """Make sure that a failed attempt did no harm."""

    def check_clean(self) -> None:  # noqa: B027 - nor does it leave anything behind
        """Make sure that nothing is left behind in the end."""


class Copy(Scenario):
    """A batch of an object in parts, over an old one, and a small one; with metadata and tags."""

    large = SOURCE_PREFIX + LARGE
    carry_tags = True
    threshold = PART
    memory_budget = 64 * MIB
    concurrency = 2

    @property
    def names(self) -> tuple[str, str]:
        """The objects' names at the target, the one in parts first."""
        return (self.large.partition("/")[2], SMALL)

    def prepare(self) -> None:
        """Plan both objects, past the wires."""
        world = self.world
        world.shared.client.put_object(
            Bucket=world.shared.bucket, Key=world.prefix + self.names[0], Body=OLD
        )
        target = world.shared.direct["target"]
        sources = (self.large, SOURCE_PREFIX + SMALL)
        pairs = [(s, world.prefix + n) for s, n in zip(sources, self.names, strict=True)]
        _, manifest = pairs_manifest(
            world.shared.direct["source"],
            target,
            world.state(target),
            pairs,
            "run",
            now=time.time(),
        )
        self.ref = asdict(manifest.batches[0])
        self.manifest_key: str = self.ref["manifest"]

    def attempt(self) -> None:
        """Make one attempt at the batch."""
        world = self.world
        target = world.open("target")
        result = copy_batch(
            world.open("source"),
            target,
            world.state(target),
            BatchRef(**self.ref),
            CopyConfig(
                part_size=5 * MIB,
                multipart_threshold=self.threshold,
                memory_budget=self.memory_budget,
                part_concurrency=self.concurrency,
                object_concurrency=2,
                carry_tags=self.carry_tags,
            ),
            stop=StopSignal(),
            now=time.time(),
        )
        result.raise_for_failures()

    def check_right(self) -> None:
        """Compare bytes, metadata and tags of both objects."""
        world = self.world
        for name in self.names:
            assert world.target_data(name) == world.shared.wanted[name]
            client, bucket, key = world.shared.client, world.shared.bucket, world.prefix + name
            assert client.head_object(Bucket=bucket, Key=key)["Metadata"] == METADATA
            tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
            there = {tag["Key"]: tag["Value"] for tag in tags}
            assert there == (TAGS if self.carry_tags else {}) or self._tags_are_missed(name)

    def _tags_are_missed(self, name: str) -> bool:
        """Tell whether the record of an object says that its tags were not carried (c19)."""
        state = self.world.state(self.world.shared.direct["target"])
        outcomes = load_outcomes(state, self.manifest_key, self.ref["index"]) or []
        mine = [o for o in outcomes if o.target_key == self.world.prefix + name]
        return any("tags not carried" in note for outcome in mine for note in outcome.notes)

    def check_whole(self) -> None:
        """Find the old object or the new one, and no upload that no record names."""
        world, wanted = self.world, self.world.shared.wanted
        assert world.target_data(self.names[0]) in {OLD, wanted[self.names[0]]}
        assert world.target_data(SMALL) in {None, wanted[SMALL]}
        named, begun = self._named()
        strays = world.open_uploads() - named
        assert not strays or begun, f"uploads {strays} are named by no record"

    def _named(self) -> tuple[set[str], bool]:
        """Return the uploads that the record names, and whether it is an intent without an id."""
        target = self.world.shared.direct["target"]
        records = CheckpointRecords(self.world.state(target))
        bucket = self.world.shared.bucket
        stored = records.load(
            f"http://source s3://{bucket}/{self.large}",
            f"http://target s3://{bucket}/{self.world.prefix}{self.names[0]}",
        )
        if not isinstance(stored, Stored):
            return set(), False
        checkpoint = stored.checkpoint
        ids = {checkpoint.upload_id, *checkpoint.superseded} - {None}
        return {one for one in ids if one is not None}, checkpoint.upload_id is None

    def check_clean(self) -> None:
        """Find no upload, but one whose id nobody ever heard."""
        heard = self.world.row.call != "create_upload"
        # A connection that is refused may be the one on which its id was to be recorded.
        strays = len(self.world.open_uploads())
        assert not heard or not strays or strays <= self.world.kept_intents()


class Resume(Copy):
    """The same, after an attempt that left a part and a checkpoint."""

    large = FAR_PREFIX + HUGE

    def prepare(self) -> None:
        """Make an attempt that ends at the second part."""
        super().prepare()
        last = Match(operation="UploadPart", query={"partNumber": "2"})
        self.world.wires["target"].add(Rule(when=last, action=Replace(status=403, body=_DENIED)))
        # The first part has to be there when the second one ends it all.
        self.concurrency = 1
        try:
            self.attempt()
        except ObjectsFailedError:
            self.world.mend()
            self.concurrency = 2
        else:
            raise AssertionError("the attempt was to fail")
        assert self.world.open_uploads()


class StartOver(Resume):
    """The same, when other things are asked for meanwhile: the upload is given up."""

    def prepare(self) -> None:
        """Make an attempt that ends at the second part, and ask for no tags from then on."""
        super().prepare()
        self.carry_tags = False

    def check_right(self) -> None:
        """Compare the object in parts only: the small one landed before, with tags."""
        assert self.world.target_data(HUGE) == self.world.shared.wanted[HUGE]


class Stream(Copy):
    """The same, with less memory than a part has bytes."""

    memory_budget = 3000


class Whole(Copy):
    """The same of an object that is written in one request, while it is read."""

    large = FAR_PREFIX + WHOLE
    carry_tags = False
    threshold = 2 * MIB


class Plan(Scenario):
    """List both sides and store what differs."""

    def prepare(self) -> None:
        """Put old objects into the target."""
        world = self.world
        for name in (LARGE, SMALL):
            key = world.prefix + name
            world.shared.client.put_object(Bucket=world.shared.bucket, Key=key, Body=OLD)
        self.found: set[str] = set()

    def attempt(self) -> None:
        """Check both sides, plan, and read what was stored."""
        world = self.world
        target = world.open("target")
        state = world.state(target)
        request = PlanRequest(run_id="run", source_prefix=SOURCE_PREFIX, target_prefix=world.prefix)
        _, manifest = make_plan(
            world.open("source"), target, state, request, now=time.time(), stop=StopSignal()
        )
        self.found = {e.target_key for ref in manifest.batches for e in load_entries(state, ref)}

    def check_right(self) -> None:
        """Find both objects in the plan."""
        assert self.found == {self.world.prefix + name for name in (LARGE, SMALL)}

    def check_whole(self) -> None:
        """Find the old objects."""
        assert [self.world.target_data(name) for name in (LARGE, SMALL)] == [OLD, OLD]


class Verify(Copy):
    """Verify a batch that landed."""

    def prepare(self) -> None:
        """Copy both objects."""
        super().prepare()
        super().attempt()
        self.summary: Any = None

    def attempt(self) -> None:
        """Verify the run."""
        world = self.world
        target = world.open("target")
        self.summary = verify_run(
            world.open("source"),
            target,
            world.state(target),
            self.manifest_key,
            stop=StopSignal(),
            now=time.time(),
        )

    def check_right(self) -> None:
        """Find both objects verified."""
        assert (self.summary.verified, self.summary.failed, self.summary.not_landed) == (2, 0, 0)


class Uploads(Scenario):
    """List all unfinished uploads, as a cleaner does."""

    def prepare(self) -> None:
        """Begin two uploads."""
        world = self.world
        self.begun = {
            world.shared.client.create_multipart_upload(
                Bucket=world.shared.bucket, Key=world.prefix + name
            )["UploadId"]
            for name in (LARGE, SMALL)
        }
        self.found: list[str] = []

    def attempt(self) -> None:
        """List them."""
        listed = self.world.open("target").list_all_uploads(self.world.prefix)
        self.found = [upload.upload_id for upload in listed]

    def check_right(self) -> None:
        """Find both."""
        assert set(self.found) == self.begun


SCENARIOS: Final[Mapping[str, Callable[[World], Scenario]]] = {
    "copy": Copy,
    "resume": Resume,
    "start-over": StartOver,
    "stream": Stream,
    "whole": Whole,
    "plan": Plan,
    "verify": Verify,
    "uploads": Uploads,
}
