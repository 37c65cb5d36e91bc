"""Run the suites of the project, each as a pytest of its own: ``python -m tests.support.suites``.

Every suite runs even when one before it failed; the exit code says whether all passed. A suite
that selects no test has failed: nothing is skipped silently.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support import debian
from tests.support.bootstrap import UV

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = ROOT / ".venv" / "bin"
SUITES = ("docs", "fast", "integration", "fault", "e2e", "kill", "wheel", "matrix", "mwaa")
NO_TESTS_COLLECTED = 5
PROGRAMS = {
    "e2e": {**debian.BROWSER, **debian.COMPOSED, **debian.COMPOSE},
    "kill": debian.DISTRIBUTED,
    "mwaa": debian.DISTRIBUTED,
}
SITE = (
    *("-c", "docs", "-d", ".state/docs/doctrees", "-b", "html"),
    *("--nitpicky", "--fail-on-warning", "--keep-going", "--quiet"),
    # All pages anew: a page that is not read again says nothing of what is wrong with it.
    *("--fresh-env", ".", ".state/docs/html"),
)


def lint_commands() -> list[list[str]]:
    """Return the static checks in the order of their speed."""
    python = str(BIN / "python")
    folders = ("airflow_provider_s3resume", "dags", "deploy", "docker", "tests")
    sources = [name for name in folders if has_code(name)]
    return [
        [str(UV), "lock", "--check", "--quiet"],
        [str(BIN / "ruff"), "check", "."],
        [str(BIN / "ruff"), "format", "--check", "."],
        [python, str(BIN / "lint-imports"), "--cache-dir", ".state/import_linter_cache"],
        [python, "-m", "mypy", *sources],
    ]


def has_code(folder: str) -> bool:
    """Return whether a folder of the project holds Python files."""
    return any((ROOT / folder).rglob("*.py"))


def suite_command(suite: str) -> list[str]:
    """Return the call of one suite: of pytest, but for those that are no test of this venv."""
    if suite == "docs":
        return [str(BIN / "python"), "-m", "sphinx", *SITE]
    if suite == "matrix":
        return [str(BIN / "python"), "-m", "tests.matrix"]
    if suite == "mwaa":
        return [str(BIN / "python"), "-m", "tests.mwaa", "celery", "local"]
    return [str(BIN / "python"), "-m", "pytest", f"--suite={suite}"]


def environment() -> dict[str, str]:
    """Return the environment of the checks: one that byte-compiles what Airflow imports."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def missing_packages(suites: list[str]) -> list[str]:
    """Return the Debian packages that the chosen suites need and this machine lacks."""
    return debian.missing_packages(name for suite in suites for name in PROGRAMS.get(suite, ()))


def run(title: str, command: list[str]) -> str | None:
    """Run one check; return what is wrong with it, or None."""
    print(f"\n=== {title}", flush=True)
    started = time.monotonic()
    code = subprocess.run(command, check=False, cwd=ROOT, env=environment()).returncode
    print(f"=== {title}: {time.monotonic() - started:.0f} s, exit code {code}", flush=True)
    if code == 0:
        return None
    return f"{title} (no test selected)" if code == NO_TESTS_COLLECTED else title


def main() -> None:
    """Check what must be there, run what was asked for, and sum up."""
    parser = argparse.ArgumentParser(description="Run the checks and the test suites.")
    parser.add_argument("suites", nargs="+", choices=("lint", *SUITES))
    chosen: list[str] = parser.parse_args().suites
    missing = missing_packages(chosen)
    if missing:
        sys.exit(f"error: missing programs; run: apt-get install {' '.join(missing)}")
    steps: list[tuple[str, list[str]]] = []
    for name in chosen:
        if name == "lint":
            steps += [(f"lint: {Path(c[0]).name} {Path(c[1]).name}", c) for c in lint_commands()]
        else:
            steps.append((name, suite_command(name)))
    failed = [problem for problem in (run(*step) for step in steps) if problem]
    if failed:
        sys.exit(f"\nFAILED: {', '.join(failed)}")
    print(f"\nAll passed: {', '.join(chosen)}")


if __name__ == "__main__":
    main()
