"""The guide for users of older tools names every setting that those have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.documents import ROOT, read_page

PAGE = read_page(ROOT / "docs" / "migrating.md")
KEYS: dict[str, list[str]] = json.loads(
    (Path(__file__).parent.parent / "data" / "predecessor-keys.json").read_text(encoding="utf-8")
)
SECTIONS = {
    "amazon-s3-resumable-upload, single node": "## Single node",
    "amazon-s3-resumable-upload, cluster and serverless": "## Cluster and serverless",
    "amazon-s3-resumable-upload, version 2 (s3trans)": "## Version 2: s3trans",
    "Data Transfer Hub, S3 plugin": "## Data Transfer Hub: the S3 plugin",
    "data-transfer-hub-cli": "## Data Transfer Hub: the S3 plugin",
}


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the tables under a heading."""
    section = PAGE.prose.partition(f"{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [line.strip("|").split(" | ") for line in lines]


@pytest.mark.parametrize("tool", KEYS)
def test_every_setting_has_a_row(tool: str) -> None:
    """With what takes its place, or why nothing does."""
    found = rows(SECTIONS[tool])
    named = {name for row in found for name in re.findall(r"`([^`]+)`", row[0])}
    assert set(KEYS[tool]) <= named
    assert all(len(row) == 2 and row[1].strip() for row in found)


def test_no_row_is_of_a_setting_that_nobody_had() -> None:
    """Each first column names settings of the tools of its section."""
    for heading in set(SECTIONS.values()):
        known = {key for tool, of in SECTIONS.items() if of == heading for key in KEYS[tool]}
        named = {n for row in rows(heading) for n in re.findall(r"`([^`]+)`", row[0])}
        assert named - known <= {"PUT", "GET"}
