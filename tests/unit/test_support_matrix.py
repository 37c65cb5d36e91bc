"""The pure parts of the matrix: what is compared, what is told, and how a run of it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.matrix import __main__ as matrix
from tests.matrix import environments, probe, table
from tests.matrix.cells import (
    CELLS,
    OURS,
    Cell,
    CellError,
    Facts,
    Said,
    disturbed,
    judge,
    normal_name,
    pinned,
    unpinned,
)

MWAA = next(cell for cell in CELLS if cell.airflow == "3.0.6")
NEWEST = next(cell for cell in CELLS if cell.airflow is None)
START = "start of a run by an event"
SAID = Said(
    version="0.2.0",
    not_registered=[],
    dags=["a", "b"],
    import_errors={},
    features={START: "asset watcher"},
    run="success",
)
VERSIONS = {"apache-airflow": "3.0.6", OURS: "0.2.0"}


def facts_of(cell: Cell, **features: str) -> Facts:
    """Return facts of a cell, with a patch that the document must not tell of the newest."""
    versions = {
        "apache-airflow": cell.airflow or "3.3.2",
        "apache-airflow-providers-amazon": "9.12.0",
        "boto3": "1.43.106",
        "oss2": "2.19.1",
    }
    told = {name.replace("_", " "): value for name, value in features.items()}
    return Facts(
        versions=versions,
        added=("awscrt", "fastcrc") if cell.airflow else (),
        features=told or {START: "asset watcher"},
    )


def test_every_pinned_cell_has_its_pins() -> None:
    """They are Amazon MWAA's, and say what Airflow itself does not."""
    for cell in CELLS:
        if cell.pins is not None:
            pins = pinned(cell.pins.read_text())
            assert {"boto3", "celery", "apache-airflow-providers-amazon"} <= set(pins)
    assert [cell.airflow for cell in CELLS if cell.pins] == ["3.0.6", "3.2.1", "3.3.1"]
    assert {cell.python for cell in CELLS if not cell.pins} == {"3.11", "3.12", "3.13"}
    assert len({cell.name for cell in CELLS}) == len(CELLS)


def test_scheduler_runs_on_the_oldest_and_on_the_newest() -> None:
    """The floor and the release of ``uv.lock``."""
    assert [cell.airflow for cell in CELLS if cell.scheduler] == ["3.0.6", None]


@pytest.mark.parametrize(
    "name", ["Flask_Session", "flask.session", "Flask-Session", "flask-_session"]
)
def test_names_are_compared_as_the_index_does(name: str) -> None:
    """PEP 503."""
    assert normal_name(f"{name}[redis]") == "flask-session"


def test_pins_are_read() -> None:
    """Comments, markers and extras are not part of them."""
    text = "# a comment\nBoto3==1.39.11\nflask_x[a]==2 ; python_version < '4'\n--hash=sha256:0\n"
    assert pinned(text) == {"boto3": "1.39.11", "flask-x": "2"}


def test_what_the_pins_leave_open_is_as_locked() -> None:
    """Airflow itself and its parts are another release."""
    ours = "-e .\nboto3==1.43 ; sys_platform == 'linux'\noss2==2.19.1\n"
    exported = f"{ours}apache-airflow-core==3.3.2\n"
    assert unpinned(exported, {"boto3": "1.39.11"}) == "oss2==2.19.1\n"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"boto3": "1"}, {"boto3": "1", "oss2": "2"}, []),
        ({"boto3": "1"}, {"boto3": "2"}, ["boto3 was 1, is 2", "boto3 is 2, pinned to 1"]),
        ({"six": "1"}, {"boto3": "1"}, ["six was 1, is gone"]),
        ({}, {"boto3": "3"}, ["boto3 is 3, pinned to 1"]),
    ],
)
def test_whatever_the_wheel_disturbs_is_named(
    before: dict[str, str], after: dict[str, str], said: list[str]
) -> None:
    """A changed package, one that is gone, and one that came in another version than pinned."""
    assert disturbed(before, after, {"boto3": "1"}) == said


def test_an_environment_that_is_as_it_should_be_passes() -> None:
    """Nothing is raised."""
    judge(SAID, MWAA, VERSIONS, ["a", "b"])
    judge(SAID, NEWEST, {**VERSIONS, "apache-airflow": "4"}, ["a", "b"])


