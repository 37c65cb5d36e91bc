"""``make mwaa-check``, ``make mwaa-laptop``: use the kit as an environment of Amazon MWAA would.

``python -m tests.mwaa [celery] [local]``: the kit is made, laid out below ``/usr/local/airflow`` of
a folder, installed beside MWAA's pins without a network, and run with connections from Secrets
Manager: by Celery workers, PostgreSQL and Redis, as MWAA does, or by LocalExecutor and SQLite,
which takes nothing but Python.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from airflow_provider_s3resume.plan.sides import parse_places
from deploy.mwaa import __main__ as kits
from deploy.mwaa.kit import Wanted
from deploy.mwaa.releases import RELEASES
from tests.matrix.cells import CellError
from tests.matrix.environments import installed
from tests.mwaa.environment import BACKENDS, PLACES, Environment, Services, services
from tests.mwaa.image import check, install_requirements, make_image, release_for_here
from tests.mwaa.layout import Layout, lay_out
from tests.mwaa.steps import Steps
from tests.support.processes import folder_of_its_own
from tests.support.stage import NIGHTLY

SMOKE = "s3resume_smoke"
_POOL_SLOTS = 3


def play(steps: Steps, airflow: str, executors: list[str]) -> None:
    """Do all of it.

    :raises CellError: at the first thing that is not as it should be.
    """
    release = release_for_here(airflow, may_differ="celery" not in executors)
    title = f"Airflow {release.airflow}, Python {release.python}"
    with folder_of_its_own("s3resume-mwaa-") as folder:
        kit = folder / "kit"
        # Both of them wait for the package index most of the time.
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(make_image, release)
            with steps.step(f"kit for {title}"):
                wanted = Wanted(release=release, places=parse_places(*PLACES), schedule="none")
                kits.make(wanted, kit)
            with steps.step("image with MWAA's pins"):
                python = made.result()
        before = installed(python)
        with steps.step("laid out, requirements installed by pip without an index"):
            layout = lay_out(kit, folder / "root")
            install_requirements(python, layout.requirements)
        with steps.step("pins of the image untouched"):
            added = check(python, release, before)
        print(f"  added: {', '.join(added)}", flush=True)
        with services(folder, kit) as world:
            for executor in executors:
                _run(steps, Environment(world, kit, layout, python, executor), world, executor)
                _look_for_secrets(layout, world)


def _run(steps: Steps, environment: Environment, world: Services, executor: str) -> None:
    world.empty()
    with steps.step(f"{executor}: Airflow starts"):
        environment.airflow.start()
    try:
        environment.make_pool(_POOL_SLOTS)
        with steps.step(f"{executor}: smoke DAG, connections from Secrets Manager"):
            environment.run(SMOKE)
            if world.left_by_smoke():
                raise CellError(f"the smoke DAG left {world.left_by_smoke()}")
        with steps.step(f"{executor}: nightly sync"):
            environment.run(NIGHTLY)
        with steps.step(f"{executor}: every byte compared by another program"):
            world.compare()
    finally:
        environment.airflow.stop()


def _look_for_secrets(layout: Layout, world: Services) -> None:
    """Make sure that no log has a secret.

    :raises CellError: naming the logs.
    """
    known = [server.secret_key for server in (world.source, world.target)]
    logs = [file for file in Path(layout.home).rglob("*.log") if file.is_file()]
    told = [str(f) for f in logs if any(k in f.read_text(errors="replace") for k in known)]
    if told or not logs:
        raise CellError(f"logs with a secret: {told} of {len(logs)}")


def main() -> None:
    """Play what was asked for; exit code 1 unless all of it passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("executors", nargs="*", help=" or ".join(BACKENDS))
    parser.add_argument("--airflow", default=RELEASES[0].airflow)
    asked = parser.parse_args()
    executors = list(dict.fromkeys(asked.executors)) or ["celery"]
    if set(executors) - set(BACKENDS):
        parser.error(f"executors are {', '.join(BACKENDS)}")
    steps = Steps()
    with steps.all_of_them():
        play(steps, asked.airflow, executors)
    print(steps.summary())
    sys.exit(1 if steps.failed else 0)


if __name__ == "__main__":
    main()
