"""Acknowledge the messages whose objects are verified; the others come again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import ObjectsFailedError
from airflow_provider_s3resume.hooks._airflow import AirflowSkipException
from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._values import document
from airflow_provider_s3resume.hooks.sides import PlanReference
from airflow_provider_s3resume.operators._stoppable import StoppableOperator
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.hooks.queue import Queue
    from airflow_provider_s3resume.hooks.sides import OpenSides
    from airflow_provider_s3resume.hooks.taken import Acknowledged, TakenReference

    _Done = tuple[Acknowledged, int]


class AcknowledgeEventsOperator(StoppableOperator):
    """Delete the messages of a run whose every object is verified, equal anyway, or gone.

    What can never be dealt with goes to the dead-letter queue first, with its reason. All others
    are left and come again after a pause, and this task fails: it shall be the last one, and run
    whatever became of the others (``trigger_rule="all_done"``).

    Nothing is deleted before the run's report is stored, nor by the plan of an earlier attempt,
    which was made of other messages.

    :param taken: what ``TakeEventsOperator`` returned.
    :param plan: reference of the plan: the XCom ``plan`` of ``PlanEventsOperator``.
    """

    template_fields: Sequence[str] = ("taken", "plan")

    def __init__(
        self,
        *,
        taken: Mapping[str, Any] | str,
        plan: Mapping[str, Any] | str,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.taken = taken
        self.plan = plan

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow's signature
        """Acknowledge, and return how many messages became what.

        :raises AirflowSkipException: if nothing was taken, as the task that does has failed.
        :raises AirflowFailException: if messages are left because of their objects.
        """
        with hopeless_fails():
            given = document("taken", self.taken)
            if given is None:
                raise AirflowSkipException("Nothing was taken; see the log of that task.")
            stop = StopSignal()
            done, refused = self.run_stoppable(self._prepare(given, stop), stop)
            self.log.info("Messages: %s", done.figures())
            _raise_for_failures(done, refused)
        return done.figures()

    def _prepare(self, given: object, stop: StopSignal) -> Callable[[StopSignal], _Done]:
        from airflow_provider_s3resume.hooks.taken import TakenReference  # noqa: PLC0415 - at parse

        # Connections are read here, in the main thread; the work is done in another.
        taken = TakenReference.from_json_dict(given)
        opened = taken.sides.open(stop.wait)
        queue, dead_letters = taken.queue.open(), taken.queue.open_dead_letters()
        plan = document("plan", self.plan)
        reference = None if plan is None else PlanReference.from_json_dict(plan)
        return lambda stop: _acknowledge(opened, taken, reference, (queue, dead_letters), stop)


def _acknowledge(
    opened: OpenSides,
    taken: TakenReference,
    reference: PlanReference | None,
    queues: tuple[Queue, Queue | None],
    stop: StopSignal,
) -> _Done:
    from airflow_provider_s3resume.hooks.taken import (  # noqa: PLC0415 - at DAG parse
        BuriedRecord,
        acknowledge,
        leave,
        rules_for,
    )
    from airflow_provider_s3resume.plan.messages import KeyState  # noqa: PLC0415 - as above
    from airflow_provider_s3resume.transfer.event_record import keep_record  # noqa: PLC0415
    from airflow_provider_s3resume.transfer.named import fates_of, opaque_pairs  # noqa: PLC0415

    messages = taken.load(opened.state)
    hindrance = _hindrance(opened, taken, reference)
    if reference is None or hindrance is not None:
        leave(queues[0], messages)
        raise ObjectsFailedError(
            f"{len(messages)} messages are left and come again: {hindrance}. See the logs of the "
            "tasks before",
            retryable=False,
        )
    manifest = reference.load(opened.state)
    fates = fates_of(opened.state, reference.manifest)
    # Before anything is deleted: what is not in the record is copied once more by the next scan.
    pairs = opaque_pairs(opened.state, reference.manifest, fates)
    keep_record(opened.state, manifest, taken=taken.at, pairs=pairs)
    rules = rules_for(taken.sides, taken.queue)
    buried = BuriedRecord(opened.state, taken.buried_name)
    done = acknowledge(*queues, messages, fates, rules, buried, stop)
    opened.state.write_text(
        f"{reference.manifest.rpartition('/')[0]}/acknowledged.json",
        _record(done),
    )
    return done, sum(fate.state is KeyState.REFUSED for fate in fates.values())


def _hindrance(
    opened: OpenSides, taken: TakenReference, reference: PlanReference | None
) -> str | None:
    """Return why no message may be acknowledged by this plan, ``None`` if they may."""
    from airflow_provider_s3resume.transfer.event_record import is_plan_of  # noqa: PLC0415
    from airflow_provider_s3resume.transfer.reporting import is_reported  # noqa: PLC0415

    if reference is None or not is_reported(opened.state, reference.manifest):
        return "the run has no report"
    if not is_plan_of(opened.state, reference.manifest, taken.name):
        return "the plan is not of these messages, but of others that were taken earlier"
    return None


def _record(done: Acknowledged) -> str:
    from airflow_provider_s3resume.plan.manifest import dumps  # noqa: PLC0415 - at DAG parse

    return dumps({**done.figures(), "named": done.named})


def _raise_for_failures(done: Acknowledged, refused: int) -> None:
    if not done.failed and not refused:
        return
    raise ObjectsFailedError(
        f"{done.failed} messages are left and come again, as objects of them are not verified, or "
        "as the dead-letter queue does not take them; "
        f"{refused} objects can never be copied. See the report and the log",
        retryable=False,
    )
