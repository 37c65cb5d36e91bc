"""``docker/make_env.py``: what it writes, with nothing but Python."""

from __future__ import annotations

import base64
import json
import re
import runpy
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bootstrap import ROOT
from tests.support.compose_file import variables_of
from tests.support.compose_local import secret_ones

PROGRAM = ROOT / "docker" / "make_env.py"


def make(file: Path) -> str:
    """Run it as on a machine that has nothing installed, and return what it says."""
    command = [sys.executable, "-I", "-S", str(PROGRAM), str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """From the moment it is there, whatever the umask says."""
    file = tmp_path / ".env"
    assert make(file) == f"{file} was made"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_there_is_left(tmp_path: Path) -> None:
    """The database was made with it: another password would lock everybody out."""
    file = tmp_path / ".env"
    make(file)
    before = file.read_bytes()
    assert make(file) == f"{file} is there already, and was left as it is"
    assert file.read_bytes() == before


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Not even one that leads nowhere: nobody chooses where the secrets go."""
    file = tmp_path / ".env"
    file.symlink_to(tmp_path / "elsewhere")
    assert make(file).endswith("was left as it is")
    assert not (tmp_path / "elsewhere").exists()


def test_every_secret_is_long_and_its_own(tmp_path: Path) -> None:
    """None is used twice, in one file or in two."""
    files = [tmp_path / name for name in ("one", "two")]
    for file in files:
        make(file)
    values = [value for file in files for value in secret_ones(variables_of(file)).values()]
    assert len(values) == 16
    assert len(set(values)) == len(values)
    assert all(len(value) >= 44 for value in values)


def test_nothing_of_it_has_to_be_quoted(tmp_path: Path) -> None:
    """In a URL, in JSON, by a shell, or by compose itself."""
    file = tmp_path / ".env"
    make(file)
    for value in variables_of(file).values():
        assert re.fullmatch(r"[\w=-]+", value)
        assert json.dumps(value) == f'"{value}"'


def test_the_fernet_key_is_one(tmp_path: Path) -> None:
    """32 bytes in URL-safe base64, which is what ``cryptography`` takes."""
    file = tmp_path / ".env"
    make(file)
    assert len(base64.urlsafe_b64decode(variables_of(file)["AIRFLOW_FERNET_KEY"])) == 32


def test_without_an_argument_it_stands_beside_the_compose_file() -> None:
    """Where docker-compose looks for it."""
    assert runpy.run_path(str(PROGRAM))["FILE"] == ROOT / ".env"


@pytest.mark.parametrize("line", ["import base64", "import os", "import secrets", "import sys"])
def test_it_imports_the_standard_library_alone(line: str) -> None:
    """So that it runs before anything is installed."""
    text = PROGRAM.read_text()
    assert line in text
    assert "airflow_provider" not in text
