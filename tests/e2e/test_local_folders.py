"""A folder of the worker, uploaded and downloaded through a real scheduler."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from airflow_provider_s3resume.plan.parts import MIB
from tests.e2e.places import Places
from tests.support.stage import FinishedRun
from tests.support.wire_rules import Match

UPLOAD, DOWNLOAD = "local_to_s3_upload", "s3_to_local_download"
LARGE = random.Random(23).randbytes(40 * MIB)
FILES = {
    "a.txt": b"a",
    "a/b": b"under a directory",
    "a-b": b"",
    "ünï/çödé +%2F": b"odd",
    "large": LARGE,
}


@pytest.fixture
def folder(local_folder: Path, places: Places) -> Path:
    """Give a folder that no other test uses, named as the buckets are."""
    return local_folder / places.bucket


def run(places: Places, dag_id: str, side: str, folder: Path) -> FinishedRun:
    """Run a DAG between the folder and a bucket to its end."""
    conf = {**places.conf(), f"{side}_uri": f"file://{folder}/"}
    return places.stage.run(dag_id, conf)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, but for those without a name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".s3resume-parts" not in path.parts
    }


def test_a_folder_is_uploaded_and_then_kept_in_step(places: Places, folder: Path) -> None:
    """Each file arrives under its path; a second run copies what was changed, and nothing else."""
    for key, body in FILES.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)
    (folder / "link").symlink_to("a.txt")
    first = run(places, UPLOAD, "source", folder)
    assert first.state == "success", places.stage.logs(first.run_id, UPLOAD)
    assert (first.report["copied"], first.report["failed"]) == (len(FILES), 0)
    assert first.report["verified_by"] == {"parts": len(FILES)}
    assert (first.report["skipped"], first.report["links"]) == (
        {"symlink": 1},
        [f"{folder}/link"[1:]],
    )
    assert places.target_bodies() == FILES
    (folder / "a.txt").write_bytes(b"b")
    second = run(places, UPLOAD, "source", folder)
    assert (second.report["planned"], second.report["copied"]) == (1, 1)
    assert places.target_bodies() == {**FILES, "a.txt": b"b"}


def test_a_bucket_is_downloaded_and_then_kept_in_step(places: Places, folder: Path) -> None:
    """Each object becomes a file; a second run asks for none of their bytes."""
    for key, body in FILES.items():
        places.put_source(key, body)
    first = run(places, DOWNLOAD, "target", folder)
    assert first.state == "success", places.stage.logs(first.run_id, DOWNLOAD)
    assert (first.report["copied"], first.report["failed"]) == (len(FILES), 0)
    assert first.report["verified"] == len(FILES)
    assert files_of(folder) == FILES
    reads = Match(operation="GetObject", path=f"^/{places.bucket}/")
    seen = len(places.stage.source_wire.seen(reads))
    second = run(places, DOWNLOAD, "target", folder)
    assert (second.report["planned"], second.report["bytes"]) == (0, 0)
    assert second.report["skipped"] == {"proven_before": len(FILES)}
    assert len(places.stage.source_wire.seen(reads)) == seen


def test_c43_a_folder_outside_of_the_connections_is_refused(places: Places, folder: Path) -> None:
    """The run fails at once, and nothing is made there."""
    elsewhere = folder.parent.parent / "elsewhere"
    dag, conf = DOWNLOAD, {**places.conf(), "target_uri": f"file://{elsewhere}/"}
    places.stage.airflow.wait_for_dag(dag)
    run_id = places.stage.airflow.api.trigger(dag, conf)
    assert places.stage.airflow.api.wait_run(dag, run_id) == "failed"
    assert "target_uri: found" in places.stage.airflow.api.task_log(dag, run_id, "list")
    assert not elsewhere.exists()
