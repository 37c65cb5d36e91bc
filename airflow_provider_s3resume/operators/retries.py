"""The retries of a task: by the class of its error, where Airflow lets a task say so (3.3).

Where it does not, hopeless errors fail at once all the same (``hooks._errors``), and every other
one waits as the arguments say: twice as long each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.hooks._airflow import RetryDecision, RetryPolicy
from airflow_provider_s3resume.plan.attempts import rule_for

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_WAIT = timedelta(minutes=10)
_FIRST_WAIT = timedelta(seconds=30)
_PLAIN: Mapping[str, Any] = {
    "retries": 3,
    "retry_delay": _FIRST_WAIT,
    "retry_exponential_backoff": True,
    "max_retry_delay": MOST_WAIT,
}
WAITS = frozenset({*_PLAIN, "retry_policy"} - {"retries"})
"""Arguments of a task that say how long it waits; who gives one of them has said it."""


class ErrorClassRetryPolicy(RetryPolicy):
    """Fail, or wait longer or shorter, as :mod:`~airflow_provider_s3resume.plan.attempts` says.

    The task's ``retry_delay`` is the wait that others are multiples of, and its
    ``max_retry_delay`` the longest. Errors that are not ours are left to the task's arguments, and
    so is a worker that vanished: nobody is there to be asked about it.

    Runs in the worker, and holds nothing.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Return what to do after an attempt that failed."""
        if not isinstance(exception, S3ResumeError):
            return RetryDecision.default()
        rule = rule_for(exception)
        if rule is None:
            return RetryDecision.fail(f"{type(exception).__name__}: another attempt cannot help")
        if rule.wait is None:
            return RetryDecision.default()
        task: Any = context["task"] if context is not None else None
        seconds = rule.wait.seconds(
            delay_s=getattr(task, "retry_delay", _FIRST_WAIT).total_seconds(),
            most_s=(getattr(task, "max_retry_delay", None) or MOST_WAIT).total_seconds(),
            attempt=try_number - _earlier_tries(task, max_tries),
            chance=_chance(context, try_number),
        )
        return RetryDecision.retry(
            timedelta(seconds=seconds), f"{rule.reason}: next attempt in {seconds:.0f} s"
        )

    def serialize(self) -> dict[str, Any]:
        """Return nothing: the policy has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ErrorClassRetryPolicy:
        """Return the policy."""
        del data
        return cls()


def _earlier_tries(task: Any, max_tries: int) -> int:  # noqa: ANN401 - an operator, or nothing
    """Return how many tries there were before the task was last cleared."""
    return max(max_tries - int(getattr(task, "retries", None) or max_tries), 0)


def _chance(context: Context | None, try_number: int) -> float:
    """Return a number from 0 to 1, the same one for the same try of the same task instance."""
    ti: Any = context["ti"] if context is not None else None
    names = [getattr(ti, name, None) for name in ("dag_id", "task_id", "run_id", "map_index")]
    digest = hashlib.sha256(repr([*names, try_number]).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def _retries() -> Mapping[str, Any]:
    if not hasattr(RetryPolicy, "evaluate"):
        return _PLAIN
    return {**_PLAIN, "retry_policy": ErrorClassRetryPolicy()}


RETRIES: Mapping[str, Any] = _retries()
"""Arguments of a task: three retries, waits by the class of the error.

With ``{**RETRIES, "retry_delay": …}`` all waits are longer or shorter.
"""


def retries_beside(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of :data:`RETRIES` does not contradict arguments that a user has given.

    :param given: such as a DAG's ``default_args``. If they say in any way how long to wait,
        nothing is added to it.
    """
    ours = {name: value for name, value in RETRIES.items() if name not in given}
    if WAITS & set(given):
        return {name: value for name, value in ours.items() if name not in WAITS}
    return ours
