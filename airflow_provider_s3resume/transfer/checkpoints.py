"""Checkpoints in the state location: one record for each pair of source and target object.

A record is a hint. It is bound to the source's identity, the target and the layout, and whatever
it says is checked against ListParts. It is written with a condition on the record that was read,
where the store can: a second worker on the same object is noticed, not overwritten.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.manifest import check_schema, dumps, loads
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.parts import PartLayout
from airflow_provider_s3resume.plan.resume import Checkpoint, PartRecord
from airflow_provider_s3resume.storage.base import Condition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_s3resume.plan.objects import ListedObject
    from airflow_provider_s3resume.transfer.state import StateLocation

SCHEMA = 1
FOLDER = "checkpoints/"
INTENTS = "intents/"
"""Intents of attempts that ended before they could record an upload's id, if there may be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A checkpoint and the ETag of the record that it was read from or written to."""

    checkpoint: Checkpoint
    etag: str | None


class CheckpointRecords:
    """All checkpoints of a state location."""

    def __init__(self, state: StateLocation) -> None:
        self._state = state

    @staticmethod
    def name_of(source_uri: str, target_uri: str) -> str:
        """Return the record's name under the state prefix."""
        pair = f"{source_uri}\n{target_uri}".encode("utf-8", "surrogatepass")
        return f"{FOLDER}{hashlib.sha256(pair).hexdigest()}.json"

    def load(self, source_uri: str, target_uri: str) -> Stored | str | None:
        """Return the record; the reason if it cannot be used; ``None`` if none is there."""
        return self._load(self.name_of(source_uri, target_uri))

    def _load(self, name: str) -> Stored | str | None:
        found = self._state.read_with_etag(name)
        if found is None:
            return None
        try:
            return Stored(checkpoint=from_json(found[0]), etag=found[1])
        except ManifestError as error:
            return f"the checkpoint cannot be used: {error}"

    def listed(self) -> Iterator[ListedObject]:
        """Yield all records, kept intents too, as the state location lists them.

        :raises ListingError: if the listing cannot be relied upon.
        """
        for folder in (FOLDER, INTENTS):
            yield from self._state.store.list_objects(self._state.prefix + folder)

    def load_listed(self, listed: ListedObject) -> Stored | str | None:
        """Return a record that was listed; why it cannot be used; ``None`` if it is gone."""
        name = self._name_in_listing(listed)
        found = self._load(name)
        if isinstance(found, Stored):
            checkpoint = found.checkpoint
            pair = checkpoint.source_uri, checkpoint.target_uri
            if name not in {self.name_of(*pair), _intent_name(checkpoint)}:
                return "it names other objects than those that it is kept for"
        return found

    def _name_in_listing(self, listed: ListedObject) -> str:
        return listed.key.removeprefix(self._state.prefix)

    def save(
        self, checkpoint: Checkpoint, previous: Stored | None, *, force: bool = False
    ) -> Stored:
        """Write the record over the one that was read before (or over none).

        :param force: write over whatever is there.
        :raises PreconditionFailedError: if another worker wrote meanwhile.
        """
        condition = None
        if not force:
            etag = previous.etag if previous is not None else None
            condition = Condition(etag=etag) if etag else Condition(absent=True)
        name = self.name_of(checkpoint.source_uri, checkpoint.target_uri)
        return Stored(
            checkpoint=checkpoint, etag=self._state.write_text(name, to_json(checkpoint), condition)
        )

    def keep_intent(self, intent: Checkpoint) -> None:
        """Keep an intent apart, when the record of its pair is about to be written over.

        It is all that names an upload that was begun and never recorded (c34).
        """
        self._state.write_text(_intent_name(intent), to_json(intent))

    def forget(self, source_uri: str, target_uri: str) -> None:
        """Remove the record."""
        self._state.delete(self.name_of(source_uri, target_uri))

    def forget_listed(self, listed: ListedObject) -> None:
        """Remove a record that was listed."""
        self._state.delete(self._name_in_listing(listed))


def _intent_name(intent: Checkpoint) -> str:
    return f"{INTENTS}{hashlib.sha256(to_json(intent).encode()).hexdigest()}.json"


def to_json(checkpoint: Checkpoint) -> str:
    """Return the record's text. Parts are arrays, as there may be 10,000 of them."""
    # Without the parts: ``asdict`` copies each of them, deeply, for every writing.
    data = asdict(replace(checkpoint, parts=()))
    data["schema"] = SCHEMA
    if not checkpoint.asked:
        del data["asked"]  # As the records that do not say were written.
    if not checkpoint.source_algorithm:
        del data["source_algorithm"]
    data["parts"] = [_part_row(part) for part in checkpoint.parts]
    return dumps(data)


def _part_row(part: PartRecord) -> list[object]:
    row: list[object] = [part.part_number, part.size, part.etag, part.checksum]
    if part.by_service:
        return [*row, part.source_checksum, True]
    return row if part.source_checksum is None else [*row, part.source_checksum]


def from_json(text: str) -> Checkpoint:
    """Read a record.

    :raises ManifestError: if it is damaged or of another version.
    """
    data: dict[str, Any] = loads(text, what="checkpoint")
    check_schema(data, SCHEMA, what="checkpoint")
    del data["schema"]
    try:
        sizes = data["layout"]["sizes"]
        data["layout"] = PartLayout(
            **{**data["layout"], "sizes": tuple(sizes) if sizes is not None else None}
        )
        data["identity"] = SourceIdentity(**data["identity"])
        data["uploads_before"] = tuple(data["uploads_before"])
        data["superseded"] = tuple(data["superseded"])
        data["parts"] = tuple(
            PartRecord(
                part_number=number,
                size=size,
                etag=etag,
                checksum=checksum,
                source_checksum=rest[0] if rest else None,
                by_service=len(rest) > 1 and rest[1] is True,
            )
            for number, size, etag, checksum, *rest in data["parts"]
        )
        _check_texts(data)
        return Checkpoint(**data)
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            "checkpoint", found=str(error), accepted="the fields that this version writes"
        ) from error


def _check_texts(data: Mapping[str, Any]) -> None:
    """Refuse what is no text where one is acted upon.

    :raises TypeError: naming the field.
    """
    ids = [data["upload_id"] or "", *data["superseded"], *data["uploads_before"]]
    for value in (data["source_uri"], data["target_uri"], *ids):
        if not isinstance(value, str):
            msg = f"{value!r} in place of a text"
            raise TypeError(msg)
    if not isinstance(data.get("started", 0.0), int | float):
        msg = f"started: {data['started']!r}"
        raise TypeError(msg)
