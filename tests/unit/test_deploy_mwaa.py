"""The kit for MWAA: what is written into it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks.sides import Sides
from airflow_provider_s3resume.plan.sides import parse_places
from deploy.mwaa import __main__ as command
from deploy.mwaa import connections, kit, requirements, sizing
from deploy.mwaa.kit import PINS_NAME, SMOKE, Wanted
from deploy.mwaa.releases import RELEASES, ROOT, find_release
from deploy.mwaa.zipping import read_zip, write_zip
from tests.matrix.cells import CELLS

PINS = {"airflow-provider-s3resume": "0.1.0", "oss2": "2.19.1"}
OSS = parse_places("oss://reports/daily/", "s3://mirror/daily/", "s3://sync-state/.s3resume/")
S3 = parse_places("s3://reports/daily/", "s3://mirror/daily/")
GUIDE = (ROOT / "docs" / "mwaa.md").read_text(encoding="utf-8")
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give what writes a kit with one wheel that is none."""
    wheel = tmp_path / "airflow_provider_s3resume-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")

    def make(**wanted: Any) -> Path:
        given = {"release": RELEASES[0], "places": OSS, **wanted}
        kit.write(Wanted(**given), [wheel], PINS, tmp_path / "kit")
        return tmp_path / "kit"

    return make


def test_the_releases_are_those_of_the_matrix() -> None:
    """And each has its pins."""
    assert {r.airflow for r in RELEASES} == {cell.airflow for cell in CELLS if cell.airflow}
    assert all(release.constraints.exists() for release in RELEASES)
    with pytest.raises(InvalidInputError, match=r"2\.10\.1.*3\.0\.6"):
        find_release("2.10.1")


def test_requirements_begin_with_the_constraints() -> None:
    """In a form that MWAA recognises, else it puts its own; the file lies beside the DAGs."""
    text = requirements.render(RELEASES[0], PINS, internet=False)
    assert text.splitlines() == [
        '--constraint "/usr/local/airflow/dags/constraints-3.0.6-py3.12.txt"',
        "--find-links /usr/local/airflow/plugins",
        "--no-index",
        "",
        "airflow-provider-s3resume==0.1.0",
        "oss2==2.19.1",
    ]
    assert re.search(r"-c |--constraint ", text.splitlines()[0])


def test_with_internet_only_our_own_wheel_comes_from_the_folder() -> None:
    """The constraints come from where the Airflow project publishes them."""
    lines = requirements.render(RELEASES[0], PINS, internet=True).splitlines()
    url = "https://raw.githubusercontent.com/apache/airflow/constraints-3.0.6/constraints-3.12.txt"
    assert lines[:2] == [f'--constraint "{url}"', "--find-links /usr/local/airflow/plugins"]
    assert "--no-index" not in lines


def test_what_a_resolver_says_is_read() -> None:
    """Markers and comments fall away; a package from a file has no version there."""
    said = "# made by\na==1\nb==2 ; python_version < '4'\nours @ file:///x.whl\n"
    assert requirements.parse_pins(said) == {"a": "1", "b": "2"}


def test_a_kit_that_moves_what_the_image_has_is_not_made() -> None:
    """It is named, with both versions."""
    assert requirements.added({"a": "1"}, {"a": "1", "b": "2"}) == {"b": "2"}
    with pytest.raises(ValueError, match="'a': '1 -> 2'"):
        requirements.added({"a": "1"}, {"a": "2"})


def test_a_zip_depends_on_nothing_but_its_content(tmp_path: Path) -> None:
    """Neither on the order, nor on dates, nor on the mode of files."""
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    write_zip(one, {"b": b"2", "a": b"1"})
    write_zip(two, {"a": b"1", "b": b"2"})
    assert one.read_bytes() == two.read_bytes()
    assert read_zip(one) == {"a": b"1", "b": b"2"}


def test_the_same_wheels_give_the_same_plugins(write: Write) -> None:
    """A second kit has the same bytes, whenever it is made."""
    first = (write() / "plugins.zip").read_bytes()
    assert (write() / "plugins.zip").read_bytes() == first
    assert list(read_zip(write() / "plugins.zip")) == [
        "airflow_provider_s3resume-0.1.0-py3-none-any.whl"
    ]


def test_a_kit_has_what_the_guide_names(write: Write) -> None:
    """Constraints beside the DAGs only where the requirements name them there."""
    folder = write()
    names = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
    assert names == {
        "requirements.txt",
        "plugins.zip",
        "startup.sh",
        "configuration.json",
        "connections/s3_source.json",
        "connections/s3_target.json",
        "dags/constraints-3.0.6-py3.12.txt",
        "dags/s3_to_s3_nightly_sync.py",
        "dags/s3resume_pins.json",
        "dags/s3resume_smoke.py",
        "policies/execution-role.json",
        "policies/source.json",
        "policies/state.json",
        "policies/target.json",
    }
    for name in ("requirements.txt", "plugins.zip", "startup.sh", "configuration.json"):
        assert f"| `{name}` |" in GUIDE
    assert not list((write(internet=True) / "dags").glob("constraints*"))


