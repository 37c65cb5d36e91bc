"""Where objects are cut: layouts cover the object, fit the limits and depend on nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.parts import (
    GIB,
    MIB,
    TIB,
    Limits,
    PartLayout,
    check_object_size,
    check_part_size,
    choose_layout,
    exact_source_layout,
    largest_object,
    refuse_layout,
    uniform_source_layout,
)

SIZES = st.integers(min_value=1, max_value=5 * TIB)
PART_SIZES = st.integers(min_value=5 * MIB, max_value=5 * GIB)
FEW_BYTES = st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=30)


def assert_covers(layout: PartLayout) -> None:
    """Make sure that the parts follow each other from the first byte to the last."""
    place = 0
    for expected, (number, part) in enumerate(layout.ranges(), start=1):
        assert (number, part.start) == (expected, place)
        assert part.length == layout.length_of(number) <= layout.largest
        place = part.stop
    assert place == layout.size
    assert number == layout.count


@given(size=SIZES, part_size=PART_SIZES)
@example(size=5 * TIB, part_size=5 * MIB)
@example(size=1, part_size=5 * GIB)
@example(size=10_000 * 16 * MIB + 1, part_size=16 * MIB)
def test_c21_a_chosen_layout_covers_the_object_within_the_limits(size: int, part_size: int) -> None:
    """Up to 5 TB, 10,000 parts suffice, each within the service's sizes, to the last byte."""
    limits = Limits()
    layout = choose_layout(size, limits, part_size)
    assert 1 <= layout.count <= limits.max_parts
    assert layout.part_size >= part_size
    assert layout.part_size <= limits.max_part_size
    last = layout.length_of(layout.count)
    assert (layout.count - 1) * layout.part_size + last == size
    assert 0 < last <= layout.part_size
    if layout.count > 1:
        assert layout.part_size >= limits.min_part_size


@given(size=st.integers(min_value=1, max_value=3000), part_size=st.integers(1, 200))
def test_a_chosen_layout_covers_the_object_byte_for_byte(size: int, part_size: int) -> None:
    """The ranges of the parts follow each other without a gap or an overlap."""
    limits = Limits(min_part_size=1, max_part_size=MIB, max_parts=3000)
    assert_covers(choose_layout(size, limits, part_size))


@given(size=SIZES, part_size=PART_SIZES, parts=st.integers(min_value=1000, max_value=10_000))
def test_c21_the_layout_depends_on_object_and_limits_alone(
    size: int, part_size: int, parts: int
) -> None:
    """Asked twice, the same object is cut at the same offsets."""
    limits = Limits(max_parts=parts)
    if size > largest_object(limits):
        with pytest.raises(InvalidInputError, match="accepted is at most"):
            choose_layout(size, limits, part_size)
        return
    one, other = choose_layout(size, limits, part_size), choose_layout(size, limits, part_size)
    assert one == other
    assert one.count <= parts


@given(
    size=st.integers(min_value=1, max_value=40 * MIB),
    most=st.integers(min_value=1, max_value=12),
    least=st.integers(min_value=1, max_value=5 * MIB),
)
def test_c21_limits_come_from_the_store(size: int, most: int, least: int) -> None:
    """A store that takes fewer or larger parts is given fewer or larger parts."""
    limits = Limits(min_part_size=least, max_part_size=8 * MIB, max_parts=most)
    if size > most * 8 * MIB:
        with pytest.raises(InvalidInputError, match="size of"):
            check_object_size("key", size, limits)
        return
    layout = choose_layout(size, limits, 1)
    assert layout.count <= most
    assert least <= layout.part_size <= 8 * MIB


@given(parts=FEW_BYTES)
def test_an_exact_source_layout_has_the_parts_that_were_listed(parts: list[int]) -> None:
    """Whatever the parts of the source are, each is reproduced as it is."""
    layout = exact_source_layout(sum(parts), parts)
    assert layout is not None
    assert [part.length for _, part in layout.ranges()] == parts
    assert layout.known
    assert layout.reproduces_source
    assert_covers(layout)


