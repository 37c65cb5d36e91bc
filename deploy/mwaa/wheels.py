"""Collects the wheels that an environment needs beside what its image has.

Wheels of compiled code are taken for the image's platform, whatever this machine is. Of packages
that are published as source alone a wheel of pure Python is made, without a compiler.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.mwaa.releases import ROOT, Release
from deploy.mwaa.requirements import added, parse_pins
from deploy.mwaa.zipping import read_zip, write_zip
from tests.support.bootstrap import UV, child_environment

NAME = "airflow-provider-s3resume"
IMAGE = ("apache-airflow[celery]=={}", "apache-airflow-providers-amazon")
"""What every image has, with all that it depends on."""
# Of the build requirements that pyproject.toml pins, and the last pip that was tried.
_TOOLS = ("pip==25.2", "setuptools==80.9.0", "wheel==0.45.1")
_UV_PLATFORM = "x86_64-manylinux_2_28"
_COMPILED = (".so", ".pyd", ".dylib")


class KitError(Exception):
    """The kit cannot be made; the message says what to do."""


def run(command: Sequence[str | Path], *, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints.

    :raises KitError: with the end of what it said, if it fails.
    """
    done = subprocess.run(  # noqa: S603 - uv and pip, with arguments of our own
        [str(word) for word in command],
        cwd=ROOT,
        env={**child_environment(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise KitError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{said}")
    return done.stdout


def build_provider(folder: Path) -> Path:
    """Build the wheel of this clone into a folder, and return it."""
    run([UV, "build", "--wheel", "--quiet", "--out-dir", folder, ROOT])
    (built,) = folder.glob("*.whl")
    return built


def needed(release: Release, provider: Path) -> dict[str, str]:
    """Return name → version of what the provider needs beside a release's image.

    :raises KitError: if nothing fits beside the pins.
    """
    image = [word.format(release.airflow) for word in IMAGE]
    without = _resolved(release, image)
    try:
        found = added(without, _resolved(release, [*image, f"{NAME} @ {provider.as_uri()}"]))
    except ValueError as error:
        raise KitError(str(error)) from error
    # A file has no "==" in what the resolver prints.
    return {name: version for name, version in found.items() if name != NAME}


def _resolved(release: Release, wanted: Sequence[str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.in"
        asked.write_text("\n".join(wanted) + "\n")
        command: list[str | Path] = [
            UV,
            "pip",
            "compile",
            "--quiet",
            "--no-header",
            "--no-annotate",
            asked,
        ]
        command += ["--constraints", release.constraints, "--python-version", release.python]
        there = ["--python-platform", _UV_PLATFORM] if release.platforms else []
        return parse_pins(run([*command, *there]))


class Collector:
    """Gets wheels into a folder.

    :param release: whose platform and Python they are for.
    :param folder: where they go.
    :param tools: a folder for pip and what builds wheels, made with the first use.
    """

    def __init__(self, release: Release, folder: Path, tools: Path) -> None:
        self._release = release
        self._folder = folder
        self._tools = tools

    def collect(self, name: str, version: str) -> Path:
        """Return the wheel of one package: one that is there, else published, else built here.

        :raises KitError: if none can be had.
        """
        kept = sorted(self._folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
        if kept:
            return kept[0]
        before = set(self._folder.glob("*.whl"))
        try:
            self._download(name, version)
        except KitError:
            self._build(name, version)
        made = sorted(set(self._folder.glob("*.whl")) - before)
        if len(made) != 1:
            raise KitError(f"{name}=={version}: pip left {[one.name for one in made]}, not a wheel")
        return made[0]

    def _download(self, name: str, version: str) -> None:
        asked = ["--only-binary", ":all:", "--python-version", self._release.python]
        if self._release.platforms:
            tag = f"cp{self._release.python.replace('.', '')}"
            asked += ["--implementation", "cp"]
            asked += [word for abi in (tag, "abi3", "none") for word in ("--abi", abi)]
            asked += [word for one in self._release.platforms for word in ("--platform", one)]
        self._pip("download", *asked, "--dest", self._folder, f"{name}=={version}")

    def _build(self, name: str, version: str) -> None:
        with tempfile.TemporaryDirectory() as made:
            # No compiler: a package that has an optional extension is made without it.
            env = {"CC": "false", "CXX": "false", "SOURCE_DATE_EPOCH": "315532800"}
            asked = ["--no-build-isolation", "--no-cache-dir", "--wheel-dir", made]
            self._pip("wheel", *asked, f"{name}=={version}", env=env)
            (wheel,) = Path(made).glob("*.whl")
            self._keep_pure(wheel)

    def _keep_pure(self, wheel: Path) -> None:
        """Take a wheel that was built here, and call it what it is: of pure Python."""
        compiled = [name for name in read_zip(wheel) if name.endswith(_COMPILED)]
        if compiled:
            raise KitError(f"{wheel.name} has compiled code of this machine: {compiled}")
        tags = ["--python-tag", "py3", "--abi-tag", "none", "--platform-tag", "any"]
        said = run([self._python(), "-m", "wheel", "tags", *tags, "--remove", wheel])
        pure = wheel.parent / said.split()[-1]
        write_zip(self._folder / pure.name, read_zip(pure), compress=True)

    def _pip(self, verb: str, *arguments: str | Path, env: dict[str, str] | None = None) -> None:
        quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
        run([self._python(), "-m", "pip", verb, *quiet, *arguments], env=env)

    def _python(self) -> Path:
        python = self._tools / "bin" / "python"
        if not python.exists():
            shutil.rmtree(self._tools, ignore_errors=True)
            run([UV, "venv", "--quiet", "--python", sys.executable, self._tools])
            run([UV, "pip", "install", "--quiet", "--python", python, *_TOOLS])
        return python
