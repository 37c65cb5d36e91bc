"""What copies shall have, from a form's parameters to what the target's objects have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.operators._asking import ASKED_FIELDS
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.params import COPYING_FROM_PARAMS, copying_params
from airflow_provider_s3resume.operators.plan import ListSyncOperator
from airflow_provider_s3resume.operators.sync import sync_task_group
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.config import OnUnsupportedAttribute
from tests.dags.fakes import SIDES, Buckets, context_of

FORM: dict[str, Any] = {
    "part_size_mib": 64,
    "memory_budget_mib": 128,
    "max_mib_per_s": None,
    "max_requests_per_s": None,
    "server_side_copy": "auto",
    "storage_class": None,
    "storage_class_map": None,
    "acl": None,
    "encryption": None,
    "kms_key_id": None,
    "bucket_key": None,
    "on_unsupported_attribute": "report",
}


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Give a source and a target bucket behind the connections ``src`` and ``tgt``."""
    return Buckets.behind_connections(monkeypatch)


def rendered(**filled: Any) -> dict[str, str]:
    """Return the operator's arguments that a filled form renders to."""
    params = copying_params()
    assert FORM.keys() == params.keys()
    environment = DAG(dag_id="form", schedule=None, params=params).get_template_env()
    return {
        name: environment.from_string(template).render(params={**FORM, **filled})
        for name, template in COPYING_FROM_PARAMS.items()
    }


def copying(**arguments: Any) -> ResumableMultipartCopyOperator:
    """Return the task that they make."""
    return ResumableMultipartCopyOperator(task_id="copy", **arguments)


def test_an_empty_form_asks_for_nothing() -> None:
    """As it was before there was one."""
    config = copying(**rendered()).config()
    assert config.options == WriteOptions()
    assert config.storage_classes is None
    assert config.on_unsupported_attribute is OnUnsupportedAttribute.REPORT


def test_a_filled_form_asks_for_all_of_it() -> None:
    """A flag and a mapping survive their template."""
    config = copying(
        **rendered(
            storage_class="source",
            storage_class_map={"Archive": "GLACIER", "*": "STANDARD_IA"},
            acl="bucket-owner-full-control",
            encryption="aws:kms",
            kms_key_id="alias/mine",
            bucket_key=False,
            on_unsupported_attribute="fail",
        )
    ).config()
    assert config.options == WriteOptions(
        acl="bucket-owner-full-control",
        encryption="aws:kms",
        kms_key_id="alias/mine",
        bucket_key=False,
    )
    assert config.storage_classes is not None
    assert config.storage_classes.target_class("Archive", uri="u") == "GLACIER"
    assert config.storage_classes.target_class("other", uri="u") == "STANDARD_IA"
    assert config.on_unsupported_attribute is OnUnsupportedAttribute.FAIL
    fixed = copying(**rendered(storage_class="GLACIER_IR", bucket_key=None)).config()
    assert fixed.options == WriteOptions(storage_class="GLACIER_IR")
    assert fixed.storage_classes is None


def test_all_are_template_fields_and_reach_list_and_transfer() -> None:
    """What would be refused there is refused before anything is listed."""
    assert set(ASKED_FIELDS) <= set(ResumableMultipartCopyOperator.template_fields)
    assert "asked" in ListSyncOperator.template_fields
    asked = {"storage_class": "source", "storage_class_map": {"IA": "GLACIER"}, "acl": "private"}
    with DAG(dag_id="asking", schedule=None) as dag:
        sync_task_group(**SIDES, copying={**asked, "part_size": 64 << 20})
    listed, transfer = dag.get_task("sync.list"), dag.get_task("sync.transfer")
    assert isinstance(listed, ListSyncOperator)
    assert listed.asked == asked
    given: Mapping[str, Any] = transfer.partial_kwargs  # type: ignore[union-attr]
    assert asked.items() <= given.items()


BAD: list[tuple[dict[str, Any], str]] = [
    ({"storage_class": "two words"}, "storage_class"),
    ({"storage_class_map": {"IA": "GLACIER"}}, "storage_class_map"),
    ({"storage_class": "source", "storage_class_map": "{"}, "storage_class_map"),
    ({"storage_class": "source", "storage_class_map": ["IA"]}, "storage_class_map"),
    ({"acl": "everybody"}, "acl"),
    ({"encryption": "rot13"}, "encryption"),
    ({"bucket_key": True}, "encryption"),
    ({"bucket_key": "perhaps", "encryption": "aws:kms"}, "bucket_key"),
    ({"on_unsupported_attribute": "ignore"}, "on_unsupported_attribute"),
]


@pytest.mark.parametrize(("asked", "parameter"), BAD)
def test_what_cannot_be_meant_is_refused_by_list_and_by_transfer(
    buckets: Buckets, asked: dict[str, Any], parameter: str
) -> None:
    """By the name of the parameter."""
    buckets.fill()
    listed = ListSyncOperator(task_id="list", asked=asked, **SIDES)
    with pytest.raises(AirflowFailException) as raised:
        listed.execute(context_of(listed))
    cause = raised.value.__cause__
    assert isinstance(cause, InvalidInputError)
    assert cause.parameter == parameter
    with pytest.raises(InvalidInputError, match=parameter):
        copying(**asked).config()
    assert buckets.copied() == {}


@pytest.mark.parametrize("storage_class", ["source", "GLACIER"])
def test_c19_a_class_that_no_file_can_have_is_refused_before_anything_is_listed(
    buckets: Buckets, storage_class: str
) -> None:
    """By the name of the parameter, also that of each object's own source."""
    buckets.fill()
    folder = replace(AMAZON_S3, keeps_attributes=False)
    buckets.replace_target(MemoryStore("target", service="memory://tgt", capabilities=folder))
    asked_of: list[str] = []
    for store in (buckets.source, buckets.target):
        store.observer.before = lambda operation, _: asked_of.append(operation)
    listed = ListSyncOperator(task_id="list", asked={"storage_class": storage_class}, **SIDES)
    with pytest.raises(AirflowFailException) as raised:
        listed.execute(context_of(listed))
    cause = raised.value.__cause__
    assert isinstance(cause, InvalidInputError)
    assert (cause.parameter, cause.found) == ("storage_class", storage_class)
    assert asked_of == []


def test_c19_a_named_object_has_what_was_asked_for(buckets: Buckets) -> None:
    """From the operator's arguments to the target's object."""
    buckets.fill()
    task = copying(
        **{**SIDES, "source_uri": "s3://source/data/big.bin", "target_uri": "s3://target/x"},
        storage_class="source",
        acl="private",
        on_unsupported_attribute="fail",
    )
    task.execute(context_of(task))
    assert buckets.target.objects["x"].options == WriteOptions(
        storage_class="STANDARD", acl="private"
    )
