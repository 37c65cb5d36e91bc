"""``python -m tests.release files``, ``changelog`` or ``audit``, for the targets of the Makefile.

``files`` fills ``dist/`` and checks every file of it; with ``--final`` the tree has to be that of a
tag. The last line counts both.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from airflow_provider_s3resume import __version__
from tests.release import artefacts, audit, changelog, sbom
from tests.release.tools import PACKAGE, ReleaseError
from tests.support.bootstrap import ROOT

DIST = ROOT / "dist"
SUMS = "SHA256SUMS"
Check = Callable[[], None]


def not_final(version: str) -> list[str]:
    """Return what stands against publishing this tree as that version."""
    reasons = [f"{one.relative_to(ROOT)} is not in the changelog" for one in changelog.fragments()]
    if _git("status", "--porcelain"):
        reasons.append("the tree differs from its commit")
    if f"v{version}" not in _git("tag", "--points-at", "HEAD").split():
        reasons.append(f"the commit has no tag v{version}")
    return reasons


def refuse_unless_final(version: str) -> None:
    """Refuse a tree that is not to be published as a version.

    :raises ReleaseError: saying what stands against it.
    """
    if reasons := not_final(version):
        raise ReleaseError("\n".join(["not to be published:", *reasons]))


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def write_sums(folder: Path) -> Path:
    """Write the SHA-256 of every file of a folder, as ``sha256sum --check`` reads them."""
    file = folder / SUMS
    lines = [f"{_sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    file.write_text("".join(lines))
    return file


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_sums(file: Path) -> None:
    """Check that every file beside it is named, and as it was.

    :raises ReleaseError: naming the files that are not.
    """
    lines = file.read_text().splitlines()
    said = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {path.name: _sha256(path) for path in file.parent.iterdir() if path != file}
    if wrong := sorted(name for name in said | found if said.get(name) != found.get(name)):
        raise ReleaseError(f"{SUMS} does not tell what there is: {wrong}")


def make(folder: Path, scratch: Path, version: str) -> dict[Path, Check]:
    """Make all files of a release in a folder, and return how each is checked."""
    built = artefacts.build(scratch / "built")
    wheel, sdist = (folder / path.name for path in (built.wheel, built.sdist))
    shutil.copyfile(built.wheel, wheel)
    shutil.copyfile(built.sdist, sdist)
    bill = folder / f"{PACKAGE}-{version}.cdx.json"
    sbom.write(bill, version, sbom.runtime_environment())
    notes = folder / f"{PACKAGE}-{version}.changes.md"
    notes.write_text(changelog.notes(version))
    sums = write_sums(folder)
    return {
        wheel: lambda: artefacts.check_wheel(wheel, version, scratch / "again"),
        sdist: lambda: artefacts.check_sdist(sdist, version),
        bill: lambda: sbom.check(bill, version, wheel),
        notes: lambda: _check_notes(notes, version),
        sums: lambda: check_sums(sums),
    }


def _check_notes(file: Path, version: str) -> None:
    if not file.read_text().startswith(f"# {PACKAGE} {version} ("):
        raise ReleaseError(f"{file.name} is not about {version}")


def files(folder: Path, *, final: bool) -> None:
    """Fill a folder with the files of a release, and check each.

    :raises ReleaseError: if one is not as it should be; if ``final``, also if it may not be
        published.
    """
    if final:
        refuse_unless_final(__version__)
    for reason in not_final(__version__):
        print(f"release: not to be published: {reason}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        checks = make(folder, Path(scratch), __version__)
        for file, check in checks.items():
            check()
            print(f"release: {file.name} ({file.stat().st_size} bytes) checked", flush=True)
    print(f"release: files={len(list(folder.iterdir()))} checked={len(checks)}")


def main() -> int:
    """Run what the command line names."""
    match sys.argv[1:]:
        case ["files", *options] if set(options) <= {"--final"}:
            files(DIST, final="--final" in options)
        case ["changelog", *options]:
            print(changelog.write(__version__, *options))
        case ["audit", *options] if set(options) <= {"--strict"}:
            return audit.main(options)
        case _:
            sys.exit("usage: … files [--final] | changelog [OPTION …] | audit [--strict]")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ReleaseError as error:
        sys.exit(f"release: {error}")
