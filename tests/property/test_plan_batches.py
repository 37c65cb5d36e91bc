"""Batches: bounded, complete, of neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.batches import MOST_BATCHES, BatchLimits, pack, widened

SIZES = st.lists(st.integers(min_value=0, max_value=60), max_size=80)
LIMITS = st.builds(
    BatchLimits,
    max_objects=st.integers(1, 12),
    max_bytes=st.integers(1, 90),
    max_batches=st.integers(2, 30),
)


def packed(sizes: list[int], limits: BatchLimits) -> list[list[tuple[int, int]]]:
    """Return the batches of (place, size)."""
    return list(pack(enumerate(sizes), lambda item: item[1], limits))


@given(sizes=SIZES, limits=LIMITS)
def test_nothing_is_lost_doubled_or_taken_from_its_neighbours(
    sizes: list[int], limits: BatchLimits
) -> None:
    """Batches one after the other, each put back in order, are the stream that went in."""
    batches = packed(sizes, limits)
    assert [item for batch in batches for item in sorted(batch)] == list(enumerate(sizes))
    assert all(batches)


@given(sizes=SIZES, limits=LIMITS)
def test_a_batch_keeps_its_bounds_and_has_its_largest_first(
    sizes: list[int], limits: BatchLimits
) -> None:
    """No batch has more objects or bytes than allowed, but for one object that is larger."""
    for batch in packed(sizes, limits):
        amounts = [size for _, size in batch]
        assert len(batch) <= limits.max_objects
        assert sum(amounts) <= limits.max_bytes or len(batch) == 1
        assert amounts == sorted(amounts, reverse=True)


@given(sizes=SIZES, limits=LIMITS)
def test_the_number_of_batches_is_bounded(sizes: list[int], limits: BatchLimits) -> None:
    """Where the number is too small for a bucket, batches grow; nothing is left out."""
    wide = widened(limits, len(sizes), sum(sizes))
    batches = packed(sizes, wide)
    assert len(batches) <= limits.max_batches
    assert sum(map(len, batches)) == len(sizes)
    assert wide.max_objects >= limits.max_objects
    assert wide.max_bytes >= limits.max_bytes


@given(
    objects=st.integers(0, 10**10), size=st.integers(0, 10**19), number=st.integers(2, MOST_BATCHES)
)
def test_the_bound_holds_for_buckets_of_any_size(objects: int, size: int, number: int) -> None:
    """The arithmetic behind it, where no list could be made."""
    limits = widened(BatchLimits(max_batches=number), objects, size)
    assert 2 * objects / limits.max_objects + 2 * size / limits.max_bytes + 1 <= number + 1e-6


def test_a_stream_is_packed_while_it_comes() -> None:
    """The first batch is there before the stream has ended."""

    def stream() -> Iterator[int]:
        yield from (1, 1, 1)
        pytest.fail("the stream was read ahead of the batch")

    batches = pack(stream(), lambda item: item, BatchLimits(max_objects=2))
    assert next(batches) == [1, 1]


@pytest.mark.parametrize("name", ["max_objects", "max_bytes", "max_batches"])
@pytest.mark.parametrize("found", [0, -1, 1.5, "5", True, None])
def test_limits_that_no_batch_can_keep_are_refused(name: str, found: object) -> None:
    """The message names the parameter, what was found and what is accepted."""
    with pytest.raises(InvalidInputError, match=rf"{name}: found .* accepted is a whole number"):
        BatchLimits(**{name: found})  # type: ignore[arg-type]


@pytest.mark.parametrize("found", [1, MOST_BATCHES + 1])
def test_a_number_of_batches_that_airflow_refuses_is_refused(found: int) -> None:
    """Airflow maps over about a thousand items at most."""
    with pytest.raises(
        InvalidInputError, match=f"accepted is a whole number from 2 to {MOST_BATCHES}"
    ):
        BatchLimits(max_batches=found)
