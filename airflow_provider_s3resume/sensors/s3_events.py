"""``S3EventsSensor``: wait until there are messages about new objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._values import optional
from airflow_provider_s3resume.triggers._answers import raise_for_error
from airflow_provider_s3resume.triggers.s3_events import QueueQuestion, S3EventsTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class S3EventsSensor(BaseSensorOperator):
    """Wait until a queue holds a message that nobody has received; nothing is taken by it.

    Waits in the triggerer, or with ``deferrable=False`` in a worker, asking the same question.
    Where Airflow starts runs by events (3.1), a watcher does the same without a run that waits; see
    :func:`~airflow_provider_s3resume.operators.events.events_schedule`.

    :param queue_conn_id: connection of type ``aws`` or ``s3resume``.
    :param queue_url: of a standard queue.
    :param poke_interval: seconds between two questions.
    """

    template_fields: Sequence[str] = ("queue_conn_id", "queue_url")

    def __init__(
        self,
        *,
        queue_conn_id: str | None,
        queue_url: str,
        deferrable: bool = True,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.queue_conn_id = queue_conn_id
        self.queue_url = queue_url
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - the base's
        """Refuse what cannot be asked, then wait.

        :raises AirflowFailException: if another attempt cannot help.
        """
        with hopeless_fails():
            self.question().check()
        if self.deferrable:
            self.defer(
                trigger=S3EventsTrigger(
                    optional(self.queue_conn_id), self.queue_url, self.poke_interval
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )
        return super().execute(context)

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - Airflow's signature
        """Ask once.

        :raises AirflowFailException: if another attempt cannot help.
        """
        with hopeless_fails():
            return self.question().ask() > 0

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> None:  # noqa: ARG002 - Airflow's signature
        """Go on, or fail as the trigger says.

        :raises AirflowFailException: if another attempt cannot help.
        :raises ReportedError: if the queue could not be asked this time.
        """
        raise_for_error(event, "waiting")
        self.log.info("%d messages are waiting", event["messages"])

    def question(self) -> QueueQuestion:
        """Return what to ask."""
        return QueueQuestion(conn_id=optional(self.queue_conn_id), url=self.queue_url)
