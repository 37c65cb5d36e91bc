"""Lines of outcomes are what a general encoder makes of the same fields."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.manifest import dumps
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status

TEXTS = st.text(max_size=20)
MAYBE = st.none() | TEXTS
OUTCOMES = st.builds(
    Outcome,
    key=TEXTS,
    target_key=TEXTS,
    status=st.sampled_from(Status),
    size=st.integers(min_value=0),
    source_etag=MAYBE,
    target_etag=MAYBE,
    proof=st.sampled_from(Proof),
    bytes_moved=st.integers(),
    unprotected=st.booleans(),
    by_service=st.booleans(),
    superseded=st.lists(TEXTS).map(tuple),
    notes=st.lists(TEXTS).map(tuple),
    error=MAYBE,
)


@given(OUTCOMES)
def test_a_line_is_what_a_general_encoder_writes(outcome: Outcome) -> None:
    """To the letter, and it is read back as the same outcome."""
    fields = {**asdict(outcome), "status": outcome.status.value, "proof": outcome.proof.value}
    if not outcome.by_service:
        del fields["by_service"]  # As lines were written before services copied.
    assert outcome.to_line() == dumps(fields) + "\n"
    assert Outcome.from_line(outcome.to_line()) == outcome
