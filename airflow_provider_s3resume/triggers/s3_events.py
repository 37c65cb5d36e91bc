"""Waiting for messages in a queue: one question, asked by a worker or by the triggerer.

Nothing is received, hidden or deleted by it: a message that nobody is there for stays where it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.hooks.queue import QueueHook, check_queue_url
from airflow_provider_s3resume.triggers._answers import error_event, in_thread, path_of

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks.queue import Queue

log = logging.getLogger(__name__)

QUIET_S: Final = 15.0
"""Seconds between two events of a watch: a run that is under way takes what comes meanwhile, and
Airflow starts no other before it ends."""


class QueueQuestion:
    """Whether there are messages that nobody has received.

    :param conn_id: connection of type ``aws`` or ``s3resume``; ``None`` for what boto3 finds.
    """

    def __init__(self, *, conn_id: str | None, url: str) -> None:
        self.conn_id = conn_id
        self.url = url
        self._queue: Queue | None = None

    def check(self) -> None:
        """Refuse what cannot be asked; reads no connection.

        :raises InvalidInputError: naming the parameter.
        """
        check_queue_url(self.url)

    def ask(self) -> int:
        """Return how many messages there are, as the service counts them.

        :raises S3ResumeError: if it cannot be found out; never taken for "none".
        """
        # Kept, as it may be asked every few seconds; after an error all is read anew.
        queue = self._queue or QueueHook(self.conn_id).get_queue(self.url)
        self._queue = None
        found = queue.depth().visible
        self._queue = queue
        return found


class S3EventsTrigger(BaseTrigger):
    """Ask again and again until there is a message, for a deferred sensor.

    :param poll_interval_s: seconds between two questions.
    """

    def __init__(self, queue_conn_id: str | None, queue_url: str, poll_interval_s: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue_conn_id = queue_conn_id
        self.queue_url = queue_url
        self.poll_interval_s = poll_interval_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        return path_of(self), {
            "queue_conn_id": self.queue_conn_id,
            "queue_url": self.queue_url,
            "poll_interval_s": self.poll_interval_s,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: that there is something, or what is wrong."""
        yield TriggerEvent(await self._answer())  # type: ignore[no-untyped-call]

    async def _answer(self) -> dict[str, Any]:
        ask = in_thread(QueueQuestion(conn_id=self.queue_conn_id, url=self.queue_url).ask)
        try:
            while (found := await ask()) == 0:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(self.poll_interval_s)
        except S3ResumeError as error:
            return error_event(error)
        return {"status": "waiting", "messages": found}


class S3EventsWatch(BaseEventTrigger):
    """Ask again and again, for ever, for an ``AssetWatcher``; each find is an event of its asset.

    A queue that does not answer is asked again: there is nobody to tell but the log.

    :param poll_interval_s: seconds between two questions.
    :param quiet_s: seconds between two events, at least.
    """

    def __init__(
        self,
        queue_conn_id: str | None,
        queue_url: str,
        poll_interval_s: float = 10.0,
        quiet_s: float = QUIET_S,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue_conn_id = queue_conn_id
        self.queue_url = queue_url
        self.poll_interval_s = poll_interval_s
        self.quiet_s = quiet_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        return path_of(self), {
            "queue_conn_id": self.queue_conn_id,
            "queue_url": self.queue_url,
            "poll_interval_s": self.poll_interval_s,
            "quiet_s": self.quiet_s,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event whenever there is something."""
        ask = in_thread(QueueQuestion(conn_id=self.queue_conn_id, url=self.queue_url).ask)
        while True:
            found = 0
            try:
                found = await ask()
            except S3ResumeError as error:
                log.error("%s: %s", type(error).__name__, error)  # noqa: TRY400 - it says it all
            if found:
                yield TriggerEvent({"queue": self.queue_url, "messages": found})  # type: ignore[no-untyped-call]
            await asyncio.sleep(max(self.poll_interval_s, self.quiet_s if found else 0.0))
