"""The page on troubleshooting knows every error that the package makes, and no others."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume import exceptions
from tests.support.documents import ROOT, read_page
from tests.support.raised import GAP, all_raised, public_errors, stands_for

PAGE = read_page(ROOT / "docs" / "troubleshooting.md")
NAMES = ("What cannot be used", "Stored records")
"""Of parameters and records: what stands before the colon of their messages."""
MESSAGES = ("Plans that are refused", "Listings", "Proofs", "Objects that failed", "Stops")
NAMING = {"InvalidInputError", "ManifestError"}
# Their words are a call and what the service says of it: the class tells what to do.
OF_A_SERVICE = {n for n, c in public_errors().items() if issubclass(c, exceptions.StoreError)}
RAISED = [one for one in all_raised() if one.words and one.kind not in OF_A_SERVICE]
LEAST = 12
"""Letters of a quoted piece; shorter ones have to be the whole message."""


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the tables under a heading, but their heads."""
    section = PAGE.prose.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert lines, heading
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def quoted(*headings: str) -> list[str]:
    """Return what the first columns of tables quote."""
    cells = [row[0] for heading in headings for row in rows(heading)]
    return [text for cell in cells for text in cell.strip("`").split("`, `")]


def explains(text: str, words: str, *, name: bool) -> bool:
    """Return whether a quoted text stands for a message, or for the name of what is at fault."""
    if text == words:
        return True
    long_enough = len(text.replace(GAP, "").strip()) >= (LEAST // 2 if name else LEAST)
    return long_enough and stands_for(text, words, whole=name)


def test_every_class_has_a_row() -> None:
    """With whether another attempt helps, as the class says."""
    told = {row[0].strip("`"): row for row in rows("Classes of errors")}
    assert set(told) == set(public_errors())
    for name, error in public_errors().items():
        assert all(told[name])
        ways = {"yes"} if error.retryable else {"no", "-", "as it says", "as its objects"}
        assert told[name][1] in ways


@pytest.mark.parametrize("kind", sorted({one.kind for one in RAISED}))
def test_every_message_is_in_the_page(kind: str) -> None:
    """A piece of it is quoted, or, of what cannot be used, the name of the parameter."""
    naming = kind in NAMING
    texts = quoted(*(NAMES if naming else MESSAGES))
    made = {one.words: one.place for one in RAISED if one.kind == kind}
    assert made
    left = {w: p for w, p in made.items() if not any(explains(t, w, name=naming) for t in texts)}
    assert not left


@pytest.mark.parametrize(("headings", "naming"), [(NAMES, True), (MESSAGES, False)])
def test_every_quoted_message_is_one_that_is_made(
    headings: tuple[str, ...],
    naming: bool,  # noqa: FBT001 - a column of the cases
) -> None:
    """Nothing is left of errors that are gone."""
    made = {one.words for one in RAISED if (one.kind in NAMING) is naming}
    gone = [t for t in quoted(*headings) if not any(explains(t, w, name=naming) for w in made)]
    assert not gone


def test_an_error_that_the_page_does_not_know_is_found() -> None:
    """A short piece covers nothing but itself, and a name no other one."""
    words = "…: key … is repeated or out of byte order"
    assert explains("is repeated or out of byte order", words, name=False)
    assert not explains("listing of …", "listing of …: another thing", name=False)
    assert explains("selection.…", "selection.key_list", name=True)
    assert not explains("selection", "selection.key_list", name=True)
    assert not explains("… of …", "extra of …", name=True)
