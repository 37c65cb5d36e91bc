"""The folder that is made for an environment, and what is in it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.objects import Location
from airflow_provider_s3resume.plan.sides import Places
from deploy.mwaa import connections, policies, requirements, sizing
from deploy.mwaa.releases import ROOT, Release
from deploy.mwaa.zipping import bundle

SMOKE: Final = Path(__file__).with_name("dags") / "s3resume_smoke.py"
PINS_NAME: Final = "s3resume_pins.json"
DEFAULT_DAGS: Final = ("s3_to_s3_nightly_sync",)
SOURCE_CONN, TARGET_CONN = "s3_source", "s3_target"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a kit is made for.

    :param internet: see ``requirements.render``.
    :param dags: names of the example DAGs.
    :param schedule: of the nightly sync; a cron expression or ``none``.
    :param features: rows of ``docs/features.md`` that the policies are for, beside a plain sync.
    :param compatible: sides (``source``, ``target``) in a service that is not Amazon's own.
    """

    release: Release
    places: Places
    internet: bool = False
    dags: tuple[str, ...] = DEFAULT_DAGS
    schedule: str = "0 2 * * *"
    environment_class: str = "mw1.small"
    features: tuple[str, ...] = ()
    compatible: tuple[str, ...] = ()
    partition: str = "aws"
    region: str = "*"
    account: str = "*"

    def __post_init__(self) -> None:
        """Refuse example DAGs that are not there, and an environment class that is none.

        :raises InvalidInputError: naming what there is.
        """
        known = sorted(file.stem for file in (ROOT / "dags").glob("*.py"))
        for name in self.dags:
            if name not in known:
                raise InvalidInputError("dag", found=name, accepted=", ".join(known))
        sizing.find_worker(self.environment_class)

    @property
    def secrets(self) -> dict[str, Mapping[str, Any]]:
        """The template of each connection, by its id."""
        sides = {"source": self.places.source, "target": self.places.target}
        return {
            f"s3_{side}": connections.TEMPLATES[self._kind(side, place)]
            for side, place in sides.items()
            if place.scheme != "file"
        }

    def _kind(self, side: str, place: Location) -> str:
        return "compatible" if side in self.compatible else place.scheme


def options(wanted: Wanted) -> dict[str, str]:
    """Return the Airflow configuration options of the environment, as its console takes them."""
    worker = sizing.find_worker(wanted.environment_class)
    tasks = sizing.recommended(worker, sizing.BUDGETS_MIB[0])
    kwargs = json.dumps(connections.backend_kwargs(list(wanted.secrets)))
    return {
        "celery.worker_autoscale": f"{tasks},{tasks}",
        "secrets.backend": connections.BACKEND,
        "secrets.backend_kwargs": kwargs,
        # Tasks look by themselves, where a release lets them; elsewhere the option is not read.
        "workers.secrets_backend": connections.BACKEND,
        "workers.secrets_backend_kwargs": kwargs,
    }


def startup(wanted: Wanted) -> str:
    """Return ``startup.sh``: the defaults of the DAGs' forms, which DAGs read as they are parsed.

    There is no other way to give an environment of MWAA a variable that is no option of Airflow's
    ("Using a startup script with Amazon MWAA").
    """
    places = wanted.places
    values = {
        "S3RESUME_SCHEDULE": wanted.schedule,
        "S3RESUME_SOURCE_CONN_ID": SOURCE_CONN,
        "S3RESUME_SOURCE_URI": places.source.uri,
        "S3RESUME_STATE_URI": places.state.uri,
        "S3RESUME_TARGET_CONN_ID": TARGET_CONN,
        "S3RESUME_TARGET_URI": places.target.uri,
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join(["#!/bin/sh", *lines]) + "\n"


def write(wanted: Wanted, wheels: list[Path], pins: Mapping[str, str], folder: Path) -> None:
    """Write the kit anew; connections that were filled in stay as they are.

    :param wheels: for ``plugins.zip``.
    :param pins: name → version of what is installed, the provider included.
    :raises InvalidInputError: if the folder has something else in it.
    """
    check_folder(folder)
    # Not the connections: if this is broken off, what was filled in is still there.
    for old in ("dags", "policies"):
        shutil.rmtree(folder / old, ignore_errors=True)
    dags = folder / "dags"
    dags.mkdir(parents=True)
    # First of all: the folder is known by it.
    expected = {"apache-airflow": wanted.release.airflow, **pins}
    _write_json(dags / PINS_NAME, {"python": wanted.release.python, "versions": expected})
    for name in wanted.dags:
        shutil.copyfile(ROOT / "dags" / f"{name}.py", dags / f"{name}.py")
    shutil.copyfile(SMOKE, dags / SMOKE.name)
    if not wanted.internet:
        shutil.copyfile(wanted.release.constraints, dags / wanted.release.constraints_name)
    text = requirements.render(wanted.release, pins, internet=wanted.internet)
    (folder / "requirements.txt").write_text(text)
    bundle(folder / "plugins.zip", wheels)
    (folder / "startup.sh").write_text(startup(wanted))
    _write_json(folder / "configuration.json", options(wanted))
    _write_secrets(wanted, folder / "connections")
    _write_policies(wanted, folder / "policies")


def check_folder(folder: Path) -> None:
    """Refuse a folder that has something else in it than a kit: it would be removed.

    :raises InvalidInputError: naming the folder.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InvalidInputError("out", found=str(folder), accepted="a folder")
    if folder.exists() and any(folder.iterdir()) and not (folder / "dags" / PINS_NAME).is_file():
        accepted = "a folder that is empty, or has a kit in it, or is not there"
        raise InvalidInputError("out", found=str(folder), accepted=accepted)


def _write_secrets(wanted: Wanted, folder: Path) -> None:
    """Write the templates; a file that somebody has begun to fill in stays as it is."""
    # Secrets are going to be written into them.
    folder.mkdir(mode=0o700, exist_ok=True)
    untouched = {connections.render(template) for template in connections.TEMPLATES.values()}
    for file in folder.glob("*.json"):
        if file.read_text() in untouched:
            file.unlink()
    for conn_id, template in wanted.secrets.items():
        file = folder / f"{conn_id}.json"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(connections.render(template))


def _write_policies(wanted: Wanted, folder: Path) -> None:
    folder.mkdir()
    needed = policies.needed(wanted.places, wanted.features, partition=wanted.partition)
    for name, policy in needed.items():
        _write_json(folder / f"{name}.json", policy)
    # What has keys of its own in its connection is no business of the role's.
    of_role = {
        name: policy
        for name, policy in needed.items()
        if not ({name} | ({"target"} if name == "state" else set())) & set(wanted.compatible)
    }
    role = policies.of_role(
        of_role,
        wanted.secrets,
        partition=wanted.partition,
        region=wanted.region,
        account=wanted.account,
    )
    _write_json(folder / "execution-role.json", role)


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n")
