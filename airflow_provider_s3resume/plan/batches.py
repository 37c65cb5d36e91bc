"""Pack copy actions into batches: bounded in objects, bytes and number; large ones first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.parts import GIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST_BATCHES = 1000
"""Airflow refuses to map over more than 1,024 items by default (``core.max_map_length``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How large a batch may be. When the number is too small for a bucket, the other two grow.

    :param max_objects: objects in one batch.
    :param max_bytes: bytes in one batch; one larger object is a batch of its own.
    :param max_batches: mapped task instances of one run.
    """

    max_objects: int = 5_000
    max_bytes: int = 64 * GIB
    max_batches: int = 200

    def __post_init__(self) -> None:
        """Refuse limits that no batch can keep.

        :raises InvalidInputError: naming the parameter.
        """
        for name in ("max_objects", "max_bytes", "max_batches"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidInputError(name, found=value, accepted="a whole number from 1")
        # One batch more than the bound of `widened` needs at least two.
        if not 2 <= self.max_batches <= MOST_BATCHES:  # noqa: PLR2004 - see the line above
            accepted = f"a whole number from 2 to {MOST_BATCHES}"
            raise InvalidInputError("max_batches", found=self.max_batches, accepted=accepted)


def widened(limits: BatchLimits, objects: int, size: int) -> BatchLimits:
    """Return limits under which ``objects`` of ``size`` bytes in all fit the number of batches.

    Two neighbouring batches of :func:`pack` together exceed one of the two limits, so there are at
    most ``2 * objects / max_objects + 2 * size / max_bytes + 1`` of them.
    """
    pairs = 2 * objects / limits.max_objects + 2 * size / limits.max_bytes
    factor = pairs / (limits.max_batches - 1)
    if factor <= 1:
        return limits
    return BatchLimits(
        max_objects=int(limits.max_objects * factor) + 1,
        max_bytes=int(limits.max_bytes * factor) + 1,
        max_batches=limits.max_batches,
    )


_Item = TypeVar("_Item")


def pack(
    items: Iterable[_Item], size_of: Callable[[_Item], int], limits: BatchLimits
) -> Iterator[list[_Item]]:
    """Cut a stream in key order into batches of neighbours; each sorted with its largest first.

    Neighbours stay together, so that a retry can find what is there by listing one key range.
    """
    batch: list[_Item] = []
    filled = 0
    for item in items:
        size = size_of(item)
        if batch and (len(batch) >= limits.max_objects or filled + size > limits.max_bytes):
            yield sorted(batch, key=size_of, reverse=True)
            batch, filled = [], 0
        batch.append(item)
        filled += size
    if batch:
        yield sorted(batch, key=size_of, reverse=True)
