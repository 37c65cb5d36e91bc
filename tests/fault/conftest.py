"""What all fault tests have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_s3resume.storage import _flow

LEAST_RATE = 20.0


@pytest.fixture(scope="session", autouse=True)
def _impatient() -> Iterator[None]:
    """Ask a service that refuses everything more often than once in five seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_flow, "LEAST_RATE", LEAST_RATE)
        yield
