"""The releases of Airflow on Amazon MWAA that the kit is made for, and where they keep things.

Sources: the public repository of MWAA's images (aws/amazon-mwaa-docker-images, August 2026), and
"Installing Python dependencies" of the Amazon MWAA User Guide.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airflow_provider_s3resume.exceptions import InvalidInputError

ROOT: Final = Path(__file__).resolve().parent.parent.parent
AIRFLOW_HOME: Final = "/usr/local/airflow"
"""Of every container of an environment; DAGs lie in ``dags``, the content of ``plugins.zip`` in
``plugins`` below it."""
PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""What wheels of compiled code may be made for: the images are Amazon Linux 2023 on x86_64."""
PYTHON: Final = "3.12"
"""Of all images of Airflow 3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One release of Airflow on MWAA.

    :param python: minor version of the Python that the wheels are for: the image's, except where
        the kit is tried on a machine that has another one.
    :param platforms: that compiled wheels may be for; none for this machine's own.
    """

    airflow: str
    python: str = PYTHON
    platforms: tuple[str, ...] = PLATFORMS

    @property
    def constraints_name(self) -> str:
        """Name of the file of its pins."""
        return f"constraints-{self.airflow}-py{PYTHON}.txt"

    @property
    def constraints(self) -> Path:
        """The file of its pins: a copy of what the image was made with."""
        return ROOT / "tests" / "data" / "mwaa" / self.constraints_name

    @property
    def constraints_url(self) -> str:
        """The pins that the Airflow project publishes, of which the image's are a copy."""
        place = "https://raw.githubusercontent.com/apache/airflow"
        return f"{place}/constraints-{self.airflow}/constraints-{PYTHON}.txt"

    @property
    def constraints_in_dags(self) -> str:
        """Where the pins lie in an environment, if they are uploaded beside the DAGs."""
        return f"{AIRFLOW_HOME}/dags/{self.constraints_name}"


RELEASES: Final = tuple(Release(airflow=airflow) for airflow in ("3.0.6", "3.2.1", "3.3.1"))


def find_release(airflow: str) -> Release:
    """Return a release by its number.

    :raises InvalidInputError: naming those that there are.
    """
    for release in RELEASES:
        if release.airflow == airflow:
            return release
    accepted = " or ".join(release.airflow for release in RELEASES)
    raise InvalidInputError("airflow", found=airflow, accepted=accepted)
