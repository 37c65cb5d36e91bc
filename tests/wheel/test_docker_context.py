"""What docker/Dockerfile copies is enough to install the package from it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.bootstrap import ROOT, UV, child_environment


def test_the_copied_files_build(tmp_path: Path) -> None:
    """The folder that the image installs makes a wheel."""
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    provider = tmp_path / "provider"
    for line in re.findall(
        r"^COPY --chown=airflow:0 (.+ /opt/provider.*)$", dockerfile, re.MULTILINE
    ):
        *sources, place = line.split()
        target = provider / Path(place).relative_to("/opt/provider")
        for source in sources:
            _copy(ROOT / source, target if place[-1] != "/" else target / source)
    command = [UV, "build", "--wheel", "--out-dir", tmp_path / "dist", provider]
    done = subprocess.run(
        list(map(str, command)),
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "dist").glob("airflow_provider_s3resume-*.whl"))) == 1


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, as COPY does."""
    if source.is_dir():
        shutil.copytree(source, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
