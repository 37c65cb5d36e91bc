"""Copying named objects by hand."""

from __future__ import annotations

import pytest

from tests.e2e.places import Places
from tests.support.airflow_api import ApiError
from tests.support.wired_stage import WiredStage

DAG_ID = "s3_copy_objects"
ODD = "ünï çödé+%2F&?#[1]'\".txt"


def test_named_objects_are_copied_under_another_name(stage: WiredStage, places: Places) -> None:
    """Two keys, one of them odd, arrive behind the target's prefix; no other key is touched."""
    stage.airflow.wait_for_dag(DAG_ID)
    for key in ("plain.txt", ODD, "not asked for"):
        places.put_source(f"in/day-{key}", key.encode())
    conf = {**places.conf("in/day-", "out/copy of "), "keys": ["plain.txt", ODD]}
    run_id = stage.airflow.api.trigger(DAG_ID, conf)
    state = stage.airflow.api.wait_run(DAG_ID, run_id)
    assert state == "success", stage.logs(run_id, DAG_ID)
    assert places.target_bodies() == {
        "out/copy of plain.txt": b"plain.txt",
        f"out/copy of {ODD}": ODD.encode(),
    }


def test_a_key_named_twice_is_refused(stage: WiredStage, places: Places) -> None:
    """The run is not even started, and the answer names the parameter."""
    stage.airflow.wait_for_dag(DAG_ID)
    conf = {**places.conf(), "keys": ["twice.txt", "twice.txt"]}
    with pytest.raises(ApiError, match=r"keys.*'twice\.txt', 'twice\.txt'.*unique") as refused:
        stage.airflow.api.trigger(DAG_ID, conf)
    assert refused.value.status == 400
    assert places.writes() == []


def test_a_missing_source_object_is_named_and_nothing_is_written(
    stage: WiredStage, places: Places
) -> None:
    """The run fails, its log names the object, and the target's bucket sees no write."""
    stage.airflow.wait_for_dag(DAG_ID)
    places.put_target("missing.txt", b"old")
    run_id = stage.airflow.api.trigger(DAG_ID, {**places.conf(), "keys": ["missing.txt"]})
    assert stage.airflow.api.wait_run(DAG_ID, run_id) == "failed"
    log = stage.airflow.api.task_log(DAG_ID, run_id, "copy", map_index=0)
    assert f"s3://{places.bucket}/missing.txt" in log
    assert places.writes() == []
    assert places.target_bodies() == {"missing.txt": b"old"}
