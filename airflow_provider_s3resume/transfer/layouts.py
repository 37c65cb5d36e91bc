"""Finding out how a source object was cut, and deciding how the copy is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.digests import part_count_of_etag
from airflow_provider_s3resume.plan.parts import (
    PartLayout,
    choose_layout,
    exact_source_layout,
    refuse_layout,
    uniform_source_layout,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import PartInfo
    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.reading import ExactSource


def layout_of_copy(
    context: CopyContext,
    source: ExactSource,
    info: ObjectInfo,
    first_part: Callable[[], PartInfo | None],
) -> tuple[PartLayout, tuple[str, ...]]:
    """Return how to cut the copy, and what the report should say about it.

    The source's own layout where it is known and fits the target, else one chosen by size.

    :param first_part: tells of the source's first part.
    """
    notes: tuple[str, ...] = ()
    if context.config.reproduce_layout:
        found = source_layout(source, info, first_part)
        refusal = found and refuse_layout(
            found, context.target.limits, context.config.memory_budget // 2
        )
        if found is not None and refusal is None:
            return found, ()
        if refusal is not None:
            notes = (f"source part layout not reproduced: {refusal}",)
    chosen = choose_layout(info.size, context.target.limits, context.config.part_size)
    return chosen, notes


def source_layout(
    source: ExactSource, info: ObjectInfo, first_part: Callable[[], PartInfo | None]
) -> PartLayout | None:
    """Return the source's own layout: from its first part if parts are uniform, else from each."""
    count = part_count_of_etag(info.etag)
    if count is None or not source.store.capabilities.part_layout:
        return None
    first = first_part()
    if first is None or first.part_count != count:
        return None
    uniform = uniform_source_layout(info.size, count, first.size)
    return uniform if uniform is not None else part_by_part(source, info.size, count)


def part_by_part(source: ExactSource, size: int, count: int) -> PartLayout | None:
    """Ask for the size of each part, ``None`` if the store does not tell them all."""
    sizes: list[int] = []
    for number in range(1, count + 1):
        part = source.part(number)
        if part is None:
            return None
        sizes.append(part.size)
    return exact_source_layout(size, sizes)
