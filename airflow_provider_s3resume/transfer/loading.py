"""Reading what a run has stored: its manifest, its batches, its outcomes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.manifest import (
    BatchRef,
    CopyEntry,
    FileRef,
    Manifest,
    load_objects,
)
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.state import StateLocation


def load_manifest(state: StateLocation, key: str) -> Manifest:
    """Read a stored manifest.

    :param key: its name under the state prefix.
    :raises ManifestError: if it is not there, damaged or of another version.
    """
    text = state.read_text(key)
    if text is None:
        raise ManifestError("manifest", found=key, accepted="a manifest that was stored before")
    return Manifest.from_json(text)


def load_lines(state: StateLocation, ref: BatchRef | FileRef) -> list[str]:
    """Read a file of lines and compare its digest with the reference's.

    :raises ManifestError: if it is not there, or not the one that was stored.
    """
    text = state.read_text(ref.key)
    digest = None if text is None else hashlib.sha256(text.encode("utf-8")).hexdigest()
    if text is None or digest != ref.sha256:
        raise ManifestError(
            f"stored file {ref.key!r}", found=f"SHA-256 {digest}", accepted=f"SHA-256 {ref.sha256}"
        )
    return text.splitlines()


def load_entries(state: StateLocation, ref: BatchRef) -> list[CopyEntry]:
    """Read a batch file.

    :raises ManifestError: if it is not there, or not the one that was planned.
    """
    try:
        return [CopyEntry(**one) for one in load_objects(load_lines(state, ref), what="batch line")]
    except TypeError as error:
        raise ManifestError(
            f"batch file {ref.key!r}", found=str(error), accepted="fields of this version"
        ) from error


def outcomes_name(manifest_key: str, index: int) -> str:
    """Return the name of a batch's outcomes under the state prefix."""
    return f"{manifest_key.rpartition('/')[0]}/outcomes/{index:05d}.jsonl"


def load_outcomes(state: StateLocation, manifest_key: str, index: int) -> list[Outcome] | None:
    """Read what became of a batch, ``None`` if it was never begun."""
    text = state.read_text(outcomes_name(manifest_key, index))
    return None if text is None else [Outcome.from_line(line) for line in text.splitlines()]


class OutcomesReader:
    """Reads what became of a run's batches, batch by batch in the order of their numbers.

    Lines that are not of the batch's own entries are left out: what a report adds
    up is the plan (c40).
    """

    def __init__(self, state: StateLocation) -> None:
        self._state = state
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of all that was read so far: two readers of the same outcomes have the same."""
        return self._digest.hexdigest()

    def read(self, ref: BatchRef) -> dict[CopyEntry, Outcome | None]:
        """Return every entry of a batch with its outcome, ``None`` where no task came to it.

        :raises ManifestError: if the batch is not the one that was planned.
        """
        entries = load_entries(self._state, ref)
        outcomes = load_outcomes(self._state, ref.manifest, ref.index) or []
        for outcome in outcomes:
            self._digest.update(f"{ref.index}\t{outcome.to_line()}".encode())
        found = {(o.key, o.target_key): o for o in outcomes}
        return {entry: found.get((entry.key, entry.target_key)) for entry in entries}


def check_sides(manifest: Manifest, source: ObjectStore, target: ObjectStore) -> None:
    """Refuse to run a manifest against other stores than it was made for.

    :raises ManifestError: naming both.
    """
    for name, side, store in (
        ("source", manifest.source, source),
        ("target", manifest.target, target),
    ):
        # The name of an access point has slashes of its own.
        if side.service != store.service or not side.uri.startswith(uri_of(store)):
            raise ManifestError(
                f"{name} of the manifest",
                found=f"{store.service} bucket {store.bucket}",
                accepted=f"{side.service} {side.uri}, which the plan was made for",
            )
