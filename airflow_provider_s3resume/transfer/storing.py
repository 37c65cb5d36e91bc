"""Writing a plan's files: batches, and the keys that a report names although they are not copied.

What is to be written goes through temporary files of lines (keys and identities, never object
bytes), so memory does not grow with the bucket: one batch, or one file of noted keys, is held.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import IO, TYPE_CHECKING, Self

from airflow_provider_s3resume.plan.batches import BatchLimits, pack, widened
from airflow_provider_s3resume.plan.cost import CopyCosts, RequestSum
from airflow_provider_s3resume.plan.diff import Action, Reason, Verb
from airflow_provider_s3resume.plan.manifest import (
    BatchRef,
    CopyEntry,
    FileRef,
    Manifest,
    NotedEntry,
    is_noted,
    line_of,
    loads,
)
from airflow_provider_s3resume.plan.objects import key_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_s3resume.transfer.proven import Sides
    from airflow_provider_s3resume.transfer.state import StateLocation

MOST_UNKEPT_KEYS = 1000
"""Keys that a target cannot hold exactly; more of them mean that it is the wrong target."""

LINES_OF_A_FILE = 10_000
"""Noted keys in one file: what is in memory at once, about 3 MB."""

UNKNOWN_COST = 1 << 53
"""``BatchRef.listed`` where nothing was listed: asking for each key is then cheaper."""

QUANTILES = 64
_NAMED_ARCHIVED = 5


class PlanWriter:
    """Counts actions, keeps what has to be kept of them, and writes the plan's files.

    Use as a context manager: the temporary files go with it.

    :param costs: what the requests of the copies depend on.
    """

    def __init__(self, state: StateLocation, prefix: str, costs: CopyCosts | None = None) -> None:
        self._state = state
        self._prefix = prefix
        self._copies: IO[str] = _temporary()
        self._noted: IO[str] = _temporary()
        self._sample: list[str] = []
        self._every = 1
        self._listed = 0
        self._place = 0
        self.manifest_key = f"{prefix}/manifest.json"
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.copy_objects = 0
        self.copy_bytes = 0
        self.cost = RequestSum(costs or CopyCosts())
        self.unkept: list[Action] = []
        self.archived: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._copies.close()
        self._noted.close()

    def take(self, action: Action) -> None:
        """Count an action and keep what has to be kept of it."""
        name = f"{action.verb.value}.{action.reason.value}"
        self.counts[name] += 1
        self._place += 1
        if action.source is not None:
            self.sizes[name] += action.source.size
            self._sample_key(action.key)
        if action.verb is Verb.COPY:
            entry = CopyEntry.of(action)
            self.keep(entry)
            self.cost.add(entry.size, entry.etag)
        elif is_noted(action):
            self._noted.write(line_of(NotedEntry.of(action)))
            if action.reason is Reason.ARCHIVED and len(self.archived) < _NAMED_ARCHIVED:
                self.archived.append(action.key)
        if action.reason is Reason.KEY_NOT_KEPT and len(self.unkept) <= MOST_UNKEPT_KEYS:
            self.unkept.append(action)

    def leave_gap(self, keys: int) -> None:
        """Count keys that nobody has listed before the next action."""
        self._place += keys

    def keep(self, entry: CopyEntry) -> None:
        """Keep one copy entry for the second pass, with its place among all keys listed."""
        self.copy_objects += 1
        self.copy_bytes += entry.size
        self._copies.write(f"{self._place}\t{line_of(entry)}")

    def forget_earlier(self) -> None:
        """Remove what the copies of an earlier plan of the same run id have noted down.

        Outcomes are told apart by their batch's number: they must not be read with this plan.
        """
        for name in ("outcomes/", "relayed/", "verification.json", "report.json", "taken_from.txt"):
            prefix = f"{self._state.prefix}{self._prefix}/{name}"
            for listed in list(self._state.store.list_objects(prefix)):
                self._state.delete(listed.key.removeprefix(self._state.prefix))

    def write_batches(self, wanted: BatchLimits) -> tuple[BatchRef, ...]:
        """Write the batch files; returns their references, the most bytes first."""
        limits = widened(wanted, self.copy_objects, self.copy_bytes)
        self._copies.seek(0)
        packed = pack(_entries(self._copies), lambda item: item[1].size, limits)
        refs = [self._write_batch(index, batch) for index, batch in enumerate(packed)]
        return tuple(sorted(refs, key=lambda ref: ref.bytes, reverse=True))

    def write_noted(self) -> tuple[FileRef, ...]:
        """Write the keys that the report names although they are not copied."""
        self._noted.seek(0)
        refs: list[FileRef] = []
        while lines := list(islice(self._noted, LINES_OF_A_FILE)):
            text = "".join(lines)
            key = f"{self._prefix}/noted/{len(refs):05d}.jsonl"
            self._state.write_text(key, text)
            refs.append(FileRef(key=key, sha256=_sha256(text), lines=len(lines)))
        return tuple(refs)

    def quantiles(self) -> tuple[str, ...]:
        """Return keys that cut the source listing into about equal shares."""
        if self._listed < QUANTILES * 1000:
            return ()
        step = max(1, len(self._sample) // QUANTILES)
        return tuple(self._sample[step::step])

    def _sample_key(self, key: str) -> None:
        if self._listed % self._every == 0:
            self._sample.append(key)
        self._listed += 1
        if len(self._sample) >= QUANTILES * 64:
            self._sample = self._sample[::2]
            self._every *= 2

    def _write_batch(self, index: int, batch: list[tuple[int, CopyEntry]]) -> BatchRef:
        text = "".join(line_of(entry) for _, entry in batch)
        key = f"{self._prefix}/batches/{index:05d}.jsonl"
        self._state.write_text(key, text)
        places = [place for place, _ in batch]
        keys = [entry.key for _, entry in batch]
        return BatchRef(
            manifest=self.manifest_key,
            index=index,
            key=key,
            sha256=_sha256(text),
            objects=len(batch),
            bytes=sum(entry.size for _, entry in batch),
            first_key=min(keys, key=key_bytes),
            last_key=max(keys, key=key_bytes),
            listed=max(places) - min(places) + 1,
        )


def manifest_of_named(
    writer: PlanWriter,
    sides: Sides,
    run_id: str,
    limits: BatchLimits,
    counts: Mapping[str, int],
    *,
    now: float,
) -> Manifest:
    """Write the other files of a plan whose keys were named, and return its manifest.

    :param counts: see ``Manifest.counts``.
    """
    batches = writer.write_batches(limits)
    return Manifest(
        run_id=run_id,
        created=now,
        source=sides.source,
        target=sides.target,
        # No rule: such a plan has not looked at every key, and must not pass for one.
        rule=Reason.ASKED_FOR.value,
        counts=counts,
        copy_objects=writer.copy_objects,
        copy_bytes=writer.copy_bytes,
        # Between two named keys there may be any number of others.
        batches=tuple(replace(ref, listed=UNKNOWN_COST) for ref in batches),
        noted=writer.write_noted(),
        partial=True,
    )


def _temporary() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", prefix="s3resume-plan-")


def _entries(spool: IO[str]) -> Iterator[tuple[int, CopyEntry]]:
    for line in spool:
        place, _, text = line.partition("\t")
        yield int(place), CopyEntry(**loads(text, what="spooled line"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
