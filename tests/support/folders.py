"""Folders as stores, for tests: their keys are the paths in them."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_s3resume.storage._local_paths import Tree
from airflow_provider_s3resume.storage._local_settings import LocalSettings
from airflow_provider_s3resume.storage.local import LocalStore


def folder_store(
    folder: Path, settings: LocalSettings | None = None, *, root: Path | None = None, base: str = ""
) -> LocalStore:
    """Return a folder as a store that is written to, if the settings do not say otherwise.

    :param root: the folder that nothing may leave, by default the same.
    :param base: what keys begin with.
    """
    chosen = settings or LocalSettings(writes=True)
    tree = Tree.resolved(
        str(root or folder), str(folder), may_miss=chosen.writes, parameter="target_uri"
    )
    return LocalStore(tree, base, chosen)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files under a folder by their paths in it, those without a name left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".s3resume-parts" not in path.parts
    }


def unfinished_of(folder: Path) -> list[str]:
    """Return the names that stand in the area of unfinished files, the marker left out."""
    area = folder / ".s3resume-parts"
    return sorted(path.name for path in area.iterdir() if path.name != "marker.json")
