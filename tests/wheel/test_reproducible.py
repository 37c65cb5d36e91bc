"""Whoever builds the same tree gets the same bytes."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.release import artefacts
from tests.release.artefacts import Built
from tests.release.tools import run
from tests.support.bootstrap import ROOT, UV, child_environment

LONG_AGO = 1_000_000_000
"""Seconds; in 2001."""


def copy_of_the_tree(folder: Path, *, mode: int, seconds: int) -> Path:
    """Lay out the tree with other permissions and dates, in another order of making."""
    for name in sorted(artefacts.files_of_the_tree(), reverse=mode == 0o600):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place)
        place.chmod(mode)
        os.utime(place, (seconds, seconds))
    return folder


def build_plainly(tree: Path, out: Path, umask: str, variables: Mapping[str, str]) -> Built:
    """Build as anybody would, who knows nothing of a fixed date."""
    env = {**child_environment(), **variables}
    env.pop("SOURCE_DATE_EPOCH", None)
    shell = ("sh", "-c", f'umask {umask}; exec "$@"', "sh")
    run(*shell, UV, "build", "--quiet", "--out-dir", out, cwd=tree, env=env)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel=wheel, sdist=sdist)


@pytest.mark.parametrize(
    ("name", "mode", "seconds", "umask", "variables"),
    [
        ("a", 0o644, LONG_AGO, "022", {"TZ": "Pacific/Kiritimati", "LC_ALL": "C"}),
        (
            "a folder elsewhere",
            0o600,
            2 * LONG_AGO,
            "077",
            {"TZ": "America/Los_Angeles", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"},
        ),
    ],
)
def test_other_places_dates_umasks_and_time_zones_build_the_same_bytes(
    built: Built,
    tmp_path: Path,
    name: str,
    mode: int,
    seconds: int,
    umask: str,
    variables: Mapping[str, str],
) -> None:
    """Both distributions, compared with those of the tree itself."""
    tree = copy_of_the_tree(tmp_path / name, mode=mode, seconds=seconds)
    found = build_plainly(tree, tmp_path / "out", umask, variables)
    assert found.wheel.name == built.wheel.name
    assert found.wheel.read_bytes() == built.wheel.read_bytes()
    assert found.sdist.read_bytes() == built.sdist.read_bytes()


def test_the_bytes_are_those_of_the_content(built: Built, tmp_path: Path) -> None:
    """One changed line is another wheel: what is compared above can differ."""
    tree = copy_of_the_tree(tmp_path / "tree", mode=0o644, seconds=LONG_AGO)
    with (tree / "airflow_provider_s3resume" / "exceptions.py").open("a") as module:
        module.write("# changed\n")
    assert artefacts.build_wheel(tmp_path / "out", tree).read_bytes() != built.wheel.read_bytes()


def test_the_tree_and_the_unpacked_sdist_build_one_wheel(built: Built, tmp_path: Path) -> None:
    """No git, no tests, no lock: the source distribution alone is enough."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert not (unpacked / ".git").exists()
    from_sdist = artefacts.build_wheel(tmp_path / "unpacked-out", unpacked)
    from_tree = artefacts.build_wheel(tmp_path / "tree-out")
    assert from_sdist.read_bytes() == from_tree.read_bytes() == built.wheel.read_bytes()
