"""Runs in the environment of a cell, which has nothing of the tests.

``python probe.py FILE``, told by Airflow's own settings in the environment: looks at what is
registered and parsed, runs the nightly sync by ``dag.test()``, and says all of it in FILE as JSON
(``cells.Said``). What depends on the release is found out, not looked up.
"""

# ruff: noqa: PLC0415 - the releases keep things in different places, and all of it is slow

import importlib
import inspect
import json
import os
import pkgutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NIGHTLY, EVENTS = "s3_to_s3_nightly_sync", "s3_event_driven_copy"
OURS = "airflow-provider-s3resume"
CLASSES = "airflow_provider_s3resume.hooks."


def bag_of_dags(folder: str) -> Any:
    """Return the parsed DAGs of a folder."""
    newer = "airflow.dag_processing.dagbag"
    place = newer if find_spec(newer) else "airflow.models.dagbag"
    return importlib.import_module(place).DagBag(folder)


def registered() -> dict[str, Any]:
    """Return what Airflow registered of this provider, and which connection types it lacks."""
    from airflow.providers_manager import ProvidersManager

    manager: Any = ProvidersManager()  # type: ignore[no-untyped-call]
    hooks = {name: manager.hooks.get(name) for name in our_types()}
    others = [
        name
        for name, hook in hooks.items()
        if hook is None or not hook.hook_class_name.startswith(CLASSES)
    ]
    return {"version": manager.providers[OURS].version, "not_registered": others}


def our_types() -> dict[str, set[str]]:
    """Return our connection types, each with the fields that its form has beside the usual."""
    from airflow_provider_s3resume.get_provider_info import get_provider_info

    described = get_provider_info()["connection-types"]
    return {one["connection-type"]: set(one.get("conn-fields", ())) for one in described}


def forms() -> str:
    """Return whether the forms of our connections have their fields, as the page asks for them."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    shown = {one.connection_type: one for one in HookMetaService.hook_meta_data()}
    fields = {name: set(shown[name].extra_fields or ()) for name in our_types()}
    if not any(fields.values()) and find_spec("wtforms") is None:
        return "`Extra` as JSON, as `wtforms` is missing"
    return "our fields" if fields == our_types() else f"other fields: {fields}"


def start_of_events(bag: Any) -> str:
    """Return what starts a run of the DAG whose queue is known."""
    dag = bag.dags[EVENTS]
    if dag.has_task("wait"):
        return "deferred sensor"
    watched = [asset for asset in dag.schedule if asset.watchers]
    return "asset watcher" if watched else "nothing"


def attempts(bag: Any) -> str:
    """Return who decides about another attempt of a task."""
    policies = {getattr(task, "retry_policy", None) is None for task in bag.dags[NIGHTLY].tasks}
    return "by the task's arguments" if True in policies else "by the class of the error"


def missing_pool(run: Any, session: Any) -> str:
    """Return what becomes of a pool that does not exist, when the scheduler starts a run.

    ``dag.test()`` asks for no pools, so there is none.
    """
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    from airflow_provider_s3resume.plugins.pool_guard import MISSING_POOL_KEY

    run.state = "running"
    run.notify_dagrun_state_changed(msg="started")
    session.flush()
    noted = select(XComModel.task_id).where(
        XComModel.key == MISSING_POOL_KEY, XComModel.run_id == run.run_id
    )
    found = set(session.scalars(noted))
    session.rollback()
    return "error of `list`" if found == {"transfer"} else "the task waits"


def news(run: Any, session: Any) -> str:
    """Return whether the asset's event came from the task that reports."""
    from airflow.models.asset import AssetEvent
    from sqlalchemy import select

    events = session.execute(
        select(AssetEvent.source_task_id, AssetEvent.extra).where(
            AssetEvent.source_run_id == run.run_id
        )
    ).all()
    told = [(task, extra["copied"] == extra["verified"] > 0) for task, extra in events]
    return "after verification" if told == [("report", True)] else f"events: {events}"


def labels(run: Any, session: Any) -> str:
    """Return what the batches are called in the page of a run."""
    shown = [
        ti.rendered_map_index
        for ti in run.get_task_instances(session=session)
        if ti.task_id == "transfer"
    ]
    return "by their keys" if all(shown) and shown else "by their numbers"


def connections_of_bytes() -> str:
    """Return whose connections move the bytes of objects: it depends on botocore."""
    from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
    from airflow_provider_s3resume.storage._pace import Patience
    from airflow_provider_s3resume.storage._s3_direct import open_direct

    client = S3ResumeHook(os.environ["S3RESUME_TARGET_CONN_ID"]).get_conn()
    return "own" if open_direct(client, "bucket", Patience()) else "botocore's"


def restored_copies() -> str:
    """Return where one reads that an archived object of OSS has a restored copy: oss2 says so."""
    from oss2.models import SimplifiedObjectInfo

    read = "restore_info" in inspect.signature(SimplifiedObjectInfo.__init__).parameters
    return "in the listing" if read else "asked for, each"


def regexes() -> str:
    """Return what becomes of regular expressions that take for ever: Python's parser says so."""
    from airflow_provider_s3resume.exceptions import InvalidInputError
    from airflow_provider_s3resume.plan.globs import check_regex

    check_regex("(?i:[.]csv)$", parameter="include_regexes")
    try:
        check_regex("(a+)+$", parameter="include_regexes")
    except InvalidInputError:
        return "refused"
    return "not noticed"


def import_everything() -> None:
    """Import every module of the package.

    :raises ImportError: if one needs what is not there.
    """
    import airflow_provider_s3resume as package

    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)


def tested(bag: Any) -> Any:
    """Return the run of the nightly sync that ``dag.test()`` makes."""
    run = bag.dags[NIGHTLY].test()
    if run is None:
        raise RuntimeError("dag.test() made no run")
    return run


def main() -> None:
    """Look, run, and say what was found."""
    bag = bag_of_dags(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    import_everything()
    form = forms()
    said: dict[str, Any] = {
        **registered(),
        "dags": sorted(bag.dags),
        "import_errors": {
            Path(file).name: str(error)[-2000:] for file, error in bag.import_errors.items()
        },
        "features": {},
        "run": "not begun",
    }
    if not said["import_errors"]:
        said |= use(bag)
        said["features"]["form of a connection"] = form
    Path(sys.argv[1]).write_text(json.dumps(said))


def use(bag: Any) -> dict[str, Any]:
    """Run the sync, and return how that ended and what depends on the release."""
    from airflow import settings
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    made = tested(bag)
    sessions: Any = settings.Session
    with sessions() as session:
        run = session.scalars(select(DagRun).where(DagRun.run_id == made.run_id)).one()
        state = str(getattr(run.state, "value", run.state))
        return {
            "run": state,
            "features": {
                "start of a run by an event": start_of_events(bag),
                "another attempt of a task": attempts(bag),
                "pool that does not exist": missing_pool(run, session),
                "event of the asset": news(run, session),
                "names of batches": labels(run, session),
                "connections for bytes": connections_of_bytes(),
                "restored copies in OSS": restored_copies(),
                "regular expressions that never end": regexes(),
            },
        }


if __name__ == "__main__":
    main()