@pytest.mark.parametrize(
    ("said", "versions", "words"),
    [
        (SAID, {**VERSIONS, "apache-airflow": "3.1.0"}, "Airflow is 3.1.0"),
        (replace(SAID, version="0.1.0"), VERSIONS, "registered as 0.1.0, not 0.2.0"),
        (replace(SAID, not_registered=["oss"]), VERSIONS, "not ours: ['oss']"),
        (replace(SAID, import_errors={"x.py": "No module"}), VERSIONS, "{'x.py': 'No module'}"),
        (replace(SAID, dags=["a"]), VERSIONS, "example DAGs: ['a'], not ['a', 'b']"),
        (replace(SAID, run="failed"), VERSIONS, "dag.test() ended as failed"),
    ],
)
def test_what_is_wrong_with_an_environment_is_named(
    said: Said, versions: dict[str, str], words: str
) -> None:
    """One line for each."""
    with pytest.raises(CellError) as caught:
        judge(said, MWAA, versions, ["a", "b"])
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_command_that_fails_shows_what_it_said() -> None:
    """Both of its outputs, and its exit code."""
    code = "import sys; print('to one'); print('to other', file=sys.stderr); sys.exit(3)"
    with pytest.raises(CellError, match=r"(?s)exit code 3.*to one.*to other"):
        environments.run(sys.executable, "-c", code)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give an empty folder that is all there is to look for an interpreter in."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    monkeypatch.setattr(environments, "UV", program)
    return tmp_path


def python_in(file: Path, version: str) -> Path:
    """Put a program there that says it is a Python of that version."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho {version}\n")
    file.chmod(0o755)
    return file


def test_an_interpreter_that_is_missing_is_named(nowhere: Path) -> None:
    """A shim that answers with another version is none."""
    python_in(nowhere / "python3.99", "3.11")
    with pytest.raises(CellError, match=r"no Python 3\.99 .* put python3\.99 on the PATH"):
        environments.find_python("3.99")


def test_an_interpreter_is_found_where_it_may_be(nowhere: Path) -> None:
    """The PATH, then pyenv's versions, then what uv knows of."""
    third = python_in(nowhere / "elsewhere" / "python", "3.99")
    (nowhere / "uv").write_text(f"#!/bin/sh\necho {third}\n")
    assert environments.find_python("3.99") == third
    second = python_in(nowhere / "versions" / "3.99.1" / "bin" / "python3.99", "3.99")
    assert environments.find_python("3.99") == second
    first = python_in(nowhere / "python3.99", "3.99")
    assert environments.find_python("3.99") == first
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert environments.find_python(own) == Path(sys.executable)


def test_a_pinned_version_is_told_in_full_and_a_locked_one_by_its_minor() -> None:
    """A newer patch in ``uv.lock`` is no reason to write the document again."""
    lines = table.versions({MWAA: facts_of(MWAA), NEWEST: facts_of(NEWEST)}).splitlines()
    mwaa, newest = lines[2:]
    assert mwaa.startswith("| MWAA 3.0.6 | 3.12 | 3.0.6 | 9.12.0 | 1.43.106 | 2.19.1 |")
    assert "awscrt, fastcrc | `dag.test()`, scheduler" in mwaa
    assert newest.startswith("| newest | 3.11 | 3.3 | 9.12 | 1.43 | 2.19 | - | `dag.test()`")


def test_features_that_differ_stand_first() -> None:
    """A column for each release, a row for each feature, and its meaning below."""
    told = {
        MWAA: facts_of(
            MWAA, event_of_the_asset="same", start_of_a_run_by_an_event="deferred sensor"
        ),
        NEWEST: facts_of(
            NEWEST, event_of_the_asset="same", start_of_a_run_by_an_event="asset watcher"
        ),
    }
    lines = table.features(told).splitlines()
    assert lines[0] == "|  | 3.0.6 | newest |"
    assert lines[2] == f"| {START} | deferred sensor | asset watcher |"
    assert lines[3] == "| event of the asset | same | same |"
    assert table.MEANINGS[START] in table.document(told)


def test_a_feature_that_differs_by_python_says_so() -> None:
    """The column is the release's."""
    two = [cell for cell in CELLS if cell.airflow is None][:2]
    told = {
        cell: facts_of(cell, event_of_the_asset=value)
        for cell, value in zip(two, ("one", "other"), strict=True)
    }
    assert "| one (Python 3.11); other (Python 3.12) |" in table.features(told)


def test_a_feature_that_nobody_explained_is_refused() -> None:
    """The document would have a row without a meaning."""
    with pytest.raises(KeyError, match=r"features without a meaning: .'something new'"):
        table.document({NEWEST: facts_of(NEWEST, something_new="yes")})


Player = Callable[[Sequence[Cell]], dict[Cell, Facts]]


def all_pass(cells: Sequence[Cell]) -> dict[Cell, Facts]:
    """Play cells of which none fails."""
    return {cell: facts_of(cell) for cell in cells}


