"""Say whether an environment has what a sync needs, before the first sync."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_s3resume.operators.params import sides_params

PINS = "s3resume_pins.json"
"""Beside this file: what the kit was made of."""

with DAG(
    dag_id="s3resume_smoke",
    description="Versions, connections, one listed key, one object written and deleted.",
    doc_md="""
`versions` compares what is installed with what the kit was made of. `connections` reads both
connections, lists one key of each side, and writes, reads and deletes one small object in the state
location, which gets its marker as a sync would give it. Nothing else is changed. Each task fails
with what it found, and what to do.
""",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    params=sides_params(
        source_conn_id=os.environ.get("S3RESUME_SOURCE_CONN_ID", "s3_source"),
        source_uri=os.environ.get("S3RESUME_SOURCE_URI", "s3://my-source/"),
        target_conn_id=os.environ.get("S3RESUME_TARGET_CONN_ID", "s3_target"),
        target_uri=os.environ.get("S3RESUME_TARGET_URI", "s3://my-target/"),
        state_uri=os.environ.get("S3RESUME_STATE_URI") or None,
    ),
    tags=["s3resume"],
) as dag:

    @task(retries=0, execution_timeout=timedelta(minutes=2), multiple_outputs=False)
    def versions() -> dict[str, str]:
        """Compare the versions of Python, Airflow, the provider and its packages with the kit's."""
        import importlib.metadata  # noqa: PLC0415 - not for parsing
        import json  # noqa: PLC0415 - as above
        import platform  # noqa: PLC0415 - as above
        from pathlib import Path  # noqa: PLC0415 - as above

        wanted = json.loads(Path(__file__).with_name(PINS).read_text())
        found = {"python": ".".join(platform.python_version_tuple()[:2])}
        for name in wanted["versions"]:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = "not installed"
        expected = {"python": wanted["python"], **wanted["versions"]}
        other = {n: f"{found[n]}, not {v}" for n, v in expected.items() if found[n] != v}
        if other:
            msg = f"{other}: see the requirements_install logs, and make the kit for this release"
            raise RuntimeError(msg)
        return found

    @task(retries=0, execution_timeout=timedelta(minutes=5), multiple_outputs=False)
    def connections(params: dict[str, Any] | None = None) -> dict[str, str | None]:
        """List one key of each side; write, read and delete one object in the state location."""
        import time  # noqa: PLC0415 - not for parsing
        import uuid  # noqa: PLC0415 - as above

        from airflow_provider_s3resume.hooks.sides import Sides  # noqa: PLC0415 - as above

        given = params or {}
        sides = Sides(
            source_conn_id=given["source_conn_id"],
            source_uri=given["source_uri"],
            target_conn_id=given["target_conn_id"],
            target_uri=given["target_uri"],
            state_uri=given["state_uri"] or None,
        ).open()
        first = {
            side: next((one.key for one in store.list_objects(place.prefix)), None)
            for side, store, place in (
                ("source", sides.source, sides.places.source),
                ("target", sides.target, sides.places.target),
            )
        }
        sides.state.ensure(time.time())
        name, text = f"smoke/{uuid.uuid4()}.txt", "s3resume smoke test"
        sides.state.write_text(name, text)
        try:
            read = sides.state.read_text(name)
        finally:
            sides.state.delete(name)
        if read != text:
            msg = f"the state location gave back {read!r} for {text!r}"
            raise RuntimeError(msg)
        return first

    versions() >> connections()
