"""The arguments that say what is meant and where it goes, as a DAG gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._renaming import renaming_of
from airflow_provider_s3resume.hooks._selecting import scope_of
from airflow_provider_s3resume.hooks.planning import PlanArguments
from airflow_provider_s3resume.hooks.sides import Sides
from airflow_provider_s3resume.operators.params import (
    PLANNING_FROM_PARAMS,
    planning_params,
)
from airflow_provider_s3resume.operators.plan import (
    PLAN_KEY,
    ListSyncOperator,
    PlanSyncOperator,
)
from airflow_provider_s3resume.operators.sync import sync_task_group
from airflow_provider_s3resume.plan.filters import SELECTION_NAMES, Selection
from airflow_provider_s3resume.plan.objects import Location
from airflow_provider_s3resume.sensors.bucket_diff import BucketDiffSensor
from airflow_provider_s3resume.transfer.selecting import EVERYTHING
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.triggers.bucket_diff import DiffQuestion
from tests.dags.fakes import SIDES, Buckets, context_of
from tests.dags.seeding import put

SOURCE = Location(bucket="source", prefix="data/")


def shouted(key: str) -> str:
    """Return a key in capitals; named by tests."""
    return key.upper()


SHOUTED = f"{__name__}:shouted"


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Give a source and a target bucket behind the connections ``src`` and ``tgt``."""
    return Buckets.behind_connections(monkeypatch)


@pytest.mark.parametrize("given", [None, "", {}, "{}", {"include": "", "key_list": ""}])
def test_an_empty_selection_is_everything(given: object) -> None:
    """However it was left empty."""
    assert scope_of(given, SOURCE, "src") == EVERYTHING


def test_a_selection_may_be_the_text_of_a_template() -> None:
    """A JSON document, as a template leaves it."""
    found = scope_of(json.dumps({"include": ["*.csv"], "min_size": 5}), SOURCE, "src")
    assert found.selection == Selection(include=("*.csv",), min_size=5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "selection: found '{', accepted is a JSON document"),
        (["*.csv"], r"selection: found .*names and values"),
        ({"incldue": "*"}, "selection: found 'incldue', accepted is .*include.*key_list"),
        ({"key_list": 5}, r"selection\.key_list: found 5, accepted is a text"),
        ({"key_list": "keys.txt"}, r"selection\.key_list: found 'keys\.txt'.*absolute path"),
        ({"key_list": "s3://bucket/"}, r"selection\.key_list: found .*an object's URI"),
        ({"key_list": "http://x/y"}, r"selection\.key_list: found"),
        ({"prefix_list": "oss://bucket/x"}, r"selection\.lists_conn_id: found None"),
        ({"storage_classes": "Archive"}, r"selection\.storage_classes: found 'Archive'"),
        ({"prefix_list": "/a.txt", "key_list": "/b.txt"}, r"selection\.key_list: found '/b\.txt'"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(given: object, message: str) -> None:
    """Before any service is asked."""
    with pytest.raises(InvalidInputError, match=message):
        scope_of(given, SOURCE, None)


def test_lists_are_read_through_a_connection(buckets: Buckets) -> None:
    """The source's, or one of their own; a file of the worker through none."""
    put(buckets.add("src", "lists"), "i.txt", b"x")
    found = scope_of({"ignore_list": "s3://lists/i.txt"}, SOURCE, "src")
    assert found.ignore_list is not None
    assert found.ignore_list.store is not None
    buckets.add("other", "lists")
    given = {"key_list": "s3://lists/k.csv", "lists_conn_id": "other"}
    assert scope_of(given, SOURCE, "src").key_list is not None
    assert buckets.opened == [("src", "lists"), ("other", "lists")]
    for uri in ("/some/where.txt", "file:///some/where.txt"):
        file = scope_of({"prefix_list": uri}, SOURCE, "src").prefix_list
        assert file is not None
        assert (file.name, file.store) == ("/some/where.txt", None)


def test_a_selection_goes_through_list_and_diff(buckets: Buckets) -> None:
    """Both refuse what cannot be used; the plan has what was meant."""
    data = buckets.fill()
    given: dict[str, Any] = {"selection": {"include": "*.txt"}, "archived": "fail"}
    listed = ListSyncOperator(task_id="list", **SIDES, **given)
    listed.execute(context_of(listed))
    diff = PlanSyncOperator(task_id="diff", **SIDES, **given)
    context = context_of(diff)
    (batch,) = diff.execute(context)
    assert "1 objects" in batch["label"]
    assert context["ti"].xcoms[PLAN_KEY]["counts"] == {
        "copy.missing_at_target": 1,
        "skip.not_selected": len(data) - 1,
    }
    for operator in (ListSyncOperator, PlanSyncOperator):
        task = operator(task_id="t", **SIDES, selection={"include": "a["})
        with pytest.raises(AirflowFailException, match=r"selection\.include: found"):
            task.execute(context_of(task))
    missing = ListSyncOperator(task_id="t", **SIDES, selection={"key_list": "s3://source/none.txt"})
    with pytest.raises(AirflowFailException, match=r"selection\.key_list: found"):
        missing.execute(context_of(missing))


def test_keys_are_mapped_through_list_and_diff(buckets: Buckets) -> None:
    """By prefixes and by a function that is imported where the task runs."""
    buckets.fill()
    given: dict[str, Any] = {"key_mapping": {"add_prefix": "new/"}, "key_function": SHOUTED}
    diff = PlanSyncOperator(task_id="diff", **SIDES, **given)
    context = context_of(diff)
    diff.execute(context)
    text = buckets.target.data(".s3resume/" + context["ti"].xcoms[PLAN_KEY]["manifest"]).decode()
    assert json.loads(text)["key_mapping"] == {"add_prefix": "new/", "function": SHOUTED}
    (batch,) = [key for key in buckets.target.objects if "/batches/" in key]
    assert '"target_key":"copy/new/DIR/B.BIN"' in buckets.target.data(batch).decode()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "no_colon",
        "os:system('x')",
        "a b:c",
        "../x:y",
        f"{__name__}:nothing",
        "no_such_module_of_ours:f",
        f"{__name__}:SHOUTED",
        5,
    ],
)
def test_what_is_no_function_is_refused_by_name(path: object) -> None:
    """It is imported by its path and nothing else; nothing is evaluated."""
    with pytest.raises(InvalidInputError, match=r"key_function: found .*package\.module:function"):
        renaming_of(None, path)


