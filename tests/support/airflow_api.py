"""The part of Airflow's REST API (v2) that the tests and the demo speak."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
FINISHED = frozenset({"success", "failed"})
_POLL_S = 0.25
_TIMEOUT_S = 90.0


class ApiError(RuntimeError):
    """Airflow answered with an error; ``status`` is 0 when it did not answer at all."""

    def __init__(self, call: str, status: int, text: str) -> None:
        super().__init__(f"{call}: {status or 'no answer'}: {text}")
        self.status = status


class AirflowApi:
    """A client of one API server; the token is fetched with the first call that needs it."""

    def __init__(self, url: str, *, username: str | None = None, password: str = "") -> None:
        self.url = url
        self._login = {"username": username, "password": password} if username else None
        self._token: str | None = None

    def call(self, method: str, path: str, body: object = None, **query: object) -> Json:
        """Call ``/api/v2/…`` and return the JSON document; ApiError for anything but success."""
        if self._token is None:
            self._token = self._fetch_token()
        text = urllib.parse.urlencode(query)
        address = f"{self.url}/api/v2/{path}" + (f"?{text}" if text else "")
        return self._send(method, address, body, {"Authorization": f"Bearer {self._token}"})

    def _fetch_token(self) -> str:
        method = "POST" if self._login else "GET"
        token: str = self._send(method, f"{self.url}/auth/token", self._login, {})["access_token"]
        return token

    @staticmethod
    def _send(method: str, address: str, body: object, headers: Mapping[str, str]) -> Json:
        data = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        request = urllib.request.Request(address, data, given, method=method)  # noqa: S310 - ours
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - ours
                document: Json = json.loads(answer.read() or b"{}")
                return document
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise ApiError(f"{method} {address}", error.code, text) from error
        except OSError as error:
            raise ApiError(f"{method} {address}", 0, str(error)) from error

    def is_healthy(self, parts: Iterable[str]) -> bool:
        """Return whether these parts are at work: metadatabase, scheduler, …."""
        try:
            health = self.call("GET", "monitor/health")
        except ApiError:
            return False
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def has_dag(self, dag_id: str) -> bool:
        """Return whether a DAG is parsed; RuntimeError when any file failed to import."""
        errors = self.call("GET", "importErrors")["import_errors"]
        if errors:
            raise RuntimeError("\n".join(f"{e['filename']}: {e['stack_trace']}" for e in errors))
        try:
            self.call("GET", f"dags/{dag_id}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs be scheduled."""
        self.call("PATCH", f"dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None) -> str:
        """Unpause a DAG, start a run of it with these params, and return the run's id."""
        self.unpause(dag_id)
        body = {"logical_date": None, "conf": dict(conf or {})}
        run_id: str = self.call("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"]
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        state: str = self.call("GET", f"{_run(dag_id, run_id)}")["state"]
        return state

    def wait_run(
        self, dag_id: str, run_id: str, deadline_s: float = 120, *, poll_s: float = _POLL_S
    ) -> str:
        """Return the state in which a run ended; TimeoutError with its tasks at the deadline."""
        end = time.monotonic() + deadline_s
        while (state := self.run_state(dag_id, run_id)) not in FINISHED:
            if time.monotonic() > end:
                tasks = [(t["task_id"], t["state"]) for t in self.task_instances(dag_id, run_id)]
                raise TimeoutError(f"{dag_id} {run_id} is {state} after {deadline_s:g} s: {tasks}")
            threading.Event().wait(poll_s)
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Return the task instances of a run, mapped ones each; ``pid`` is the task's process."""
        path = f"{_run(dag_id, run_id)}/taskInstances"
        found: list[Json] = self.call("GET", path, limit=1000)["task_instances"]
        return found

    def task_instance(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> Json:
        """Return one task instance; KeyError when there is none yet."""
        for instance in self.task_instances(dag_id, run_id):
            if (instance["task_id"], instance["map_index"]) == (task_id, map_index):
                return instance
        raise KeyError(f"{task_id}[{map_index}]")

    def wait_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        state: str,
        deadline_s: float = 60,
        *,
        map_index: int = -1,
        try_number: int = 1,
    ) -> Json:
        """Return a task instance once it is in a state, at this try or a later one."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            for found in self.task_instances(dag_id, run_id):
                here = (found["task_id"], found["map_index"], found["state"])
                if here == (task_id, map_index, state) and found["try_number"] >= try_number:
                    return found
            threading.Event().wait(_POLL_S)
        raise TimeoutError(f"{task_id}[{map_index}] was not {state} within {deadline_s:g} s")

    def set_task_state(
        self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int = -1
    ) -> None:
        """Mark a task instance, as a person does with “Mark failed”."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{task_id}"
        path += f"/{map_index}" if map_index >= 0 else ""
        self.call("PATCH", path, {"new_state": state})

    def clear_run(self, dag_id: str, run_id: str, *, only_failed: bool = True) -> None:
        """Run the tasks of a run again."""
        body = {"dag_run_id": run_id, "only_failed": only_failed, "dry_run": False}
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", {**body, "reset_dag_runs": True})

    def clear_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Run a task of a run again, and all that follow it, whatever their states."""
        body = {
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "include_downstream": True,
            "only_failed": False,
            "dry_run": False,
            "reset_dag_runs": True,
        }
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run, as a person does with “Mark run as …”."""
        self.call("PATCH", _run(dag_id, run_id), {"state": state})

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, try_number: int = 1
    ) -> str:
        """Return the log of one try, a line for each event."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
        answer = self.call("GET", path, map_index=map_index, full_content="true")
        return "\n".join(
            line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)
            for line in answer["content"]
        )

    def xcom(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        key: str = "return_value",
        *,
        map_index: int = -1,
    ) -> Any:
        """Return the value that a task pushed; ApiError 404 when there is none."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.call("GET", path, map_index=map_index, stringify="false")["value"]


def _run(dag_id: str, run_id: str) -> str:
    return f"dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id, safe='')}"
