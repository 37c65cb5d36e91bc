"""What MWAA makes of a kit: files below ``/usr/local/airflow``, and the environment of containers.

Sources: the repository of MWAA's images (aws/amazon-mwaa-docker-images, Airflow 3.0.6), whose
``mwaa/entrypoint.py`` and ``mwaa/config/airflow.py`` say the order and the settings.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deploy.mwaa.releases import AIRFLOW_HOME

# What no user of MWAA can change, and what it sets where a user does not.
OF_MWAA = {
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "43200",
    "AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER": "True",
    "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": "86400",
    "AIRFLOW__SCHEDULER__SCHEDULE_AFTER_TASK_EXECUTION": "False",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "1800.0",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A folder that stands for the root of a container."""

    root: Path

    @property
    def home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.root / AIRFLOW_HOME.lstrip("/")

    @property
    def dags(self) -> Path:
        """The folder that is kept in step with that of the bucket."""
        return self.home / "dags"

    @property
    def plugins(self) -> Path:
        """Where ``plugins.zip`` is unpacked."""
        return self.home / "plugins"

    @property
    def requirements(self) -> Path:
        """The file that pip is given."""
        return self.home / "requirements" / "requirements.txt"

    @property
    def startup(self) -> Path:
        """The script that runs before all else."""
        return self.home / "startup" / "startup.sh"


def lay_out(kit: Path, root: Path) -> Layout:
    """Unpack a kit as MWAA does, below another root, and return the layout.

    The paths of ``requirements.txt`` are absolute, so they get that root put before them.
    """
    layout = Layout(root=root)
    shutil.copytree(kit / "dags", layout.dags)
    with zipfile.ZipFile(kit / "plugins.zip") as archive:
        archive.extractall(layout.plugins)
    for file in (layout.requirements, layout.startup):
        file.parent.mkdir(parents=True)
    text = (kit / "requirements.txt").read_text()
    layout.requirements.write_text(text.replace(AIRFLOW_HOME, str(layout.home)))
    shutil.copyfile(kit / "startup.sh", layout.startup)
    return layout


def exported(script: Path) -> dict[str, str]:
    """Return the variables that a startup script sets, run by a shell that has none."""
    asked = ["env", "-i", "/bin/sh", "-c", '. "$0" && env -0', str(script)]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    pairs = (line.partition("=") for line in said.split("\0") if line)
    # What the shell itself sets is no business of Airflow's.
    return {name: value for name, _, value in pairs if name.startswith("S3RESUME_")}


def configured(kit: Path) -> dict[str, str]:
    """Return the environment's configuration options as MWAA gives them to Airflow."""
    options: dict[str, str] = json.loads((kit / "configuration.json").read_text())
    return {variable(name): value for name, value in options.items()}


def variable(option: str) -> str:
    """Return the variable of an option such as ``celery.worker_autoscale``."""
    section, _, name = option.partition(".")
    return f"AIRFLOW__{section.upper()}__{name.upper()}"
