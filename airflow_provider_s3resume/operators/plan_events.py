"""Plan what the messages of a queue ask for: each key once, as the source has it now."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._values import document
from airflow_provider_s3resume.hooks.planning import PlanArguments, plan_id
from airflow_provider_s3resume.hooks.sides import PlanReference
from airflow_provider_s3resume.operators._stoppable import StoppableOperator
from airflow_provider_s3resume.operators.plan import PLAN_KEY
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.hooks.sides import OpenSides
    from airflow_provider_s3resume.hooks.taken import Keeper, TakenReference
    from airflow_provider_s3resume.plan.events import Asked, Reading
    from airflow_provider_s3resume.plan.manifest import Manifest
    from airflow_provider_s3resume.transfer.named import NamedPlan

_DEFAULTS = PlanArguments()
_FIELDS = ("rule", "max_objects", "max_bytes", "max_batches")
_NAMED = 10


class PlanEventsOperator(StoppableOperator):
    """Diff the keys that taken messages name, and store the manifest.

    Each is asked for at both sides: what is equal is not copied, whatever the messages say, and
    what is gone is reported. Events of other prefixes and buckets, and removals, copy nothing.

    Returns the list of batches, to be mapped over; the reference of the whole plan is the XCom
    ``plan``, as that of ``PlanSyncOperator``.

    :param taken: what ``TakeEventsOperator`` returned.
    :param rule: how two objects of one key are told apart; see ``PlanSyncOperator``.
    :param max_objects, max_bytes, max_batches: of the batches.
    """

    template_fields: Sequence[str] = ("taken", *_FIELDS)

    def __init__(
        self,
        *,
        taken: Mapping[str, Any] | str,
        rule: str = _DEFAULTS.rule,
        max_objects: int | str = _DEFAULTS.max_objects,
        max_bytes: int | str = _DEFAULTS.max_bytes,
        max_batches: int | str = _DEFAULTS.max_batches,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.taken = taken
        self.rule = rule
        self.max_objects = max_objects
        self.max_bytes = max_bytes
        self.max_batches = max_batches

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan, and return the batches with most bytes first.

        :raises AirflowFailException: if another attempt cannot help.
        """
        with hopeless_fails():
            stop = StopSignal()
            reference, manifest = self.run_stoppable(self._prepare(plan_id(context), stop), stop)
        context["ti"].xcom_push(key=PLAN_KEY, value=reference.to_json_dict())
        return reference.to_batches(manifest)

    def _prepare(
        self, run_id: str, stop: StopSignal
    ) -> Callable[[StopSignal], tuple[PlanReference, Manifest]]:
        from airflow_provider_s3resume.hooks.taken import (  # noqa: PLC0415 - at DAG parse
            Keeper,
            TakenReference,
        )

        # Connections are read here, in the main thread; the work is done in another.
        taken = TakenReference.from_json_dict(document("taken", self.taken))
        opened = taken.sides.open(stop.wait)
        arguments = PlanArguments(**{name: getattr(self, name) for name in _FIELDS})
        arguments.request(run_id, opened.places)
        keeper = Keeper(taken.queue.open(), lambda: taken.load(opened.state), taken.queue.hide_s)
        return lambda stop: self._plan(opened, taken, arguments, run_id, keeper, stop)

    def _plan(
        self,
        opened: OpenSides,
        taken: TakenReference,
        arguments: PlanArguments,
        run_id: str,
        keeper: Keeper,
        stop: StopSignal,
    ) -> tuple[PlanReference, Manifest]:
        from airflow_provider_s3resume.plan.events import sort_out  # noqa: PLC0415 - at DAG parse
        from airflow_provider_s3resume.transfer.checking import sides_of  # noqa: PLC0415 - as above
        from airflow_provider_s3resume.transfer.event_record import (  # noqa: PLC0415 - as above
            load_record,
            note_taken,
            store_figures,
        )
        from airflow_provider_s3resume.transfer.named import plan_keys  # noqa: PLC0415

        keeper.beat()
        request = arguments.request(f"{run_id}.{opened.mark}", opened.places)
        readings = [message.reading() for message in taken.load(opened.state)]
        source = opened.places.source
        asked = sort_out(readings, source.bucket, source.prefix)
        record = load_record(opened.state, sides_of(opened.source, opened.target, request))
        planned = plan_keys(
            opened.source,
            opened.target,
            opened.state,
            asked.keys,
            request,
            proven=record.pairs if record else (),
            now=time.time(),
            stop=stop,
        )
        note_taken(opened.state, planned.manifest_key, taken.name)
        figures = _figures(readings, asked, planned)
        store_figures(opened.state, planned.manifest_key, figures)
        self._tell(asked, planned, figures)
        reference = PlanReference.of(taken.sides, planned.manifest_key, planned.manifest)
        return reference, planned.manifest

    def _tell(self, asked: Asked, planned: NamedPlan, figures: Mapping[str, int]) -> None:
        counts = ", ".join(f"{name} {n}" for name, n in figures.items() if n)
        self.log.info(
            "Plan %s: %d objects, %d bytes; %s",
            planned.manifest_key,
            planned.manifest.copy_objects,
            planned.manifest.copy_bytes,
            counts or "no messages",
        )
        for key in asked.removed[:_NAMED]:
            self.log.info("removed at the source, left at the target: %r", key)
        for key, fate in list(planned.fates.items())[:_NAMED]:
            self.log.info("not copied: %r: %s %s", key, fate.state.value, fate.reason)


def _figures(readings: Sequence[Reading], asked: Asked, planned: NamedPlan) -> dict[str, int]:
    """Return what the report shows: messages by what they are, events, and keys."""
    from airflow_provider_s3resume.plan.events import Nature  # noqa: PLC0415 - at DAG parse
    from airflow_provider_s3resume.transfer.named import counts_of  # noqa: PLC0415 - as above

    natures = Counter(reading.nature for reading in readings)
    fates = counts_of(planned.fates)
    return {
        "messages": len(readings),
        "test_messages": natures[Nature.TEST],
        "foreign_messages": natures[Nature.FOREIGN],
        "poison_messages": natures[Nature.POISON],
        **asked.counts,
        "keys": len(asked.keys),
        "equal": fates["equal"],
        "gone": fates["gone"],
        "unreadable": fates["pending"],
    }
