"""The tasks of a sync, run one after the other on buckets in memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import AssetAlias
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CopyStoppedError,
    InvalidInputError,
    ManifestError,
    ObjectsFailedError,
    S3ResumeError,
    TransientStoreError,
)
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.hooks.sides import Sides
from airflow_provider_s3resume.operators import multipart_copy
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.plan import ListSyncOperator, PlanSyncOperator
from airflow_provider_s3resume.operators.report import ReportSyncOperator
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator
from airflow_provider_s3resume.plan.parts import GIB, MIB
from airflow_provider_s3resume.storage._memory_reader import no_hook
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.triggers.bucket_diff import DiffQuestion
from tests.dags.fakes import SIDES, Buckets, context_of
from tests.dags.seeding import put

ALIAS = "dag.sync"


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Give a source and a target bucket behind the connections ``src`` and ``tgt``."""
    return Buckets.behind_connections(monkeypatch)


def plan(**more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run list and diff; return the batches and the plan's reference."""
    listed = ListSyncOperator(task_id="list", **{**SIDES, **more})
    found = listed.execute(context_of(listed))
    diffed = PlanSyncOperator(task_id="diff", sides_name=found["sides"], **{**SIDES, **more})
    context = context_of(diffed)
    batches = diffed.execute(context)
    return batches, context["ti"].xcoms["plan"]


def copy(batch: dict[str, Any], *, try_number: int = 1, **more: Any) -> dict[str, Any]:
    """Run one transfer task."""
    task = ResumableMultipartCopyOperator(task_id="transfer", batch=batch, **more)
    return task.execute(context_of(task, try_number=try_number))


def verify(reference: Any) -> dict[str, Any]:
    """Run the verification."""
    task = VerifyCopyOperator(task_id="verify", plan=reference)
    return task.execute(context_of(task))


def report(reference: Any) -> tuple[dict[str, Any], Any]:
    """Run the report; return it and what was added to the alias."""
    task = ReportSyncOperator(
        task_id="report", plan=reference, asset_uri="s3://target/copy/", asset_alias=ALIAS
    )
    context = context_of(task)
    return task.execute(context), context["outlet_events"][AssetAlias(ALIAS)].added


def test_a_sync_copies_verifies_reports_and_tells_the_news(buckets: Buckets) -> None:
    """All objects arrive, each with a proof, and the event carries counts and the manifest."""
    data = buckets.fill()
    batches, reference = plan()
    assert reference["objects"] == len(data)
    for batch in batches:
        copy(batch)
    assert buckets.copied() == data
    assert verify(reference)["verified"] == len(data)
    done, events = report(json.dumps(reference))
    assert (done["planned"], done["copied"], done["verified"]) == (len(data),) * 3
    [(asset, extra)] = events
    assert asset.uri == "s3://target/copy"
    assert extra["copied"] == len(data)
    assert extra["manifest_digest"] == reference["digest"]


def test_a_second_run_has_nothing_to_map_over(buckets: Buckets) -> None:
    """No batches; the report still runs, and says so."""
    buckets.fill()
    for batch in plan()[0]:
        copy(batch)
    batches, reference = plan()
    assert batches == []
    verify(reference)
    done, events = report(reference)
    assert (done["planned"], done["copied"], done["bytes"]) == (0, 0, 0)
    assert len(events) == 1


def test_a_dry_run_plans_and_reports_and_copies_nothing(buckets: Buckets) -> None:
    """There is nothing to map over, whatever the plan holds, and no event."""
    data = buckets.fill()
    batches, reference = plan(plan_only="True")
    assert batches == []
    assert reference["objects"] == len(data)
    verify(reference)
    done, events = report(reference)
    assert (done["dry_run"], done["planned"], done["copied"]) == (True, len(data), 0)
    assert events == []
    assert buckets.copied() == {}


def test_batches_are_small_and_those_with_most_bytes_come_first(buckets: Buckets) -> None:
    """XCom carries references: no key of an object."""
    buckets.fill()
    batches, _ = plan(max_objects="1", max_batches=10)
    sizes = [int(batch["label"].split()[-2]) for batch in batches]
    assert sizes == sorted(sizes, reverse=True)
    assert len(batches) == 4
    for secret_or_key in ("big.bin", "b.bin", "a.txt"):
        assert secret_or_key not in json.dumps(batches)


def test_a_plan_that_is_there_is_taken_over(buckets: Buckets) -> None:
    """Nothing is listed again; a reference to another document is refused."""
    data = buckets.fill()
    _, reference = plan()
    put(buckets.source, "data/late.txt", b"late")
    task = PlanSyncOperator(task_id="diff", plan=json.dumps(reference), **SIDES)
    context = context_of(task)
    batches = task.execute(context)
    assert context["ti"].xcoms["plan"] == reference
    for batch in batches:
        copy(batch)
    assert buckets.copied() == data
    other = PlanSyncOperator(task_id="diff", plan={**reference, "digest": "0"}, **SIDES)
    with pytest.raises(AirflowFailException) as raised:
        other.execute(context_of(other))
    assert isinstance(raised.value.__cause__, ManifestError)


def test_c40_a_dry_run_of_a_plan_that_is_there_copies_nothing(buckets: Buckets) -> None:
    """A sensor's plan knows of no dry run: the task that takes it over does."""
    data = buckets.fill()
    found = DiffQuestion(sides=Sides(**SIDES), run_id="asked").ask(StopSignal())
    assert found is not None
    task = PlanSyncOperator(task_id="diff", plan=found.to_json_dict(), plan_only="True", **SIDES)
    context = context_of(task)
    assert task.execute(context) == []
    reference = context["ti"].xcoms["plan"]
    assert (reference["dry_run"], reference["objects"]) == (True, len(data))
    verify(reference)
    done, events = report(reference)
    assert (done["dry_run"], done["planned"], done["copied"]) == (True, len(data), 0)
    assert events == []
    assert buckets.copied() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"source_uri": "s3://source/other/"},
        {"target_uri": "s3://target/elsewhere/"},
        {"source_conn_id": "tgt"},
        {"state_uri": "s3://target/state/"},
    ],
)
def test_c40_a_plan_of_other_sides_is_refused(buckets: Buckets, change: dict[str, Any]) -> None:
    """What a task says of its sides is never silently replaced by what a plan says."""
    buckets.fill()
    _, reference = plan()
    task = PlanSyncOperator(task_id="diff", plan=reference, **{**SIDES, **change})
    with pytest.raises(AirflowFailException, match="plan: found 'a plan from s3://source/data/"):
        task.execute(context_of(task))
    spelt_out = {"state_uri": "s3://target/.s3resume/", "state_conn_id": "tgt"}
    same = PlanSyncOperator(task_id="diff", plan=reference, **SIDES, **spelt_out)
    assert same.execute(context_of(same))


