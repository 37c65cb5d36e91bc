"""c20: what the clients of all hooks share, and how they read times."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import JSONFileLoader, Loader

from airflow_provider_s3resume.hooks._clients import (
    _Files,
    read_times_quickly,
    share_descriptions,
)


def loader() -> Loader:
    """Return what a new session reads descriptions with."""
    session = boto3.session.Session()
    share_descriptions(session)
    found: Loader = session._session.get_component("data_loader")
    return found


def described(folder: Path, name: str) -> str:
    """Write a description; return the folder."""
    folder.mkdir()
    (folder / "mine.json").write_text(json.dumps({"name": name}))
    return str(folder)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing be read from this machine's own settings."""
    for name in ("AWS_DATA_PATH", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


def test_c20_sessions_share_what_they_have_read() -> None:
    """It takes 10 MiB each time."""
    assert loader() is loader()


def test_descriptions_of_the_users_own_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As botocore finds them: each session where its own environment points."""
    without = loader()
    monkeypatch.setenv("AWS_DATA_PATH", described(tmp_path / "one", "first"))
    first = loader()
    assert first.load_data("mine") == {"name": "first"}
    assert first is loader()
    monkeypatch.setenv("AWS_DATA_PATH", described(tmp_path / "two", "second"))
    assert loader().load_data("mine") == {"name": "second"}
    monkeypatch.delenv("AWS_DATA_PATH")
    assert loader() is without


def test_descriptions_of_a_profiles_own_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``data_path`` of the profile that the session is of."""
    folder = described(tmp_path / "models", "of the profile")
    (tmp_path / "config").write_text(f"[profile mine]\ndata_path = {folder}\n")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert loader().load_data("mine") == {"name": "of the profile"}


@pytest.mark.parametrize(
    "name",
    ["endpoints", "partitions", "s3/2006-03-01/service-2", "s3/2006-03-01/endpoint-rule-set-1"],
)
def test_descriptions_say_what_they_say_to_botocore(name: str) -> None:
    """In the same order, packed or not."""
    path = str(Path(Loader.BUILTIN_DATA_PATH, name))
    theirs, found = JSONFileLoader().load_file(path), _Files().load_file(path)
    assert theirs
    assert json.dumps(found) == json.dumps(theirs)


def test_descriptions_are_found_packed_and_are_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As botocore finds them: one that is not packed before one that is, and none in a folder."""
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    for name in ("packed", "both"):
        (tmp_path / f"{name}.json.gz").write_bytes(gzip.compress(b'{"is": "packed"}'))
    (tmp_path / "both.json").write_text('{"is": "plain"}')
    (tmp_path / "folder.json").mkdir()
    assert loader().load_data("packed") == {"is": "packed"}
    assert loader().load_data("both") == {"is": "plain"}
    for name in ("folder", "none"):
        with pytest.raises(DataNotFoundError):
            loader().load_data(name)


def test_a_folder_that_may_not_be_looked_into_has_no_descriptions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is passed over, as botocore does."""

    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "closed", str(path))

    path = str(tmp_path / "mine")
    with monkeypatch.context() as closed:
        closed.setattr(os, "stat", refuse)
        found = JSONFileLoader().load_file(path), _Files().load_file(path)
    assert found == (None, None)


def test_s3_is_found_without_a_look_at_all_services(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There are 400."""
    # Nobody has read anything there yet.
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    monkeypatch.setattr(Loader, "list_available_services", lambda *_: pytest.fail("looked at all"))
    session = boto3.session.Session()
    share_descriptions(session)
    client = session.client("s3", region_name="us-east-1")
    assert client.meta.service_model.service_name == "s3"


def test_services_are_those_that_botocore_finds() -> None:
    """One that is unknown is an error that names those that are known."""
    theirs = Loader().list_available_services("service-2")
    found = loader().list_available_services("service-2")
    assert list(found) == theirs
    assert found[:2] == theirs[:2]
    assert len(found) == len(theirs)
    assert "s3" in found
    assert "s4" not in found
    with pytest.raises(UnknownServiceError, match=r"s4.*, s3, "):
        loader().load_service_model("s4", "service-2")


@pytest.mark.parametrize(
    "told",
    [
        "2026-01-02T03:04:05.678Z",
        "2026-01-02T03:04:05Z",
        "2026-01-02T05:04:05+02:00",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "1767323045",
        1767323045,
    ],
)
def test_times_are_read_in_every_form_that_botocore_takes(told: str | int) -> None:
    """Whichever way it is written, it is the same moment, and knows its time zone."""
    session = boto3.session.Session()
    read_times_quickly(session)
    parser = session._session.get_component("response_parser_factory").create_parser("rest-xml")
    found = parser._timestamp_parser(told)
    assert found.replace(microsecond=0) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found.microsecond == (678_000 if ".678" in str(told) else 0)


def test_a_time_that_is_none_is_refused() -> None:
    """As botocore refuses it, though it looks like one."""
    session = boto3.session.Session()
    read_times_quickly(session)
    parser = session._session.get_component("response_parser_factory").create_parser("rest-xml")
    with pytest.raises(ValueError, match="Invalid timestamp"):
        parser._timestamp_parser("2026-13-02T03:04:05Z")
