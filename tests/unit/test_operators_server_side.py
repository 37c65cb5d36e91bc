"""Who moves the bytes, as a user chooses it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from jinja2 import Environment

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.params import COPYING_FROM_PARAMS, copying_params
from airflow_provider_s3resume.operators.plan import PLAN_KEY, PlanSyncOperator
from airflow_provider_s3resume.operators.report import ReportSyncOperator
from airflow_provider_s3resume.operators.sync import sync_task_group
from airflow_provider_s3resume.transfer.config import CopyConfig, ServerSideCopy
from tests.dags.fakes import SIDES, Buckets, context_of
from tests.dags.seeding import put

CHOICES = [choice.value for choice in ServerSideCopy]


def copying(**more: Any) -> CopyConfig:
    """Return how a task would copy."""
    return ResumableMultipartCopyOperator(task_id="copy", **SIDES, **more).config()


@pytest.mark.parametrize("choice", CHOICES)
def test_the_choice_reaches_the_copy(choice: str) -> None:
    """As the form gives it, through a template."""
    assert "server_side_copy" in ResumableMultipartCopyOperator.template_fields
    template = Environment(autoescape=True).from_string(COPYING_FROM_PARAMS["server_side_copy"])
    rendered = template.render(params={"server_side_copy": choice})
    assert copying(server_side_copy=rendered).server_side_copy.value == choice


def test_the_service_copies_where_it_can_unless_it_is_told_not_to() -> None:
    """In the operator, in the form, and without Airflow."""
    param = copying_params()["server_side_copy"]
    assert param.schema["enum"] == CHOICES
    found = {copying().server_side_copy, ServerSideCopy(param.value), CopyConfig().server_side_copy}
    assert found == {ServerSideCopy.AUTO}


def test_another_word_is_refused() -> None:
    """Naming those that are known."""
    with pytest.raises(InvalidInputError, match=r"server_side_copy.*auto or never or require"):
        copying(server_side_copy="always")


def test_the_choice_reaches_the_estimate_of_the_plan() -> None:
    """From what the group is told of the copies."""
    assert "server_side_copy" in PlanSyncOperator.template_fields
    with DAG(dag_id="estimating", schedule=None) as dag:
        sync_task_group(**SIDES, copying={"server_side_copy": "never"})
    diff = dag.get_task("sync.diff")
    assert isinstance(diff, PlanSyncOperator)
    assert diff.server_side_copy == "never"


@pytest.mark.parametrize("choice", ["auto", "require", "never", "", None])
def test_the_estimate_is_that_of_the_choice(
    choice: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not said is what a copy does by itself; a word that is none is refused there, too."""
    buckets = Buckets.behind_connections(monkeypatch)
    buckets.target.service = buckets.source.service
    buckets.target.copies_from = {buckets.source.bucket: buckets.source}
    put(buckets.source, "data/a", b"a")
    task = PlanSyncOperator(task_id="diff", server_side_copy=choice, plan_only=True, **SIDES)
    context = context_of(task)
    task.execute(context)
    report = ReportSyncOperator(task_id="report", plan=context["ti"].xcoms[PLAN_KEY])
    requests = report.execute(context_of(report))["requests"]
    name = "target.PutObject" if choice == "never" else "target.CopyObject"
    assert requests[name] == 1
    task.server_side_copy = "always"
    with pytest.raises(AirflowFailException, match=r"server_side_copy.*auto or never or require"):
        task.execute(context_of(task))
