"""Copy objects as soon as they arrive: a bucket's event notifications in a queue start the runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_s3resume.operators.event_params import QUEUE_FROM_PARAMS, queue_params
from airflow_provider_s3resume.operators.events import (
    events_schedule,
    events_task_group,
    needs_sensor,
)
from airflow_provider_s3resume.operators.params import (
    COPYING_FROM_PARAMS,
    SIDES_FROM_PARAMS,
    copying_params,
    sides_params,
)
from airflow_provider_s3resume.operators.sync import RETRIES
from airflow_provider_s3resume.sensors.s3_events import S3EventsSensor

POOL = "s3resume_transfer"
RETRY_DELAY = timedelta(seconds=float(os.environ.get("S3RESUME_RETRY_DELAY_S", "30")))
"""What waits before another attempt are multiples of, by the class of the error."""
RETRYING = {**RETRIES, "retry_delay": RETRY_DELAY}
SOURCE_CONN_ID = os.environ.get("S3RESUME_SOURCE_CONN_ID", "s3_source")
QUEUE_CONN_ID = os.environ.get("S3RESUME_QUEUE_CONN_ID") or SOURCE_CONN_ID
QUEUE_URL = os.environ.get("S3RESUME_QUEUE_URL", "")
"""Of the queue that the bucket's notifications go to; without one, runs are started by hand."""
POLL_INTERVAL_S = float(os.environ.get("S3RESUME_POKE_INTERVAL_S", "10"))
WATCH = {"watcher": True, "sensor": False}.get(os.environ.get("S3RESUME_EVENTS_BY", ""))
"""``watcher`` or ``sensor``; by default what this release of Airflow can do."""

with DAG(
    dag_id="s3_event_driven_copy",
    description="Copy objects as soon as S3 event notifications in a queue name them.",
    doc_md=f"""
### What it does

Something in the queue starts a run. `take` receives messages and hides them from others, `diff`
asks both sides for the objects that they name, `transfer` copies what differs, one mapped task for
each batch, `verify` compares what landed with the source, `report` adds up the run. Only then
`acknowledge` deletes the messages whose every object is verified. All others come again; a message
that comes twice starts no second copy.

What can never be dealt with is sent to the dead-letter queue with the reason, then deleted.
Removals delete nothing at the target, and are reported.

No run starts while another one is at work: what comes meanwhile is in the next one.

### Before the first run

* Let the bucket send `s3:ObjectCreated:*` to a standard queue, directly or through SNS or
  EventBridge, and make a second queue for dead letters. `docs/events.md` has the policies.
* The parameters' defaults come from `S3RESUME_QUEUE_URL`, `S3RESUME_QUEUE_CONN_ID` (else the
  source's), `S3RESUME_DEAD_LETTER_URL`, `S3RESUME_SOURCE_CONN_ID`, `S3RESUME_SOURCE_URI`,
  `S3RESUME_TARGET_CONN_ID`, `S3RESUME_TARGET_URI` and `S3RESUME_STATE_URI` in the environment. The
  queue that starts runs is the one of the environment, whatever a manual run is given.
* Keep the nightly scan: notifications are delivered at least once, nearly always. With the same
  URIs and state location its report says how many objects the events have missed.
* Make the pool of the transfer tasks: `airflow pools set {POOL} 4 "S3 transfers"`.
""",
    schedule=events_schedule(
        QUEUE_CONN_ID, QUEUE_URL, poll_interval_s=POLL_INTERVAL_S, watch=WATCH
    ),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        **sides_params(
            source_conn_id=SOURCE_CONN_ID,
            source_uri=os.environ.get("S3RESUME_SOURCE_URI", "s3://demo-source/"),
            target_conn_id=os.environ.get("S3RESUME_TARGET_CONN_ID", "s3_target"),
            target_uri=os.environ.get("S3RESUME_TARGET_URI", "s3://demo-target/"),
            state_uri=os.environ.get("S3RESUME_STATE_URI") or None,
            source_schemes=["s3"],
        ),
        **queue_params(
            queue_conn_id=QUEUE_CONN_ID,
            queue_url=QUEUE_URL or None,
            dead_letter_url=os.environ.get("S3RESUME_DEAD_LETTER_URL") or None,
        ),
        **copying_params(),
    },
    tags=["s3resume"],
) as dag:
    events = events_task_group(
        taking={**SIDES_FROM_PARAMS, **QUEUE_FROM_PARAMS},
        copying={**COPYING_FROM_PARAMS, "execution_timeout": timedelta(hours=6)},
        asset_uri="{{ params.target_uri }}",
        pool=POOL,
        retrying=RETRYING,
        refuse_unknown_params=True,
        prefix_group_id=False,
    )
    if needs_sensor(dag.schedule):
        wait = S3EventsSensor(
            task_id="wait",
            queue_conn_id=QUEUE_FROM_PARAMS["queue_conn_id"],
            queue_url=QUEUE_FROM_PARAMS["queue_url"],
            poke_interval=POLL_INTERVAL_S,
            timeout=timedelta(days=30),
            **RETRYING,
        )
        wait >> events
