"""Copy a batch that events asked for, and keep their messages hidden meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.hooks._values import document
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks.taken import Keeper


class EventCopyOperator(ResumableMultipartCopyOperator):
    """A ``ResumableMultipartCopyOperator`` whose messages nobody else sees while it copies.

    They are hidden anew whenever a third of their time is over, up to the 12 hours that the service
    allows. What comes again in spite of that starts no second copy.

    :param taken: what ``TakeEventsOperator`` returned.
    """

    template_fields: Sequence[str] = (*ResumableMultipartCopyOperator.template_fields, "taken")

    def __init__(
        self,
        *,
        taken: Mapping[str, Any] | str,
        **kwargs: Any,  # noqa: ANN401 - the base's own
    ) -> None:
        super().__init__(**kwargs)
        self.taken = taken
        self._keeper: Keeper | None = None

    def _prepare(self, run_id: str, stop: StopSignal) -> Callable[[StopSignal], Any]:
        from airflow_provider_s3resume.hooks.taken import (  # noqa: PLC0415 - at DAG parse
            Keeper,
            TakenReference,
        )

        copy = super()._prepare(run_id, stop)
        taken = TakenReference.from_json_dict(document("taken", self.taken))
        state = taken.sides.open(stop.wait).state
        keeper = Keeper(taken.queue.open(), lambda: taken.load(state), taken.queue.hide_s)
        self._keeper = keeper

        def held(stop: StopSignal) -> Any:  # noqa: ANN401 - what the base's comes to
            keeper.beat()
            return copy(stop)

        return held

    def _tell(self, figures: Any, requests: Any) -> None:  # noqa: ANN401 - the base's
        super()._tell(figures, requests)
        if self._keeper is not None:
            self._keeper.beat()
