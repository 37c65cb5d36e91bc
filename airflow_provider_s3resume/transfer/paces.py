"""How fast a batch was copied, and with how much under way: kept for the run report.

A figure for whoever tunes a worker, and nothing that a copy rests on: a batch without one is
reported without it.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import ManifestError, StoreError
from airflow_provider_s3resume.plan.manifest import dumps, loads
from airflow_provider_s3resume.transfer.reading import READ_STEP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.state import StateLocation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What other processes than the task's own did: how many, and with how much under way."""

    processes: int = 0
    objects_at_once: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What one attempt at a batch chose, and what it saw. Sizes in bytes, times in seconds.

    :param objects_at_once: small objects under way; as given, or as they were found to bring most.
    :param parts_at_once: the same of parts.
    :param object_threads: objects that are copied in threads of their own.
    :param read_bytes: the most that one read asks for.
    :param processes: that copied small objects, beside the task's own; 0 if it did all itself.
    :param streamed: parts went to the target while they were read.
    """

    objects_at_once: int
    parts_at_once: int
    object_threads: int
    read_bytes: int
    memory_budget: int
    processes: int
    streamed: bool
    seconds: float
    objects_per_second: float
    bytes_per_second: float

    @classmethod
    def of(cls, context: CopyContext, seconds: float, shared: Shared) -> Pace:
        """Return the pace of a batch that took so long."""
        figures, spent = context.progress.figures(), max(seconds, 0.001)
        return cls(
            objects_at_once=shared.objects_at_once or context.objects.allowed,
            processes=shared.processes,
            parts_at_once=context.parts.allowed,
            object_threads=context.threads.allowed,
            read_bytes=READ_STEP,
            memory_budget=context.budget.total,
            streamed=bool(context.verdict.streams),
            seconds=round(spent, 3),
            objects_per_second=round(figures.objects_done / spent, 3),
            bytes_per_second=round(figures.bytes_moved / spent, 3),
        )


def pace_name(manifest_key: str, index: int) -> str:
    """Return the name of a batch's pace under the state prefix."""
    return f"{manifest_key.rpartition('/')[0]}/paces/{index:05d}.json"


def store_pace(state: StateLocation, name: str, pace: Pace) -> None:
    """Keep a pace; that it cannot be kept fails nothing."""
    try:
        state.write_text(name, dumps(asdict(pace)))
    except StoreError as error:
        log.warning("The pace of the batch was not kept: %s", error)


def paces_of(state: StateLocation, names: Iterable[str]) -> Mapping[str, float]:
    """Add up the paces of batches: how many there are, and of each figure the largest."""
    known = {field.name for field in fields(Pace)}
    most: dict[str, float] = {}
    count = 0
    for name in names:
        text = state.read_text(name)
        if text is None:
            continue
        try:
            found = loads(text, what="pace of a batch")
        except ManifestError as error:
            log.warning("%s", error)
            continue
        count += 1
        for figure, value in found.items():
            if figure in known and isinstance(value, int | float):
                most[figure] = max(most.get(figure, 0), value)
    return {"batches": count, **most} if count else {}
