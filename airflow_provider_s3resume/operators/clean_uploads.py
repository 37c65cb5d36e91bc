"""Clear away what copies that nobody goes on with have left at a target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._target import Target
from airflow_provider_s3resume.hooks._values import flag, optional
from airflow_provider_s3resume.hooks.planning import plan_id
from airflow_provider_s3resume.operators._stoppable import StoppableOperator
from airflow_provider_s3resume.plan.sides import check_unknown
from airflow_provider_s3resume.plan.strays import DAY_S, DEFAULT_AGE_S, CleaningRules
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.transfer.stray_report import CleaningReport

DEFAULT_AGE = timedelta(seconds=DEFAULT_AGE_S)


class CleanStrayUploadsOperator(StoppableOperator):
    """Abort the uploads that old checkpoints name, forget these, and report all other uploads.

    Unless told otherwise it changes nothing and reports only. An upload that no checkpoint of the
    state location names is never aborted, however old it is (c34).

    The next copy of an object that was cleared away starts over.

    :param target_conn_id: connection of type ``aws`` or ``s3resume``.
    :param target_uri: ``s3://bucket/prefix/`` that syncs copy to; checkpoints of other targets that
        share the state location are left alone.
    :param state_conn_id: connection of the state location, by default the target's.
    :param state_uri: where the checkpoints are, by default ``.s3resume/`` in the target bucket.
    :param older_than: a ``timedelta``, or a number of days: checkpoints that nothing was written
        to for so long. At least an hour, and longer than any copy may take.
    :param report_only: a dry run. (``dry_run`` is a method that every operator of Airflow has.)
    :param abort_empty_uploads_of_intents: abort also empty uploads of which no checkpoint has the
        id, if a checkpoint says that an attempt was about to begin one of that key, and they were
        begun since. The risk: another tool that began an upload of the same key after that, and has
        sent no part of it for ``older_than``, loses it.
    :param refuse_unknown_params: fail if the run was given parameters that the DAG does not have.
    """

    template_fields: Sequence[str] = (
        "target_conn_id",
        "target_uri",
        "state_conn_id",
        "state_uri",
        "older_than",
        "report_only",
        "abort_empty_uploads_of_intents",
    )

    def __init__(
        self,
        *,
        target_conn_id: str | None = None,
        target_uri: str | None = None,
        state_conn_id: str | None = None,
        state_uri: str | None = None,
        older_than: timedelta | float | str = DEFAULT_AGE,
        report_only: bool | str = True,
        abort_empty_uploads_of_intents: bool | str = False,
        refuse_unknown_params: bool = False,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.target_conn_id = target_conn_id
        self.target_uri = target_uri
        self.state_conn_id = state_conn_id
        self.state_uri = state_uri
        self.older_than = older_than
        self.report_only = report_only
        self.abort_empty_uploads_of_intents = abort_empty_uploads_of_intents
        self.refuse_unknown_params = refuse_unknown_params

    def execute(self, context: Context) -> dict[str, Any]:
        """Clean, and return the report's figures.

        :raises AirflowFailException: if another attempt cannot help.
        :raises CopyStoppedError: if Airflow ends the task, or its timeout is near.
        :raises ObjectsFailedError: if something could not be cleared away; all else was.
        """
        with hopeless_fails():
            if self.refuse_unknown_params:
                given = context["dag_run"].conf or {}
                check_unknown(given, context["dag"].params.keys(), what="parameters of the run")
            stop = StopSignal()
            report = self.run_stoppable(self._prepare(plan_id(context), stop), stop)
            self.log.info("The report is %s", report.key)
            report.raise_for_failures()
        return report.figures()

    def rules(self) -> CleaningRules:
        """Return what to clear away.

        :raises InvalidInputError: naming the parameter.
        """
        of_intents = flag("abort_empty_uploads_of_intents", self.abort_empty_uploads_of_intents)
        return CleaningRules(
            older_than_s=_seconds(self.older_than),
            dry_run=flag("report_only", self.report_only),
            abort_empty_uploads_of_intents=of_intents,
        )

    def _prepare(self, run_id: str, stop: StopSignal) -> Callable[[StopSignal], CleaningReport]:
        # Connections are read here, in the main thread; the work is done in others.
        rules = self.rules()
        opened = Target(
            conn_id=optional(self.target_conn_id),
            uri=self.target_uri or "",
            state_conn_id=optional(self.state_conn_id),
            state_uri=optional(self.state_uri),
        ).open(stop.wait)

        def clean(stop: StopSignal) -> CleaningReport:
            from airflow_provider_s3resume.transfer.strays import clean_strays  # noqa: PLC0415

            return clean_strays(
                opened.store,
                opened.state,
                rules,
                prefix=opened.place.prefix,
                run_id=run_id,
                now=time.time(),
                stop=stop,
            )

        return clean


def _seconds(older_than: object) -> float:
    if isinstance(older_than, timedelta):
        return older_than.total_seconds()
    try:
        if isinstance(older_than, int | float | str) and not isinstance(older_than, bool):
            days = float(older_than)
            if math.isfinite(days):
                return days * DAY_S
    except ValueError:
        pass
    accepted = "a timedelta, or a number of days"
    raise InvalidInputError("older_than", found=older_than, accepted=accepted)
