"""The bill of materials: what installing the wheel brings along, as ``uv.lock`` pins it.

CycloneDX's own tool reads an environment that has those packages and nothing else: names, versions,
licences, and who asks for whom. What is of the moment (time, serial number) is left out, so that
one lock and one release of Python always give the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.release.artefacts import metadata_of
from tests.release.tools import DISTRIBUTION, ReleaseError, run, sync, tool
from tests.support.bootstrap import ROOT

RUNTIME = ROOT / ".state" / "release" / "runtime"
SPEC = "1.6"
_COPYLEFT = ("GPL", "Affero", "SSPL", "General Public License")
REVIEWED = {
    # Its metadata says "3-Clause BSD License", which is no name that the tool knows.
    "protobuf": "BSD-3-Clause",
    # Of python-slugify, which Airflow asks for; one may choose.
    "text-unidecode": "Artistic-1.0-Perl OR GPL-2.0-or-later",
}
"""Packages whose metadata does not tell what they may be used for, and what a person found."""


def runtime_environment(home: Path = RUNTIME) -> Path:
    """Make an environment of what the wheel depends on, and return its Python."""
    return sync(home, "--no-default-groups", "--no-install-project")


def write(file: Path, version: str, python: Path) -> None:
    """Write the bill of an environment."""
    made = run(
        *(tool("cyclonedx-py"), "environment", python, "--pyproject", ROOT / "pyproject.toml"),
        *("--mc-type", "library", "--spec-version", SPEC, "--output-reproducible", "--no-validate"),
    )
    document = json.loads(made)
    main = document["metadata"]["component"]
    # What the tool does not read, as pyproject.toml says that it is made when building.
    main["version"] = version
    main["purl"] = f"pkg:pypi/{DISTRIBUTION}@{version}"
    file.write_text(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def validate(file: Path) -> None:
    """Validate a bill against the schema: every address in it is parsed, which takes a while.

    :raises ReleaseError: saying where it differs.
    """
    program = (
        "import sys; from pathlib import Path\n"
        "from cyclonedx.schema import SchemaVersion\n"
        "from cyclonedx.validation.json import JsonStrictValidator\n"
        f"validator = JsonStrictValidator(SchemaVersion.V{SPEC.replace('.', '_')})\n"
        "sys.exit(validator.validate_str(Path(sys.argv[1]).read_text()) and 'not of the schema')"
    )
    run(tool("python"), "-I", "-c", program, file)


def licences_of(component: dict[str, Any]) -> list[str]:
    """Return the licences that a package's metadata tells: ids, names or expressions."""
    stated = component.get("licenses", [])
    inner = [one.get("license", one) for one in stated]
    return [str(one.get("id") or one.get("expression") or one.get("name")) for one in inner]


def unclear_licences(document: dict[str, Any]) -> set[str]:
    """Return the packages that a person has to look at: no licence, or one that asks for more."""
    told = {one["name"]: licences_of(one) for one in document["components"]}
    return {
        name
        for name, stated in told.items()
        if not stated or any(word in one for one in stated for word in _COPYLEFT)
    }


def check(file: Path, version: str, wheel: Path) -> None:
    """Check that a bill is of the schema, and that of the wheel.

    :raises ReleaseError: naming what differs.
    """
    validate(file)
    judge(json.loads(file.read_text()), version, wheel)


def judge(document: dict[str, Any], version: str, wheel: Path) -> None:
    """Judge a bill: name, version, all that the wheel asks for, and licences that are known.

    :raises ReleaseError: naming what differs.
    """
    main = document["metadata"]["component"]
    if (main["name"], main["version"]) != (DISTRIBUTION, version):
        raise ReleaseError(f"the bill is of {main['name']} {main['version']}, not {version}")
    names = {c["bom-ref"]: canonicalize_name(c["name"]) for c in document["components"]}
    edges = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    listed = {names[ref] for ref in edges[main["bom-ref"]]}
    asked = {
        canonicalize_name(Requirement(line).name)
        for line in metadata_of(wheel).get_all("Requires-Dist", [])
    }
    if listed != asked:
        raise ReleaseError(f"the bill asks for {sorted(listed)}, the wheel for {sorted(asked)}")
    if unclear := unclear_licences(document) - REVIEWED.keys():
        raise ReleaseError(f"look at the licences of {sorted(unclear)}")
    if momentary := {"serialNumber", "timestamp"} & (document.keys() | document["metadata"].keys()):
        raise ReleaseError(f"the bill has what changes each time: {sorted(momentary)}")
