"""Rules of a release that need none of its tools: version, fragments, licence, audit."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from airflow_provider_s3resume import __version__
from tests.release import audit, changelog
from tests.release.artefacts import files_of_the_tree
from tests.release.tools import DISTRIBUTION, ReleaseError
from tests.support.bootstrap import ROOT, child_environment

HELD = re.compile(
    rb"copyright (?:\(c\)|\xc2\xa9|[0-9]{4})|spdx-license-identifier[:]", re.IGNORECASE
)
"""How a file says that somebody holds rights in it."""


def test_the_version_stands_in_one_place() -> None:
    """It is read by hatchling; the project file and the lock name none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "airflow_provider_s3resume/__init__.py"
    (own,) = (
        package
        for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
        if package["name"] == DISTRIBUTION
    )
    assert "version" not in own
    assert metadata.version(DISTRIBUTION) == __version__


def test_every_fragment_has_a_topic_and_a_type() -> None:
    """And says something, in sentences."""
    for fragment in changelog.fragments():
        changelog.check_name(fragment)
        assert fragment.read_text().rstrip().endswith((".", ".)")), fragment.name


@pytest.mark.parametrize("name", ["a.md", "a.new.md", ".added.md", "a.added.rst", "a.added.b.md"])
def test_a_fragment_of_another_name_is_refused(name: str) -> None:
    """The types are in the message."""
    with pytest.raises(ReleaseError, match="added, changed, fixed, removed, security"):
        changelog.check_name(Path(name))


def test_one_licence_and_one_holder() -> None:
    """No file of the tree says that others have rights in it; the notices name ours."""
    holders = {name for name in files_of_the_tree() if HELD.search((ROOT / name).read_bytes())}
    assert holders == {"NOTICE"}


def pip_audit(folder: Path, monkeypatch: pytest.MonkeyPatch, *answers: object) -> None:
    """Put a program in the place of pip-audit that gives one answer after the other."""
    for number, answer in enumerate(answers):
        (folder / f"answer{number}").write_text(json.dumps(answer))
    program = folder / "pip-audit"
    program.write_text(
        f"#!/bin/sh\ncd '{folder}'; n=$(cat asked 2>/dev/null || echo 0)\n"
        "echo $((n + 1)) >asked; cat answer$n; exit 1\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(audit, "tool", lambda _name: program)


def told(*packages: tuple[str, list[str]]) -> dict[str, object]:
    """Return a document of pip-audit: packages, and what is known of each."""
    dependencies = [
        {
            "name": package,
            "version": "9.0",
            "vulns": [{"id": name, "fix_versions": ["9.1"]} for name in names],
        }
        for package, names in packages
    ]
    return {"dependencies": dependencies, "fixes": []}


CANARY_IS_KNOWN = told(("pyyaml", ["PYSEC-2020-96"]))


def test_what_is_known_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each vulnerability, and their number last."""
    locked = told(("boto3", []), ("oss2", ["CVE-2026-1"]))
    pip_audit(tmp_path, monkeypatch, CANARY_IS_KNOWN, locked)
    lines = audit.report(audit.audit(tmp_path / "state", child_environment()))
    assert lines == [
        "audit: oss2 9.0: CVE-2026-1 (fixed in 9.1)",
        "audit: packages=2 vulnerabilities=1",
    ]


def test_a_package_that_the_index_does_not_know_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not counted among those that were looked at."""
    skipped = {"dependencies": [{"name": "ours", "skip_reason": "not found"}], "fixes": []}
    pip_audit(tmp_path, monkeypatch, CANARY_IS_KNOWN, skipped)
    lines = audit.report(audit.audit(tmp_path / "state", child_environment()))
    assert lines[0].endswith("does not know ours")
    assert lines[-1] == "audit: packages=0 vulnerabilities=0"


def test_an_index_without_the_data_is_not_taken_for_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers for a package that is vulnerable as for any other."""
    pip_audit(tmp_path, monkeypatch, told(("pyyaml", [])), told(("boto3", [])))
    lines = audit.report(audit.audit(tmp_path / "state", child_environment()))
    assert lines[0].startswith("audit: NO DATA")
    assert "pyyaml==5.1" in lines[0]
    assert lines[-1] == "audit: nothing is known of the packages, good or bad"
