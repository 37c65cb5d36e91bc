"""The wheel and the source distribution: the same bytes wherever and whenever they are built.

Names are sorted, owners and permissions made equal by hatchling. What is left is the clock (one
date for all files), hatchling's own version (pinned in ``pyproject.toml``) and zlib's.
"""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

from tests.release.tools import DISTRIBUTION, PACKAGE, ReleaseError, run, tool
from tests.support.bootstrap import ROOT, UV, child_environment

EPOCH = "1580601600"
"""2020-02-02, which hatchling takes where nobody says another date: whoever builds the tag with
plain ``uv build`` gets the same bytes."""
MADE = frozenset({"PKG-INFO"})
"""What the source distribution has beside files of the tree."""
NEEDED = frozenset(
    {
        *("CHANGELOG.md", "LICENSE", "NOTICE", "README.md", "docs/features.md", "pyproject.toml"),
        *(f"{PACKAGE}/__init__.py", f"{PACKAGE}/py.typed"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Where both are."""

    wheel: Path
    sdist: Path


def build(folder: Path, tree: Path = ROOT) -> Built:
    """Build the source distribution of a tree, and the wheel from it."""
    _uv_build("--out-dir", folder, cwd=tree)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel=wheel, sdist=sdist)


def build_wheel(folder: Path, tree: Path = ROOT) -> Path:
    """Build the wheel of a tree, with no source distribution between."""
    _uv_build("--wheel", "--out-dir", folder, cwd=tree)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _uv_build(*options: str | Path, cwd: Path) -> None:
    run(
        *(UV, "build", "--quiet", *options),
        cwd=cwd,
        env={**child_environment(), "SOURCE_DATE_EPOCH": EPOCH},
    )


def files_of_the_tree() -> frozenset[str]:
    """Return the names of all files that git has, or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return frozenset(name for name in listed.split("\0") if (ROOT / name).is_file())


def metadata_of(artefact: Path) -> Message:
    """Return the metadata that a wheel, or a source distribution, carries."""
    if artefact.suffix == ".whl":
        with zipfile.ZipFile(artefact) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            return Parser().parsestr(archive.read(name).decode())
    with tarfile.open(artefact) as archive:
        (member,) = (m for m in archive if m.name.count("/") == 1 and m.name.endswith("/PKG-INFO"))
        content = archive.extractfile(member)
        assert content is not None
        return Parser().parsestr(content.read().decode())


def members_of(sdist: Path) -> frozenset[str]:
    """Return the names of a source distribution's files, without the folder that they lie in."""
    with tarfile.open(sdist) as archive:
        return frozenset(m.name.partition("/")[2] for m in archive if m.isfile())


def check_metadata(artefact: Path, version: str) -> None:
    """Have twine and ourselves look at what a package index would show.

    :raises ReleaseError: if any of it is not as it should be.
    """
    run(tool("twine"), "check", "--strict", artefact)
    found = metadata_of(artefact)
    said = (found["Name"], found["Version"], found["License-Expression"])
    if said != (DISTRIBUTION, version, "Apache-2.0"):
        raise ReleaseError(f"{artefact.name}: {said}")
    if found.get_all("License-File") != ["LICENSE", "NOTICE"]:
        raise ReleaseError(f"{artefact.name}: licence files {found.get_all('License-File')}")


def check_wheel(wheel: Path, version: str, scratch: Path) -> None:
    """Check a wheel's contents, and that the tree makes the same one without the sdist.

    :param scratch: an empty folder to build in.
    :raises ReleaseError: if any of it is not as it should be.
    """
    check_metadata(wheel, version)
    run(tool("check-wheel-contents"), "--no-config", wheel)
    if build_wheel(scratch).read_bytes() != wheel.read_bytes():
        raise ReleaseError("the tree makes another wheel than the source distribution does")


def check_sdist(sdist: Path, version: str) -> None:
    """Check that a source distribution has what it needs, and nothing that git does not have.

    :raises ReleaseError: naming the files.
    """
    check_metadata(sdist, version)
    members = members_of(sdist)
    if missing := NEEDED - members:
        raise ReleaseError(f"{sdist.name} lacks {sorted(missing)}")
    if strange := members - MADE - files_of_the_tree():
        raise ReleaseError(f"{sdist.name} has files that git has not: {sorted(strange)}")
