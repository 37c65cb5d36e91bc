"""What ``make demo-parity`` plays: one function for each thing that users of older tools did.

A module ``tests/support/parity_cases_<group>.py`` decorates its functions with :func:`case`; the
runner finds all such modules by their names. A function gets a world of its own, and raises
AssertionError where what another tool reads back is not what was put in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.parity_world import World

    Play = Callable[[World], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One use case.

    :param group: what it is about, as ``S3 to S3``.
    :param name: what a user would say that it does.
    :param play: plays it, and raises where the outcome is not what was meant.
    """

    group: str
    name: str
    play: Play

    @property
    def title(self) -> str:
        """The case in one line."""
        return f"{self.group}: {self.name}"


CASES: list[Case] = []


def case(group: str, name: str) -> Callable[[Play], Play]:
    """Return a decorator that makes a function a case."""

    def register(play: Play) -> Play:
        made = Case(group=group, name=name, play=play)
        if made.title in {known.title for known in CASES}:
            raise ValueError(f"two cases are called {made.title!r}")
        CASES.append(made)
        return play

    return register
