"""Whom a client says that it works for: found without a look at the sources of all that runs."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_s3resume.hooks.s3 import S3ResumeHook

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a connection, and let nobody read sources."""
    extra = {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}
    known = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(known))
    monkeypatch.setattr(inspect, "stack", lambda *_: pytest.fail("read the sources"))


class Named:
    """What runs as an operator does."""

    def execute(self) -> S3Client:
        """Open a connection."""
        return client()


def client() -> S3Client:
    """Make a client, as a task does."""
    return S3ResumeHook("mine").get_conn()


def caller_of(made: S3Client) -> Any:
    """Return who it says has made it."""
    config: Any = made.meta.config
    return next(word for word in config.user_agent_extra.split() if word.startswith("Caller/"))


def test_a_client_names_the_operator_that_uses_it() -> None:
    """As those of the amazon provider do."""
    assert caller_of(Named().execute()) == "Caller/Named"


def test_a_client_of_nobody_says_so() -> None:
    """A trigger, or a program of the user's own."""
    assert caller_of(client()) == "Caller/Unknown"
