"""Asking in the triggerer, and what a sensor is told when the answer is an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from airflow.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async

from airflow_provider_s3resume.exceptions import ReportedError, S3ResumeError
from airflow_provider_s3resume.hooks._airflow import AirflowFailException

_Answer = TypeVar("_Answer")


def in_thread(ask: Callable[..., _Answer]) -> Callable[..., Awaitable[_Answer]]:
    """Return what asks in a thread, while the triggerer's loop goes on."""
    # Not asyncio.to_thread: the connection is read in that thread, and Airflow 3.0 finds the way
    # back to the triggerer's loop only from threads of asgiref.
    asked: Callable[..., Awaitable[_Answer]] = sync_to_async(ask, thread_sensitive=False)
    return asked


def error_event(error: S3ResumeError) -> dict[str, Any]:
    """Return the event that tells a sensor why there is no answer."""
    kind = type(error).__name__
    return {
        "status": "error",
        "message": f"{kind}: {error}",
        "retryable": error.retryable,
        "kind": kind,
    }


def raise_for_error(event: Mapping[str, Any], answered: str) -> None:
    """Return if an event is an answer.

    :param answered: the status of one that is.
    :raises AirflowFailException: if another attempt cannot help.
    :raises ReportedError: if there was no answer this time.
    """
    if event["status"] == answered:
        return
    if event["retryable"]:
        # A trigger of an older version did not say the kind.
        kinds = filter(None, (event.get("kind"),))
        raise ReportedError(event["message"], retryable=True, kinds=kinds)
    raise AirflowFailException(event["message"])


def path_of(trigger: BaseTrigger) -> str:
    """Return a trigger's class as Airflow stores it."""
    return f"{type(trigger).__module__}.{type(trigger).__qualname__}"