def test_dags_are_those_that_are_asked_for(write: Write) -> None:
    """One that is not there is refused, with those that are."""
    folder = write(dags=("oss_to_s3_migration", "s3_clean_stray_uploads"))
    found = {file.stem for file in (folder / "dags").glob("*.py")}
    assert found == {"oss_to_s3_migration", "s3_clean_stray_uploads", "s3resume_smoke"}
    with pytest.raises(InvalidInputError, match="s3_to_s3_nightly_sync"):
        Wanted(release=RELEASES[0], places=OSS, dags=("nightly",))


def test_the_startup_script_sets_what_the_dags_read(write: Write) -> None:
    """Values are quoted for a shell."""
    text = (write(schedule="0 2 * * *") / "startup.sh").read_text()
    assert "export S3RESUME_SCHEDULE='0 2 * * *'\n" in text
    assert "export S3RESUME_STATE_URI=s3://sync-state/.s3resume/\n" in text
    read = (ROOT / "dags" / "s3_to_s3_nightly_sync.py").read_text(encoding="utf-8")
    assert all(name in read for name in re.findall(r"export (\w+)=", text))


def test_options_name_the_backend_and_these_connections_only(write: Write) -> None:
    """Each look-up is billed, and one that is refused is an error in a log."""
    options = json.loads((write(environment_class="mw1.large") / "configuration.json").read_text())
    assert options["celery.worker_autoscale"] == "20,20"
    kwargs = json.loads(options["secrets.backend_kwargs"])
    assert re.fullmatch(kwargs["connections_lookup_pattern"], "s3_source")
    assert not re.fullmatch(kwargs["connections_lookup_pattern"], "aws_default")
    assert kwargs["variables_prefix"] is kwargs["config_prefix"] is None
    assert options["workers.secrets_backend_kwargs"] == options["secrets.backend_kwargs"]
    section = GUIDE.partition("## 5. Options")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in section for name in options)


def test_the_role_has_what_is_amazons(write: Write) -> None:
    """The source of OSS has a policy of its own; the secrets are named one by one."""
    folder = write(region="eu-central-1", account="111122223333") / "policies"
    role = json.loads((folder / "execution-role.json").read_text())
    said = role["Statement"]
    names = [one["Sid"] for one in said]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[A-Za-z0-9]+", name) for name in names)
    actions = {action for one in said for action in one["Action"]}
    assert not [action for action in actions if action.startswith("oss:")]
    for part in ("target", "state"):
        for one in json.loads((folder / f"{part}.json").read_text())["Statement"]:
            assert set(one["Action"]) <= actions
    place = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:airflow/connections"
    assert said[-1]["Action"] == ["secretsmanager:GetSecretValue"]
    assert said[-1]["Resource"] == [f"{place}/s3_source-??????", f"{place}/s3_target-??????"]
    assert json.loads((folder / "source.json").read_text())["Version"] == "1"


def test_a_side_with_keys_of_its_own_is_no_business_of_the_role(write: Write) -> None:
    """Nor is the state location there, which its keys keep."""
    folder = write(places=S3, compatible=("target",)) / "policies"
    role = json.loads((folder / "execution-role.json").read_text())
    assert {one["Sid"][:6] for one in role["Statement"]} == {"Source", "Connec"}


