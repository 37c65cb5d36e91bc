"""Since when a pair of sides is fed by events, and how many objects those have missed.

Kept by the runs that events start, read by the scan. An object that the scan has to copy was missed
by events if it was written after they began to be consumed, and so long ago that they should have
had it copied: whatever the reason, it was not announced, not consumed, or not copied.
"""

from __future__ import annotations

import heapq
import logging
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.diff import ProvenPair, Reason, Verb
from airflow_provider_s3resume.plan.manifest import check_schema, dumps, loads
from airflow_provider_s3resume.plan.objects import key_bytes
from airflow_provider_s3resume.transfer.proven import pair_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_s3resume.plan.diff import Action
    from airflow_provider_s3resume.transfer.proven import Sides
    from airflow_provider_s3resume.transfer.state import StateLocation

log = logging.getLogger(__name__)

SCHEMA: Final = 1
GRACE_S: Final = 900.0
"""How old a change must be before it counts as missed: its event may be on the way, or its copy."""
MOST_PAIRS: Final = 5_000
"""Pairs of ETags that are kept of events, the latest; a scan takes over what still holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """What runs that events started have left for a pair of sides.

    :param since: when the first of them took messages, in seconds since the epoch.
    :param last: when the last of them did.
    :param pairs: of the objects that they proved equal although ETags cannot tell, oldest first.
    """

    since: float
    last: float
    pairs: tuple[ProvenPair, ...] = ()
    schema: int = field(default=SCHEMA)

    @classmethod
    def from_json(cls, text: str) -> EventRecord:
        """Read a stored record.

        :raises ManifestError: if it is damaged or of another version.
        """
        data = loads(text, what="record of events")
        check_schema(data, SCHEMA, what="record of events")
        try:
            data["pairs"] = tuple(ProvenPair(**pair) for pair in data["pairs"])
            return cls(**data)
        except (KeyError, TypeError) as error:
            raise ManifestError(
                "record of events", found=str(error), accepted="the fields of this version"
            ) from error


def record_name(sides: Sides) -> str:
    """Return where the record of a pair of sides is, under the state prefix."""
    return f"events/{pair_name(sides.source, sides.target)}.json"


def load_record(state: StateLocation, sides: Sides) -> EventRecord | None:
    """Return the record, ``None`` if no events feed these sides, or it cannot be read."""
    text = state.read_text(record_name(sides))
    try:
        return None if text is None else EventRecord.from_json(text)
    except ManifestError as error:
        log.warning("The record of events is not used: %s", error)
        return None


def keep_record(
    state: StateLocation, sides: Sides, *, taken: float, pairs: Iterable[ProvenPair]
) -> EventRecord:
    """Add what one run has done, and return the record.

    :param taken: when it took its messages, in seconds since the epoch.
    """
    before = load_record(state, sides)
    kept = {pair.key: pair for pair in before.pairs} if before else {}
    for pair in pairs:
        kept.pop(pair.key, None)  # The latest stand last.
        kept[pair.key] = pair
    record = EventRecord(
        since=min(before.since, taken) if before else taken,
        last=max(before.last, taken) if before else taken,
        pairs=tuple(kept.values())[-MOST_PAIRS:],
    )
    state.write_text(record_name(sides), dumps(asdict(record)))
    return record


def drop_outdated(state: StateLocation, sides: Sides, proven: Iterable[ProvenPair]) -> None:
    """Take out of the record the pairs of keys that a scan has proven with other ETags.

    Otherwise they would hide the scan's own, and each scan would copy once more (c07).

    :param proven: what the scan's verification has just found at the target.
    """
    record = load_record(state, sides)
    if record is None or not record.pairs:
        return
    kept = {pair.key: pair for pair in record.pairs}
    for pair in proven:
        if kept.get(pair.key, pair) != pair:
            del kept[pair.key]
    if len(kept) < len(record.pairs):
        fresh = replace(record, pairs=tuple(kept.values()))
        state.write_text(record_name(sides), dumps(asdict(fresh)))


_CHANGED: Final = frozenset(
    {
        Reason.MISSING_AT_TARGET,
        Reason.SIZE_DIFFERS,
        Reason.DIGEST_DIFFERS,
        Reason.SOURCE_NEWER,
    }
)
"""Reasons that show a change; a digest that cannot be compared shows none."""


class ScanBesideEvents:
    """What a scan owes to runs that events started: their pairs; and counts what those missed.

    Where no events feed the sides, it does nothing.
    """

    def __init__(self, state: StateLocation, sides: Sides, *, now: float) -> None:
        self._record = load_record(state, sides)
        self._until = now - GRACE_S
        self._missed = 0

    def with_pairs(self, pairs: Iterator[ProvenPair]) -> Iterator[ProvenPair]:
        """Return the pairs of the scans' record and those of events, in key order, each key once.

        What a run that events started has proven is younger than what a scan has: the scan that
        proves another pair takes it out (:func:`drop_outdated`).
        """
        if self._record is None or not self._record.pairs:
            return pairs
        return _merged(sorted(self._record.pairs, key=_position), pairs)

    def watch(self, actions: Iterator[Action]) -> Iterator[Action]:
        """Return the actions of the scan; what events have missed is counted as they go by."""
        return actions if self._record is None else self._counted(actions, self._record.since)

    def _counted(self, actions: Iterator[Action], since: float) -> Iterator[Action]:
        for action in actions:
            if action.verb is Verb.COPY and action.source is not None:
                old_enough = since <= action.source.last_modified <= self._until
                self._missed += old_enough and action.reason in _CHANGED
            yield action

    def store(self, state: StateLocation, manifest_key: str) -> None:
        """Keep the figures for the report, if there are any."""
        if self._record is not None:
            figures = {"missed": self._missed, "consumed_since": self._record.since}
            store_figures(state, manifest_key, figures)


def _position(pair: ProvenPair) -> bytes:
    return key_bytes(pair.key)


def _merged(own: list[ProvenPair], pairs: Iterator[ProvenPair]) -> Iterator[ProvenPair]:
    last: bytes | None = None
    for pair in heapq.merge(own, pairs, key=_position):
        if _position(pair) != last:
            yield pair
        last = _position(pair)


def figures_name(manifest_key: str) -> str:
    """Return where the figures about events are that a run's report shows."""
    return f"{manifest_key.rpartition('/')[0]}/events.json"


def store_figures(state: StateLocation, manifest_key: str, figures: Mapping[str, Any]) -> None:
    """Keep figures for the report."""
    state.write_text(figures_name(manifest_key), dumps(dict(figures)))


def load_figures(state: StateLocation, manifest_key: str) -> dict[str, Any]:
    """Return the figures of a run, none if events have nothing to do with it.

    :raises ManifestError: if they are damaged.
    """
    text = state.read_text(figures_name(manifest_key))
    return {} if text is None else loads(text, what="figures of events")


# --- which messages a plan is of ----------------------------------------------------------------


def _taken_from_name(manifest_key: str) -> str:
    return f"{manifest_key.rpartition('/')[0]}/taken_from.txt"


def note_taken(state: StateLocation, manifest_key: str, name: str) -> None:
    """Keep which messages a plan was made of, by the name of their file."""
    state.write_text(_taken_from_name(manifest_key), name)


def is_plan_of(state: StateLocation, manifest_key: str, name: str) -> bool:
    """Tell whether a plan was made of the messages in this file.

    Where tasks are cleared, the plan of an earlier attempt may be at hand: it has not looked at
    what these messages name, even if they name the same keys (c40).
    """
    return state.read_text(_taken_from_name(manifest_key)) == name