@given(parts=FEW_BYTES, wrong=st.integers(min_value=-3, max_value=3).filter(bool))
def test_parts_that_do_not_add_up_are_no_layout(parts: list[int], wrong: int) -> None:
    """Parts that are not the whole object, or have no bytes, are not taken for its layout."""
    assert exact_source_layout(sum(parts) + wrong, parts) is None
    assert exact_source_layout(sum(parts), [*parts, 0]) is None
    assert exact_source_layout(0, []) is None


@given(size=st.integers(1, 10_000), part_size=st.integers(1, 500))
def test_a_uniform_layout_is_inferred_from_its_first_part(size: int, part_size: int) -> None:
    """First part and number of parts give back the layout of a uniform cut, as a guess."""
    cut = PartLayout(size=size, part_size=part_size)
    layout = uniform_source_layout(size, cut.count, cut.length_of(1))
    assert layout is not None
    assert list(layout.ranges()) == list(cut.ranges())
    assert not layout.known
    assert layout.reproduces_source


@given(size=st.integers(-1, 300), count=st.integers(-1, 12), first=st.integers(-1, 80))
def test_c19a_an_inferred_layout_has_the_count_that_was_told(
    size: int, count: int, first: int
) -> None:
    """What cannot be a uniform cut into that many parts is not taken for one."""
    layout = uniform_source_layout(size, count, first)
    if layout is not None:
        assert layout.count == count
        assert layout.length_of(1) == min(first, size)
        assert_covers(layout)
    else:
        possible = count >= 1 and first >= 1 and (count - 1) * first < size <= count * first
        assert not possible


def test_why_a_source_layout_is_not_reproduced() -> None:
    """Each reason names what the source has and what the target takes."""
    limits = Limits(min_part_size=5, max_part_size=10, max_parts=3)

    def refusal(sizes: list[int], budget: int = 100) -> str | None:
        layout = exact_source_layout(sum(sizes), sizes)
        assert layout is not None
        return refuse_layout(layout, limits, budget)

    assert refusal([5, 7, 6]) is None
    assert refusal([5, 10, 1]) is None  # The last part may be small.
    assert refusal([3]) is None
    assert refusal([6, 6, 6, 6]) == "the source has 4 parts, the target takes 3"
    assert refusal([11, 6]) == "a source part has 11 bytes, the target takes 10"
    assert refusal([9, 6], 8) == "a source part has 9 bytes, the memory budget is 8"
    assert refusal([6, 4, 6]) == "a source part has 4 bytes, the target takes 5 and up"
    assert refusal([4, 4, 4]) == "a source part has 4 bytes, the target takes 5 and up"


@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5), budget=st.integers(1, 12))
def test_a_layout_is_refused_exactly_if_the_target_cannot_hold_it(
    sizes: list[int], budget: int
) -> None:
    """No layout that fits is refused, none that does not fit is let through."""
    limits = Limits(min_part_size=5, max_part_size=10, max_parts=3)
    layout = exact_source_layout(sum(sizes), sizes)
    assert layout is not None
    fits = len(sizes) <= 3 and max(sizes) <= min(10, budget) and all(n >= 5 for n in sizes[:-1])
    assert (refuse_layout(layout, limits, budget) is None) is fits


@pytest.mark.parametrize("found", [5 * MIB - 1, 5 * GIB + 1, -1, 0, True, "8", 1.5, None])
def test_a_part_size_outside_of_the_limits_is_refused(found: object) -> None:
    """The message names the parameter, what was found and what is accepted."""
    with pytest.raises(InvalidInputError, match=r"part_size: found .* accepted is a whole number"):
        check_part_size(found, Limits())


@pytest.mark.parametrize("size", [5 * MIB, 5 * GIB])
def test_the_limits_themselves_are_accepted(size: int) -> None:
    """The smallest and the largest part size are part sizes."""
    assert check_part_size(size, Limits()) == size


@pytest.mark.parametrize(
    ("size", "part_size", "sizes"),
    [(0, 5, None), (-1, 5, None), (10, 0, None), (10, 5, (5, 4)), (10, 5, (5, 5, 0))],
)
def test_a_layout_that_does_not_cover_its_object_cannot_be_made(
    size: int, part_size: int, sizes: tuple[int, ...] | None
) -> None:
    """A damaged checkpoint cannot give a layout with a hole."""
    with pytest.raises(ValueError, match="part layout covers"):
        PartLayout(size=size, part_size=part_size, sizes=sizes)
