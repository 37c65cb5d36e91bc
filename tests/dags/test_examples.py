"""The example DAGs: they load, their graphs and forms are what the documentation says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.sdk import DAG, AssetAlias
from jinja2 import Environment

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.operators.retries import RETRIES

FOLDER = Path(__file__).resolve().parent.parent.parent / "dags"
NIGHTLY, TRIGGERED, NAMED = "s3_to_s3_nightly_sync", "bucket_diff_triggered_sync", "s3_copy_objects"
MIGRATION, CLEANING = "oss_to_s3_migration", "s3_clean_stray_uploads"
UPLOAD, DOWNLOAD = "local_to_s3_upload", "s3_to_local_download"
EVENTS = "s3_event_driven_copy"
EXAMPLES = [NIGHTLY, TRIGGERED, NAMED, MIGRATION, CLEANING, UPLOAD, DOWNLOAD, EVENTS]
STAGES = ["list", "diff", "transfer", "verify", "report"]


def load(dag_id: str) -> DAG:
    """Load an example; any warning is an error."""
    spec = importlib.util.spec_from_file_location(f"example_{dag_id}", FOLDER / f"{dag_id}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec.loader.exec_module(module)
    dag: DAG = module.dag
    return dag


def chain_of(dag: DAG, first: str) -> list[str]:
    """Follow the only arrow out of each task."""
    chain = [first]
    while following := dag.get_task(chain[-1]).downstream_task_ids:
        [task_id] = following
        chain.append(task_id)
    return chain


def schema_of(dag: DAG) -> dict[str, Any]:
    """Return the schema of a DAG's parameters, as its form has it."""
    params: Any = dag.params
    return {"type": "object", "properties": {n: params.get_param(n).schema for n in params}}


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_an_example_is_documented_runs_alone_and_has_typed_parameters(dag_id: str) -> None:
    """Each parameter of the form says what it is."""
    dag = load(dag_id)
    dag.validate()  # type: ignore[no-untyped-call]
    assert dag.dag_id == dag_id
    assert dag.doc_md
    assert dag.max_active_runs == 1
    assert not dag.catchup
    params: Any = dag.params
    for name in params:
        schema = params.get_param(name).schema
        assert schema["type"], name
        assert schema["title"], name
        assert schema["section" if name != "keys" else "title"], name


def test_the_examples_are_all_tested() -> None:
    """Nothing lies in the folder that no test loads."""
    assert {path.stem for path in FOLDER.glob("*.py")} == set(EXAMPLES)


def test_the_graph_reads_as_the_stages_of_a_sync() -> None:
    """List → diff → transfer → verify → report, with one arrow between two of them."""
    assert chain_of(load(NIGHTLY), "list") == STAGES
    for dag_id in (MIGRATION, UPLOAD, DOWNLOAD):
        assert chain_of(load(dag_id), "list") == STAGES
    assert chain_of(load(TRIGGERED), "wait") == ["wait", *STAGES]
    assert chain_of(load(NAMED), "pairs") == ["pairs", "copy", "verify"]
    assert chain_of(load(EVENTS), "take") == ["take", *STAGES[1:], "acknowledge"]


@pytest.mark.parametrize("dag_id", [NIGHTLY, TRIGGERED, MIGRATION, UPLOAD, DOWNLOAD])
def test_tasks_are_retried_pooled_and_run_to_the_end(dag_id: str) -> None:
    """The last two run whatever became of the copies; each of them may meet a dead worker."""
    dag = load(dag_id)
    for task_id in STAGES:
        task: Any = dag.get_task(task_id)
        assert task.retries == 3
        assert task.retry_exponential_backoff
    transfer: Any = dag.get_task("transfer")
    assert transfer.pool == "s3resume_transfer"
    assert transfer.is_mapped
    assert {dag.get_task(t).pool for t in STAGES if t != "transfer"} == {"default_pool"}
    for task_id in ("verify", "report"):
        assert dag.get_task(task_id).trigger_rule == "all_done"
    report: Any = dag.get_task("report")
    assert report.outlets == [AssetAlias(report.asset_alias)]


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_one_variable_makes_all_retries_quicker(
    monkeypatch: pytest.MonkeyPatch, dag_id: str
) -> None:
    """And the policy, which takes the task's own delay as its unit, stays."""
    monkeypatch.setenv("S3RESUME_RETRY_DELAY_S", "1.5")
    retried: list[Any] = [task for task in load(dag_id).tasks if task.task_id != "pairs"]
    assert {task.retry_delay for task in retried} == {timedelta(seconds=1.5)}
    for task in retried:
        assert getattr(task, "retry_policy", None) is RETRIES.get("retry_policy")


