"""How long a task waits before another attempt, by the class of what ended the one before (c41).

The table is the only place that says so. All waits are multiples of the task's own ``retry_delay``,
so that one number, the user's, makes them all shorter or longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_s3resume import exceptions
from airflow_provider_s3resume.exceptions import (
    CopyStoppedError,
    CredentialsExpiredError,
    RangeMismatchError,
    ReportedError,
    S3ResumeError,
    SourceChangedError,
    ThrottledError,
    TransientStoreError,
    VerificationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_DOUBLINGS = 32
"""Beyond that any limit has long been reached, and floats would overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A wait before another attempt, as a multiple of the task's ``retry_delay``.

    :param doubles: with each further attempt.
    """

    first: float
    doubles: bool = True

    def seconds(self, *, delay_s: float, most_s: float, attempt: int, chance: float) -> float:
        """Return how long to wait.

        Up to a half is left to chance, so that many tasks that failed together do not come back
        together; the next wait is longer all the same.

        :param delay_s: the task's ``retry_delay``, in seconds.
        :param most_s: its ``max_retry_delay``, in seconds.
        :param attempt: number of the attempt that failed, from 1.
        :param chance: from 0 to 1.
        """
        doublings = min(max(attempt - 1, 0), _MOST_DOUBLINGS) if self.doubles else 0
        return float(min(self.first * delay_s * 2.0**doublings * (1 + chance / 2), most_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to do after errors of a class, those below it included unless they have their own rule.

    :param wait: ``None`` to wait as Airflow is told to by the task's arguments.
    """

    error: type[S3ResumeError]
    wait: Wait | None
    reason: str


RULES: tuple[Rule, ...] = (
    Rule(
        error=ThrottledError,
        wait=Wait(first=4),
        reason="the service asked for fewer requests, for longer than the task's own retries",
    ),
    Rule(error=TransientStoreError, wait=Wait(first=1), reason="the network or the service failed"),
    Rule(error=RangeMismatchError, wait=Wait(first=1), reason="other bytes than asked for came"),
    Rule(error=VerificationError, wait=None, reason="the copy did not prove to be its source"),
    Rule(error=SourceChangedError, wait=None, reason="the source changed"),
    Rule(error=S3ResumeError, wait=None, reason="another attempt can help"),
    Rule(
        error=CredentialsExpiredError,
        wait=Wait(first=1 / 3),
        reason="the credentials expired; another attempt reads the connection anew",
    ),
    Rule(
        error=CopyStoppedError,
        wait=Wait(first=1 / 6, doubles=False),
        reason="the copy was stopped, nothing is wrong with it",
    ),
)
"""Longest wait first: of several errors the first rule that one of them has is that of all."""


def rule_for(error: S3ResumeError) -> Rule | None:
    """Return the rule for an error, ``None`` if no other attempt can help.

    Where several objects failed, those that no attempt helps count only if all of them are such.
    """
    if not error.retryable:
        return None
    found = {_rule_of(kind) for kind in _kinds(error)}
    return next(rule for rule in RULES if rule in found)


def _kinds(error: S3ResumeError) -> Iterator[type[S3ResumeError]]:
    if not isinstance(error, ReportedError):
        yield type(error)
        return
    for name in error.kinds or {S3ResumeError.__name__}:
        # A name that this version does not know may come from a newer one.
        kind = getattr(exceptions, name, S3ResumeError)
        yield kind if isinstance(kind, type) and issubclass(kind, S3ResumeError) else S3ResumeError


def _rule_of(kind: type[S3ResumeError]) -> Rule:
    by_class = {rule.error: rule for rule in RULES}
    return next(by_class[c] for c in kind.__mro__ if c in by_class)
