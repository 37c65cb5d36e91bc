"""The stored plan of one run: what to copy, skip and refuse, with reasons and identities.

A manifest is one JSON document (:class:`Manifest`) that names its batch files; each batch file
and each file of noted keys is JSON lines, so it is read and written as a stream. The SHA-256 of
every file stands in the document, and the document's own digest is the name of the plan: two
plans with the same digest do the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.diff import Action, Reason, Verb
from airflow_provider_s3resume.plan.objects import SourceIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SCHEMA = 2
"""Version of the format; version 1 is read, too, and any other refused."""

_OF_VERSION_1 = frozenset(
    {
        "run_id",
        "created",
        "source",
        "target",
        "rule",
        "counts",
        "copy_objects",
        "copy_bytes",
        "batches",
        "noted",
        "quantiles",
        "dry_run",
        "schema",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyEntry:
    """One object to copy.

    :param size: bytes, as the source listed it.
    :param etag: of the source as listed.
    :param target_etag: of the target object that the plan saw; ``None`` if there was none.
    :param target_there: whether the plan saw a target object (its store may give no ETag).
    """

    key: str
    target_key: str
    size: int
    etag: str | None
    last_modified: float
    reason: str
    target_etag: str | None = None
    target_there: bool = False
    storage_class: str | None = None
    version_id: str | None = None

    @classmethod
    def of(cls, action: Action) -> CopyEntry:
        """Make the entry of a copy action.

        :raises ValueError: if the action has no source object.
        """
        if action.source is None:
            msg = f"nothing to copy for {action.key!r}"
            raise ValueError(msg)
        return cls(
            key=action.key,
            target_key=action.target_key,
            size=action.source.size,
            etag=action.source.etag,
            last_modified=action.source.last_modified,
            reason=action.reason.value,
            target_etag=action.target.etag if action.target else None,
            target_there=action.target is not None,
            storage_class=action.source.storage_class,
        )

    def identity(self) -> SourceIdentity:
        """Return the source identity that the plan saw."""
        return SourceIdentity(etag=self.etag, size=self.size, version_id=self.version_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedEntry:
    """A key that is not copied and that the report names: refused, or equal by record only."""

    key: str
    target_key: str
    verb: str
    reason: str
    size: int
    source_etag: str | None = None
    target_etag: str | None = None

    @classmethod
    def of(cls, action: Action) -> NotedEntry:
        """Make the entry of an action that is not a copy."""
        found = action.source or action.target
        return cls(
            key=action.key,
            target_key=action.target_key,
            verb=action.verb.value,
            reason=action.reason.value,
            size=found.size if found else 0,
            source_etag=action.source.etag if action.source else None,
            target_etag=action.target.etag if action.target else None,
        )


NOTED = frozenset(
    {
        Reason.PROVEN_BEFORE,
        Reason.UNKNOWN_NOT_NEWER,
        Reason.SYMLINK,
        Reason.ARCHIVED,
        Reason.SPECIAL_FILE,
        Reason.DIRECTORY_MARKER,
    }
)
"""Skips that are written down key by key; other skips are counted only."""


def is_noted(action: Action) -> bool:
    """Tell whether an action is written into the file of noted keys."""
    return action.verb is Verb.REFUSE or action.reason in NOTED


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """A stored file of JSON lines.

    :param key: in the state store.
    :param sha256: hexadecimal, of the file's bytes.
    """

    key: str
    sha256: str
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRef:
    """A batch, as one mapped task gets it (through XCom).

    :param manifest: key of the manifest document in the state store.
    :param listed: keys listed on either side between its first and last key: what listing the
        batch's key range again will cost.
    """

    manifest: str
    index: int
    key: str
    sha256: str
    objects: int
    bytes: int
    first_key: str
    last_key: str
    listed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a sync: ``service`` is scheme, host and port, without anything secret."""

    service: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The document of one plan.

    :param run_id: names the run; part of every stored key.
    :param created: seconds since the epoch.
    :param counts: ``verb.reason`` → number of keys, over *all* keys of both listings.
    :param copy_bytes: bytes to copy.
    :param noted: files of the keys that are named one by one though they are not copied, in order.
    :param quantiles: source keys that cut the listing into about equal shares, for the next run.
    :param selection: what was asked for of the source, as ``plan.filters.Selection`` and the lists
        that were read say it; empty for everything.
    :param partial: whether there may be keys on either side that the plan has not come to know.
    :param sizes: ``verb.reason`` → bytes of the source objects among these keys.
    :param key_mapping: what became of keys besides the exchange of prefixes; see
        ``plan.renaming.Renaming``.
    :param requests: how many the copies will make at least, by side and name; see ``plan.cost``.
    """

    run_id: str
    created: float
    source: Side
    target: Side
    rule: str
    counts: Mapping[str, int]
    copy_objects: int
    copy_bytes: int
    batches: tuple[BatchRef, ...]
    noted: tuple[FileRef, ...] = ()
    quantiles: tuple[str, ...] = ()
    dry_run: bool = False
    selection: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)
    key_mapping: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    schema: int = field(default=SCHEMA)

    def to_json(self) -> str:
        """Return the document; equal manifests give equal text."""
        data = asdict(self)
        if self.schema == 1:
            # The name of a plan that was made before an upgrade stays what it is.
            data = {name: value for name, value in data.items() if name in _OF_VERSION_1}
        return dumps(data)

    @property
    def digest(self) -> str:
        """SHA-256 of the document: the plan's name."""
        return hashlib.sha256(self.to_json().encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read a document.

        :raises ManifestError: if it is damaged or of another version.
        """
        data = loads(text, what="manifest")
        check_schema(data, SCHEMA, what="manifest", oldest=1)
        try:
            data["source"], data["target"] = Side(**data["source"]), Side(**data["target"])
            data["batches"] = tuple(BatchRef(**b) for b in data["batches"])
            data["noted"] = tuple(FileRef(**f) for f in data["noted"])
            data["quantiles"] = tuple(data["quantiles"])
            return cls(**data)
        except (KeyError, TypeError) as error:
            raise ManifestError(
                "manifest", found=str(error), accepted="the fields that this version writes"
            ) from error


CLOCK_SKEW_S = 900.0
"""Seconds that two workers' clocks may differ; the services refuse signatures beyond that."""


def check_age(manifest: Manifest, *, now: float, max_age_s: float) -> None:
    """Refuse a manifest that is too old to act on (c35).

    :raises ManifestError: naming its age and the limit.
    """
    age = now - manifest.created
    if age < -CLOCK_SKEW_S:
        raise ManifestError(
            f"manifest {manifest.run_id!r}",
            found=f"made {-age:.0f} s in the future",
            accepted="one made in the past; set this worker's clock",
        )
    if age > max_age_s:
        raise ManifestError(
            f"manifest {manifest.run_id!r}",
            found=f"{age:.0f} s old",
            accepted=f"at most {max_age_s:.0f} s (max_manifest_age_s); make a new plan",
        )


def check_schema(
    data: Mapping[str, Any], schema: int, *, what: str, oldest: int | None = None
) -> None:
    """Refuse a document of another version.

    :param oldest: the first version that is read, too.
    :raises ManifestError: naming what was found and what is read.
    """
    known = range(schema if oldest is None else oldest, schema + 1)
    # 1.0 and true are equal to 1, and no versions.
    if type(data.get("schema")) is not int or data["schema"] not in known:
        accepted = "version " + " or ".join(map(str, known))
        raise ManifestError(f"schema of the {what}", found=data.get("schema"), accepted=accepted)


_TOGETHER: Final = 128
"""Lines that are read at once: what they say is in memory before any of it is used."""

# Made once: ``json.dumps`` would make one for each line of a batch.
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def dumps(value: object) -> str:
    """Return canonical JSON: sorted names, no blanks, ASCII only (so any key survives)."""
    return _ENCODER.encode(value)


def loads(text: str | bytes, *, what: str) -> dict[str, Any]:
    """Read one JSON object.

    :raises ManifestError: if the text is not one.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ManifestError(what, found=str(error), accepted="a JSON document") from error
    if not isinstance(data, dict):
        raise ManifestError(what, found=type(data).__name__, accepted="a JSON object")
    return data


def load_objects(lines: Sequence[str], *, what: str) -> Iterator[dict[str, Any]]:
    """Yield JSON objects, one of each line; many are read at once, as calls cost more than lines.

    :raises ManifestError: if one of the lines is not one.
    """
    for start in range(0, len(lines), _TOGETHER):
        some = lines[start : start + _TOGETHER]
        try:
            read = json.loads("[" + ",".join(some) + "]")
        except ValueError:
            read = []
        if len(read) != len(some) or not all(isinstance(one, dict) for one in read):
            # One by one, to say what is wrong with which.
            read = [
                loads(line, what=f"{what} {start + number}") for number, line in enumerate(some, 1)
            ]
        yield from read


def line_of(entry: CopyEntry | NotedEntry) -> str:
    """Return the JSON line of an entry, with its newline."""
    return dumps(asdict(entry)) + "\n"