def test_named_objects_are_copied_one_by_one(buckets: Buckets) -> None:
    """Both URIs are those of objects; what comes back can be verified."""
    buckets.fill()
    task = ResumableMultipartCopyOperator(
        task_id="copy",
        **{**SIDES, "source_uri": "s3://source/data/big.bin", "target_uri": "s3://target/x"},
    )
    result = task.execute(context_of(task))
    assert buckets.target.data("x") == buckets.source.data("data/big.bin")
    assert result["result"]["counts"] == {"copied": 1}
    assert verify(result)["verified"] == 1


def limit_to(store: MemoryStore, *prefixes: str) -> None:
    """Let a bucket answer only what is asked about these prefixes, as a policy may."""

    def check(operation: str, arguments: Any) -> None:
        about = arguments.get("key") or arguments.get("prefix") or ""
        if not about.startswith(prefixes):
            raise AccessDeniedError(operation, f"s3://{store.bucket}/{about}", "AccessDenied")

    store.observer.before = check


def test_permissions_that_are_limited_to_prefixes_are_enough_for_a_plan(buckets: Buckets) -> None:
    """Nothing outside of the two prefixes and the state location is asked for."""
    data = buckets.fill()
    limit_to(buckets.source, "data/")
    limit_to(buckets.target, "copy/", ".s3resume/")
    batches, _ = plan()
    for batch in batches:
        copy(batch)
    assert buckets.copied() == data
    named = {**SIDES, "source_uri": "s3://source/data/a.txt", "target_uri": "s3://target/copy/n"}
    task = ResumableMultipartCopyOperator(task_id="copy", **named)
    task.execute(context_of(task))
    assert buckets.copied()["n"] == data["a.txt"]


