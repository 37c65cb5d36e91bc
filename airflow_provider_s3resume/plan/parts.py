"""Where an object is cut: limits of a store, part layouts, and how a layout is chosen.

A layout depends on the object and the limits alone, never on memory, concurrency or what an
earlier attempt did, so that every attempt cuts at the same offsets (c21). What is written in a
checkpoint wins over what would be chosen today.

Source of the default numbers: "Amazon S3 multipart upload limits".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.objects import ByteRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

DEFAULT_PART_SIZE = 16 * MIB
"""Bytes. Larger than the 5-8 MiB of most tools: on long links few, larger parts move faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a store accepts in numbers; sizes in bytes."""

    min_part_size: int = 5 * MIB
    max_part_size: int = 5 * GIB
    max_parts: int = 10_000
    max_single_put: int = 5 * GIB
    max_object_size: int = 50 * TIB
    max_key_bytes: int = 1024
    list_page: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLayout:
    """How an object of ``size`` bytes is cut.

    Either all parts have ``part_size`` bytes (the last may be shorter), or ``sizes`` lists each.

    :param known: True if it is the source's own layout, read part by part; False if it was
        inferred from the first part, or chosen by us.
    :param reproduces_source: True if the target's ETag should come out as the source's.
    """

    size: int
    part_size: int
    sizes: tuple[int, ...] | None = None
    known: bool = False
    reproduces_source: bool = False

    def __post_init__(self) -> None:
        """Refuse a layout that does not cover the object byte for byte.

        :raises ValueError: if it does not.
        """
        covered = self.size if self.sizes is None else sum(self.sizes)
        positive = self.part_size > 0 and all(n > 0 for n in self.sizes or (1,))
        if self.size <= 0 or covered != self.size or not positive:
            msg = f"part layout covers {covered} of {self.size} bytes in parts of {self.part_size}"
            raise ValueError(msg)

    @property
    def count(self) -> int:
        """Number of parts."""
        return len(self.sizes) if self.sizes is not None else -(-self.size // self.part_size)

    @property
    def largest(self) -> int:
        """Size of the largest part in bytes."""
        return max(self.sizes) if self.sizes is not None else min(self.part_size, self.size)

    def length_of(self, part_number: int) -> int:
        """Return the bytes of one part (numbers count from 1).

        :raises IndexError: if there is no such part.
        """
        if not 1 <= part_number <= self.count:
            msg = f"no part {part_number} in a layout of {self.count}"
            raise IndexError(msg)
        if self.sizes is not None:
            return self.sizes[part_number - 1]
        return min(self.part_size, self.size - (part_number - 1) * self.part_size)

    def ranges(self) -> Iterator[tuple[int, ByteRange]]:
        """Yield (part number, byte range) for every part in order."""
        start = 0
        for number in range(1, self.count + 1):
            stop = start + self.length_of(number)
            yield number, ByteRange(start=start, stop=stop)
            start = stop


def check_part_size(part_size: object, limits: Limits, *, parameter: str = "part_size") -> int:
    """Return a part size given by the user, if the store accepts it.

    :raises InvalidInputError: if it is no whole number within the store's limits.
    """
    accepted = (
        f"a whole number of bytes from {limits.min_part_size} to {limits.max_part_size} "
        f"({limits.min_part_size // MIB} MiB to {limits.max_part_size // GIB} GiB)"
    )
    if not isinstance(part_size, int) or isinstance(part_size, bool):
        raise InvalidInputError(parameter, found=part_size, accepted=accepted)
    if not limits.min_part_size <= part_size <= limits.max_part_size:
        raise InvalidInputError(parameter, found=part_size, accepted=accepted)
    return part_size


def largest_object(limits: Limits) -> int:
    """Return the bytes of the largest object that a store can hold, its parts considered."""
    return min(limits.max_object_size, limits.max_part_size * limits.max_parts)


def check_object_size(key: str, size: int, limits: Limits) -> None:
    """Refuse an object that the target cannot hold.

    :raises InvalidInputError: naming the key and the limit.
    """
    most = largest_object(limits)
    if size > most:
        parameter = f"size of {key!r}"
        raise InvalidInputError(parameter, found=size, accepted=f"at most {most} bytes")


def choose_layout(size: int, limits: Limits, part_size: int = DEFAULT_PART_SIZE) -> PartLayout:
    """Choose where to cut an object whose source layout is not reproduced.

    The part size grows, in whole MiB, until ``limits.max_parts`` parts suffice.

    :param size: bytes, more than 0.
    :raises InvalidInputError: if the target cannot hold the object.
    """
    check_object_size("object", size, limits)
    needed = -(-size // limits.max_parts)
    grown = -(-needed // MIB) * MIB if needed > part_size else part_size
    chosen = min(max(grown, limits.min_part_size), limits.max_part_size)
    return PartLayout(size=size, part_size=chosen)


def uniform_source_layout(size: int, part_count: int, first_part: int) -> PartLayout | None:
    """Infer the source's layout from its first part and its number of parts.

    :returns: the layout, or ``None`` if parts of this size cannot add up to ``size``: then each
        part has to be asked for. Parts of 5, 7 and 6 bytes pass this test as 5-sized ones of
        another total would; that is why the result is not ``known`` (c19a).
    """
    if part_count < 1 or first_part < 1:
        return None
    if not (part_count - 1) * first_part < size <= part_count * first_part:
        return None
    return PartLayout(size=size, part_size=first_part, reproduces_source=True)


def exact_source_layout(size: int, sizes: Sequence[int]) -> PartLayout | None:
    """Return the layout that the sizes of all parts make, ``None`` if they do not add up."""
    if not sizes or sum(sizes) != size or min(sizes) < 1:
        return None
    if all(n == sizes[0] for n in sizes[:-1]) and sizes[-1] <= sizes[0]:
        return PartLayout(size=size, part_size=sizes[0], known=True, reproduces_source=True)
    return PartLayout(
        size=size, part_size=max(sizes), sizes=tuple(sizes), known=True, reproduces_source=True
    )


def refuse_layout(layout: PartLayout, limits: Limits, memory_budget: int) -> str | None:
    """Say why a source layout cannot be reproduced at the target, or ``None`` if it can.

    :param memory_budget: bytes that the copy may hold at once; one part must fit.
    """
    if layout.count > limits.max_parts:
        return f"the source has {layout.count} parts, the target takes {limits.max_parts}"
    if layout.largest > limits.max_part_size:
        return f"a source part has {layout.largest} bytes, the target takes {limits.max_part_size}"
    if layout.largest > memory_budget:
        return f"a source part has {layout.largest} bytes, the memory budget is {memory_budget}"
    smallest = (
        min(layout.length_of(n) for n in range(1, layout.count)) if layout.count > 1 else None
    )
    if smallest is not None and smallest < limits.min_part_size:
        return f"a source part has {smallest} bytes, the target takes {limits.min_part_size} and up"
    return None
