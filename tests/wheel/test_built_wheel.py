"""The distribution, not the working tree: built, installed beside the locked packages, and used."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

from tests.release.tools import DISTRIBUTION, PACKAGE
from tests.support.bootstrap import ROOT

IMPORT_EVERYTHING = f"""
import importlib, json, pkgutil, sys
import {PACKAGE} as package
names = [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(json.dumps({{"file": package.__file__, "version": package.__version__, "names": names}}))
"""


def _run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every module and the typing marker are in; tests and DAGs are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {PACKAGE}
    tree = {str(p.relative_to(ROOT)) for p in (ROOT / PACKAGE).rglob("*.py")}
    assert tree | {f"{PACKAGE}/py.typed"} <= names


def test_every_module_imports_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """No module needs what only the development environment has."""
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    printed = _run(installed, "-I", "-c", IMPORT_EVERYTHING, cwd=tmp_path, env=env)
    found = json.loads(printed.splitlines()[-1])
    assert Path(found["file"]).is_relative_to(installed.parent.parent)
    assert f"{PACKAGE}.exceptions" in found["names"]


def test_airflow_finds_the_installed_provider(installed: Path, tmp_path: Path) -> None:
    """The entry point is read, and the provider named with its version."""
    airflow: list[str | Path] = [
        installed,
        "-m",
        "airflow",
        "providers",
        "get",
        DISTRIBUTION,
        "--output",
        "json",
    ]
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    printed = _run(*airflow, cwd=tmp_path, env=env)
    (provider,) = json.loads(printed[printed.index("[{") :])
    assert provider["Provider"] == DISTRIBUTION
    version = f"import importlib.metadata as m; print(m.version({DISTRIBUTION!r}))"
    assert provider["Version"] == _run(installed, "-I", "-c", version, cwd=tmp_path).strip()


def test_the_installed_command_prints_policies(installed: Path, tmp_path: Path) -> None:
    """The tables of features are in the wheel."""
    uris = ("oss://source/in/", "s3://target/out/")
    printed = _run(installed, "-I", "-m", f"{PACKAGE}.permissions", *uris, cwd=tmp_path)
    found = json.loads(printed)
    assert list(found) == ["source", "target", "state"]
    assert "oss:GetObjectTagging" in found["source"]["Statement"][-1]["Action"]