def test_c40_a_named_object_that_goes_away_fails_its_task(buckets: Buckets) -> None:
    """It was asked for: that it is not there is no success."""
    put(buckets.source, "data/k", b"x" * 10)

    def lose(operation: str, arguments: Any) -> None:
        # Planned, and deleted before it is copied.
        if operation == "PutObject" and "/batches/" in arguments["key"]:
            del buckets.source.objects["data/k"]

    buckets.target.observer.after = lose
    named = {**SIDES, "source_uri": "s3://source/data/k", "target_uri": "s3://target/k"}
    task = ResumableMultipartCopyOperator(task_id="copy", **named)
    with pytest.raises(AirflowFailException, match="1 objects that were named are not at the sour"):
        task.execute(context_of(task))


def test_c40_a_run_whose_objects_are_all_gone_tells_no_news(buckets: Buckets) -> None:
    """No event of the asset, and a failure that says why."""
    put(buckets.source, "data/k", b"x" * 10)
    batches, reference = plan()
    del buckets.source.objects["data/k"]
    for batch in batches:
        copy(batch)
    verify(reference)
    task = ReportSyncOperator(
        task_id="report", plan=reference, asset_uri="s3://target/copy/", asset_alias=ALIAS
    )
    context = context_of(task)
    with pytest.raises(AirflowFailException, match="all 1 planned objects are gone"):
        task.execute(context)
    assert context["outlet_events"].added == {}


def test_c40_plans_in_one_state_location_never_share_a_name(buckets: Buckets) -> None:
    """Whether two objects have one key in two buckets, or two mapped tasks one of everything."""
    put(buckets.source, "data/k", b"x" * 10)
    buckets.add("tgt2", "other")
    buckets.add("st", "state")
    asked: dict[str, Any] = {
        "source_conn_id": "src",
        "source_uri": "s3://source/data/k",
        "state_conn_id": "st",
        "state_uri": "s3://state/s/",
    }
    one, two = (
        ResumableMultipartCopyOperator(
            task_id="copy", target_conn_id=conn_id, target_uri=f"s3://{bucket}/k", **asked
        )
        for conn_id, bucket in (("tgt", "target"), ("tgt2", "other"))
    )
    done = [task.execute(context_of(task)) for task in (one, two)]
    again = context_of(one)
    again["ti"].map_index = 1
    done.append(one.execute(again))
    assert len({found["manifest"] for found in done}) == 3
    assert [verify(found)["verified"] for found in done] == [1, 1, 1]


def test_plans_of_other_sides_and_mapped_tasks_have_other_names(buckets: Buckets) -> None:
    """The same DAG of another installation may keep its state in the same place."""
    buckets.fill()
    buckets.add("st", "state")
    state = {"state_conn_id": "st", "state_uri": "s3://state/s/"}
    names = {plan(**state, **more)[1]["manifest"] for more in ({}, {"target_uri": "s3://target/"})}
    task = PlanSyncOperator(task_id="diff", **SIDES, **state)
    context = context_of(task)
    context["ti"].map_index = 3
    task.execute(context)
    assert len(names | {context["ti"].xcoms["plan"]["manifest"]}) == 3


def test_a_named_object_may_be_copied_inside_its_bucket(buckets: Buckets) -> None:
    """To another key; never onto itself."""
    buckets.fill()
    inside: dict[str, Any] = {"source_conn_id": "src", "target_conn_id": "src"}
    uri = "s3://source/data/a.txt"
    task = ResumableMultipartCopyOperator(
        task_id="copy", source_uri=uri, target_uri="s3://source/b", **inside
    )
    assert verify(task.execute(context_of(task)))["verified"] == 1
    onto = ResumableMultipartCopyOperator(task_id="copy", source_uri=uri, target_uri=uri, **inside)
    with pytest.raises(AirflowFailException, match="target_uri"):
        onto.execute(context_of(onto))


