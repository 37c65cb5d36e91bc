"""``make audit``: what is known to be vulnerable among the packages that the wheel depends on.

pip-audit asks the package index for each package's JSON document, whose list ``vulnerabilities``
comes from the Python Packaging Advisory Database. A mirror that serves the packages need not have
that list, and an absent list reads like an empty one. So a package that is vulnerable for certain
is asked about first: if nothing is known of it, nothing is known at all, and that is said.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.release.tools import run, tool
from tests.support.bootstrap import ROOT, UV, child_environment

CANARY = "pyyaml==5.1"
"""CVE-2020-1747: arbitrary code by ``full_load``."""
SOURCE = "the package index (JSON API, field vulnerabilities)"
ANSWER_S = 15
ALL_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A vulnerability of an installed package.

    :param fixed_in: versions that do not have it; empty where none is known.
    """

    package: str
    version: str
    name: str
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        """Return the line of the report."""
        way_out = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no fixed version"
        return f"{self.package} {self.version}: {self.name} ({way_out})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What the source of data knows.

    :param unknown: packages that it does not know.
    """

    packages: int
    findings: tuple[Finding, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoData:
    """Nobody answered who knows vulnerabilities: nothing is known, good or bad."""

    reason: str


def read(document: Mapping[str, Any]) -> Audited:
    """Return what pip-audit's JSON says."""
    known = [one for one in document["dependencies"] if "version" in one]
    return Audited(
        packages=len(known),
        findings=tuple(
            Finding(
                package=one["name"],
                version=one["version"],
                name=vulnerability["id"],
                fixed_in=tuple(vulnerability["fix_versions"]),
            )
            for one in known
            for vulnerability in one["vulns"]
        ),
        unknown=tuple(one["name"] for one in document["dependencies"] if "version" not in one),
    )


def ask(requirements: Path, cache: Path, env: Mapping[str, str]) -> Audited | NoData:
    """Return what is known of pinned requirements."""
    options = ("--no-deps", "--disable-pip", "--vulnerability-service", "pypi", "--format", "json")
    command: list[str | Path] = [
        *(tool("pip-audit"), "--requirement", requirements, *options),
        *("--progress-spinner", "off", "--timeout", str(ANSWER_S), "--cache-dir", cache),
    ]
    try:
        done = subprocess.run(
            list(map(str, command)),
            env=dict(env),
            capture_output=True,
            text=True,
            check=False,
            timeout=ALL_S,
        )
    except subprocess.TimeoutExpired:
        return NoData(reason=f"no end after {ALL_S} s")
    try:
        # Its exit code is 1 for findings and for errors alike.
        return read(json.loads(done.stdout))
    except json.JSONDecodeError:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return NoData(reason=said[-1])


def audit(folder: Path, env: Mapping[str, str] | None = None) -> Audited | NoData:
    """Return what is known of the locked packages that the wheel depends on.

    :param folder: for the lists of packages, and for answers that are kept.
    :param env: of pip-audit; by default this process's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    env = child_environment() if env is None else env
    canary, locked = folder / "canary.txt", folder / "locked.txt"
    canary.write_text(f"{CANARY}\n")
    known = ask(canary, folder / "cache", env)
    if isinstance(known, NoData):
        return known
    if not known.findings:
        return NoData(reason=f"it knows nothing of {CANARY}, which is vulnerable")
    export = ("--frozen", "--no-default-groups", "--no-emit-project", "--no-hashes", "--quiet")
    run(UV, "export", *export, "--output-file", locked)
    return ask(locked, folder / "cache", env)


def report(answer: Audited | NoData) -> list[str]:
    """Return the lines of the report; the last one sums it up."""
    match answer:
        case NoData(reason=reason):
            return [
                f"audit: NO DATA from {SOURCE}: {reason}",
                "audit: nothing is known of the packages, good or bad",
            ]
        case Audited(packages=packages, findings=findings, unknown=unknown):
            return [
                *(f"audit: {finding}" for finding in findings),
                *(f"audit: {SOURCE} does not know {name}" for name in unknown),
                f"audit: packages={packages} vulnerabilities={len(findings)}",
            ]


def main(arguments: Sequence[str]) -> int:
    """Print the report; with ``--strict`` a finding, or no data, is an error."""
    answer = audit(ROOT / ".state" / "release" / "audit")
    print("\n".join(report(answer)), flush=True)
    clean = isinstance(answer, Audited) and not answer.findings
    return int("--strict" in arguments and not clean)
