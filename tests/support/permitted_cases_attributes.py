"""What travels with objects, versions, and ways to buckets, as limited identities use them."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import replace
from functools import partial
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.plan.policies import Resources
from tests.support.demo_data import MIB, bytes_of
from tests.support.endpoints import REGION
from tests.support.parity_sides import S3Side
from tests.support.parity_world import MINISTACK, PART, PARTS_OF_5_MIB, SEAWEED, S3Trip, World
from tests.support.permitted_features import (
    PREFIXES,
    FeatureWorld,
    Stage,
    between,
    mirrored,
    using,
)
from tests.support.sts_server import ROLE_ARN, RoleSeaweedServer
from tests.support.tls import make_certificate

KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ACCOUNT = "111122223333"
_BELOW = PREFIXES[0]
_TAGS = {"Tagging": "class=public"}


def fill(source: S3Side, **parameters: Any) -> None:
    """Put an object that goes in one request, and one that goes in parts."""
    source.put(f"{_BELOW}small", b"small", **parameters)
    if source.extra.get("part_layout", True):
        source.put_parts(f"{_BELOW}parts", [bytes_of("1", PART), b"end"], **parameters)
    else:
        # In parts because of its size: nobody tells how it was written.
        source.put(f"{_BELOW}parts", bytes_of("1", 17 * MIB), **parameters)
    source.put("beside", b"nobody may read this")


def _copied(world: World, trip: S3Trip, *, rule: str | None = None, **copying: Any) -> Stage:
    """Return a stage on which both objects are copied."""
    planning = {} if rule is None else {"rule": rule}
    copying = {**PARTS_OF_5_MIB, **copying}

    def act() -> None:
        trip.sync(*PREFIXES, planning=planning, **copying)

    return between(world, trip, act, mirrored(trip, "small", "parts"))


# --- what travels -------------------------------------------------------------------------------


@using(
    "Content headers, metadata, Expires, website redirect",
    "What the target does not hold is an error",
    enforced=frozenset(),
)
def headers(world: World) -> Stage:
    """All of it is asked for again at the target."""
    trip = world.s3()
    fill(trip.source, CacheControl="no-store", Metadata={"owner": "data"}, ContentType="text/x")
    return _copied(world, trip, on_unsupported_attribute="fail")


@using("Tags", enforced=frozenset())
def tags(world: World) -> Stage:
    """Of both objects."""
    trip = world.s3()
    fill(trip.source, **_TAGS)
    return _copied(world, trip)


@using("Storage class, one for all")
def storage_class(world: World) -> Stage:
    """On a server that keeps it."""
    trip = world.plain()
    fill(trip.source)
    return _copied(world, trip, storage_class="STANDARD_IA")


@using("Storage class by the source's")
def storage_class_of_source(world: World) -> Stage:
    """As GET tells it."""
    trip = world.plain()
    fill(trip.source, StorageClass="STANDARD_IA")
    return _copied(world, trip, storage_class="source")


@using(
    "Canned ACL",
    names={"s3:PutObjectAcl": "target_conn_id"},
    # A SeaweedFS takes the header and asks no permission for it.
    enforced=frozenset(),
)
def acl(world: World) -> Stage:
    """Ask for it with a header that policies are about."""
    trip = world.s3()
    fill(trip.source)
    return _copied(world, trip, acl="bucket-owner-full-control")


@using("SSE-S3", enforced=frozenset())
def sse_s3(world: World) -> Stage:
    """Look at it afterwards."""
    trip = world.s3()
    fill(trip.source)
    return _copied(world, trip, encryption="AES256")


_AT_TARGET = {"kms:GenerateDataKey": "target_conn_id", "kms:Decrypt": "target_conn_id"}


@using("SSE-KMS, key, bucket key", names=_AT_TARGET)
def sse_kms(world: World) -> Stage:
    """Begun, and looked at afterwards."""
    trip = world.plain()
    fill(trip.source)
    made = _copied(world, trip, encryption="aws:kms", kms_key_id=KEY)
    made.resources = Resources(kms_key_target=KEY)
    return made


@using("A source that KMS encrypts", names={"kms:Decrypt": "source_conn_id"})
def kms_source(world: World) -> Stage:
    """Let the target be in the clear."""
    trip = world.plain()
    fill(trip.source, ServerSideEncryption="aws:kms", SSEKMSKeyId=KEY)
    made = _copied(world, trip)
    made.resources = Resources(kms_key_source=KEY)
    return made


@using("SSE-C, on either side")
def customer_keys(world: FeatureWorld) -> Stage:
    """Have a key for each side, over TLS."""
    trip = world.plain()
    raw = {"source": secrets.token_bytes(32), "target": secrets.token_bytes(32)}
    asked: dict[str, dict[str, Any]] = {
        name: {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key} for name, key in raw.items()
    }
    trip.source.put(f"{_BELOW}small", b"small", **asked["source"])
    trip.source.put(f"{_BELOW}large", bytes_of("large", PART), **asked["source"])
    # The state has the key, too, where it lies at the target.
    trip.state_uri = f"s3://{trip.target.bucket}/.s3resume/"
    certificate = make_certificate(world.folder / f"tls-{trip.number}")
    wires = []
    for side, name in ((trip.source, "source"), (trip.target, "target")):
        wires.append(world.tls_wire(side.endpoint.endpoint_url, certificate))
        side.endpoint = replace(side.endpoint, ca_file=certificate.ca_file)
        side.extra["sse_c_secret_key"] = base64.b64encode(raw[name]).decode()
    trip.lead(source=wires[0], target=wires[1])

    def arrived() -> None:
        for name, body in (("small", b"small"), ("large", bytes_of("large", PART))):
            place: Any = {"Bucket": trip.target.bucket, "Key": f"out/{name}"}
            found = trip.target.client.get_object(**place, **asked["target"])
            assert found["Body"].read() == body

    return Stage(
        trip=trip,
        prefixes=PREFIXES,
        act=partial(trip.sync, *PREFIXES),
        arrived=arrived,
        source_wire=wires[0],
        target_wire=wires[1],
    )


@using("Differences in metadata alone", enforced=frozenset())
def metadata_alone(world: World) -> Stage:
    """One object is equal, the other differs in its metadata."""
    trip = world.s3()
    for name, owner in (("same", "a"), ("other", "b")):
        trip.source.put(f"{_BELOW}{name}", b"equal", Metadata={"owner": "a"}, ContentType="text/x")
        trip.target.put(f"out/{name}", b"equal", Metadata={"owner": owner}, ContentType="text/x")

    def act() -> None:
        assert trip.sync(*PREFIXES, planning={"rule": "size+etag+metadata"}).report["copied"] == 1

    return between(world, trip, act, mirrored(trip, "same", "other"))


# --- versions -----------------------------------------------------------------------------------


def keep_versions(side: S3Side) -> None:
    """Switch versions on."""
    side.client.put_bucket_versioning(
        Bucket=side.bucket, VersioningConfiguration={"Status": "Enabled"}
    )


def put_version(side: S3Side, key: str, body: bytes, **parameters: Any) -> str:
    """Put one more version, and return its id."""
    answer = side.client.put_object(Bucket=side.bucket, Key=key, Body=body, **parameters)
    return answer["VersionId"]


@using(
    "the newest version (default); replaced since the plan: as it is now, once",
)
def newest(world: World) -> Stage:
    """Replace it between plan and copy."""
    trip = world.plain()
    keep_versions(trip.source)
    put_version(trip.source, f"{_BELOW}a", b"planned")

    def act() -> None:
        batches, plan = trip.plan(*PREFIXES)
        put_version(trip.source, f"{_BELOW}a", b"newest")
        trip.transfer(batches[0])
        trip.finish(plan)

    return between(world, trip, act, mirrored(trip, "a"))


@using(
    "a chosen version of a named object",
    names={"s3:GetObjectVersion": "AccessDenied.*HeadObject"},
)
def chosen_version(world: World) -> Stage:
    """With its tags."""
    trip = world.plain()
    keep_versions(trip.source)
    key = f"{_BELOW}a"
    wanted = put_version(trip.source, key, b"wanted", **_TAGS)
    put_version(trip.source, key, b"newer")

    def arrived() -> None:
        found = trip.target.read("out/a")
        assert found == trip.source.read(key, version_id=wanted)
        assert found.tags == {"class": "public"}

    made = between(world, trip, partial(trip.copy, key, "out/a", source_version_id=wanted), arrived)
    made.told = lambda _: not trip.target.read("out/a").tags
    return made


@using(
    "a version that is not there, or is a delete marker, is refused by name; "
    "one deleted since the plan is gone",
    "a chosen version of a named object",
    unmade=frozenset({"GetObject"}),
    names={"s3:GetObjectVersion": "AccessDenied.*HeadObject"},
)
def no_version(world: World) -> Stage:
    """Ask for a delete marker."""
    trip = world.plain()
    keep_versions(trip.source)
    key = f"{_BELOW}a"
    put_version(trip.source, key, b"there")
    named: Any = {"Bucket": trip.source.bucket, "Key": key}
    marker = trip.source.client.delete_object(**named)["VersionId"]

    def act() -> None:
        try:
            trip.copy(key, "out/a", source_version_id=marker)
        except AirflowFailException as error:
            if "delete marker" not in str(error):
                raise

    def arrived() -> None:
        assert trip.target.all_keys() == []

    return between(world, trip, act, arrived)


# --- ways to reach a bucket ---------------------------------------------------------------------


def _with_header(world: World, name: str, value: object, header: str, text: str) -> Stage:
    trip = world.s3()
    for side in (trip.source, trip.target):
        side.extra[name] = value
    fill(trip.source)
    made = _copied(world, trip)
    mirrors = made.arrived

    def arrived() -> None:
        mirrors()
        assert {one.headers.get(header) for one in made.exchanges} == {text}

    made.arrived = arrived
    return made


using("Owner of the bucket", unmade=frozenset({"CopyObject", "UploadPartCopy"}))(
    lambda world: _with_header(
        world, "expected_bucket_owner", ACCOUNT, "x-amz-expected-bucket-owner", ACCOUNT
    )
)
using("Requester pays")(
    lambda world: _with_header(world, "request_payer", True, "x-amz-request-payer", "requester")
)


@using("Public buckets, unsigned")
def unsigned(world: World) -> Stage:
    """Let everybody do what the bucket's own policy says."""
    trip = world.other_kinds()
    fill(trip.source)
    made = _copied(world, trip)
    assert made.source_wire is not None
    place = {"endpoint_url": made.source_wire.url, "region_name": REGION}
    extra = {**place, "s3resume": {**MINISTACK, "unsigned": True}}
    conn_id = trip.sides()["source_conn_id"].upper()
    os.environ[f"AIRFLOW_CONN_{conn_id}"] = json.dumps({"conn_type": "aws", "extra": extra})
    wire, mirrors = made.source_wire, made.arrived

    def arrived() -> None:
        mirrors()
        assert {one.access_key for one in wire.exchanges} == {None}

    made.arrived = arrived
    return made


