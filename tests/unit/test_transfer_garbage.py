"""When a task looks for garbage."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from airflow_provider_s3resume.transfer.garbage import standing_heap


class Knot:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leave the collector as it was."""
    looks, frozen = gc.isenabled(), gc.get_freeze_count()
    yield
    gc.unfreeze()
    assert not frozen
    (gc.enable if looks else gc.disable)()


def test_nobody_looks_while_stores_are_opened_and_then_at_new_things_alone() -> None:
    """What is made later, and thrown away, is found as always."""
    gc.enable()
    with standing_heap() as stand:
        assert not gc.isenabled()
        before = weakref.ref(Knot())
        stand()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        after = weakref.ref(Knot())
        gc.collect()
        assert before() is not None
        assert after() is None
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert before() is None


@pytest.mark.parametrize("stands", [False, True])
def test_an_error_leaves_the_collector_at_work(*, stands: bool) -> None:
    """Be it before all is open, or later."""
    gc.enable()
    with pytest.raises(ValueError, match="refused"), standing_heap() as stand:
        if stands:
            stand()
        raise ValueError("refused")
    assert gc.isenabled()


def test_what_others_froze_stays_frozen() -> None:
    """An executor's processes share it; they end with their task."""
    gc.enable()
    gc.freeze()
    # Their number falls when one of them is no longer wanted by anybody; thawed, it would be 0.
    with pytest.raises(ValueError, match="refused"), standing_heap():
        raise ValueError("refused")
    assert gc.get_freeze_count() > 0
    with standing_heap() as stand:
        stand()
    assert gc.get_freeze_count() > 0


def test_a_collector_that_somebody_has_stopped_is_not_started() -> None:
    """It is theirs to say when it looks."""
    gc.disable()
    with standing_heap() as stand:
        stand()
        assert not gc.isenabled()
    assert not gc.isenabled()