def test_code_is_named_where_the_dag_is_written() -> None:
    """No template, and so no field of a run's form, can name a function."""
    for fields in (
        ListSyncOperator.template_fields,
        PlanSyncOperator.template_fields,
        BucketDiffSensor.template_fields,
    ):
        assert {"selection", "archived", "key_mapping"} <= set(fields)
        assert "key_function" not in fields
    assert "key_function" not in PLANNING_FROM_PARAMS
    assert not [name for name in planning_params() if "function" in name]


@pytest.mark.parametrize("given", [5, ["a"], "[]"])
def test_a_mapping_of_keys_is_names_and_values(given: object) -> None:
    """Anything else is refused by name."""
    with pytest.raises(InvalidInputError, match="key_mapping: found"):
        renaming_of(given, None)


def test_a_sensor_asks_with_the_same_arguments(buckets: Buckets) -> None:
    """In the triggerer, too, from what was stored of it."""
    buckets.fill()
    given: dict[str, Any] = {
        "selection": {"include": ["*.txt"]},
        "archived": "report",
        "key_mapping": {"strip_prefix": "x/"},
        "key_function": SHOUTED,
    }
    sensor = BucketDiffSensor(task_id="wait", **SIDES, **given)
    question = sensor.question(context_of(sensor))
    question.check()
    again = DiffQuestion.from_json_dict(json.loads(json.dumps(question.to_json_dict())))
    assert again == question
    found = again.ask(StopSignal())
    assert found is not None
    assert found.counts["copy.missing_at_target"] == 1
    wrong = DiffQuestion(
        sides=Sides(**SIDES), run_id="r", plan=PlanArguments(selection={"min_size": "x"})
    )
    with pytest.raises(InvalidInputError, match=r"selection\.min_size"):
        wrong.check()


def rendered(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the planning arguments of the example DAGs for these fields of the form."""
    defaults = {name: param.value for name, param in planning_params().items()}
    with DAG("form", schedule=None) as dag:
        task = PlanSyncOperator(task_id="diff", **SIDES, **PLANNING_FROM_PARAMS)
    task.render_template_fields({"params": {**defaults, **params}}, dag.get_template_env())
    names = ("rule", "plan_only", "selection", "archived", "key_mapping")
    return {name: getattr(task, name) for name in names}


def test_the_form_has_a_field_for_each_name() -> None:
    """And an empty form plans everything."""
    names = {*SELECTION_NAMES, "ignore_list", "prefix_list", "key_list"}
    assert set(PLANNING_FROM_PARAMS["selection"]) == names
    assert {*names, "archived", "strip_prefix", "add_prefix"} <= set(planning_params())
    made = PlanArguments(**rendered({}))
    assert scope_of(made.selection, SOURCE, "src") == EVERYTHING
    assert (made.archived, renaming_of(made.key_mapping, None)) == ("report", None)


def test_a_form_that_was_filled_in_is_what_was_meant() -> None:
    """Lines are patterns; a brace of a template in one of them is only a brace."""
    given = rendered({"include": "*.csv\n{{ x }}.{a,b}\n", "min_size": "1 KiB", "max_age": "7d"})
    asked = {k: v for k, v in given["selection"].items() if v}
    assert asked == {"include": "*.csv\n{{ x }}.{a,b}\n", "min_size": "1 KiB", "max_age": "7d"}
    found = scope_of({**asked, "include": "*.csv\n*.{a,b}"}, SOURCE, "src").selection
    assert found == Selection(include=("*.csv", "*.{a,b}"), min_size=1024, max_age_s=604_800)


def test_the_group_hands_all_of_it_on() -> None:
    """The two tasks of the plan have them; the size of parts is for the estimate."""
    with DAG("group", schedule=None):
        group = sync_task_group(
            **SIDES,
            planning={"selection": {"include": "*"}, "key_function": SHOUTED},
            copying={"part_size": 8 << 20},
        )
    diff = group.children["sync.diff"]
    assert isinstance(diff, PlanSyncOperator)
    assert (diff.selection, diff.key_function) == ({"include": "*"}, SHOUTED)
    assert diff.part_size == 8 << 20