def fail_on(buckets: Buckets, operation: str, key: str, error: Callable[[], S3ResumeError]) -> None:
    """Let one call of the target on one key fail."""

    def before(called: str, arguments: Any) -> None:
        if called == operation and arguments["key"] == key:
            raise error()

    buckets.target.observer.before = before


def denied() -> AccessDeniedError:
    """Return what a service says to a key that may not write."""
    return AccessDeniedError("PutObject", "s3://target/copy/a.txt", "AccessDenied (HTTP 403)")


def fault() -> TransientStoreError:
    """Return a fault that another try may not meet."""
    return TransientStoreError("PutObject", "s3://target/copy/a.txt", "InternalError (HTTP 500)")


def test_c40_a_failed_object_fails_its_task_and_the_run_and_is_named(buckets: Buckets) -> None:
    """The others are there; the report exists, names it, and there is no event."""
    data = buckets.fill()
    fail_on(buckets, "PutObject", "copy/a.txt", denied)
    [batch], reference = plan()
    with pytest.raises(AirflowFailException, match=r"data/a\.txt"):
        copy(batch)
    del data["a.txt"]
    assert buckets.copied() == data
    # Failed too, so that clearing what failed clears it together with the transfer.
    with pytest.raises(AirflowFailException, match=f"{len(data)} objects are verified, 1 were not"):
        verify(reference)
    task = ReportSyncOperator(
        task_id="report", plan=reference, asset_uri="s3://target/copy/", asset_alias=ALIAS
    )
    context = context_of(task)
    with pytest.raises(AirflowFailException, match=r"data/a\.txt"):
        task.execute(context)
    pushed = context["ti"].xcoms["report"]
    assert (pushed["planned"], pushed["copied"], pushed["failed"]) == (len(data) + 1, len(data), 1)
    assert context["outlet_events"].added == {}
    stored = buckets.target.data(pushed["report_key"].removeprefix("s3://target/"))
    assert json.loads(stored)["failures"][0]["key"] == "data/a.txt"


def test_c40_what_landed_without_verification_fails_the_run(buckets: Buckets) -> None:
    """A verification that did not come to its end proves nothing: no event, no success."""
    buckets.fill()
    [batch], reference = plan()
    copy(batch)
    with pytest.raises(AirflowFailException, match="not verified"):
        report(reference)


def test_c40_a_run_without_a_plan_fails_in_its_report(buckets: Buckets) -> None:
    """The report runs whatever became of the other tasks, so it has to say what it misses."""
    del buckets
    with pytest.raises(AirflowSkipException):
        verify("null")
    with pytest.raises(AirflowFailException, match="plan: found None"):
        report("null")


def test_c41_what_a_retry_cannot_help_fails_at_once(buckets: Buckets) -> None:
    """AirflowFailException ends the tries of a task; its cause is the service's error."""
    buckets.source.state.denied = True
    task = ListSyncOperator(task_id="list", **SIDES)
    with pytest.raises(AirflowFailException) as raised:
        task.execute(context_of(task))
    assert isinstance(raised.value.__cause__, AccessDeniedError)


def test_c41_what_a_retry_can_help_is_left_to_airflows_retries(buckets: Buckets) -> None:
    """The next try does only what is missing."""
    data = buckets.fill()
    fail_on(buckets, "PutObject", "copy/a.txt", fault)
    [batch], _ = plan()
    with pytest.raises(ObjectsFailedError):
        copy(batch)
    buckets.target.observer.before = no_hook
    again = copy(batch, try_number=2)
    assert buckets.copied() == data
    assert again["result"]["bytes_moved"] == len(data["a.txt"])


def test_an_object_that_was_changed_at_the_target_fails_the_verification(buckets: Buckets) -> None:
    """The next attempt may find it in order again, so this is no reason to give up."""
    buckets.fill()
    [batch], reference = plan()
    copy(batch)
    put(buckets.target, "copy/a.txt", b"b" * 10)
    with pytest.raises(S3ResumeError, match=r"data/a\.txt"):
        verify(reference)
    with pytest.raises(AirflowFailException, match=r"data/a\.txt"):
        report(reference)


