"""The table of waits: which errors end a task, and how long it waits after the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume import exceptions
from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CopyStoppedError,
    CredentialsExpiredError,
    DigestRejectedError,
    ListingError,
    ObjectsFailedError,
    RangeMismatchError,
    ReportedError,
    S3ResumeError,
    SourceChangedError,
    StoreError,
    ThrottledError,
    TransientStoreError,
    UnexpectedError,
    VerificationError,
)
from airflow_provider_s3resume.plan.attempts import RULES, Wait, rule_for

DELAY_S, MOST_S = 30.0, 600.0


def made(kind: type[S3ResumeError]) -> S3ResumeError:
    """Return an error of a class."""
    if issubclass(kind, StoreError):
        return kind("PutObject", "s3://b/k", "detail")
    return kind("message")


def waits(error: S3ResumeError, *, chance: float = 0.0) -> list[float] | None:
    """Return the waits after the first four attempts, ``None`` where Airflow's own hold."""
    rule = rule_for(error)
    assert rule is not None
    if rule.wait is None:
        return None
    return [
        rule.wait.seconds(delay_s=DELAY_S, most_s=MOST_S, attempt=n, chance=chance)
        for n in range(1, 5)
    ]


def classes() -> list[type[S3ResumeError]]:
    """Return all classes of the tree that can be made without saying whether a retry helps."""
    found = [c for c in vars(exceptions).values() if isinstance(c, type)]
    ours = [c for c in found if issubclass(c, S3ResumeError)]
    skipped = (ReportedError, exceptions.InvalidInputError)
    return [c for c in ours if not issubclass(c, skipped)]


@pytest.mark.parametrize("kind", classes())
def test_c41_every_class_is_hopeless_or_has_a_rule(kind: type[S3ResumeError]) -> None:
    """What ``retryable`` says decides; a class that is added later is of its base's rule."""
    assert (rule_for(made(kind)) is None) == (not kind.retryable)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ThrottledError, [120, 240, 480, 600]),
        (TransientStoreError, [30, 60, 120, 240]),
        (DigestRejectedError, [30, 60, 120, 240]),
        (RangeMismatchError, [30, 60, 120, 240]),
        (CredentialsExpiredError, [10, 20, 40, 80]),
        (CopyStoppedError, [5, 5, 5, 5]),
        (VerificationError, None),
        (SourceChangedError, None),
    ],
)
def test_c41_the_waits_of_each_class(
    kind: type[S3ResumeError], expected: list[float] | None
) -> None:
    """With a ``retry_delay`` of 30 s and a ``max_retry_delay`` of 10 min."""
    found = waits(made(kind))
    assert (found and [round(s, 6) for s in found]) == expected


def test_c41_a_batch_waits_as_long_as_the_error_that_needs_it_most() -> None:
    """Throttling among other things is throttling; the hopeless do not hold up the others."""

    def of(*kinds: str) -> type[S3ResumeError]:
        rule = rule_for(ObjectsFailedError("failed", retryable=True, kinds=kinds))
        assert rule is not None
        return rule.error

    assert of("TransientStoreError", "ThrottledError", "VerificationError") is ThrottledError
    assert of("DigestRejectedError", "SourceChangedError") is TransientStoreError
    assert of("SourceChangedError", "CopyStoppedError") is SourceChangedError
    assert of("CredentialsExpiredError") is CredentialsExpiredError
    assert of() is of("NoSuchKindAnyMore") is of("annotations") is S3ResumeError
    assert rule_for(ObjectsFailedError("failed", retryable=False)) is None


def test_c41_what_a_retry_cannot_help_has_no_rule() -> None:
    """Nobody waits for it."""
    assert rule_for(made(AccessDeniedError)) is None
    assert rule_for(ListingError("a page out of order")) is None
    assert rule_for(S3ResumeError("unknown")) is None


def test_c41_a_surprise_is_waited_for_as_airflow_is_told_to() -> None:
    """It is not known to be hopeless, and nothing says how long it lasts."""
    rule = rule_for(UnexpectedError("unexpected KeyError"))
    assert rule is not None
    assert (rule.error, rule.wait) == (S3ResumeError, None)


def test_rules_stand_in_the_order_of_their_waits() -> None:
    """The order decides what a batch waits for, so it must be that of the waits."""
    firsts = [rule.wait.first if rule.wait else 1.0 for rule in RULES]
    assert firsts == sorted(firsts, reverse=True)
    assert all(rule.reason for rule in RULES)


@given(
    first=st.floats(0.01, 10),
    attempt=st.integers(1, 10_000),
    chances=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_waits_grow_whatever_chance_says_up_to_the_limit(
    first: float, attempt: int, chances: tuple[float, float]
) -> None:
    """And never beyond it, however often a task was tried."""
    wait = Wait(first=first)
    one, next_one = (
        wait.seconds(delay_s=DELAY_S, most_s=MOST_S, attempt=attempt + n, chance=chances[n])
        for n in (0, 1)
    )
    assert 0 < one <= MOST_S
    assert one < next_one or next_one == MOST_S
