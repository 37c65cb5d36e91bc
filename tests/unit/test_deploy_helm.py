"""The values for the Helm chart: names and types, nothing secret, and the arithmetic."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from deploy.mwaa.sizing import tasks_by_memory

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "deploy" / "helm" / "values.yaml"
TEXT = FILE.read_text(encoding="utf-8")
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
SCHEMA = json.loads((ROOT / "tests" / "data" / "helm" / "used.schema.json").read_text())
GUIDE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
DEFAULT_BUDGET_MIB = 128


def leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield each value that holds no others, with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{name}[{number}]")
    else:
        yield name, value


def test_names_and_types_are_the_charts() -> None:
    """Each is one that the chart has."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker": {}},
        {"workers": {"replicas": 2}},
        {"workers": {"celery": {"terminationGracePeriodSeconds": "600"}}},
        {"secret": [{"envName": "A", "secretName": "b", "value": "c"}]},
        {"config": {"celery": {"worker_concurrency": [8]}}},
    ],
)
def test_a_name_or_a_type_that_is_not_the_charts_is_found(wrong: dict[str, Any]) -> None:
    """At the top, within, and in lists."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**VALUES, **wrong}, SCHEMA)


def test_no_secret_stands_in_the_file() -> None:
    """Connections come from secrets, and nothing is called a password or a key but their names."""
    assert [one["envName"] for one in VALUES["secret"]] == [
        "AIRFLOW_CONN_S3_SOURCE",
        "AIRFLOW_CONN_S3_TARGET",
    ]
    assert not [one for one in VALUES["env"] if one["name"].startswith("AIRFLOW_CONN")]
    suspect = re.compile(r"password|pass$|fernetKey$|secretKey$|token|brokerUrl$", re.IGNORECASE)
    named = [n for n, _ in leaves(VALUES) if suspect.search(n) and not n.startswith("secret[")]
    assert named == []


def test_variables_are_those_that_the_dags_read() -> None:
    """A misspelt one would change nothing, and say nothing."""
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "dags").glob("*.py")]
    read = {name for text in texts for name in re.findall(r"S3RESUME_[A-Z_]+", text)}
    assert {one["name"] for one in VALUES["env"]} <= read
    defaults = {one["name"]: one["value"] for one in VALUES["env"]}
    connections = {one["secretKey"] for one in VALUES["secret"]}
    named = {defaults["S3RESUME_SOURCE_CONN_ID"], defaults["S3RESUME_TARGET_CONN_ID"]}
    assert named == connections
    assert {one["envName"] for one in VALUES["secret"]} == {
        f"AIRFLOW_CONN_{name.upper()}" for name in named
    }


def test_a_worker_has_room_for_its_tasks() -> None:
    """By memory, and two for each processor; the pool has as many slots as there are places."""
    celery = VALUES["workers"]["celery"]
    memory = celery["resources"]["limits"]["memory"]
    assert celery["resources"]["requests"]["memory"] == memory
    concurrency = VALUES["config"]["celery"]["worker_concurrency"]
    mib = int(memory.removesuffix("Gi")) * 1024
    assert tasks_by_memory(mib, DEFAULT_BUDGET_MIB) == concurrency
    assert concurrency == 2 * int(celery["resources"]["requests"]["cpu"])
    assert f"pools set s3resume_transfer {celery['replicas'] * concurrency} " in GUIDE
    assert f"600 + 8 \N{MULTIPLICATION SIGN} (128 + 150) = {600 + 8 * (128 + 150):,} MiB" in GUIDE


def test_nothing_runs_as_root() -> None:
    """Neither as that user, nor with a way to become it."""
    pod, container = VALUES["securityContexts"]["pod"], VALUES["securityContexts"]["containers"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] == VALUES["uid"] != 0
    assert not container["allowPrivilegeEscalation"]
    assert container["capabilities"]["drop"] == ["ALL"]
    # The chart's Redis has a user and a context of its own.
    redis = VALUES["redis"]
    pod, container = redis["securityContexts"]["pod"], redis["securityContexts"]["container"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] == redis["uid"] != 0
    assert not container["allowPrivilegeEscalation"]
    assert container["capabilities"]["drop"] == ["ALL"]
    assert VALUES["allowPodLaunching"] is False


def test_no_user_is_made_with_a_password_that_everybody_knows() -> None:
    """The chart's own is admin, with the password admin; the guide makes one that is asked for."""
    assert VALUES["createUserJob"]["defaultUser"]["enabled"] is False
    (command,) = re.findall(r"airflow users create .*", GUIDE)
    assert "password" not in command


def test_the_releases_are_named_once() -> None:
    """That of the chart in the guide and the file, that of Airflow as it is tested here."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (airflow,) = (p["version"] for p in lock["package"] if p["name"] == "apache-airflow")
    assert VALUES["airflowVersion"] == VALUES["images"]["airflow"]["tag"] == airflow
    assert f"FROM apache/airflow:{airflow}-" in GUIDE
    chart = SCHEMA["title"].split()[-1]
    assert set(re.findall(r"--version (\S+)", TEXT + GUIDE)) == {chart}
    assert f"release {chart}" in GUIDE


def test_secrets_of_the_guide_are_those_of_the_values() -> None:
    """Each name that the values refer to is made by a command."""
    made = set(re.findall(r"create secret generic (\S+)", GUIDE))
    named = {VALUES[f"{one}SecretName"] for one in ("fernetKey", "apiSecretKey", "jwt")}
    named |= {VALUES["data"]["metadataSecretName"]}
    named |= {one["secretName"] for one in VALUES["secret"]}
    assert made == named
