"""Trips between a folder of the worker and a bucket, for ``make demo-parity``."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.support.parity_sides import Found, OSSSide, S3Side, differences
from tests.support.parity_world import Trip, World

_AREA = ".s3resume-parts"
_Source = TypeVar("_Source", S3Side, OSSSide)


class FolderSide:
    """A folder, read by hashlib alone.

    :param said: more for its connection.
    """

    def __init__(self, path: Path, **said: object) -> None:
        self.path = path
        self.bucket = ""
        self.said = said
        path.mkdir(parents=True)

    def uri(self, prefix: str = "") -> str:
        """Return the URI of a prefix."""
        return f"file://{self.path}/{prefix}"

    def connection(self, through: str | None = None) -> str:
        """Return an Airflow connection to it as JSON; no wire leads to a folder."""
        assert through is None
        extra = {"path": str(self.path), **self.said}
        return json.dumps({"conn_type": "s3resume_local", "extra": extra})

    def all_keys(self) -> list[str]:
        """Return the names of all files, of ours not."""
        found = (one for one in self.path.rglob("*") if one.is_file() and not one.is_symlink())
        names = (one.relative_to(self.path) for one in found)
        return [str(name) for name in names if _AREA not in name.parts]

    def read(self, key: str) -> Found:
        """Read a file to its end; it has no headers."""
        body = (self.path / key).read_bytes()
        return Found(size=len(body), sha256=hashlib.sha256(body).hexdigest(), headers={})


def _bare(found: Found) -> Found:
    return Found(size=found.size, sha256=found.sha256, headers={})


class Upload(Trip):
    """From a folder to a bucket."""

    def __init__(self, source: FolderSide, target: S3Side, number: int) -> None:
        super().__init__(source, target, number)
        self.folder = source.path
        self._folder_side = source

    def arrived(self, pairs: Any) -> None:
        """Make sure that the target holds these files, and no others."""
        wanted = {target: self._folder_side.read(source) for target, source in pairs.items()}
        found = {key: _bare(self.target.read(key)) for key in self.target.all_keys()}
        lines = differences(wanted, found)
        assert not lines, "\n".join(lines)


class Download(Trip, Generic[_Source]):
    """From a bucket to a folder."""

    def __init__(self, source: _Source, target: FolderSide, keeper: S3Side, number: int) -> None:
        self._folder_side = target
        self._keeper = keeper
        self.source: _Source = source
        self.folder = target.path
        super().__init__(source, keeper, number)

    def sides(self, source_prefix: str = "", target_prefix: str = "") -> dict[str, Any]:
        """Return what all operators are told: the target is the folder, a bucket keeps state."""
        told = super().sides(source_prefix, target_prefix)
        state_conn_id = told["target_conn_id"]
        folder = {
            "target_conn_id": f"{state_conn_id}_folder",
            "target_uri": self._folder_side.uri(target_prefix),
        }
        return {**told, **folder, "state_conn_id": state_conn_id}

    def connect_folder(self) -> None:
        """Put the connection to the folder into the environment."""
        conn_id = self.sides()["target_conn_id"]
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = self._folder_side.connection()

    def files(self) -> set[str]:
        """Return the names of the files in the folder."""
        return set(self._folder_side.all_keys())

    def arrived(self, pairs: Any) -> None:
        """Make sure that the folder holds these objects' bytes, and no others."""
        wanted = {target: _bare(self.source.read(source)) for target, source in pairs.items()}
        found = {name: self._folder_side.read(name) for name in self._folder_side.all_keys()}
        lines = differences(wanted, found)
        assert not lines, "\n".join(lines)


def upload_of(world: World, *, plain: bool = False, **said: object) -> Upload:
    """Give a new folder, and a bucket of SeaweedFS.

    :param plain: of MiniStack, which makes up no content types.
    :param said: more for the folder's connection.
    """
    trip = world.plain() if plain else world.s3()
    return Upload(_new_folder(world, **said), trip.target, trip.number)


def download_of(world: World, *, plain: bool = False) -> Download[S3Side]:
    """Give a bucket and a new folder.

    :param plain: of MiniStack, which keeps every key as it is.
    """
    trip = world.plain() if plain else world.s3()
    made = Download(trip.source, _new_folder(world), trip.target, trip.number)
    made.connect_folder()
    return made


def download_of_oss(world: World) -> Download[OSSSide]:
    """Give a bucket of OSS and a new folder."""
    trip = world.oss()
    made = Download(trip.source, _new_folder(world), trip.target, trip.number)
    made.connect_folder()
    return made


def _new_folder(world: World, **said: object) -> FolderSide:
    return FolderSide(world.folder / f"folder-{secrets.token_hex(4)}", **said)
