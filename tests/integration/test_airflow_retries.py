"""What Airflow itself makes of our retry policy: which tries there are, and the waits between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DAGS = Path(__file__).resolve().parent / "airflow_dags"
ROOT = DAGS.parent.parent.parent
DELAY_S = 0.04


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, float | None]]:
    """Give, of each task, its tries, and the wait that was chosen after each of them."""
    home = tmp_path_factory.mktemp("airflow")
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "PYTHONPATH": str(ROOT),
    }
    for command in (["-m", "airflow", "db", "migrate"], [str(DAGS / "failing.py")]):
        done = subprocess.run(
            [sys.executable, *command],
            env=env,
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    found: dict[str, dict[str, float | None]] = json.loads(done.stdout.splitlines()[-1])
    return {name: {int(n): wait for n, wait in of.items()} for name, of in found.items()}


def waits(tries: dict[int, float | None]) -> list[float]:
    """Return the waits that the policy chose, in order of the tries."""
    return [wait for _, wait in sorted(tries.items()) if wait is not None]


@pytest.mark.parametrize("task_id", ["hopeless", "operator"])
def test_c41_a_hopeless_error_ends_a_task_at_its_first_try(
    tries: dict[str, dict[int, float | None]], task_id: str
) -> None:
    """By the policy in a task of the user's own, by AirflowFailException in our operators."""
    assert tries[task_id] == {1: None}


def test_c41_each_wait_is_longer_than_the_one_before(
    tries: dict[str, dict[int, float | None]],
) -> None:
    """For faults of the network, more so for throttling; a mapped task and a batch are no other."""
    for task_id, factor in (("network", 1), ("throttled", 4), ("mapped", 4), ("batch", 4)):
        assert set(tries[task_id]) == {1, 2, 3, 4}
        found = waits(tries[task_id])
        assert sorted(set(found)) == found
        assert len(found) >= 3
        for n, wait in enumerate(found):
            least = factor * DELAY_S * 2**n
            assert least <= wait <= 1.5 * least + 1e-9


def test_a_stopped_copy_is_tried_again_promptly(
    tries: dict[str, dict[int, float | None]],
) -> None:
    """Each time, sooner than after a fault."""
    found = waits(tries["stopped"])
    assert len(found) >= 3
    assert max(found) < DELAY_S


def test_a_users_own_arguments_stay_as_they_are(tries: dict[str, dict[int, float | None]]) -> None:
    """No policy, no other number of tries; and where ours has no opinion, the arguments hold."""
    assert tries["own"] == {1: None, 2: None}
    assert tries["unproven"] == {1: None, 2: None, 3: None, 4: None}
