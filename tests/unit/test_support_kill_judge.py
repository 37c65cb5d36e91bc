"""The judge of the kill rounds finds what it is there to find."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.kill_judge import resent_parts, untrue
from tests.support.kill_script import script_of
from tests.support.wire_rules import Exchange

SCRIPT = script_of(1)


def sent(
    number: int, part: int, *, status: int | None = 200, at: int | None = None, upload: str = "u"
) -> Exchange:
    """Return a part as the wire recorded it; the server's answer came after ``at`` requests."""
    return Exchange(
        number=number,
        method="PUT",
        path="/target/key",
        query={"uploadId": upload, "partNumber": str(part)},
        headers={},
        upstream_status=status,
        answered_at=number if at is None and status else at,
    )


def test_a_part_sent_after_the_target_had_acknowledged_it_is_found() -> None:
    """Whether or not its answer reached anybody, and under a new upload, too."""
    assert resent_parts([sent(1, 1), sent(2, 2), sent(3, 1)])[0].startswith("part 1 of /target/key")
    assert len(resent_parts([sent(1, 1), sent(2, 1, upload="other")])) == 1
    assert len(resent_parts([sent(1, 1), sent(2, 1, status=None)])) == 1


@pytest.mark.parametrize(
    "again",
    [
        [sent(1, 1), sent(2, 2)],
        [sent(1, 1, status=None), sent(2, 1)],
        [sent(1, 1, status=503), sent(2, 1)],
        [sent(1, 1, at=2), sent(2, 1)],
    ],
    ids=["other part", "never answered", "refused", "begun before the answer"],
)
def test_a_part_that_had_to_be_sent_is_not_found(again: list[Exchange]) -> None:
    """It was another part, or nothing was acknowledged when it was begun."""
    assert resent_parts(again) == []


@pytest.mark.parametrize("name", ["planned", "copied", "verified", "failed"])
def test_a_report_that_is_not_true_is_found(name: str) -> None:
    """Each of the figures counts."""
    count = SCRIPT.objects
    report: dict[str, Any] = {"planned": count, "copied": count, "verified": count, "failed": 0}
    assert untrue(report, SCRIPT) == []
    assert len(untrue({**report, name: 1}, SCRIPT)) == 1
    there = {**report, "copied": count - 2, "already_there": 2}
    assert untrue(there, SCRIPT) == []
