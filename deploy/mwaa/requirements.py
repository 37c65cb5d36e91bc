"""``requirements.txt`` as MWAA wants it: the line of the constraints first, then pins.

Sources: "Installing Python dependencies" and "Managing Python dependencies in requirements.txt" of
the Amazon MWAA User Guide. An environment installs by pip, on every container, within nine minutes
(``mwaa/utils/user_requirements.py`` of its images).
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.mwaa.releases import AIRFLOW_HOME, Release

PLUGINS = f"{AIRFLOW_HOME}/plugins"


def render(release: Release, pins: Mapping[str, str], *, internet: bool) -> str:
    """Return the text of the file.

    :param pins: name → version of what is installed beside the image's own packages.
    :param internet: the environment reaches the package index and GitHub; without it, all comes
        from ``plugins.zip`` and the constraints from the folder of the DAGs.
    """
    constraints = release.constraints_url if internet else release.constraints_in_dags
    # pip looks for wheels in the folder as well; --no-index makes it the only place.
    head = [f'--constraint "{constraints}"', f"--find-links {PLUGINS}"]
    head += [] if internet else ["--no-index"]
    lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
    return "\n".join([*head, "", *lines]) + "\n"


def parse_pins(compiled: str) -> dict[str, str]:
    """Return name → version of what a resolver printed; what comes from a file is left out."""
    lines = (line.partition(";")[0].strip() for line in compiled.splitlines())
    pairs = (line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip(): version.strip() for name, version in pairs}


def added(without: Mapping[str, str], with_provider: Mapping[str, str]) -> dict[str, str]:
    """Return what the provider needs beside what is there already.

    :raises ValueError: if the provider moves a package that is there.
    """
    moved = {
        name: f"{version} -> {with_provider[name]}"
        for name, version in without.items()
        if with_provider.get(name, version) != version
    }
    if moved:
        msg = f"the provider would move packages of the image: {moved}"
        raise ValueError(msg)
    return {name: version for name, version in with_provider.items() if name not in without}
