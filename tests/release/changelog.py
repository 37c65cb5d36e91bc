"""The changelog, of which each change writes a fragment; towncrier puts them together."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tests.release.tools import PACKAGE, ReleaseError, run, tool
from tests.support.bootstrap import ROOT

CHANGES = ROOT / "changes"
CHANGELOG = ROOT / "CHANGELOG.md"
NO_FRAGMENTS = frozenset({"README.md", "template.md"})


def settings() -> dict[str, Any]:
    """Return what ``pyproject.toml`` tells towncrier."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    return dict(found["towncrier"])


def fragments(folder: Path = CHANGES) -> list[Path]:
    """Return the changes that no release has yet."""
    return sorted(path for path in folder.iterdir() if path.name not in NO_FRAGMENTS)


def check_name(fragment: Path) -> None:
    """Check that a fragment's name is ``topic.type.md``, or ``topic.type.N.md``.

    :raises ReleaseError: saying which types there are.
    """
    types = [kind["directory"] for kind in settings()["type"]]
    match fragment.name.split("."):
        case [topic, kind, "md"] if topic and kind in types:
            return
        case [topic, kind, number, "md"] if topic and kind in types and number.isdecimal():
            return
    raise ReleaseError(
        f"changes/{fragment.name}: found a name that is not <topic>.<type>.md, where the type is "
        f"one of {', '.join(types)}"
    )


def render(version: str, date: str, tree: Path = ROOT) -> str:
    """Return what a release would add to the changelog.

    :raises ReleaseError: if towncrier does not know what to do with a fragment.
    """
    options = ("--draft", "--version", version, "--date", date, "--dir", tree)
    return run(tool("towncrier"), "build", *options, cwd=tree)


def write(version: str, *options: str, tree: Path = ROOT) -> str:
    """Put all fragments into the changelog and remove them; return what towncrier said.

    :param options: of ``towncrier build``, such as ``--draft`` or ``--date 2026-12-01``.
    """
    unasked = () if "--draft" in options else ("--yes",)
    given = (*unasked, "--version", version, *options)
    return run(tool("towncrier"), "build", *given, "--dir", tree, cwd=tree)


def notes(version: str) -> str:
    """Return what the changelog says of a version, or would say if it were released now.

    :raises ReleaseError: if it says nothing.
    """
    _, marker, released = CHANGELOG.read_text().partition(settings()["start_string"])
    if not marker:
        raise ReleaseError(f"{CHANGELOG.name} has lost its mark: {settings()['start_string']!r}")
    text = released.strip()
    if not text.startswith(f"## {version} ("):
        # Under the last heading of no version: what is older than the fragments.
        unreleased = "" if text.startswith("## ") else text.partition("\n## ")[0]
        text = f"{render(version, 'unreleased').strip()}\n\n{unreleased}"
    first, *rest = text.split("\n")
    body = "\n".join(rest).partition("\n## ")[0].strip()
    if not body:
        raise ReleaseError(f"{CHANGELOG.name} says nothing of {version}")
    return f"{first.replace('## ', f'# {PACKAGE} ', 1)}\n\n{body}\n"
