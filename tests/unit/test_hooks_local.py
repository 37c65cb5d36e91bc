"""From a connection and a ``file://`` URI to a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import BucketNotFoundError, InvalidInputError
from airflow_provider_s3resume.hooks._target import Target
from airflow_provider_s3resume.hooks.local import LocalResumeHook
from airflow_provider_s3resume.hooks.sides import Sides
from airflow_provider_s3resume.operators.multipart_copy import _bucket_sides
from airflow_provider_s3resume.plan.objects import Hindrance
from airflow_provider_s3resume.storage.base import NewUpload, uri_of
from airflow_provider_s3resume.storage.layers import Budget

S3: dict[str, Any] = {"conn_type": "aws", "login": "KEY", "password": "SECRET"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder that the connection ``local`` is of, and an S3 connection."""
    folder = tmp_path / "data"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "file").write_bytes(b"x")
    connect(monkeypatch, {"path": str(folder)})
    monkeypatch.setenv("AIRFLOW_CONN_S3", json.dumps(S3))
    return folder


def connect(
    monkeypatch: pytest.MonkeyPatch, extra: object, conn_type: str = "s3resume_local"
) -> None:
    """Make the connection ``local``."""
    text = json.dumps({"conn_type": conn_type, "extra": extra})
    monkeypatch.setenv("AIRFLOW_CONN_LOCAL", text)


def download(folder: Path, **more: Any) -> Sides:
    """Return the sides of a download into a folder."""
    return Sides(
        **{
            "source_conn_id": "s3",
            "source_uri": "s3://bucket/from/",
            "target_conn_id": "local",
            "target_uri": f"file://{folder}/",
            "state_conn_id": "s3",
            "state_uri": "s3://state/.s3resume/",
            **more,
        }
    )


def upload(folder: Path, **more: Any) -> Sides:
    """Return the sides of an upload from a folder."""
    return Sides(
        **{
            "source_conn_id": "local",
            "source_uri": f"file://{folder}/",
            "target_conn_id": "s3",
            "target_uri": "s3://bucket/to/",
            **more,
        }
    )


def test_keys_are_paths_and_uris_say_where_files_are(data: Path) -> None:
    """A source has to be there; the state is in the target bucket, as ever."""
    opened = upload(data / "in").open(budget=Budget(bytes_per_s=1e9))
    path = str(data / "in")
    [found] = opened.source.list_objects(f"{path[1:]}/")
    assert found.key == f"{path[1:]}/file"
    assert uri_of(opened.source, found.key) == f"file://{path}/file"
    assert opened.places.source.uri == f"file://{path}/"
    assert opened.places.state.uri == "s3://bucket/.s3resume/"
    with pytest.raises(BucketNotFoundError, match="no such folder"):
        upload(data / "none").open().source.check_access()


def test_a_target_is_written_to_and_keeps_its_state_in_a_bucket(data: Path) -> None:
    """By a connection that is named: that of the folder opens no bucket."""
    opened = download(data / "new").open()
    key = f"{data}/new/k"[1:]
    opened.target.put_object(key, b"x", upload=NewUpload(), checksum=None)
    assert (data / "new" / "k").read_bytes() == b"x"
    assert opened.state.store.scheme == "s3"


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"state_uri": None}, "state_uri"),
        ({"state_conn_id": None}, "state_conn_id"),
        ({"state_uri": "file:///state/.s3resume/"}, "state_uri"),
        ({"target_conn_id": None}, "target_conn_id"),
        ({"source_uri": "file:///data/"}, "target_uri"),
        ({"target_uri": "file:///"}, "target_uri"),
        ({"target_uri": "file:///data/in"}, "target_uri"),
        ({"target_uri": "file:///data/../etc/"}, "target_uri"),
        ({"target_uri": "file:///data//in/"}, "target_uri"),
        ({"target_uri": "file://host/data/"}, "target_uri"),
        ({"target_uri": "file:data/"}, "target_uri"),
        ({"target_uri": "file:///etc/"}, "target_uri"),
        ({"source_uri": "s3://bucket/from"}, "target_uri"),
        ({"symlinks": "follow"}, "symlinks"),
    ],
)
def test_c43_a_folder_that_cannot_be_meant_is_refused_by_name(
    data: Path, change: dict[str, Any], parameter: str
) -> None:
    """Before anything is asked; out of the connection's folder there is no way."""
    with pytest.raises(InvalidInputError) as raised:
        download(data / "in", **change).open()
    assert raised.value.parameter == parameter


