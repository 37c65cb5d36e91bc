"""A batch that fails says of which kinds its errors were, so that its task can choose a wait."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    ObjectsFailedError,
    S3ResumeError,
    ThrottledError,
    VerificationError,
)
from airflow_provider_s3resume.plan.attempts import rule_for
from tests.support.transfer_world import Moment, World, no_waits, pattern

ERRORS: dict[str, S3ResumeError] = {
    "denied": AccessDeniedError("PutObject", "s3://to/denied", "AccessDenied"),
    "throttled": ThrottledError("PutObject", "s3://to/throttled", "SlowDown"),
    "unproven": VerificationError("another digest"),
}


def fail(monkeypatch: pytest.MonkeyPatch, *keys: str) -> ObjectsFailedError:
    """Copy a good object and these, and return what the batch raises."""
    no_waits(monkeypatch)
    world = World()
    for key in ("good", *keys):
        world.seed(pattern(5), key=key)
    world.plan("good", *keys)

    def refuse(moment: Moment) -> None:
        if moment.is_("PutObject") and moment.key in ERRORS:
            raise ERRORS[moment.key]

    world.on_moment = refuse
    result = world.run()
    assert world.target.data("good") == pattern(5)
    with pytest.raises(ObjectsFailedError) as raised:
        result.raise_for_failures()
    return raised.value


def test_c41_a_batch_tells_the_kinds_that_another_attempt_can_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Throttling among other errors makes its task wait as long as throttling needs."""
    error = fail(monkeypatch, "denied", "throttled", "unproven")
    assert error.kinds == {"ThrottledError", "VerificationError"}
    rule = rule_for(error)
    assert rule is not None
    assert rule.error is ThrottledError


def test_c41_a_batch_of_hopeless_objects_is_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait helps it."""
    error = fail(monkeypatch, "denied")
    assert (error.retryable, error.kinds, rule_for(error)) == (False, frozenset(), None)
