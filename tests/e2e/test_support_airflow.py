"""The Airflow that the end-to-end tests stand on: it starts, runs a DAG, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

from tests.support import watchdog
from tests.support.airflow_home import AirflowHome
from tests.support.endpoints import S3Endpoint

DAG_FILE = """
from airflow.sdk import dag, get_current_context, task


@dag(dag_id="tiny", schedule=None, params={"word": "none"})
def tiny():
    @task
    def words():
        word = get_current_context()["params"]["word"]
        return [word, word + "!"]

    @task
    def shout(word):
        from airflow.sdk.bases.hook import BaseHook

        print("shouting", word)
        return word.upper() + BaseHook.get_connection("target").login

    shout.expand(word=words())


tiny()
"""


def test_a_dag_runs_with_params_connections_logs_and_xcoms(tmp_path: Path) -> None:
    """One scheduler run, read back through the API; afterwards none of its processes is left."""
    dags = tmp_path / "dags of a test"
    dags.mkdir()
    (dags / "tiny.py").write_text(DAG_FILE)
    endpoint = S3Endpoint(endpoint_url="http://127.0.0.1:1", access_key="Key", secret_key="Secret")
    env = {"AIRFLOW_CONN_TARGET": endpoint.airflow_connection()}
    with AirflowHome(tmp_path / "home", dags, env, all_admins=False) as airflow:
        sessions = {
            airflow.child(name).pid
            for name in ("api-server", "scheduler", "dag-processor", "triggerer")
        }
        airflow.wait_for_dag("tiny")
        run_id = airflow.api.trigger("tiny", {"word": "hello"})
        assert airflow.api.wait_run("tiny", run_id) == "success"
        instances = airflow.api.task_instances("tiny", run_id)
        assert sorted((t["task_id"], t["map_index"], t["state"]) for t in instances) == [
            ("shout", 0, "success"),
            ("shout", 1, "success"),
            ("words", -1, "success"),
        ]
        assert airflow.api.xcom("tiny", run_id, "words") == ["hello", "hello!"]
        assert airflow.api.xcom("tiny", run_id, "shout", map_index=1) == "HELLO!Key"
        assert "shouting hello!" in airflow.api.task_log("tiny", run_id, "shout", map_index=1)
        assert len(watchdog.members(sessions)) >= len(sessions)
    assert not watchdog.members(sessions)
