"""Who moves the bytes, as a user chooses it."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import Environment

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.params import COPYING_FROM_PARAMS, copying_params
from airflow_provider_s3resume.transfer.config import CopyConfig, ServerSideCopy
from tests.dags.fakes import SIDES

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
