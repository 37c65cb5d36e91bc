"""The one place that tells Airflow which failures are not worth another attempt (c41)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.hooks._airflow import AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def hopeless_fails() -> Iterator[None]:
    """Turn errors that a retry cannot help into ``AirflowFailException``; others pass through.

    :raises AirflowFailException: with the original error as its cause.
    """
    try:
        yield
    except S3ResumeError as error:
        if error.retryable:
            raise
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
