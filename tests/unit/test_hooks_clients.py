"""c20: descriptions of services are read once for all clients, from where users keep them."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest
from botocore.loaders import Loader

from airflow_provider_s3resume.hooks._clients import share_descriptions


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