def test_labels_of_mapped_tasks_fit_into_airflows_database() -> None:
    """It keeps 250 characters of a label, and a key may have 1,024 bytes."""
    named: Any = load(NAMED).get_task("copy")
    transfer: Any = load(NIGHTLY).get_task("transfer")
    long = SimpleNamespace(source_uri="s3://b/" + "k" * 1024, batch={"label": "n" * 1024})
    for task in (named, transfer):
        template = task.partial_kwargs["map_index_template"]
        assert 0 < len(Environment(autoescape=True).from_string(template).render(task=long)) < 250


def test_templated_fields_name_no_secret_and_exist() -> None:
    """They are shown in the user interface (c42)."""
    for dag_id in EXAMPLES:
        for task in load(dag_id).tasks:
            fields = set(task.template_fields)
            assert not {f for f in fields if "secret" in f or "password" in f or "token" in f}
            assert task.is_mapped or all(hasattr(task, name) for name in fields)


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"dry_run": True}, True),
        ({"dry_run": "yes"}, False),
        ({"source_uri": "s3://bucket"}, True),
        ({"source_uri": "s3://bucket/prefix with spaces/ü/"}, True),
        ({"source_uri": "bucket/prefix"}, False),
        ({"source_uri": ""}, False),
        ({"source_uri": "oss://bucket/prefix/"}, True),
        ({"target_uri": "https://bucket/"}, False),
        ({"target_uri": "oss://bucket/"}, False),
        ({"state_uri": "oss://bucket/state/"}, False),
        ({"state_uri": None}, True),
        ({"state_uri": "s3://state/here/"}, True),
        ({"state_uri": "here"}, False),
        ({"rule": "size+etag+newer"}, True),
        ({"rule": "name"}, False),
        ({"part_size_mib": 5}, True),
        ({"part_size_mib": 4}, False),
        ({"part_size_mib": 5121}, False),
        ({"memory_budget_mib": -1}, False),
        ({"max_mib_per_s": None, "max_requests_per_s": None}, True),
        ({"max_mib_per_s": 100, "max_requests_per_s": 1}, True),
        ({"max_mib_per_s": 0}, False),
        ({"max_mib_per_s": 0.5}, False),
        ({"max_requests_per_s": 0}, False),
        ({"max_requests_per_s": "many"}, False),
        ({"source_conn_id": ""}, False),
    ],
)
def test_the_form_of_a_manual_run_refuses_what_cannot_be(
    change: dict[str, Any],
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """Airflow checks the same schema when a run is triggered."""
    dag = load(NIGHTLY)
    given = {**dag.params.dump(), **change}
    schema = schema_of(dag)
    assert jsonschema.Draft7Validator(schema).is_valid(given) is accepted


@pytest.mark.parametrize(
    ("symlinks", "accepted"),
    [
        (None, True),
        ("follow", True),
        ("report", True),
        ("", False),
        ("keep", False),
        (False, False),
    ],
)
def test_the_form_of_a_migration_asks_what_becomes_of_symlinks(
    symlinks: str | None,
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """What the connection says, unless the run says otherwise; each task of the plan is told."""
    dag = load(MIGRATION)
    given = dag.params.dump()
    assert (given["source_uri"], given["symlinks"]) == ("oss://demo-oss/", None)
    schema = schema_of(dag)
    assert jsonschema.Draft7Validator(schema).is_valid({**given, "symlinks": symlinks}) is accepted
    assert not jsonschema.Draft7Validator(schema).is_valid({**given, "source_uri": "s3://bucket/"})
    for task_id in ("list", "diff"):
        task: Any = dag.get_task(task_id)
        assert task.symlinks == "{{ params.symlinks or '' }}"


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"source_uri": "file:///x/y z/"}, True),
        ({"source_uri": "file:///x"}, False),
        ({"source_uri": "file:///"}, False),
        ({"source_uri": "file:////x/"}, False),
        ({"source_uri": "file://host/x/"}, False),
        ({"source_uri": "s3://bucket/"}, False),
        ({"target_uri": "file:///x/"}, False),
        ({"symlinks": "fail"}, True),
        ({"symlinks": "skip"}, False),
    ],
)
def test_the_form_of_an_upload_takes_a_folder(
    change: dict[str, Any],
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """As a source only; the tasks of the plan are told what becomes of links."""
    dag = load(UPLOAD)
    given = {**dag.params.dump(), **change}
    assert jsonschema.Draft7Validator(schema_of(dag)).is_valid(given) is accepted
    for task_id in ("list", "diff"):
        task: Any = dag.get_task(task_id)
        assert task.symlinks == "{{ params.symlinks or '' }}"


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"target_uri": "file:///x/y z/"}, True),
        ({"target_uri": "file:///x"}, False),
        ({"target_uri": "s3://bucket/"}, False),
        ({"source_uri": "file:///x/"}, False),
        ({"state_uri": None}, False),
        ({"state_uri": "file:///x/"}, False),
        ({"state_conn_id": ""}, False),
    ],
)
def test_the_form_of_a_download_wants_a_bucket_for_the_state(
    change: dict[str, Any],
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """And a connection that opens it, as that of the folder does not."""
    dag = load(DOWNLOAD)
    given = {**dag.params.dump(), **change}
    assert jsonschema.Draft7Validator(schema_of(dag)).is_valid(given) is accepted
    for task_id in ("list", "diff"):
        task: Any = dag.get_task(task_id)
        assert task.state_conn_id == "{{ params.state_conn_id }}"


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"older_than_days": 30, "dry_run": False}, True),
        ({"older_than_days": 0}, False),
        ({"older_than_days": 1.5}, False),
        ({"older_than_days": "7"}, False),
        ({"dry_run": "no"}, False),
        ({"abort_empty_uploads_of_intents": True}, True),
        ({"abort_empty_uploads_of_intents": None}, False),
        ({"target_uri": "oss://bucket/"}, False),
        ({"target_conn_id": ""}, False),
        ({"state_uri": "here"}, False),
    ],
)
def test_the_form_of_a_cleaning_refuses_what_cannot_be(
    change: dict[str, Any],
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """And leaves everything as it is unless a run says otherwise."""
    dag: Any = load(CLEANING)
    given = dag.params.dump()
    assert (given["dry_run"], given["abort_empty_uploads_of_intents"]) == (True, False)
    assert given["older_than_days"] == 7
    assert dag.schedule is None
    schema = schema_of(dag)
    assert jsonschema.Draft7Validator(schema).is_valid({**given, **change}) is accepted


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"queue_url": "https://sqs.eu-central-1.amazonaws.com/111122223333/events"}, True),
        ({"queue_url": "events"}, False),
        ({"queue_url": "https://key:secret@sqs.example/q"}, False),
        ({"dead_letter_url": "http://127.0.0.1:4566/000000000000/dead"}, True),
        ({"dead_letter_url": ""}, False),
        ({"queue_conn_id": None}, True),
        ({"foreign_messages": "leave"}, True),
        ({"foreign_messages": "delete"}, False),
        ({"most_messages": 0}, False),
        ({"take_seconds": 0}, False),
        ({"hide_s": 59}, False),
        ({"hide_s": 43201}, False),
        ({"source_uri": "oss://bucket/"}, False),
    ],
)
def test_the_form_of_copies_by_events_refuses_what_cannot_be(
    change: dict[str, Any],
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """Without a queue in the environment, runs are started by hand."""
    dag: Any = load(EVENTS)
    assert dag.schedule is None
    given = {**dag.params.dump(), **change}
    schema = schema_of(dag)
    assert jsonschema.Draft7Validator(schema).is_valid(given) is accepted


@pytest.mark.parametrize("by", ["watcher", "sensor", ""])
def test_a_queue_starts_runs_in_the_way_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """By a watcher of the triggerer, or by a first task that waits."""
    url = "https://sqs.eu-central-1.amazonaws.com/111122223333/events"
    monkeypatch.setenv("S3RESUME_QUEUE_URL", url)
    monkeypatch.setenv("S3RESUME_EVENTS_BY", by)
    dag: Any = load(EVENTS)
    assert dag.params.dump()["queue_url"] == url
    assert dag.max_active_runs == 1
    if by == "sensor":
        assert dag.schedule == "@continuous"
        assert chain_of(dag, "wait")[:2] == ["wait", "take"]
        return
    [asset] = dag.schedule
    [watcher] = asset.watchers
    assert watcher.trigger.queue_url == url
    assert "wait" not in dag.task_ids
    transfer: Any = dag.get_task("transfer")
    assert (transfer.pool, transfer.is_mapped) == ("s3resume_transfer", True)
    for task_id in ("verify", "report", "acknowledge"):
        assert dag.get_task(task_id).trigger_rule == "all_done"


@pytest.mark.parametrize(
    ("keys", "accepted"),
    [(["a"], True), (["a//b", " ", "ü"], True), ([], False), ([""], False), (["a", "a"], False)],
)
def test_the_keys_to_copy_are_a_list_of_different_names(
    keys: list[str],
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """At least one, and none is empty."""
    dag = load(NAMED)
    assert jsonschema.Draft7Validator(schema_of(dag)).is_valid({"keys": keys}) is accepted


@pytest.mark.parametrize(
    ("versions", "accepted"),
    [({}, True), ({"a": "id"}, True), ({"a": ""}, False), ({"a": 1}, False), (["a"], False)],
)
def test_versions_are_ids_by_key(
    versions: object,
    accepted: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """None is chosen by default."""
    dag = load(NAMED)
    assert dag.params["versions"] == {}
    given = {"keys": ["a"], "versions": versions}
    assert jsonschema.Draft7Validator(schema_of(dag)).is_valid(given) is accepted


def test_each_key_is_copied_in_the_version_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one of a key that is not copied is refused: it may be misspelt."""
    dag: Any = load(NAMED)
    given = {**dag.params.dump(), "keys": ["a", "b"], "versions": {"b": "id"}}
    context = {"params": given, "dag": dag, "dag_run": SimpleNamespace(conf={})}
    pairs = dag.get_task("pairs").python_callable
    monkeypatch.setitem(pairs.__globals__, "get_current_context", lambda: context)
    assert [(one["source_uri"][-1], one["source_version_id"]) for one in pairs()] == [
        ("a", ""),
        ("b", "id"),
    ]
    given["versions"] = {"c": "id"}
    with pytest.raises(InvalidInputError, match=r"keys of versions: found 'c'"):
        pairs()


def test_defaults_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one file serves more than one deployment."""
    monkeypatch.setenv("S3RESUME_SOURCE_URI", "s3://here/x/")
    monkeypatch.setenv("S3RESUME_OSS_SOURCE_URI", "oss://here/y/")
    monkeypatch.setenv("S3RESUME_OSS_CONN_ID", "away")
    monkeypatch.setenv("S3RESUME_TARGET_CONN_ID", "there")
    monkeypatch.setenv("S3RESUME_STATE_URI", "s3://state/x/")
    params = load(NIGHTLY).params.dump()
    assert params["source_uri"] == "s3://here/x/"
    assert params["target_conn_id"] == "there"
    assert params["state_uri"] == "s3://state/x/"
    migration = load(MIGRATION).params.dump()
    assert (migration["source_uri"], migration["source_conn_id"]) == ("oss://here/y/", "away")
    assert (migration["target_conn_id"], migration["state_uri"]) == ("there", "s3://state/x/")
    monkeypatch.setenv("S3RESUME_LOCAL_CONN_ID", "folder")
    monkeypatch.setenv("S3RESUME_LOCAL_SOURCE_URI", "file:///up/")
    monkeypatch.setenv("S3RESUME_LOCAL_TARGET_URI", "file:///down/")
    monkeypatch.setenv("S3RESUME_STATE_CONN_ID", "state")
    up, down = load(UPLOAD).params.dump(), load(DOWNLOAD).params.dump()
    assert (up["source_conn_id"], up["source_uri"]) == ("folder", "file:///up/")
    assert (down["target_conn_id"], down["target_uri"]) == ("folder", "file:///down/")
    assert (down["state_conn_id"], down["state_uri"]) == ("state", "s3://state/x/")


def test_reading_the_examples_loads_no_sdk() -> None:
    """A DAG is read every few seconds: boto3 costs more than all the rest."""
    code = (
        "import importlib, sys\n"
        f"sys.path.insert(0, {str(FOLDER)!r})\n"
        f"for name in {EXAMPLES!r}: importlib.import_module(name)\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'boto3', 'botocore', 'oss2', 'awscrt'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "[]"
