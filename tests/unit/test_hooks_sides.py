"""Which hook opens which side, and what is said about symlinks on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks.oss import OSSResumeHook
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.hooks.sides import PlanReference, Sides
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.plan import ListSyncOperator
from airflow_provider_s3resume.sensors.bucket_diff import BucketDiffSensor
from airflow_provider_s3resume.storage.layers import Budget
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.triggers.bucket_diff import DiffQuestion
from tests.dags.fakes import context_of

OSS_SIDES: dict[str, Any] = {
    "source_conn_id": "src",
    "source_uri": "oss://source/data/",
    "target_conn_id": "tgt",
    "target_uri": "s3://target/copy/",
}
Opened = list[tuple[str, str | None, str, str | None]]


@pytest.fixture
def budgets() -> list[Budget | None]:
    """Give the list of the budgets that stores were opened with."""
    return []


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, budgets: list[Budget | None]) -> Opened:
    """Give the list of what was opened: by which hook and connection, bucket and symlinks."""
    seen: Opened = []

    def s3(
        hook: S3ResumeHook, bucket: str, *, wait: Any = None, budget: Budget | None = None
    ) -> MemoryStore:
        del wait
        budgets.append(budget)
        seen.append(("s3", hook.s3_conn_id, bucket, None))
        return MemoryStore(bucket, service=f"memory://{hook.s3_conn_id}")

    def oss(
        hook: OSSResumeHook,
        bucket: str,
        *,
        wait: Any = None,
        symlinks: str | None = None,
        budget: Budget | None = None,
    ) -> MemoryStore:
        del wait
        budgets.append(budget)
        seen.append(("oss", hook.oss_conn_id, bucket, symlinks))
        return MemoryStore(bucket, service=f"memory://{hook.oss_conn_id}")

    monkeypatch.setattr(S3ResumeHook, "get_store", s3)
    monkeypatch.setattr(OSSResumeHook, "get_store", oss)
    return seen


def reference(**more: Any) -> PlanReference:
    """Return a reference of a plan between the two sides."""
    return PlanReference(
        sides=Sides(**{**OSS_SIDES, **more}),
        manifest="m",
        digest="d",
        run_id="r",
        objects=0,
        bytes=0,
        batches=0,
        counts={},
    )


@pytest.mark.parametrize("symlinks", [None, "report"])
def test_the_scheme_says_which_hook_opens_a_side(opened: Opened, symlinks: str | None) -> None:
    """What is done about symlinks reaches the store of the source."""
    Sides(**OSS_SIDES, symlinks=symlinks).open()
    assert opened == [("oss", "src", "source", symlinks), ("s3", "tgt", "target", None)]


def test_all_stores_of_a_task_share_one_budget(
    opened: Opened, budgets: list[Budget | None]
) -> None:
    """Those of a plan and those of named objects, whatever the service; the state's as well."""
    budget = Budget(bytes_per_s=1e6)
    pair = {"source_uri": "oss://source/k", "target_uri": "s3://target/k"}
    elsewhere = {"state_conn_id": "kept", "state_uri": "s3://state/here/"}
    Sides(**OSS_SIDES, **elsewhere).open(budget=budget)
    reference().open(budget=budget)
    Sides(**{**OSS_SIDES, **pair}).open_pair(budget=budget)
    assert len(opened) == 7
    assert budgets == [budget] * 7
    reference().open()
    assert budgets[7:] == [None, None]


def test_named_objects_are_opened_the_same_way(opened: Opened) -> None:
    """Of OSS too, one by one."""
    pair = {"source_uri": "oss://source/k", "target_uri": "s3://target/k"}
    places = Sides(**{**OSS_SIDES, **pair}, symlinks="follow").open_pair().places
    assert (places.source.uri, places.target.uri) == ("oss://source/k", "s3://target/k")
    assert opened[0] == ("oss", "src", "source", "follow")


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"source_uri": "s3://source/data/", "symlinks": "report"}, "symlinks"),
        ({"symlinks": "keep"}, "symlinks"),
        ({"source_conn_id": None}, "source_conn_id"),
        ({"target_uri": "oss://target/copy/"}, "target_uri"),
        ({"state_uri": "oss://target/state/"}, "state_uri"),
    ],
)
def test_what_oss_cannot_be_is_refused_before_a_connection_is_read(
    opened: Opened, change: dict[str, Any], parameter: str
) -> None:
    """Naming the parameter."""
    with pytest.raises(InvalidInputError) as raised:
        Sides(**{**OSS_SIDES, **change}).open()
    assert raised.value.parameter == parameter
    assert opened == []


