"""The cleaner as a task: its arguments, its result, and how it fails."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CopyStoppedError,
    InvalidInputError,
    ObjectsFailedError,
    TransientStoreError,
)
from airflow_provider_s3resume.operators import clean_uploads
from airflow_provider_s3resume.operators.clean_uploads import CleanStrayUploadsOperator
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.parts import PartLayout
from airflow_provider_s3resume.plan.resume import Checkpoint
from airflow_provider_s3resume.plan.strays import DAY_S, CleaningRules
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords
from airflow_provider_s3resume.transfer.state import StateLocation
from tests.dags.fakes import Buckets, context_of
from tests.dags.test_examples import CLEANING, load

TARGET: dict[str, Any] = {"target_conn_id": "tgt", "target_uri": "s3://target/copy/"}


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Give a target bucket behind the connection ``tgt``."""
    return Buckets.behind_connections(monkeypatch)


def leave_stray(target: MemoryStore, state: MemoryStore, key: str, *, age_s: float) -> str:
    """Leave an upload with one part, and a checkpoint of it that is so old; return its id."""
    clock = target.state.clock
    try:
        for store in (target, state):
            store.state.clock = lambda: clock() - age_s
        location = StateLocation(state)
        location.ensure(clock() - age_s)
        upload_id = target.create_upload(key, NewUpload())
        target.upload_part(key, upload_id, 1, b"part", None)
        checkpoint = Checkpoint(
            source_uri=f"memory://src s3://source/{key}",
            target_uri=f"{target.service} s3://{target.bucket}/{key}",
            identity=SourceIdentity(etag="e", size=8),
            layout=PartLayout(size=8, part_size=4),
            upload_id=upload_id,
            algorithm="MD5",
            started=clock() - age_s,
        )
        CheckpointRecords(location).save(checkpoint, None)
    finally:
        for store in (target, state):
            store.state.clock = clock
    return upload_id


def have_state(buckets: Buckets) -> None:
    """Make the state location, as a sync would have done."""
    StateLocation(buckets.target).ensure(buckets.target.state.clock())


def run(**arguments: Any) -> dict[str, Any]:
    """Run a task with these arguments."""
    task = CleanStrayUploadsOperator(task_id="clean", **{**TARGET, **arguments})
    return task.execute(context_of(task))


def test_by_default_a_task_only_reports(buckets: Buckets) -> None:
    """Seven days, a dry run; the result is figures."""
    stray = leave_stray(buckets.target, buckets.target, "copy/a", age_s=8 * DAY_S)
    young = leave_stray(buckets.target, buckets.target, "copy/b", age_s=6 * DAY_S)
    found = run()
    assert (found["dry_run"], found["stray_uploads"], found["stray_bytes"]) == (True, 1, 4)
    assert (found["uploads_aborted"], found["bytes_freed"]) == (0, 0)
    assert set(buckets.target.uploads) == {stray, young}
    assert "copy/a" not in str(found)


@pytest.mark.parametrize("older_than", [timedelta(days=3), 3, 3.0, "3", " 3 "])
def test_arguments_may_be_what_templates_leave(buckets: Buckets, older_than: Any) -> None:
    """Days as a number or text, flags as text; records elsewhere stay."""
    leave_stray(buckets.target, buckets.target, "copy/a", age_s=4 * DAY_S)
    elsewhere = leave_stray(buckets.target, buckets.target, "other/b", age_s=4 * DAY_S)
    found = run(older_than=older_than, report_only="False", state_uri="")
    assert (found["uploads_aborted"], found["bytes_freed"], found["records_forgotten"]) == (1, 4, 1)
    assert found["records_elsewhere"] == 1
    assert set(buckets.target.uploads) == {elsewhere}


