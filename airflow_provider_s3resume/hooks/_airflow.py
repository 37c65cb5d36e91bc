"""What the releases of Airflow 3 keep in different places; delete a branch with its release."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "STARTS_RUNS_BY_EVENTS",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "BaseHook",
    "RetryDecision",
    "RetryPolicy",
    "Stats",
    "mask_secret",
]

if TYPE_CHECKING:
    from airflow.sdk import BaseHook, RetryDecision, RetryPolicy
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
    )
    from airflow.sdk.log import mask_secret
    from airflow.sdk.observability.stats import Stats

    STARTS_RUNS_BY_EVENTS: bool
else:
    try:
        from airflow.sdk import BaseHook

        STARTS_RUNS_BY_EVENTS = True
    except ImportError:  # 3.0
        from airflow.hooks.base import BaseHook

        # It has watchers, too; nothing here was ever run on them.
        STARTS_RUNS_BY_EVENTS = False
    try:
        from airflow.sdk.exceptions import (
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
        )
    except ImportError:  # 3.0, 3.1
        from airflow.exceptions import (
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
        )
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:  # 3.0, 3.1
        from airflow.stats import Stats
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:  # 3.0
        from airflow.sdk.execution_time.secrets_masker import mask_secret
    try:
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:  # 3.0, 3.1, 3.2: a task's arguments alone say how it is retried

        class RetryDecision:
            """Nothing of this release asks for one."""

        class RetryPolicy:
            """Nothing of this release takes one: it has no ``evaluate``."""
