"""``python -m deploy.mwaa`` (``make mwaa-kit``): write the kit for an environment of Amazon MWAA.

docs/mwaa.md says what is done with it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.policies import PARTITIONS
from airflow_provider_s3resume.plan.sides import parse_places
from deploy.mwaa import connections, kit, sizing
from deploy.mwaa.kit import Wanted
from deploy.mwaa.releases import RELEASES, ROOT, find_release
from deploy.mwaa.wheels import NAME, Collector, KitError, build_provider, needed

_WORK = ROOT / ".state" / "mwaa"
_VERSION_AT = 1
"""Which part of a wheel's name is its version."""


def make(wanted: Wanted, folder: Path) -> dict[str, str]:
    """Make a kit in a folder; return name → version of what it installs.

    :raises KitError: if a wheel cannot be had.
    :raises InvalidInputError: if the folder has something else in it.
    """
    kit.check_folder(folder)
    built = _WORK / "built"
    shutil.rmtree(built, ignore_errors=True)
    provider = build_provider(built)
    release = wanted.release
    place = "mwaa" if release.platforms else "here"
    cache = _WORK / f"wheels-{release.airflow}-py{release.python}-{place}"
    cache.mkdir(parents=True, exist_ok=True)
    pins = needed(release, provider)
    wheels = [provider]
    if not wanted.internet:
        collector = Collector(release, cache, _WORK / "tools")
        wheels += [collector.collect(name, version) for name, version in sorted(pins.items())]
    pins = {**pins, NAME: provider.name.split("-")[_VERSION_AT]}
    kit.write(wanted, wheels, pins, folder)
    return pins


def wanted_by(arguments: list[str] | None) -> tuple[Wanted, Path]:
    """Read the arguments of the command.

    :raises InvalidInputError: naming what cannot be used.
    """
    given = _parser().parse_args(arguments)
    wanted = Wanted(
        release=find_release(given.airflow),
        places=parse_places(given.source, given.target, given.state),
        internet=given.internet,
        dags=tuple(given.dag or kit.DEFAULT_DAGS),
        schedule=given.schedule,
        environment_class=given.environment_class,
        features=tuple(given.feature),
        compatible=tuple(given.compatible),
        partition=given.partition,
        region=given.region,
        account=given.account,
    )
    return wanted, given.out


def check(folder: Path) -> int:
    """Say which connections of a kit are filled in; return the exit code.

    :raises InvalidInputError: naming the first that is not, and its fields.
    """
    for file in sorted((folder / "connections").glob("*.json")):
        connections.check_filled(file.name, file.read_text())
        print(f"{file.name}: filled in")  # noqa: T201 - a command
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments ask for; return the exit code."""
    try:
        if (given := _parser().parse_args(arguments)).check:
            return check(given.out)
        wanted, folder = wanted_by(arguments)
        pins = make(wanted, folder)
    except (InvalidInputError, KitError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 2
    for name, version in sorted(pins.items()):
        print(f"  {name}=={version}")  # noqa: T201 - a command
    print(f"The kit for Airflow {wanted.release.airflow} is in {folder}: see docs/mwaa.md")  # noqa: T201 - a command
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.mwaa", description=__doc__)
    parser.add_argument("--airflow", default=RELEASES[0].airflow, help="release of Airflow")
    parser.add_argument("--source", default="s3://my-source/", help="URI of the source")
    parser.add_argument("--target", default="s3://my-target/", help="URI of the target")
    parser.add_argument("--state", help="URI of the state location; by default in the target")
    parser.add_argument(
        "--internet",
        action="store_true",
        help="the environment reaches PyPI and GitHub: plugins.zip has the provider alone",
    )
    parser.add_argument("--dag", action="append", help="an example DAG; more than once")
    parser.add_argument("--schedule", default="0 2 * * *", help="of the sync; 'none' for none")
    classes = ", ".join(worker.environment_class for worker in sizing.WORKERS)
    parser.add_argument("--environment-class", default="mw1.small", help=f"one of {classes}")
    parser.add_argument(
        "--feature", action="append", default=[], help="a row of docs/features.md; more than once"
    )
    parser.add_argument(
        "--compatible",
        action="append",
        default=[],
        choices=("source", "target"),
        help="a side whose s3:// service is not Amazon S3, and has keys of its own",
    )
    parser.add_argument("--partition", default=PARTITIONS[0], help=" or ".join(PARTITIONS))
    parser.add_argument("--region", default="*", help="of the secrets, for the policy")
    parser.add_argument("--account", default="*", help="of the secrets, for the policy")
    parser.add_argument("--out", type=Path, default=Path("mwaa-kit"), help="folder to write")
    parser.add_argument(
        "--check", action="store_true", help="only look whether its connections are filled in"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
