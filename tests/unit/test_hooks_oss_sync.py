"""The tasks of a sync from OSS, run one after the other: a server, and a target in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_s3resume.hooks._airflow import AirflowFailException
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.plan import ListSyncOperator, PlanSyncOperator
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.triggers.bucket_diff import DiffQuestion
from tests.dags.fakes import context_of
from tests.support.oss_server import OSSServer

SIDES: dict[str, Any] = {
    "source_conn_id": "src",
    "source_uri": "oss://data/in/",
    "target_conn_id": "tgt",
    "target_uri": "s3://target/copy/",
}
PARTS = [bytes([n]) * 5 * MIB for n in range(3)]
DATA = {"small": b"small", "empty": b"", "dir/ü": b"x" * 4096, "big": b"".join(PARTS)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OSSServer]:
    """Give a server with objects, a link to one of them, and a connection to it."""
    with OSSServer() as found:
        found.state.create_bucket("data")
        for key in ("small", "empty", "dir/ü"):
            found.state.put("data", f"in/{key}", DATA[key])
        found.state.put_multipart("data", "in/big", PARTS)
        found.state.put_symlink("data", "in/link", "in/small")
        endpoint = found.endpoint
        place = {"endpoint": endpoint.endpoint_url, "region": endpoint.region}
        connection = {
            "conn_type": "oss",
            "login": endpoint.access_key_id,
            "password": endpoint.access_key_secret,
            "extra": place,
        }
        monkeypatch.setenv("AIRFLOW_CONN_SRC", json.dumps(connection))
        yield found


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """Give the target bucket, which every S3 hook finds."""
    store = MemoryStore("target", service="memory://tgt")
    monkeypatch.setattr(S3ResumeHook, "get_store", lambda *_, **__: store)
    return store


def copied(target: MemoryStore) -> dict[str, bytes]:
    """Return what lies under the target prefix."""
    return {
        key.removeprefix("copy/"): target.data(key)
        for key in target.objects
        if key.startswith("copy/")
    }


@pytest.mark.parametrize(
    ("symlinks", "more"),
    [(None, {"link": b"small"}), ("follow", {"link": b"small"}), ("report", {})],
)
@pytest.mark.usefixtures("server")
def test_a_sync_from_oss_copies_and_verifies(
    target: MemoryStore, symlinks: str | None, more: dict[str, bytes]
) -> None:
    """What is done about symlinks is the same in every task."""
    listed = ListSyncOperator(task_id="list", **SIDES, symlinks=symlinks)
    found = listed.execute(context_of(listed))
    assert found["source"].endswith("oss://data/in/")
    diffed = PlanSyncOperator(task_id="diff", sides_name=found["sides"], **SIDES, symlinks=symlinks)
    context = context_of(diffed)
    batches = diffed.execute(context)
    reference = json.loads(json.dumps(context["ti"].xcoms["plan"]))
    for batch in batches:
        task = ResumableMultipartCopyOperator(task_id="transfer", batch=batch)
        task.execute(context_of(task))
    assert copied(target) == {**DATA, **more}
    verify = VerifyCopyOperator(task_id="verify", plan=reference)
    assert verify.execute(context_of(verify))["verified"] == len(DATA) + len(more)
    assert reference["sides"]["symlinks"] == symlinks
    skipped = reference["counts"].get("skip.symlink", 0)
    assert skipped == (symlinks == "report")


@pytest.mark.usefixtures("server")
def test_a_named_object_of_oss_is_copied(target: MemoryStore) -> None:
    """By its own URI; the plan's sides are those of the buckets."""
    named = {**SIDES, "source_uri": "oss://data/in/dir/ü", "target_uri": "s3://target/copy/one"}
    task = ResumableMultipartCopyOperator(task_id="copy", **named)
    result = task.execute(context_of(task))
    assert copied(target) == {"one": DATA["dir/ü"]}
    assert result["sides"]["source_uri"] == "oss://data/"


@pytest.mark.usefixtures("server", "target")
def test_a_sensor_sees_what_is_new_at_oss() -> None:
    """It asks what the operators ask."""
    sides = ListSyncOperator(task_id="list", **SIDES, symlinks="report").sides()
    question = DiffQuestion(sides=sides, run_id="asked", min_objects=len(DATA))
    question.check()
    found = DiffQuestion.from_json_dict(question.to_json_dict()).ask(StopSignal())
    assert found is not None
    assert (found.objects, found.sides.symlinks) == (len(DATA), "report")


def test_a_version_of_a_named_object_is_copied(server: OSSServer, target: MemoryStore) -> None:
    """The one that is asked for, though there is a newer one; an empty text asks for none."""
    server.state.create_bucket("kept", versioned=True)
    client = server.endpoint.bucket("kept")
    versions = [client.put_object("k", body).versionid for body in (b"first", b"second")]
    for version_id, key in ((versions[0], "old"), ("", "new")):
        uris = {**SIDES, "source_uri": "oss://kept/k", "target_uri": f"s3://target/copy/{key}"}
        task = ResumableMultipartCopyOperator(task_id="copy", **uris, source_version_id=version_id)
        result = task.execute(context_of(task))
        verify = VerifyCopyOperator(task_id="verify", plan=result)
        assert verify.execute(context_of(verify))["verified"] == 1
    assert copied(target) == {"old": b"first", "new": b"second"}


@pytest.mark.usefixtures("target")
def test_a_version_is_for_a_named_object() -> None:
    """Beside a batch it could only be ignored."""
    task = ResumableMultipartCopyOperator(
        task_id="copy", batch={"plan": {}, "index": 0}, source_version_id="v1"
    )
    assert "source_version_id" in task.template_fields
    with pytest.raises(AirflowFailException, match="source_version_id: found 'v1'"):
        task.execute(context_of(task))
