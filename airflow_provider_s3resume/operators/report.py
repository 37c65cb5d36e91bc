"""The end of a run: its report, its metrics, and the news that the data is there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._airflow import Stats
from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._values import document, optional
from airflow_provider_s3resume.hooks.sides import PlanReference

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.transfer.run_report import RunReport

METRICS_PREFIX = "s3resume"
_GAUGES = frozenset({"seconds", "bytes_per_second"})


class ReportSyncOperator(BaseOperator):
    """Add a run up, store and log the report, and fail if anything of the run failed.

    Shall run whatever became of the other tasks (``trigger_rule="all_done"``), and as the last
    one, so that its failure is the run's.

    The event of the asset is emitted only if every object landed and was verified, and never in a
    dry run. To make that possible the outlet is an :class:`~airflow.sdk.AssetAlias`: Airflow
    itself emits the events of plain assets whenever their task ends well.

    :param plan: reference of the plan: the XCom ``plan`` of ``PlanSyncOperator``.
    :param asset_uri: asset that the target is; none if empty.
    :param asset_alias: alias under which the event is emitted. It must be among the ``outlets``;
        :func:`~airflow_provider_s3resume.operators.sync.sync_task_group` sees to that.
    """

    template_fields: Sequence[str] = ("plan", "asset_uri")

    def __init__(
        self,
        *,
        plan: Mapping[str, Any] | str,
        asset_uri: str | None = None,
        asset_alias: str | None = None,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.asset_uri = asset_uri
        self.asset_alias = asset_alias

    def execute(self, context: Context) -> dict[str, Any]:
        """Store and log the report, and return its figures.

        :raises AirflowFailException: if anything of the run failed.
        """
        with hopeless_fails():
            reference = _read_plan(self.plan)
            opened = reference.open()
            report = _report(opened.state, reference)
            self.log.info("%s", report.short_text())
            self.log.info("The report is %s", report.report_key)
            context["ti"].xcom_push(key="report", value=report.to_json_dict())
            _measure(report, context)
            report.raise_for_failures()
            self._announce(report, context)
        return report.to_json_dict()

    def _announce(self, report: RunReport, context: Context) -> None:
        uri = optional(self.asset_uri)
        if uri is None or self.asset_alias is None or report.dry_run:
            return
        events = context["outlet_events"][AssetAlias(self.asset_alias)]
        events.add(Asset(uri), extra=_facts(report))


def _read_plan(plan: object) -> PlanReference:
    found = document("plan", plan)
    if found is None:
        raise InvalidInputError(
            "plan",
            found=None,
            accepted="the plan that 'diff' makes; 'list' or 'diff' failed, see their logs",
        )
    return PlanReference.from_json_dict(found)


def _report(state: Any, reference: PlanReference) -> RunReport:  # noqa: ANN401 - StateLocation
    from airflow_provider_s3resume.transfer.reporting import make_report  # noqa: PLC0415

    reference.load(state)
    return make_report(state, reference.manifest, now=time.time())


def _measure(report: RunReport, context: Context) -> None:
    tags = {"dag_id": str(context["ti"].dag_id)}
    for name, value in report.metrics().items():
        if name in _GAUGES:
            Stats.gauge(f"{METRICS_PREFIX}.{name}", value, tags=tags)
        else:
            Stats.incr(f"{METRICS_PREFIX}.{name}", int(value), tags=tags)


def _facts(report: RunReport) -> dict[str, Any]:
    names = ("planned", "copied", "already_there", "verified", "bytes")
    return {
        **{name: getattr(report, name) for name in names},
        "run_id": report.run_id,
        "manifest": report.manifest_key,
        "manifest_digest": report.manifest_digest,
        "report": report.report_key,
    }
