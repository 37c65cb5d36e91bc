"""Compare what a run landed with its source, by the strongest digest that both sides give."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import ObjectsFailedError, VerificationError
from airflow_provider_s3resume.hooks._airflow import AirflowSkipException
from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._values import document
from airflow_provider_s3resume.hooks.sides import OpenSides, PlanReference
from airflow_provider_s3resume.operators._stoppable import StoppableOperator
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.transfer.verification import VerificationSummary

_NAMED = 5


class VerifyCopyOperator(StoppableOperator):
    """Verify every object that a plan's copies landed; no bytes are read again.

    The result stands in the state location, where ``ReportSyncOperator`` reads it, so this
    task shall run whatever became of the copies (``trigger_rule="all_done"``).

    :param plan: reference of the plan: the XCom ``plan`` of ``PlanSyncOperator``, or what
        ``ResumableMultipartCopyOperator`` returned.
    """

    template_fields: Sequence[str] = ("plan",)

    def __init__(
        self,
        *,
        plan: Mapping[str, Any] | str,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Verify, and return how many objects have which proof.

        :raises AirflowSkipException: if there is no plan, as the task that makes it has failed.
        :raises VerificationError: if an object is not what was copied.
        :raises AirflowFailException: if another attempt cannot help, or objects were not copied.
        """
        with hopeless_fails():
            stop = StopSignal()
            given = document("plan", self.plan)
            if given is None:
                raise AirflowSkipException("There is no plan; see the logs of list and diff.")
            reference = PlanReference.from_json_dict(given)
            opened = reference.open(stop.wait)
            summary = self.run_stoppable(lambda told: _verify(opened, reference, told), stop)
            self.log.info("Verified %d objects: %s", summary.verified, dict(summary.proofs))
            _raise_for_failures(summary)
        return summary.to_json_dict()


def _verify(opened: OpenSides, reference: PlanReference, stop: StopSignal) -> VerificationSummary:
    from airflow_provider_s3resume.transfer.verification import verify_run  # noqa: PLC0415

    reference.load(opened.state)
    return verify_run(
        opened.source,
        opened.target,
        opened.state,
        reference.manifest,
        stop=stop,
        now=time.time(),
    )


def _raise_for_failures(summary: VerificationSummary) -> None:
    if not summary.failed:
        if summary.not_landed:
            # Failed like the transfer, so that clearing what failed clears this task with it:
            # else the report would run beside the new transfer.
            raise ObjectsFailedError(
                f"{summary.verified} objects are verified, {summary.not_landed} were not copied; "
                "see the transfer tasks. Clear the failed tasks to try them again",
                retryable=False,
            )
        return
    named = "; ".join(f"{f.key!r}: {f.error}" for f in summary.failures[:_NAMED])
    raise VerificationError(f"{summary.failed} objects could not be verified: {named}")