@pytest.mark.parametrize(
    ("kind", "field"),
    [("s3", "expected_bucket_owner"), ("compatible", "endpoint_url"), ("oss", "region")],
)
def test_a_template_that_nobody_filled_in_is_refused(
    kind: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the hook, before any request, naming a field; it holds no secret."""
    assert len(connections.TEMPLATES) == 3
    secret = connections.render(connections.TEMPLATES[kind])
    monkeypatch.setenv("AIRFLOW_CONN_S3_SOURCE", secret)
    known = {"conn_type": "aws", "login": "AKIDEXAMPLE", "password": "secret"}
    known["extra"] = json.dumps({"region_name": "eu-central-1"})
    monkeypatch.setenv("AIRFLOW_CONN_S3_TARGET", json.dumps(known))
    uri = "oss://reports/daily/" if kind == "oss" else "s3://reports/daily/"
    sides = Sides(
        source_conn_id="s3_source",
        source_uri=uri,
        target_conn_id="s3_target",
        target_uri="s3://mirror/daily/",
    )
    with pytest.raises(InvalidInputError, match=field):
        next(iter(sides.open().source.list_objects("daily/")))
    with pytest.raises(InvalidInputError, match="angle brackets"):
        connections.check_filled("s3_source", secret)


def test_a_template_that_is_filled_in_is_taken() -> None:
    """Words in angle brackets are looked for at every depth."""
    filled = {"conn_type": "aws", "extra": {"s3resume": {"expected_bucket_owner": "111122223333"}}}
    connections.check_filled("s3_source", json.dumps(filled))
    assert connections.left_open({"a": {"b": "<c>"}, "d": ["<e>"], "f": "g"}) == ["a.b"]


def test_the_table_of_the_guide_is_the_arithmetic() -> None:
    """Whoever changes a number makes it anew: ``python -m deploy.mwaa.sizing``."""
    assert sizing.table() in GUIDE
    assert sizing.tasks_by_memory(8 * 1024, 128) == (8192 - 600) // 278
    with pytest.raises(InvalidInputError, match="memory_budget"):
        sizing.tasks_by_memory(1024, 512)


def test_the_pool_is_bound_by_processors_and_by_places() -> None:
    """The example of the guide: four workers of mw1.large."""
    large = sizing.find_worker("mw1.large")
    assert sizing.pool_slots(large, 4) == 32
    assert "8 \N{MULTIPLICATION SIGN} 4 = 32 slots" in GUIDE
    # A budget that lets a worker run one task leaves it one slot.
    assert sizing.pool_slots(sizing.find_worker("mw1.small"), 3, budget_mib=1024) == 3
    with pytest.raises(InvalidInputError, match=r"mw1\.small"):
        sizing.find_worker("mw1.tiny")


def smoke_of(folder: Path) -> Any:
    """Return the smoke DAG of a kit, loaded from there."""
    spec = importlib.util.spec_from_file_location(SMOKE.stem, folder / "dags" / SMOKE.name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dag


def test_the_smoke_dag_has_its_tasks_and_a_form(write: Write) -> None:
    """It has no schedule, and says what it does."""
    dag = smoke_of(write())
    assert dag.dag_id == "s3resume_smoke"
    assert dag.schedule is None
    assert dag.doc_md
    assert {task.task_id for task in dag.tasks} == {"versions", "connections"}
    assert dag.get_task("versions").downstream_task_ids == {"connections"}


def test_the_smoke_dag_names_what_is_installed_otherwise(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every package that differs, with both versions; and none, if none does."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(write(), folder)
    pins = folder / "dags" / PINS_NAME
    check = smoke_of(folder).get_task("versions").python_callable
    installed = {"a": "1", "b": "2"}
    monkeypatch.setattr("importlib.metadata.version", installed.__getitem__)
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "12", "1"))
    pins.write_text(json.dumps({"python": "3.12", "versions": installed}))
    assert check() == {"python": "3.12", **installed}
    pins.write_text(json.dumps({"python": "3.12", "versions": {"a": "1", "b": "3"}}))
    with pytest.raises(RuntimeError, match="'b': '2, not 3'"):
        check()


def test_connections_that_were_filled_in_stay_and_are_nobody_elses(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Making the kit again loses no key; the command tells what is still open."""
    folder = write() / "connections"
    source, target = folder / "s3_source.json", folder / "s3_target.json"
    assert (folder.stat().st_mode & 0o777, source.stat().st_mode & 0o777) == (0o700, 0o600)
    filled = json.dumps({"conn_type": "aws", "login": "AKIDEXAMPLE", "password": "secret"})
    source.write_text(filled)
    target.write_text(filled.replace("secret", "<secret access key>"))
    begun = target.read_text()
    write()
    assert source.read_text() == filled
    assert target.read_text() == begun
    assert command.main(["--check", "--out", str(folder.parent)]) == 2
    assert "s3_target.json" in capsys.readouterr().err
    target.write_text(filled)
    assert command.main(["--check", "--out", str(folder.parent)]) == 0


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_no_kit_is_not_removed(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder may be a home or a clone: it is refused before anything is made."""
    place, own = tmp_path / "place", tmp_path / "own"
    own.mkdir()
    (own / "letter.txt").write_text("mine")
    if kind == "link":
        place.symlink_to(own)
    elif kind == "file":
        place.write_text("mine")
    else:
        place = own
    assert command.main(["--out", str(place)]) == 2
    assert "error: out: " in capsys.readouterr().err
    assert (own / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--airflow", "2.10.1"],
        ["--dag", "no_such_dag"],
        ["--environment-class", "mw1.tiny"],
        ["--source", "ftp://reports/"],
        ["--source", "s3://reports/", "--target", "s3://mirror/x"],
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_made(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the parameter's name, and exit code 2."""
    folder = tmp_path / "kit"
    assert command.main([*arguments, "--out", str(folder)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not folder.exists()
