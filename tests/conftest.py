"""Suites, and the servers that tests share."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.ministack import MinistackServer
from tests.support.seaweed import SeaweedServer
from tests.support.wire import Wire
from tests.support.wire_rules import Rule

# A test belongs to the first suite of this order whose marker it has, else to the fast one.
MARKERS = {
    "wheel": "wheel",
    "kill": "kill",
    "browser": "e2e",
    "e2e": "e2e",
    "fault": "fault",
    "integration": "integration",
}
FAST = "fast"
TIMEOUTS_S = {"e2e": 900, "kill": 900}
"""Of one test, where a whole Airflow has to start and every wait has a deadline of its own."""
HERE = Path(__file__).resolve().parent
STATE = HERE.parent / ".state" / "tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer --suite."""
    suites = [FAST, *sorted(set(MARKERS.values()))]
    parser.addoption("--suite", choices=suites, help="run the tests of one suite only")


def pytest_configure() -> None:
    """Keep all files inside the clone, and the SDKs from settings and credentials of others."""
    STATE.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(STATE))
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(STATE / "hypothesis"))
    for name in [name for name in os.environ if name.startswith(("AIRFLOW", "AWS_"))]:
        del os.environ[name]
    os.environ["AIRFLOW_HOME"] = str(STATE / "airflow")
    os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def suite_of(item: pytest.Item) -> str:
    """Return the suite of a test: by its marker."""
    return next((MARKERS[m] for m in MARKERS if item.get_closest_marker(m)), FAST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder (tests/fault/… are fault tests); keep the wanted suite."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        if folder in MARKERS:
            item.add_marker(folder)
        if folder in TIMEOUTS_S and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUTS_S[folder]))
    wanted = config.getoption("--suite")
    if wanted is not None:
        others = [item for item in items if suite_of(item) != wanted]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if suite_of(item) == wanted]


class SeaweedPair(NamedTuple):
    """Two servers that share nothing, least of all credentials."""

    source: SeaweedServer
    target: SeaweedServer


@pytest.fixture(scope="session")
def seaweed_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedPair]:
    """Give two running SeaweedFS for the whole session: use buckets of your own."""
    folder = tmp_path_factory.mktemp("seaweed")
    with ExitStack() as stack:
        source, target = (
            SeaweedServer(folder / name, f"{name}-key", f"{name}-{secrets.token_hex(8)}")
            for name in ("source", "target")
        )
        for server in (source, target):
            stack.callback(server.kill)  # Nobody wants its data: it need not end in good order.
            server.start()
        yield SeaweedPair(source, target)


@pytest.fixture(scope="session")
def ministack_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinistackServer]:
    """Give a running MiniStack for the whole session: use buckets of your own."""
    with MinistackServer(tmp_path_factory.mktemp("ministack")) as server:
        yield server


@pytest.fixture
def bucket() -> str:
    """Give the name of a bucket that no other test uses."""
    return f"b-{secrets.token_hex(6)}"


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    """Give a factory of wires: ``wire(server_url, *rules)`` listens until the test ends."""
    with ExitStack() as stack:

        def make(server_url: str, *rules: Rule) -> Wire:
            return stack.enter_context(Wire(server_url, *rules))

        yield make
