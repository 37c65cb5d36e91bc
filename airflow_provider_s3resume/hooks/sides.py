"""The sides of a sync as tasks name them, and what a plan is called between tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._values import optional
from airflow_provider_s3resume.hooks.local import LocalResumeHook
from airflow_provider_s3resume.hooks.oss import OSSResumeHook
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.plan.sides import (
    Places,
    Services,
    check_overlap,
    check_pair,
    check_symlinks,
    parse_pair,
    parse_places,
)

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.manifest import Manifest
    from airflow_provider_s3resume.plan.objects import Location
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.storage.layers import Budget, Wait
    from airflow_provider_s3resume.transfer.state import StateLocation

SIDES_FIELDS = (
    "source_conn_id",
    "source_uri",
    "target_conn_id",
    "target_uri",
    "state_conn_id",
    "state_uri",
    "symlinks",
)
"""The arguments of a task that names the sides of a sync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSides:
    """The stores of a sync, opened."""

    places: Places
    source: ObjectStore
    target: ObjectStore
    state: StateLocation

    @property
    def mark(self) -> str:
        """A short name of these places, for names of plans in a state location shared by many."""
        services, places = _services(self), self.places
        named = [
            (services.source, places.source.bucket, places.source.prefix),
            (services.target, places.target.bucket, places.target.prefix),
            (services.state, places.state.bucket, places.state.prefix),
        ]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:12]

    def requests(self) -> dict[str, dict[str, int]]:
        """Return what went to the source and to the target so far, and what they refused of it.

        What stands in a state location of its own is not counted.
        """
        from airflow_provider_s3resume.storage.layers import requests_of  # noqa: PLC0415

        sides = {"source": self.source, "target": self.target}
        return {name: asdict(requests_of(store)) for name, store in sides.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Connections and URIs; nothing in it is secret.

    :param state_conn_id: ``None`` for the target's.
    :param state_uri: ``None`` for ``.s3resume/`` in the target bucket.
    :param symlinks: ``follow`` or ``report``, for an ``oss://`` or ``file://`` source, of the
        latter also ``fail``; ``None`` for what its connection says.
    """

    source_conn_id: str | None
    source_uri: str
    target_conn_id: str | None
    target_uri: str
    state_conn_id: str | None = None
    state_uri: str | None = None
    symlinks: str | None = None

    @classmethod
    def named_by(cls, task: Any) -> Sides:  # noqa: ANN401 - whatever has SIDES_FIELDS
        """Return the sides as a task's arguments name them, without what templates left empty."""
        return cls(
            source_conn_id=optional(task.source_conn_id),
            source_uri=task.source_uri or "",
            target_conn_id=optional(task.target_conn_id),
            target_uri=task.target_uri or "",
            state_conn_id=optional(task.state_conn_id),
            state_uri=optional(task.state_uri),
            # A flag is no word about links: YAML makes one of "no".
            symlinks=None if task.symlinks == "" else task.symlinks,
        )

    def means_the_same_as(self, other: Sides) -> bool:
        """Tell whether both name the same connections and places, defaults filled in.

        :raises InvalidInputError: if a URI of either cannot be read.
        """
        return self._meant() == other._meant()

    def _meant(self) -> tuple[object, ...]:
        places = parse_places(self.source_uri, self.target_uri, self.state_uri)
        state_conn_id = self.state_conn_id or self.target_conn_id
        return self.source_conn_id, self.target_conn_id, state_conn_id, self.symlinks, places

    def open(
        self, wait: Wait | None = None, *, named: bool = False, budget: Budget | None = None
    ) -> OpenSides:
        """Check the URIs, read the connections and return the stores; asks no service yet.

        :param wait: sleeps between two tries of a call, and returns whether to stop.
        :param named: only named objects are meant, so the two places may hold one another.
        :param budget: what the task may use of its stores.
        :raises InvalidInputError: naming the parameter.
        """
        places = parse_places(self.source_uri, self.target_uri, self.state_uri)
        opened = self._opened(places, _given(wait, budget))
        if not named:
            check_overlap(places, _services(opened))
        return opened

    def open_pair(self, wait: Wait | None = None, *, budget: Budget | None = None) -> OpenSides:
        """Do the same where the two URIs are those of objects, not of prefixes.

        :raises InvalidInputError: naming the parameter.
        """
        places = parse_pair(self.source_uri, self.target_uri, self.state_uri)
        opened = self._opened(places, _given(wait, budget))
        services = _services(opened)
        same_service = services.source == services.target
        check_pair(places.source, places.target, same_service=same_service)
        return opened

    def _opened(self, places: Places, given: Mapping[str, Any]) -> OpenSides:
        from airflow_provider_s3resume.transfer.state import StateLocation  # noqa: PLC0415 - SDKs

        check_symlinks(places.source, self.symlinks)
        if places.target.scheme == "file":
            check_state_conn_id(self.state_conn_id)
        source = self._source(places.source, given)
        target = self._target(places.target, given)
        state_conn_id, kept = self.state_conn_id or self.target_conn_id, target
        if (state_conn_id, places.state.bucket) != (self.target_conn_id, places.target.bucket):
            kept = _store(state_conn_id, "state_conn_id", places.state, given)
        state = StateLocation(kept, places.state.prefix)
        return OpenSides(places=places, source=source, target=target, state=state)

    def _source(self, place: Location, given: Mapping[str, Any]) -> ObjectStore:
        if place.scheme == "oss":
            return self._oss_source(place, given)
        if place.scheme == "file":
            more = {**given, "symlinks": self.symlinks}
            return open_folder(self.source_conn_id, "source_conn_id", place, more)
        return _store(self.source_conn_id, "source_conn_id", place, given)

    def _target(self, place: Location, given: Mapping[str, Any]) -> ObjectStore:
        if place.scheme == "file":
            more = {**given, "writes": True}
            return open_folder(self.target_conn_id, "target_conn_id", place, more)
        return _store(self.target_conn_id, "target_conn_id", place, given)

    def _oss_source(self, place: Location, given: Mapping[str, Any]) -> ObjectStore:
        if self.source_conn_id is None:
            accepted = "the id of a connection: an oss:// URI says neither region nor endpoint"
            raise InvalidInputError("source_conn_id", found=None, accepted=accepted)
        hook = OSSResumeHook(self.source_conn_id, parameter="source_conn_id")
        return hook.get_store(place.bucket, symlinks=self.symlinks, **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReference:
    """What tasks hand to each other: where the manifest is, and figures; never keys of objects.

    :param manifest: key of the document in the state location.
    :param digest: of the document.
    :param counts: ``verb.reason`` → number of keys.
    :param named: the plan is of named objects, not of all that lies in the source.
    """

    sides: Sides
    manifest: str
    digest: str
    run_id: str
    objects: int
    bytes: int
    batches: int
    counts: Mapping[str, int]
    dry_run: bool = False
    named: bool = False

    @classmethod
    def of(
        cls, sides: Sides, key: str, manifest: Manifest, *, named: bool = False
    ) -> PlanReference:
        """Return the reference of a stored manifest."""
        return cls(
            sides=sides,
            manifest=key,
            digest=manifest.digest,
            run_id=manifest.run_id,
            objects=manifest.copy_objects,
            bytes=manifest.copy_bytes,
            batches=len(manifest.batches),
            counts=dict(manifest.counts),
            dry_run=manifest.dry_run,
            named=named,
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Return the form that goes through XCom and triggers."""
        return asdict(self)

    @classmethod
    def from_json_dict(cls, data: object, *, parameter: str = "plan") -> PlanReference:
        """Read that form; more fields than needed are let through.

        :raises InvalidInputError: if it is another thing.
        """
        accepted = "what PlanSyncOperator or BucketDiffSensor put into XCom as 'plan'"
        if not isinstance(data, Mapping):
            raise InvalidInputError(parameter, found=type(data).__name__, accepted=accepted)
        try:
            known = {f.name: data[f.name] for f in fields(cls)}
            return cls(**{**known, "sides": Sides(**data["sides"])})
        except (KeyError, TypeError) as error:
            raise InvalidInputError(parameter, found=str(error), accepted=accepted) from error

    def open(self, wait: Wait | None = None, *, budget: Budget | None = None) -> OpenSides:
        """Return the stores of the plan.

        :param budget: what the task may use of them.
        :raises InvalidInputError: naming the parameter.
        """
        return self.sides.open(wait, named=self.named, budget=budget)

    def load(self, state: StateLocation) -> Manifest:
        """Return the manifest that is meant, from the state location.

        :raises ManifestError: if it is missing, damaged, or another one.
        """
        from airflow_provider_s3resume.exceptions import ManifestError  # noqa: PLC0415
        from airflow_provider_s3resume.transfer.loading import load_manifest  # noqa: PLC0415

        manifest = load_manifest(state, self.manifest)
        if manifest.digest != self.digest:
            raise ManifestError(
                f"manifest {self.manifest!r}", found=manifest.digest, accepted=self.digest
            )
        return manifest

    def to_batches(self, manifest: Manifest) -> list[dict[str, Any]]:
        """Return one small dict for each mapped task, those with most bytes first."""
        refs = sorted(manifest.batches, key=lambda ref: (-ref.bytes, ref.index))
        return [
            {
                "plan": replace(self, counts={}).to_json_dict(),
                "index": ref.index,
                "label": f"batch {ref.index}: {ref.objects} objects, {ref.bytes} bytes",
            }
            for ref in refs
        ]


def _given(wait: Wait | None, budget: Budget | None) -> dict[str, Any]:
    return {"wait": wait} if budget is None else {"wait": wait, "budget": budget}


def _store(
    conn_id: str | None, parameter: str, place: Location, given: Mapping[str, Any]
) -> ObjectStore:
    return S3ResumeHook(conn_id, parameter=parameter).get_store(place.bucket, **given)


def open_folder(
    conn_id: str | None, parameter: str, place: Location, given: Mapping[str, Any]
) -> ObjectStore:
    """Return the folder of a place, which may be that of one file, as a store.

    :raises InvalidInputError: naming the parameter.
    """
    if conn_id is None:
        accepted = (
            "the id of a connection of type 's3resume_local' or 'fs': it says which folder file:// "
            "URIs may lie in"
        )
        raise InvalidInputError(parameter, found=None, accepted=accepted)
    folder = place.prefix[: place.prefix.rfind("/") + 1]
    return LocalResumeHook(conn_id, parameter=parameter).get_store(folder, **given)


def check_state_conn_id(state_conn_id: str | None) -> None:
    """Refuse to keep the state of a target that is a folder with that folder's connection.

    :raises InvalidInputError: naming ``state_conn_id``.
    """
    if state_conn_id is None:
        accepted = "the id of a connection to the state location's bucket: the target is a folder"
        raise InvalidInputError("state_conn_id", found=None, accepted=accepted)


def _services(opened: OpenSides) -> Services:
    return Services(
        source=opened.source.service,
        target=opened.target.service,
        state=opened.state.store.service,
    )
