"""An outcome's line, written by hand, is what a general encoder would write."""

from __future__ import annotations

import enum
import json
from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.manifest import dumps
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status

# Lone surrogates, control characters and quotes too: keys are opaque.
TEXT = st.text(st.characters(codec=None, categories=None), max_size=30)
MAYBE = st.none() | TEXT
COUNT = st.integers(0, 1 << 62)
WORDS = st.lists(TEXT, max_size=3).map(tuple)
OUTCOMES = st.builds(
    Outcome,
    key=TEXT,
    target_key=TEXT,
    status=st.sampled_from(Status),
    size=COUNT,
    source_etag=MAYBE,
    target_etag=MAYBE,
    proof=st.sampled_from(Proof),
    sent_parts=COUNT,
    kept_parts=COUNT,
    reread_parts=COUNT,
    bytes_moved=COUNT,
    unprotected=st.booleans(),
    by_service=st.booleans(),
    checkpointed=st.booleans(),
    superseded=WORDS,
    notes=WORDS,
    error=MAYBE,
    error_kind=MAYBE,
    retryable=st.booleans(),
)


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Return the fields, as JSON has them; lines had no ``by_service`` before services copied."""
    names = [field.name for field in fields(outcome)]
    if not outcome.by_service:
        names.remove("by_service")
    return {name: _plain(getattr(outcome, name)) for name in names}


@given(outcome=OUTCOMES)
def test_a_line_is_what_dumps_writes(outcome: Outcome) -> None:
    """Every field, in the same order, with the same escapes; one line, and ASCII."""
    line = outcome.to_line()
    assert line == dumps(as_dict(outcome)) + "\n"
    assert line.isascii()
    assert line.splitlines() == [line.removesuffix("\n")]


@given(outcome=OUTCOMES)
def test_a_line_is_read_as_it_was_written(outcome: Outcome) -> None:
    """As text and as bytes, surrogates included."""
    line = outcome.to_line()
    assert Outcome.from_line(line) == outcome
    assert Outcome.from_line(line.encode("ascii")) == outcome
    assert json.loads(line) == as_dict(outcome)


def test_every_field_is_generated() -> None:
    """A field that is added later is tried too."""
    drawn = set(OUTCOMES.wrapped_strategy.kwargs)  # type: ignore[attr-defined] # Hypothesis' own
    assert drawn == {field.name for field in fields(Outcome)}
