"""What the estimate of a plan's requests rests on, and what the plan itself has asked beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.cost import CopyCosts
from airflow_provider_s3resume.plan.diff import EQUAL, Criterion, Reason, Verb
from airflow_provider_s3resume.storage.express import express_of
from airflow_provider_s3resume.storage.server_side import server_side_of
from airflow_provider_s3resume.transfer.config import ServerSideCopy
from airflow_provider_s3resume.transfer.express import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.plan.diff import DiffRule
    from airflow_provider_s3resume.storage.base import ObjectStore


def costs_of(
    source: ObjectStore, target: ObjectStore, part_size: int, choice: ServerSideCopy
) -> CopyCosts:
    """Return what the requests of the copies between two stores depend on.

    :param part_size: bytes, of the copies.
    :param choice: who is to move the bytes; what the service says to it, only the copies find out.
    """
    lane = express_of(source) is not None and express_of(target) is not None
    relayed = lane and choice is not ServerSideCopy.REQUIRE
    return CopyCosts(
        limits=target.limits,
        part_size=part_size,
        reproduces=source.capabilities.part_layout,
        by_service=choice is not ServerSideCopy.NEVER and _may_copy(source, target),
        relayed_up_to=MOST_BYTES if relayed else -1,
    )


def _may_copy(source: ObjectStore, target: ObjectStore) -> bool:
    """Tell whether both sides are one service, and nothing that is known forbids copies by it."""
    one = (source.scheme, source.service) == (target.scheme, target.service)
    keys = source.capabilities.customer_key or target.capabilities.customer_key
    return one and not keys and server_side_of(target) is not None


def asked_by_plan(rule: DiffRule, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the requests that the plan itself has made of single objects, by side and name.

    The criterion ``metadata`` asks both objects of each pair that is equal otherwise.

    :param counts: see ``Manifest.counts``.
    """
    if Criterion.METADATA not in rule.criteria:
        return {}
    equal = sum(counts.get(f"{Verb.SKIP.value}.{reason.value}", 0) for reason in EQUAL)
    pairs = equal + counts.get(f"{Verb.COPY.value}.{Reason.METADATA_DIFFERS.value}", 0)
    return {f"plan.{side}.HeadObject": pairs for side in ("source", "target")} if pairs else {}
