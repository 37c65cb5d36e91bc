"""Both distributions, and an environment that has the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.release.artefacts import Built, build
from tests.release.tools import run
from tests.support.bootstrap import UV


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Give the wheel and the source distribution of the tree."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def wheel(built: Built) -> Path:
    """Give the built wheel."""
    return built.wheel


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the Python of an environment that has the wheel and what it depends on, no more."""
    folder = tmp_path_factory.mktemp("installed")
    requirements = folder / "requirements.txt"
    export = ("export", "--frozen", "--no-default-groups", "--no-emit-project", "--quiet")
    run(UV, *export, "--output-file", requirements)
    run(UV, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    install = ("pip", "install", "--quiet", "--compile-bytecode", "--python", python)
    run(UV, *install, "--requirements", requirements, wheel, cwd=folder)
    return python
