"""Take messages about new objects from a queue, without acknowledging any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._values import optional, whole
from airflow_provider_s3resume.hooks.planning import plan_id
from airflow_provider_s3resume.hooks.sides import SIDES_FIELDS
from airflow_provider_s3resume.operators._sides import SidesOperator
from airflow_provider_s3resume.operators.plan import check_params, check_pool
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.hooks.sides import Sides
    from airflow_provider_s3resume.hooks.taken import QueuePlace, TakeLimits, TakenReference

QUEUE_FIELDS = (
    "queue_conn_id",
    "queue_url",
    "dead_letter_url",
    "foreign_messages",
    "hide_s",
    "most_messages",
    "seconds",
)


class TakeEventsOperator(SidesOperator):
    """Receive messages and keep them in the state location; XCom gets their number and place.

    They stay in the queue, hidden from others, until ``AcknowledgeEventsOperator`` has found every
    object verified. What a run that dies has taken comes again by itself.

    :param source_uri: an ``s3://`` URI of a bucket, not of an access point, which no event names:
        events of other buckets and prefixes are reported.
    :param queue_conn_id: connection of type ``aws`` or ``s3resume`` for the queues, by default the
        source's.
    :param queue_url: of a standard queue.
    :param dead_letter_url: of the queue that gets what can never be dealt with, each message with
        the attribute ``s3resume.reason``; it has to answer before anything is taken. Without one it
        is left in the queue, whose own redrive policy may move it.
    :param foreign_messages: ``dead_letter`` or ``leave``: what is done with messages that are not
        about objects of the source's bucket.
    :param hide_s: seconds for which messages are hidden at a time, from 60 to 43,200; later tasks
        hide them anew. A task that dies gives its messages back after so long.
    :param most_messages: to take in one run.
    :param seconds: to receive, at most.
    :param transfer_task_id: task whose pool must exist, in the same DAG.
    :param refuse_unknown_params: fail if the run was given parameters that the DAG does not have.
    """

    template_fields: Sequence[str] = (*SIDES_FIELDS, *QUEUE_FIELDS)

    def __init__(
        self,
        *,
        queue_conn_id: str | None = None,
        queue_url: str | None = None,
        dead_letter_url: str | None = None,
        foreign_messages: str = "dead_letter",
        hide_s: int | str = 1800,
        most_messages: int | str = 1000,
        seconds: int | str = 30,
        transfer_task_id: str | None = None,
        refuse_unknown_params: bool = False,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.queue_conn_id = queue_conn_id
        self.queue_url = queue_url
        self.dead_letter_url = dead_letter_url
        self.foreign_messages = foreign_messages
        self.hide_s = hide_s
        self.most_messages = most_messages
        self.seconds = seconds
        self.transfer_task_id = transfer_task_id
        self.refuse_unknown_params = refuse_unknown_params

    def execute(self, context: Context) -> dict[str, Any]:
        """Take messages, and return where they are.

        :raises AirflowFailException: if another attempt cannot help.
        """
        with hopeless_fails():
            if self.refuse_unknown_params:
                check_params(context)
            if self.transfer_task_id is not None:
                check_pool(context, self.transfer_task_id)
            stop = StopSignal()
            taken = self.run_stoppable(self._prepare(plan_id(context), stop), stop)
        self.log.info("Took %d messages, kept in %s", taken.messages, taken.name)
        return taken.to_json_dict()

    def place(self) -> QueuePlace:
        """Return the queue and what is done with its messages.

        :raises InvalidInputError: naming the parameter.
        """
        from airflow_provider_s3resume.hooks.queue import check_hide_s  # noqa: PLC0415 - as above
        from airflow_provider_s3resume.hooks.taken import QueuePlace  # noqa: PLC0415 - at DAG parse
        from airflow_provider_s3resume.plan.messages import Foreign  # noqa: PLC0415 - as above

        hide_s = whole("hide_s", self.hide_s)
        check_hide_s("hide_s", hide_s)
        return QueuePlace(
            conn_id=optional(self.queue_conn_id) or optional(self.source_conn_id),
            url=self.queue_url or "",
            dead_letter_url=optional(self.dead_letter_url),
            foreign_messages=Foreign.parse(self.foreign_messages).value,
            hide_s=hide_s,
        )

    def limits(self) -> TakeLimits:
        """Return when to stop taking.

        :raises InvalidInputError: naming the parameter.
        """
        from airflow_provider_s3resume.hooks.taken import TakeLimits  # noqa: PLC0415 - at DAG parse

        found = {name: whole(name, getattr(self, name)) for name in ("most_messages", "seconds")}
        for name, value in found.items():
            if value < 1:
                raise InvalidInputError(name, found=value, accepted="a whole number from 1")
        return TakeLimits(most=found["most_messages"], seconds=found["seconds"])

    def _prepare(self, run_id: str, stop: StopSignal) -> Callable[[StopSignal], TakenReference]:
        from airflow_provider_s3resume.hooks.taken import (  # noqa: PLC0415 - SDKs
            check_dead_letters,
            take_messages,
        )

        # Connections are read here, in the main thread; the work is done in another.
        place, limits, sides = self.place(), self.limits(), self.sides()
        if not sides.source_uri.startswith("s3://"):
            accepted = "an s3:// URI: events are those of Amazon S3 and of services like it"
            raise InvalidInputError("source_uri", found=sides.source_uri, accepted=accepted)
        _check_bucket(sides)
        opened = sides.open(stop.wait)
        queue, dead_letters = place.open(), place.open_dead_letters()

        def work(stop: StopSignal) -> TakenReference:
            if dead_letters is not None:
                check_dead_letters(dead_letters)
            return take_messages(opened, sides, queue, place, limits, run_id, stop)

        return work


def _check_bucket(sides: Sides) -> None:
    """Refuse a source that events never name: they name the bucket behind an access point.

    :raises InvalidInputError: naming the parameter.
    """
    from airflow_provider_s3resume.plan.access_points import is_access_point  # noqa: PLC0415
    from airflow_provider_s3resume.plan.sides import parse_places  # noqa: PLC0415 - at DAG parse

    places = parse_places(sides.source_uri, sides.target_uri, sides.state_uri)
    if is_access_point(places.source.bucket):
        accepted = "the name of the bucket itself: events name that, never an access point of it"
        raise InvalidInputError("source_uri", found=sides.source_uri, accepted=accepted)