@pytest.mark.parametrize(
    ("source_uri", "conn_type"), [("oss://source/", "aws"), ("s3://source/", "oss")]
)
def test_a_connection_for_the_other_scheme_is_refused(
    monkeypatch: pytest.MonkeyPatch, source_uri: str, conn_type: str
) -> None:
    """The message names the connection's type and the URI's scheme."""
    monkeypatch.setenv("AIRFLOW_CONN_SRC", json.dumps({"conn_type": conn_type}))
    sides = Sides(**{**OSS_SIDES, "source_uri": source_uri, "target_uri": "s3://target/"})
    scheme = source_uri.partition(":")[0]
    with pytest.raises(InvalidInputError, match=f"'{conn_type}'.* for an {scheme}:// URI"):
        sides.open()


def test_one_bucket_of_oss_by_both_of_its_endpoints_is_one_bucket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a sync writes there would be its own source the next time; neighbours are fine."""
    keys = {"login": "KEY", "password": "SECRET"}
    oss = {"conn_type": "oss", **keys, "extra": {"region": "cn-hangzhou", "internal": True}}
    s3 = {"endpoint_url": "https://s3.oss-cn-hangzhou.aliyuncs.com", "region_name": "cn-hangzhou"}
    monkeypatch.setenv("AIRFLOW_CONN_SRC", json.dumps(oss))
    monkeypatch.setenv("AIRFLOW_CONN_TGT", json.dumps({"conn_type": "aws", **keys, "extra": s3}))
    sides = {**OSS_SIDES, "source_uri": "oss://bucket/in/"}
    Sides(**{**sides, "target_uri": "s3://bucket/out/"}).open()
    with pytest.raises(InvalidInputError, match="target_uri: found 's3://bucket/in/x/'"):
        Sides(**{**sides, "target_uri": "s3://bucket/in/x/"}).open()
    pair = {"source_uri": "oss://bucket/k", "target_uri": "s3://bucket/k"}
    with pytest.raises(InvalidInputError, match="another object than the source"):
        Sides(**{**sides, **pair}).open_pair()


def test_a_plan_from_before_there_were_symlinks_is_still_read() -> None:
    """In XCom, and in a trigger that was stored by an earlier release."""
    data = reference().to_json_dict()
    del data["sides"]["symlinks"]
    assert PlanReference.from_json_dict(data) == reference()
    question = DiffQuestion(sides=Sides(**OSS_SIDES), run_id="r")
    stored = question.to_json_dict()
    del stored["sides"]["symlinks"]
    assert DiffQuestion.from_json_dict(stored) == question


def test_symlinks_travel_with_the_plan(opened: Opened) -> None:
    """All tasks after the first open the source as the plan was made; another word is another."""
    data = json.loads(json.dumps(reference(symlinks="report").to_json_dict()))
    PlanReference.from_json_dict(data).open()
    assert opened[0] == ("oss", "src", "source", "report")
    assert not Sides(**OSS_SIDES).means_the_same_as(Sides(**OSS_SIDES, symlinks="report"))


def test_operators_and_sensor_take_symlinks_as_a_template() -> None:
    """An empty text, which a template leaves for a parameter without value, is none."""
    for made in (
        ListSyncOperator(task_id="list", **OSS_SIDES, symlinks="report"),
        ResumableMultipartCopyOperator(task_id="copy", **OSS_SIDES, symlinks="report"),
    ):
        assert "symlinks" in made.template_fields
        assert made.sides().symlinks == "report"
        made.symlinks = ""
        assert made.sides().symlinks is None
    sensor = BucketDiffSensor(task_id="wait", **OSS_SIDES, symlinks="report")
    assert "symlinks" in sensor.template_fields
    assert sensor.question(context_of(sensor)).sides.symlinks == "report"
