"""Typed parameters of copies that events start: the form of a manual run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from airflow_provider_s3resume.plan.messages import MOST_HIDDEN_S, Foreign

QUEUE_PATTERN = r"^https?://[^@?#\s]+/[^@?#\s]+$"
_SECTION = "Queue"

QUEUE_FROM_PARAMS: Mapping[str, Any] = {
    "queue_conn_id": "{{ params.queue_conn_id or '' }}",
    "queue_url": "{{ params.queue_url or '' }}",
    "dead_letter_url": "{{ params.dead_letter_url or '' }}",
    "foreign_messages": "{{ params.foreign_messages }}",
    "hide_s": "{{ params.hide_s }}",
    "most_messages": "{{ params.most_messages }}",
    "seconds": "{{ params.take_seconds }}",
}


def queue_params(
    *,
    queue_conn_id: str | None,
    queue_url: str | None,
    dead_letter_url: str | None = None,
    foreign_messages: str = Foreign.DEAD_LETTER.value,
) -> dict[str, Param]:
    """Return the parameters that say which messages are taken, with these defaults."""
    return {
        "queue_url": _url(queue_url, "Queue URL", "Of a standard queue of Amazon SQS."),
        "queue_conn_id": Param(
            queue_conn_id,
            type=["null", "string"],
            maxLength=200,
            title="Queue connection",
            description_md="Id of a connection of type `aws` or `s3resume`. Empty: the source's.",
            section=_SECTION,
        ),
        "dead_letter_url": _url(
            dead_letter_url,
            "Dead-letter queue URL",
            "Gets what can never be dealt with, each message with the attribute `s3resume.reason`. "
            "Empty: it is left in the queue, whose own redrive policy may move it.",
        ),
        "foreign_messages": Param(
            foreign_messages,
            type="string",
            enum=[policy.value for policy in Foreign],
            title="Foreign messages",
            description_md="Those that are not about objects of the source's bucket.",
            section=_SECTION,
        ),
        **_amount_params(),
    }


def _amount_params() -> dict[str, Param]:
    """Return the parameters of how much is taken, and for how long."""
    return {
        "most_messages": Param(
            1000,
            type="integer",
            minimum=1,
            maximum=100_000,
            title="Messages of one run",
            description_md="The rest is left to the next run.",
            section=_SECTION,
        ),
        "take_seconds": Param(
            30,
            type="integer",
            minimum=1,
            maximum=3600,
            title="Seconds to take messages",
            section=_SECTION,
        ),
        "hide_s": Param(
            1800,
            type="integer",
            minimum=60,
            maximum=MOST_HIDDEN_S,
            title="Seconds for which messages are hidden",
            description_md="At a time: tasks at work hide them anew. What a task that died has "
            "taken comes again after so long.",
            section=_SECTION,
        ),
    }


def _url(default: str | None, title: str, description: str) -> Param:
    return Param(
        default,
        type=["null", "string"],
        pattern=QUEUE_PATTERN,
        title=title,
        description_md=description,
        section=_SECTION,
    )
