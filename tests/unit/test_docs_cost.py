"""The page on cost counts requests as the plan does."""

from __future__ import annotations

import re

from airflow_provider_s3resume.plan.cost import CopyCosts
from airflow_provider_s3resume.plan.parts import GIB, MIB
from tests.support.documents import ROOT

TEXT = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
PARTS = 64
TIMES = "\N{MULTIPLICATION SIGN}"


def row(title: str) -> dict[str, str]:
    """Return the requests of a row of the table, as they are written."""
    (cells,) = re.findall(rf"^\| {re.escape(title)} \| (.*) \|$", TEXT, re.MULTILINE)
    return dict(re.findall(r"`([a-z]+\.\w+)` (.+?)(?=, `|$)", cells))


def test_the_rows_are_those_of_the_plan() -> None:
    """In one request, in parts, and by the service."""
    relayed, service = CopyCosts(), CopyCosts(by_service=True)
    one = "up to `part_size` (16 MiB), not in parts at the source"
    assert row(one) == {name: str(n) for name, n in relayed.of(MIB, None).items()}
    whole = row("by the service, whole")
    assert whole == {name: str(n) for name, n in service.of(MIB, None).items()}
    for etag, heads in ((None, 1), ('"0f343b0931126a20f133d67c2b018a3b-64"', 2)):
        numbers = {"n": PARTS, "1 or 2": heads, "⌈n ÷ 1,000⌉": 1, "1": 1}
        written = {name: numbers[text] for name, text in row("in n parts").items()}
        assert written == relayed.of(GIB, etag)


def test_the_example_is_right() -> None:
    """61 objects of 1 GiB: what is charged as GET, and what as PUT."""
    requests = CopyCosts().of(GIB, '"0f343b0931126a20f133d67c2b018a3b-64"')
    source = sum(n for name, n in requests.items() if name.startswith("source."))
    target = sum(requests.values()) - source - requests["target.HeadObject"]
    assert f"61 {TIMES} ({PARTS} + 2) = {61 * source:,} GET" in TEXT
    assert f"61 {TIMES} ({PARTS} + 4) = {61 * target:,} PUT" in TEXT
