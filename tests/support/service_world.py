"""A world in memory whose two buckets are of one service, which copies by itself."""

from __future__ import annotations

from typing import Any

from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.reporting import make_report
from airflow_provider_s3resume.transfer.run_report import RunReport
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import VerificationSummary, verify_run
from tests.support.transfer_world import KEY, NOW, World

SERVICE = "memory://one"


def service_world(**options: Any) -> World:
    """Return a world of one service; what the target's credentials read is the source."""
    world = World(**options)
    world.source.service = world.target.service = SERVICE
    world.target.copies_from = {world.source.bucket: world.source}
    return world


def copied_parts(world: World) -> list[int]:
    """Return the numbers of the parts that the service was asked to copy."""
    asked = [m for m in world.traffic.moments if m.is_("UploadPartCopy")]
    return [int(m.arguments["part_number"]) for m in asked]


def relayed_bytes(world: World) -> int:
    """Return how many reads of object bytes and writes of them were begun."""
    counts = [
        world.traffic.count("GetObject", side="source"),
        world.traffic.count("PutObject"),
        world.traffic.count("UploadPart"),
    ]
    return sum(counts)


def report_of(world: World) -> RunReport:
    """Return the report of the planned batch."""
    assert world.ref is not None
    return make_report(world.state, world.ref.manifest, now=NOW)


def verification_of(world: World) -> VerificationSummary:
    """Verify the planned batch."""
    assert world.ref is not None
    return verify_run(
        world.source, world.target, world.state, world.ref.manifest, stop=StopSignal(), now=NOW
    )


def is_whole(world: World, outcome: Outcome, data: bytes, key: str = KEY) -> bool:
    """Tell whether an object is at the target as it is at the source, and nothing is left over."""
    landed = world.target.data(key) == data and outcome.error is None
    return landed and not world.target.uploads
