"""A boto3 client of Amazon SQS, made by the amazon provider from a checked connection.

Imported only when a client is made: boto3 costs a DAG parse more than everything else here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.config import Config

from airflow_provider_s3resume.hooks._amazon import CheckedConnectionHook, making_client

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks._connections import Facts

_REGION: Final = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/")
_CONFIG: Final = Config(
    connect_timeout=10,
    # A reception may wait for 20 s until there is a message.
    read_timeout=40,
    retries={"mode": "standard", "total_max_attempts": 5},
)


class SqsClient(Protocol):
    """What is used of the client; each call takes and returns documents of the SQS API."""

    def receive_message(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - of the API
        """Receive up to ten messages."""

    def delete_message_batch(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        """Delete up to ten messages."""

    def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        """Hide up to ten messages, or show them again."""

    def send_message(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        """Send one message."""

    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        """Tell about the queue."""


def make_queue_client(facts: Facts, url: str) -> SqsClient:
    """Return a client for a queue, in the region that its address names, if it names one.

    :raises InvalidInputError: if the connection cannot make one.
    :raises StoreError: if whoever gives the credentials does not.
    """
    found = _REGION.match(url)
    with making_client(facts):
        hook = CheckedConnectionHook(facts, "sqs")
        client: SqsClient = hook.get_client_type(
            region_name=found[1] if found else hook.region_name,
            config=_CONFIG.merge(hook.config),
        )
    return client
