"""``BucketDiffSensor``: wait until there is enough to copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks.planning import PlanArguments, plan_id
from airflow_provider_s3resume.hooks.sides import SIDES_FIELDS, Sides
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.triggers._answers import raise_for_error
from airflow_provider_s3resume.triggers.bucket_diff import BucketDiffTrigger, DiffQuestion

if TYPE_CHECKING:
    from airflow.sdk import Context

_PLAN = ("rule", "plan_only", "selection", "archived", "key_mapping")
_UNTEMPLATED = ("key_function",)
_MINIMA = ("min_objects", "min_bytes", "min_age_s")


class BucketDiffSensor(BaseSensorOperator):
    """Wait until the source holds enough that the target does not; the result is the plan.

    The result is what ``PlanSyncOperator`` puts into XCom as ``plan``: its ``plan`` argument takes
    it over, so that what was listed here need not be listed again. Waits in the triggerer, or with
    ``deferrable=False`` in a worker, asking the same question.

    :param source_conn_id, source_uri, target_conn_id, target_uri, state_conn_id, state_uri,
        symlinks: as those of the operators.
    :param rule: how two objects of one key are told apart; see ``PlanSyncOperator``.
    :param plan_only: the plan is for a dry run: nothing is copied by it.
    :param selection, archived, key_mapping, key_function: which objects of the source are meant,
        and which keys they go to; see ``PlanSyncOperator``.
    :param min_objects: objects to copy, at least.
    :param min_bytes: bytes to copy, at least.
    :param min_age_s: seconds since the newest of them was written, at least.
    :param poke_interval: seconds between two listings of both sides.
    """

    template_fields: Sequence[str] = (*SIDES_FIELDS, *_PLAN, *_MINIMA)

    def __init__(
        self,
        *,
        source_conn_id: str,
        source_uri: str,
        target_conn_id: str,
        target_uri: str,
        state_conn_id: str | None = None,
        state_uri: str | None = None,
        symlinks: str | None = None,
        rule: str = PlanArguments().rule,
        plan_only: bool | str = False,
        selection: Mapping[str, Any] | str | None = None,
        archived: str = PlanArguments().archived,
        key_mapping: Mapping[str, str] | str | None = None,
        key_function: str | None = None,
        min_objects: int | str = 1,
        min_bytes: int | str = 0,
        min_age_s: int | str = 0,
        deferrable: bool = True,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.source_uri = source_uri
        self.target_conn_id = target_conn_id
        self.target_uri = target_uri
        self.state_conn_id = state_conn_id
        self.state_uri = state_uri
        self.symlinks = symlinks
        self.rule = rule
        self.plan_only = plan_only
        self.selection = selection
        self.archived = archived
        self.key_mapping = key_mapping
        self.key_function = key_function
        self.min_objects = min_objects
        self.min_bytes = min_bytes
        self.min_age_s = min_age_s
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - the base's
        """Refuse what cannot be asked, then wait.

        :raises AirflowFailException: if another attempt cannot help.
        """
        with hopeless_fails():
            question = self.question(context)
            question.check()
        if self.deferrable:
            self.defer(
                trigger=BucketDiffTrigger(question.to_json_dict(), self.poke_interval),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )
        return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask once.

        :raises AirflowFailException: if another attempt cannot help.
        """
        with hopeless_fails():
            found = self.question(context).ask(StopSignal())
        return PokeReturnValue(
            is_done=found is not None, xcom_value=found.to_json_dict() if found else None
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Return the plan that the trigger found.

        :raises AirflowFailException: if another attempt cannot help.
        :raises ReportedError: if the sides could not be compared this time.
        """
        raise_for_error(event, "found")
        plan: dict[str, Any] = event["plan"]
        self.log.info("%d objects, %d bytes to copy", plan["objects"], plan["bytes"])
        return plan

    def question(self, context: Context) -> DiffQuestion:
        """Return what to ask, with this attempt's name for the plan."""
        return DiffQuestion(
            sides=Sides.named_by(self),
            run_id=plan_id(context),
            plan=PlanArguments(**{n: getattr(self, n) for n in (*_PLAN, *_UNTEMPLATED)}),
            min_objects=self.min_objects,
            min_bytes=self.min_bytes,
            min_age_s=self.min_age_s,
        )