def test_c43_a_link_out_of_the_connections_folder_is_no_way_out(data: Path) -> None:
    """Neither for a sync nor for named files; a link to the folder itself is fine."""
    (data / "out").symlink_to("/etc")
    with pytest.raises(InvalidInputError, match=r"target_uri: .*which is /etc"):
        download(data / "out").open()
    pair = {"source_uri": "s3://bucket/k", "target_uri": f"file://{data}/out/hosts"}
    with pytest.raises(InvalidInputError, match="target_uri"):
        download(data, **pair).open_pair()
    (data.parent / "link").symlink_to(data)
    assert [*download(data.parent / "link" / "new").open().target.list_objects()] == []


def test_named_files_are_opened_in_their_folder(data: Path) -> None:
    """And the plan of them names that folder, as it names the bucket of an object."""
    up = upload(data, source_uri=f"file://{data}/in/file", target_uri="s3://bucket/k")
    opened = up.open_pair()
    assert opened.source.head(opened.places.source.prefix).size == 1
    assert _bucket_sides(up).source_uri == f"file://{data}/in/"
    down = download(data, source_uri="s3://bucket/k", target_uri=f"file://{data}/in/k")
    assert down.open_pair().places.state.uri == "s3://state/.s3resume/"
    assert _bucket_sides(down).target_uri == f"file://{data}/in/"
    assert _bucket_sides(down).open(named=True).target.service == down.open_pair().target.service
    for change in ({"source_uri": f"file://{data}/in/"}, {"target_uri": f"file://{data}/k"}):
        uris = {"source_uri": up.source_uri, "target_uri": up.target_uri, **change}
        with pytest.raises(InvalidInputError):
            upload(data, **uris).open_pair()


def test_links_are_treated_as_argument_or_connection_say(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The argument comes first; without either, they are named in the report."""
    (data / "in" / "link").symlink_to("file")

    def hindrance(symlinks: str | None) -> Hindrance | None:
        source = upload(data / "in", symlinks=symlinks).open().source
        return {one.key[-4:]: one.hindrance for one in source.list_objects()}["link"]

    assert hindrance(None) is Hindrance.SYMLINK
    assert hindrance("follow") is None
    assert hindrance("fail") is Hindrance.REFUSED_SYMLINK
    connect(monkeypatch, {"path": str(data), "symlinks": "follow"})
    assert hindrance(None) is None
    assert hindrance("report") is Hindrance.SYMLINK
    with pytest.raises(InvalidInputError, match="'follow' or 'report' or 'fail'"):
        upload(data / "in", symlinks="keep").open()


def test_the_cleaning_of_a_folder_opens_it(data: Path) -> None:
    """With the state location that its syncs have."""
    target = {"conn_id": "local", "uri": f"file://{data}/in/", "state_conn_id": "s3"}
    opened = Target(**target, state_uri="s3://state/.s3resume/").open()
    assert opened.store.list_all_uploads() == []
    assert opened.state.store.scheme == "s3"
    with pytest.raises(InvalidInputError, match="state_uri"):
        Target(**target).open()


@pytest.mark.parametrize("conn_type", ["s3resume_local", "fs"])
def test_both_types_of_connection_are_taken(
    data: Path, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    """Their path may stand at the top or under ``s3resume``."""
    for extra in ({"path": str(data)}, {"s3resume": {"path": f"{data}/", "inodes": False}}):
        connect(monkeypatch, extra, conn_type)
        assert LocalResumeHook("local").facts.path == str(data)
        assert LocalResumeHook("local").test_connection()[0] is True


@pytest.mark.parametrize(
    ("extra", "conn_type", "named"),
    [
        ({}, "s3resume_local", "extra 'path'"),
        ({"path": "relative"}, "s3resume_local", "extra 'path'"),
        ({"path": "/"}, "s3resume_local", "extra 'path'"),
        ({"path": "/x/.."}, "fs", "extra 'path'"),
        ({"path": 7}, "fs", "extra 'path'"),
        ({"path": "/x", "symlink": "follow"}, "s3resume_local", "symlink"),
        ({"path": "/x", "s3resume": {"pth": "/y"}}, "fs", "pth"),
        ({"path": "/x"}, "aws", "'aws'.* for a file:// URI"),
    ],
)
def test_a_connection_that_says_no_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], conn_type: str, named: str
) -> None:
    """By its name, and that of the field."""
    connect(monkeypatch, extra, conn_type)
    with pytest.raises(InvalidInputError, match=named) as raised:
        LocalResumeHook("local", parameter="source_conn_id").get_store("x/")
    assert "source_conn_id 'local'" in str(raised.value)


def test_the_test_of_a_connection_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made on the machine of the API server, and says so."""
    connect(monkeypatch, {"path": str(tmp_path / "none")})
    passed, text = LocalResumeHook("local").test_connection()
    assert not passed
    assert "no such folder" in text
    assert LocalResumeHook("unknown").test_connection()[0] is False
