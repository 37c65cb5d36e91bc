"""What type checkers tell a user, who has the installed wheel and not this tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.release.tools import PACKAGE, tool
from tests.support.bootstrap import ROOT, child_environment

PROGRAM = ROOT / "tests" / "data" / "typed_user" / "program.py"
SIDES = 'source_conn_id="a", source_uri="s3://a/", target_conn_id="b", target_uri="s3://b/"'
WRONG = {
    "S3ResumeHook(3)": "arg-type",
    'S3ResumeHook("a").get_store(b"bucket")': "arg-type",
    'LocalResumeHook("a").get_store("data/", write=True)': "call-arg",
    'text: str = S3ResumeHook("a").get_store("b").head("key").size': "assignment",
    'S3ResumeHook("a").get_store("b").header("key")': "attr-defined",
    f'BucketDiffSensor(task_id="t", {SIDES}, min_objects=None)': "arg-type",
    'ResumableMultipartCopyOperator(task_id="t", part_size=[1])': "arg-type",
    'ListSyncOperator(task_id="t", memory_budget=[1])': "arg-type",
    'CleanStrayUploadsOperator(task_id="t", older_than=None)': "arg-type",
    'sync_task_group(source_conn_id="a", source_uri="s3://a/")': "call-arg",
    f"sync_task_group({SIDES}, pool_slots='two')": "arg-type",
    f"sides_params({SIDES}, source_schemes=3)": "arg-type",
}
"""Lines that a user may write by mistake, and what mypy calls each."""
COMPLETE = 0.96
"""The floor of ``--verifytypes``: the share of public symbols, attributes set in ``__init__`` among
them, whose types are declared and not only inferred. Every parameter and result is."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a right and a wrong program, in which nothing of the tree is found."""
    folder = tmp_path_factory.mktemp("typed")
    right = PROGRAM.read_text()
    (folder / "right.py").write_text(right)
    (folder / "wrong.py").write_text("\n".join([right, *WRONG, ""]))
    return folder


def lines_of_the_wrong() -> dict[int, str]:
    """Return line number → line of the wrong program, from 1."""
    first = len(PROGRAM.read_text().splitlines()) + 2
    return dict(enumerate(WRONG, start=first))


def output_of(*command: str | Path, cwd: Path, bin_folder: Path) -> str:
    """Return what a checker prints, whatever it found; ``python`` is the user's own."""
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    env = {**child_environment(), "HOME": str(cwd), "PATH": path}
    env.pop("MYPYPATH", None)
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout


def test_mypy_strict_finds_nothing_but_what_is_wrong(program: Path, installed: Path) -> None:
    """The right program has no error; of the wrong one every wrong line has, by its name."""
    printed = output_of(
        *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"),
        *("--output", "json", "--cache-dir", program / "cache"),
        *("--python-executable", installed, "right.py", "wrong.py"),
        cwd=program,
        bin_folder=installed.parent,
    )
    found = [json.loads(line) for line in printed.splitlines()]
    errors = {(e["file"], e["line"]): e["code"] for e in found if e["severity"] == "error"}
    wanted = {("wrong.py", n): WRONG[line] for n, line in lines_of_the_wrong().items()}
    assert errors == wanted, printed


def pyright(program: Path, installed: Path, *options: str) -> dict[str, Any]:
    """Return what Pyright says as JSON of the environment that its ``python`` is in."""
    command: list[str | Path] = [tool("basedpyright"), "--outputjson", *options]
    return dict(json.loads(output_of(*command, cwd=program, bin_folder=installed.parent)))


def test_pyright_finds_nothing_but_what_is_wrong(program: Path, installed: Path) -> None:
    """The same as above, at the settings that Pyright has by itself."""
    (program / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    found = pyright(program, installed, "--project", str(program))["generalDiagnostics"]
    errors = {
        (Path(e["file"]).name, e["range"]["start"]["line"] + 1)
        for e in found
        if e["severity"] == "error"
    }
    assert errors == {("wrong.py", number) for number in lines_of_the_wrong()}, found


def test_what_is_public_has_types(program: Path, installed: Path) -> None:
    """A share of all symbols; what others' packages leave open is not counted."""
    told = pyright(program, installed, "--ignoreexternal", "--verifytypes", PACKAGE)
    said = told["typeCompleteness"]
    assert Path(said["pyTypedPath"]).is_relative_to(installed.parent.parent)
    unknown = [
        symbol["name"]
        for symbol in said["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
    ]
    assert said["completenessScore"] >= COMPLETE, (said["exportedSymbolCounts"], unknown)