def _by_role(column: str, world: FeatureWorld) -> Stage:
    server = world.role_server()
    trip = S3Trip(*_sides_of(server, next(world.numbers)))
    trip.state_uri = f"s3://{trip.target.bucket}/.s3resume/"
    trip.source.put(f"{_BELOW}small", b"small")

    def arrived() -> None:
        assert trip.target.read("out/small") == trip.source.read(f"{_BELOW}small")

    made = between(world, trip, partial(trip.sync, *PREFIXES), arrived)
    wires = {"source": made.source_wire, "target": made.target_wire}
    wire = wires[column]
    assert wire is not None
    sts = world.sts(server)
    conn_id = trip.sides()[f"{column}_conn_id"].upper()
    connection = json.loads(sts.connection(server.endpoint, wire.url, s3resume=SEAWEED))
    connection["extra"]["assume_role_kwargs"]["ExternalId"] = f"of-{column}"
    os.environ[f"AIRFLOW_CONN_{conn_id}"] = json.dumps(connection)
    made.sts = {column: sts}
    role: dict[str, Any] = {f"role_{column}": ROLE_ARN}
    made.resources = Resources(**role)
    return made


def _sides_of(server: RoleSeaweedServer, number: int) -> tuple[S3Side, S3Side, int]:
    client = server.client()
    return (
        S3Side(server.endpoint, client, f"source-{number}", SEAWEED),
        S3Side(server.endpoint, client, f"target-{number}", SEAWEED),
        number,
    )


using("A role with an external id, for the source", names={"sts:AssumeRole": "source_conn_id"})(
    partial(_by_role, "source")
)
using("A role with an external id, for the target", names={"sts:AssumeRole": "target_conn_id"})(
    partial(_by_role, "target")
)
