"""The page on reliability tells what there is."""

from __future__ import annotations

from tests.support.bootstrap import ROOT
from tests.support.parity import load_cases


def test_the_number_of_cases_is_that_of_the_demo() -> None:
    """Of the uses of older tools that are played."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert f"| {len(list(load_cases()))} cases;" in page