def test_the_state_location_may_be_a_bucket_of_its_own(buckets: Buckets) -> None:
    """Behind a connection of its own."""
    state = buckets.add("st", "state")
    leave_stray(buckets.target, state, "copy/a", age_s=8 * DAY_S)
    where = {"state_conn_id": "st", "state_uri": "s3://state/.s3resume/"}
    assert run(**where, report_only=False)["uploads_aborted"] == 1
    assert buckets.target.uploads == {}
    assert [key for key in state.objects if "/cleanups/" in key]


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"older_than": "soon"}, "older_than"),
        ({"older_than": True}, "older_than"),
        ({"older_than": "inf"}, "older_than"),
        ({"older_than": 0.01}, "older_than"),
        ({"older_than": None}, "older_than"),
        ({"report_only": "no"}, "report_only"),
        ({"abort_empty_uploads_of_intents": 1}, "abort_empty_uploads_of_intents"),
        ({"target_uri": "oss://target/"}, "target_uri"),
        ({"target_uri": None}, "target_uri"),
        ({"state_uri": "s3://target/state"}, "state_uri"),
    ],
)
def test_c41_arguments_that_cannot_be_used_fail_at_once(
    buckets: Buckets, arguments: dict[str, Any], parameter: str
) -> None:
    """Naming the parameter, before any service is asked."""
    with pytest.raises(AirflowFailException, match=parameter) as raised:
        run(**arguments)
    assert isinstance(raised.value.__cause__, InvalidInputError)
    assert buckets.target.objects.page("", None, 10) == []


def test_unknown_parameters_of_a_run_are_refused(buckets: Buckets) -> None:
    """A misspelt ``dry_run`` must not pass for its default, nor the other way round."""
    have_state(buckets)
    task = CleanStrayUploadsOperator(task_id="clean", **TARGET, refuse_unknown_params=True)
    with pytest.raises(AirflowFailException, match="dryrun"):
        task.execute(context_of(task, conf={"dryrun": True}, dag_params={"dry_run": True}))
    task.execute(context_of(task, conf={"dry_run": True}, dag_params={"dry_run": True}))


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (AccessDeniedError("AbortMultipartUpload", "s3://target/a", "no"), AirflowFailException),
        (TransientStoreError("AbortMultipartUpload", "s3://target/a", "reset"), ObjectsFailedError),
    ],
)
def test_c41_what_could_not_be_cleared_away_fails_the_task_at_its_end(
    buckets: Buckets, error: Exception, raised: type[Exception]
) -> None:
    """At once if no retry helps; the others were cleared away. A retry does only what is left."""
    left = leave_stray(buckets.target, buckets.target, "copy/a", age_s=8 * DAY_S)
    leave_stray(buckets.target, buckets.target, "copy/b", age_s=8 * DAY_S)

    def fail(operation: str, arguments: Any) -> None:
        if operation == "AbortMultipartUpload" and arguments["key"] == "copy/a":
            raise error

    before = buckets.target.observer.before
    buckets.target.observer.before = fail
    with pytest.raises(raised, match=r"copy/a"):
        run(report_only=False)
    assert set(buckets.target.uploads) == {left}
    buckets.target.observer.before = before
    assert run(report_only=False)["uploads_aborted"] == 1
    assert buckets.target.uploads == {}


def test_on_kill_ends_a_cleaning_as_a_failure(buckets: Buckets) -> None:
    """Whatever it waits for."""
    leave_stray(buckets.target, buckets.target, "copy/a", age_s=8 * DAY_S)
    task = CleanStrayUploadsOperator(task_id="clean", **TARGET, report_only=False)
    ended = threading.Event()

    def kill(operation: str, _: Any) -> None:
        if operation == "AbortMultipartUpload":
            task.on_kill()
            ended.wait(10)

    buckets.target.observer.before = kill
    try:
        with pytest.raises(CopyStoppedError, match="Airflow ended the task"):
            task.execute(context_of(task))
    finally:
        ended.set()


def test_the_examples_arguments_are_what_its_form_gives(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rendered as Airflow renders them, its task runs; a run by hand may switch the dry run off."""
    have_state(buckets)
    seen: list[CleaningRules] = []
    rules = CleanStrayUploadsOperator.rules

    def noted(task: CleanStrayUploadsOperator) -> CleaningRules:
        seen.append(rules(task))
        return seen[-1]

    monkeypatch.setattr(clean_uploads.CleanStrayUploadsOperator, "rules", noted)
    for given in ({}, {"dry_run": False, "older_than_days": 3}):
        dag = load(CLEANING)
        task: Any = dag.get_task("clean")
        params = {**dag.params.dump(), **TARGET, **given}
        task.render_template_fields({"params": params}, dag.get_template_env())
        task.execute(context_of(task, conf=given, dag_params=params))
    assert [one.dry_run for one in seen] == [True, False]
    assert [one.older_than_s for one in seen] == [7 * DAY_S, 3 * DAY_S]
    assert not any(one.abort_empty_uploads_of_intents for one in seen)
    assert [opened for opened in buckets.opened if opened != ("tgt", "target")] == []
