"""A pair of buckets of one test, and what went over the wire to the target's."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.stage import TARGET_BUCKET
from tests.support.wire_rules import Exchange
from tests.support.wired_stage import WiredStage

READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """A bucket of the same name at the source and at the target."""

    stage: WiredStage
    bucket: str

    def conf(self, source_prefix: str = "", target_prefix: str = "") -> dict[str, object]:
        """Return the parameters of a run that name both."""
        return {
            "source_uri": f"s3://{self.bucket}/{source_prefix}",
            "target_uri": f"s3://{self.bucket}/{target_prefix}",
        }

    def put_source(self, key: str, body: bytes) -> None:
        """Write an object at the source, past the wires."""
        self.stage.source.client().put_object(Bucket=self.bucket, Key=key, Body=body)

    def put_target(self, key: str, body: bytes) -> None:
        """Write an object at the target, past the wires."""
        self.stage.target.client().put_object(Bucket=self.bucket, Key=key, Body=body)

    def target_bodies(self) -> dict[str, bytes]:
        """Return all objects of the target, by a client that is not ours."""
        client = self.stage.target.client()
        listed = client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        keys = [found["Key"] for found in listed]
        return {key: client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def writes(self) -> list[Exchange]:
        """Return the requests so far that could have changed the target's bucket."""
        return writes_to(self.stage, self.bucket)


def writes_to(stage: WiredStage, bucket: str = TARGET_BUCKET) -> list[Exchange]:
    """Return the requests on the target's wire that could have changed a bucket."""
    return [
        exchange
        for exchange in stage.target_wire.exchanges
        if exchange.path.split("/")[1] == bucket and exchange.method not in READS
    ]
