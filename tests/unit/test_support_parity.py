"""The runner of ``make demo-parity``: it finds all cases, and a case that fails is seen."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, cast

import pytest

from tests.support import parity, parity_registry
from tests.support.parity_registry import Case, case
from tests.support.parity_sides import Found, differences

if TYPE_CHECKING:
    from tests.support.parity_world import World


class FakeWorld:
    """What the runner itself uses of a world."""

    def __init__(self) -> None:
        self.ended = 0

    def end_case(self) -> None:
        """Count."""
        self.ended += 1


def found(**more: str) -> Found:
    """Return an object as it was read back."""
    return Found(size=3, sha256="abc", headers=more)


def test_all_modules_of_cases_are_found() -> None:
    """Each case has a title of its own."""
    cases = parity.load_cases()
    assert len({one.title for one in cases}) == len(cases) >= 30
    assert {one.group for one in cases} >= {"S3 to S3", "OSS to S3", "resume", "keys", "sizes"}


def test_two_cases_of_one_title_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one of them nobody would read."""
    monkeypatch.setattr(parity_registry, "CASES", [])
    case("group", "name")(lambda _: None)
    with pytest.raises(ValueError, match="group: name"):
        case("group", "name")(lambda _: None)


def test_words_choose_cases() -> None:
    """By their titles, however they are written; none chooses all."""
    cases = [Case(group="OSS", name="links", play=lambda _: None)]
    cases += [Case(group="keys", name="slashes", play=lambda _: None)]
    assert parity.chosen(cases, []) == cases
    assert parity.chosen(cases, ["LINK"]) == cases[:1]
    assert parity.chosen(cases, ["nothing"]) == []


def test_a_case_that_fails_is_told_and_the_next_one_is_played(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With where it failed; what it had started is ended either way."""

    def fail(_: World) -> None:
        raise AssertionError("other bytes")

    world = FakeWorld()
    played = [
        parity.play(cast("World", world), Case(group="g", name=name, play=play), StringIO())
        for name, play in (("bad", fail), ("good", lambda _: None))
    ]
    printed = capsys.readouterr().out
    assert played == [False, True]
    assert world.ended == 2
    assert "FAILED  g: bad" in printed
    assert "other bytes" in printed
    assert "passed  g: good" in printed


def test_the_last_line_adds_up() -> None:
    """Exactly so, for scripts to read."""
    assert parity.summary(41, 1) == "demo-parity: cases=42 passed=41 failed=1"


def test_every_difference_is_named() -> None:
    """Missing, too much, and other than wanted: in bytes, headers or tags."""
    wanted = {"a": found(), "b": found(x="1"), "c": found()}
    lines = differences(wanted, {"b": found(x="2"), "c": found(), "d": found()})
    assert [line.split(" ")[0] for line in lines] == ["'a'", "'d'", "'b'"]
    assert differences(wanted, dict(wanted)) == []