def all_but_one(cells: Sequence[Cell]) -> dict[Cell, Facts]:
    """Play cells of which the last fails."""
    return all_pass(cells[:-1])


def run_main(*arguments: str, player: Player, document: Path) -> int:
    """Return the exit code."""
    with pytest.raises(SystemExit) as caught:
        matrix.main(arguments, play_cells=player, document=document)
    return int(caught.value.code or 0)


def test_the_document_is_written_and_then_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and the lines that differ, until it is what the cells say."""
    document = tmp_path / "compatibility.md"
    assert run_main(player=all_pass, document=document) == 1
    assert run_main("--write", player=all_pass, document=document) == 0
    assert run_main(player=all_pass, document=document) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"matrix: cells={len(CELLS)} passed={len(CELLS)} failed=0"
    document.write_text(document.read_text().replace("1.43.106", "1.2.3"))
    assert run_main(player=all_pass, document=document) == 1
    said = capsys.readouterr().out
    assert "-| MWAA 3.0.6 | 3.12 | 3.0.6 | 9.12.0 | 1.2.3 |" in said
    assert "make matrix MATRIX=--write" in said


def test_a_cell_that_fails_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The document is neither written nor compared."""
    document = tmp_path / "compatibility.md"
    assert run_main("--write", player=all_but_one, document=document) == 1
    assert not document.exists()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"matrix: cells={len(CELLS)} passed={len(CELLS) - 1} failed=1"


def test_some_cells_can_be_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a word of their names; a word that no cell has is refused."""
    document = tmp_path / "compatibility.md"
    assert run_main("mwaa", player=all_pass, document=document) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "matrix: cells=3 passed=3 failed=0"
    with pytest.raises(SystemExit, match=r"no such cell; there are mwaa-3\.0\.6-py3\.12, "):
        matrix.main(["2.11"], play_cells=all_pass, document=document)


def test_why_a_cell_failed_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """With the log that the error carries; the others are played all the same."""

    def play(cell: Cell) -> Facts:
        raise CellError(f"the log of {cell.name}")

    assert matrix.attempt(MWAA, play) is None
    said = capsys.readouterr().out
    assert said.startswith("FAILED  mwaa-3.0.6-py3.12\nTraceback")
    assert "the log of mwaa-3.0.6-py3.12" in said
    assert matrix.attempt(NEWEST, facts_of) == facts_of(NEWEST)


def bag_of(**dags: Any) -> Any:
    """Return parsed DAGs."""
    return SimpleNamespace(dags={probe.EVENTS: dags.get("events"), probe.NIGHTLY: dags.get("sync")})


def test_the_probe_reads_from_the_parsed_dag_what_starts_a_run() -> None:
    """A first task that waits, or an asset with a watcher."""
    waiting = SimpleNamespace(has_task=lambda name: name == "wait", schedule="@continuous")
    assert probe.start_of_events(bag_of(events=waiting)) == "deferred sensor"
    for watchers, said in ((["a watcher"], "asset watcher"), ([], "nothing")):
        schedule = [SimpleNamespace(watchers=watchers)]
        dag = SimpleNamespace(has_task=lambda _: False, schedule=schedule)
        assert probe.start_of_events(bag_of(events=dag)) == said


def test_the_probe_reads_from_the_parsed_tasks_who_decides_about_an_attempt() -> None:
    """All tasks have to have a policy."""
    with_policy, plain = SimpleNamespace(retry_policy=object()), SimpleNamespace()
    judged = bag_of(sync=SimpleNamespace(tasks=[with_policy]))
    assert probe.attempts(judged) == "by the class of the error"
    mixed = bag_of(sync=SimpleNamespace(tasks=[with_policy, plain]))
    assert probe.attempts(mixed) == "by the task's arguments"


def run_of(*labels: str | None) -> Any:
    """Return a run with mapped tasks of these labels."""
    tis = [SimpleNamespace(task_id="transfer", rendered_map_index=label) for label in labels]
    return SimpleNamespace(get_task_instances=lambda **_: tis)


def test_the_probe_names_batches_as_the_page_does() -> None:
    """Mapped tasks without a label have numbers only."""
    assert probe.labels(run_of("a … b", "c … d"), None) == "by their keys"
    assert probe.labels(run_of("a … b", None), None) == "by their numbers"
    assert probe.labels(run_of(), None) == "by their numbers"


def test_the_probe_knows_this_environment() -> None:
    """The form is what the page of the connections asks for."""
    assert probe.forms() == "our fields"
    assert probe.regexes() == "refused"
    assert probe.restored_copies() == "in the listing"
    assert set(probe.our_types()) == {"s3resume", "oss", "s3resume_oss", "s3resume_local"}