def test_on_kill_makes_a_copy_fail_and_the_next_try_keeps_its_parts(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged is not sent again."""
    stop = StopSignal()
    monkeypatch.setattr(multipart_copy, "StopSignal", lambda: stop)
    data = buckets.fill()
    [batch], _ = plan()
    task = ResumableMultipartCopyOperator(
        task_id="transfer", batch=batch, part_concurrency=1, object_concurrency=1
    )
    sent: list[str] = []

    def after(called: str, _: Any) -> None:
        if called == "UploadPart":
            sent.append(called)
            if len(sent) == 2:
                task.on_kill()
                assert stop.wait(30), "the task did not notice"

    buckets.target.observer.after = after
    with pytest.raises(CopyStoppedError):
        task.execute(context_of(task))
    buckets.target.observer.after = no_hook
    monkeypatch.setattr(multipart_copy, "StopSignal", StopSignal)
    again = copy(batch, try_number=2)
    assert buckets.copied() == data
    assert again["result"]["parts_kept"] >= 2


BAD_SIDES = [
    ({"source_uri": "source/data"}, "source_uri"),
    ({"source_uri": "https://source/data/"}, "source_uri"),
    ({"source_uri": "s3://"}, "source_uri"),
    ({"target_uri": ""}, "target_uri"),
    ({"target_uri": "s3://target/copy"}, "target_uri"),
    ({"target_conn_id": "src", "target_uri": "s3://source/data/"}, "target_uri"),
    ({"target_conn_id": "src", "target_uri": "s3://source/data/deeper/"}, "target_uri"),
    ({"target_conn_id": "src", "target_uri": "s3://source/"}, "target_uri"),
    ({"state_uri": "s3://target/copy"}, "state_uri"),
    ({"state_uri": "s3://target/copy/dir/"}, "state_uri"),
    ({"rule": "name"}, "rule"),
    ({"max_objects": 0}, "max_objects"),
    ({"max_bytes": "-1"}, "max_bytes"),
    ({"max_batches": 5000}, "max_batches"),
    ({"max_batches": "many"}, "max_batches"),
    ({"plan_only": "perhaps"}, "plan_only"),
]


@pytest.mark.parametrize(("change", "parameter"), BAD_SIDES)
@pytest.mark.parametrize("operator", [ListSyncOperator, PlanSyncOperator])
def test_bad_input_is_refused_by_name_before_anything_is_written(
    buckets: Buckets, operator: Any, change: dict[str, Any], parameter: str
) -> None:
    """The message names the parameter, what was found, and what is accepted."""
    buckets.fill()
    put(buckets.target, "copy/dir/mine", b"mine")
    before = dict(buckets.target.objects)
    task = operator(task_id="list", **{**SIDES, **change})
    with pytest.raises(AirflowFailException) as raised:
        task.execute(context_of(task))
    cause = raised.value.__cause__
    assert isinstance(cause, InvalidInputError)
    assert cause.parameter == parameter
    assert "found" in str(raised.value)
    assert "accepted" in str(raised.value)
    assert dict(buckets.target.objects) == before


@pytest.mark.parametrize("change", [{"source_uri": "s3://nope/"}, {"target_uri": "s3://nope/x/"}])
def test_an_unknown_bucket_is_refused_by_name(buckets: Buckets, change: dict[str, Any]) -> None:
    """Before anything is written."""
    sides = {**SIDES, "source_uri": "s3://source/data/", **change}
    if "nope/" in change.get("source_uri", ""):
        sides["target_uri"] = "s3://target/"
    task = ListSyncOperator(task_id="list", **sides)
    with pytest.raises(AirflowFailException, match=r"s3://nope/.*NoSuchBucket"):
        task.execute(context_of(task))
    assert not buckets.target.objects


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"part_size": 5 * MIB - 1}, "part_size"),
        ({"part_size": 5 * GIB + 1}, "part_size"),
        ({"part_size": "a lot"}, "part_size"),
        ({"memory_budget": -1}, "memory_budget"),
        ({"memory_budget": "-16777216"}, "memory_budget"),
        ({"part_concurrency": 0}, "part_concurrency"),
        ({"object_concurrency": 1000}, "object_concurrency"),
        ({"on_source_change": "ignore"}, "on_source_change"),
        ({"kms_key_id": "k"}, "encryption"),
        ({"batch": {"index": 0}}, "batch"),
        ({"batch": "0"}, "batch"),
    ],
)
def test_bad_input_of_a_copy_is_refused_before_any_byte_moves(
    buckets: Buckets, change: dict[str, Any], parameter: str
) -> None:
    """Sizes are judged by what the target accepts."""
    buckets.fill()
    [batch], _ = plan()
    with pytest.raises(AirflowFailException) as raised:
        copy(**{"batch": batch, **change})
    assert isinstance(raised.value.__cause__, InvalidInputError)
    assert raised.value.__cause__.parameter == parameter
    assert buckets.copied() == {}


def test_a_manifest_of_another_version_is_refused_before_any_byte_moves(buckets: Buckets) -> None:
    """The message says which version was found and which is read."""
    buckets.fill()
    [batch], reference = plan()
    key = f".s3resume/{reference['manifest']}"
    text = buckets.target.data(key).replace(b'"schema":2', b'"schema":99')
    put(buckets.target, key, text)
    with pytest.raises(AirflowFailException, match="found 99, accepted is version 1 or 2"):
        copy(batch)
    assert buckets.copied() == {}


def test_unknown_parameters_of_a_run_are_refused(buckets: Buckets) -> None:
    """Airflow lets them through."""
    del buckets
    task = ListSyncOperator(task_id="list", refuse_unknown_params=True, **SIDES)
    context = context_of(task, conf={"sauce_uri": "s3://x/"}, dag_params={"source_uri": "s3://x/"})
    with pytest.raises(AirflowFailException, match=r"sauce_uri.*source_uri"):
        task.execute(context)


def test_a_pool_that_does_not_exist_is_refused(buckets: Buckets) -> None:
    """What the scheduler's side noted down ends the first task, and says what to do."""
    del buckets
    task = ListSyncOperator(task_id="list", transfer_task_id="transfer", **SIDES)
    context = context_of(task)
    context["ti"].xcom_pull = lambda **_: '"nowhere"'
    with pytest.raises(AirflowFailException, match="airflow pools set nowhere"):
        task.execute(context)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"part_size": str(5 * MIB - 1)}, "part_size"),
        ({"part_size": 5 * GIB + 1}, "part_size"),
        ({"memory_budget": -1}, "memory_budget"),
        ({"memory_budget": "much"}, "memory_budget"),
    ],
)
def test_sizes_of_the_transfer_are_refused_before_anything_is_listed(
    buckets: Buckets, given: dict[str, Any], named: str
) -> None:
    """The first task says so, not each transfer task after both sides were listed."""
    calls: list[str] = []
    buckets.source.observer.before = lambda operation, _: calls.append(operation)
    task = ListSyncOperator(task_id="list", **SIDES, **given)
    with pytest.raises(AirflowFailException, match=named):
        task.execute(context_of(task))
    assert calls == []


def test_c42_no_secret_is_in_what_tasks_say_and_hand_on(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs, XComs, templated fields and stored documents of a whole run know no credential."""
    secret = "wJalrXUtnFEMIK7MDENG"
    connection = {"conn_type": "aws", "login": "AKIAIOSFODNN7EXAMPLE", "password": secret}
    for name in ("SRC", "TGT"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    caplog.set_level(logging.DEBUG)
    buckets.fill()
    fail_on(buckets, "PutObject", "copy/a.txt", denied)
    [batch], reference = plan()
    with pytest.raises(AirflowFailException) as raised:
        copy(batch)
    with pytest.raises(AirflowFailException) as unverified:
        verify(reference)
    said = [caplog.text, str(raised.value), str(unverified.value), json.dumps([batch, reference])]
    said += [buckets.target.data(key).decode() for key in buckets.target.objects if "json" in key]
    said.append(repr(S3ResumeHook("src").facts))
    fields = ResumableMultipartCopyOperator.template_fields
    assert not {"password", "login"} & set(fields)
    for text in said:
        assert secret not in text
        assert "AKIA" not in text
