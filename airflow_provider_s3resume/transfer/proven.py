"""Pairs proven equal by an earlier run whose ETags cannot be compared.

Kept so that a later plan need not copy them again; one counts only while both sides still list the
very ETags of the record (c07). Under KMS that may be every object of a bucket, so the record is a
list of files, each small enough to be held, in key order throughout. It is a hint: where it cannot
be read, objects are copied again and nothing is lost.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.diff import ProvenPair
from airflow_provider_s3resume.plan.manifest import FileRef, check_schema, dumps, loads
from airflow_provider_s3resume.plan.objects import key_bytes
from airflow_provider_s3resume.transfer.loading import load_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_s3resume.plan.manifest import Side
    from airflow_provider_s3resume.plan.objects import KeyRange
    from airflow_provider_s3resume.transfer.state import StateLocation

log = logging.getLogger(__name__)

SCHEMA = 1
LINES_OF_A_FILE = 10_000
"""Pairs in one file: what is in memory at once, about 2 MB."""


class Sides(Protocol):
    """Anything that names both sides of a sync."""

    @property
    def source(self) -> Side:
        """The source side."""

    @property
    def target(self) -> Side:
        """The target side."""


class MappedSides(Sides, Protocol):
    """The same, and what is between them."""

    @property
    def key_mapping(self) -> Mapping[str, str]:
        """What becomes of keys besides the exchange of prefixes."""


def pair_name(source: Side, target: Side, key_mapping: Mapping[str, str] | None = None) -> str:
    """Return a name for a pair of sides, for use in keys of the state location.

    :param key_mapping: what becomes of keys besides the exchange of prefixes: with another one
        other objects are compared.
    """
    text = f"{source.service}\n{source.uri}\n{target.service}\n{target.uri}"
    if key_mapping:
        text += f"\n{dumps(dict(key_mapping))}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _folder(sides: MappedSides) -> str:
    return f"proven/{pair_name(sides.source, sides.target, sides.key_mapping)}"


def pair_line(pair: ProvenPair) -> str:
    """Return the JSON line of a pair, with its newline."""
    return dumps(asdict(pair)) + "\n"


def pair_of(line: str) -> ProvenPair:
    """Read a line.

    :raises ManifestError: if it is damaged.
    """
    try:
        return ProvenPair(**loads(line, what="proven pair"))
    except TypeError as error:
        raise ManifestError(
            "proven pair", found=str(error), accepted="the fields that this version writes"
        ) from error


def load_proven(state: StateLocation, sides: MappedSides) -> Iterator[ProvenPair]:
    """Yield the recorded pairs in key order, up to the first that cannot be used."""
    last = b""
    try:
        for ref in _files(state, sides):
            for pair in map(pair_of, load_lines(state, ref)):
                position = key_bytes(pair.key)
                if position <= last:
                    log.warning("The record of proven pairs is out of order at %r", pair.key)
                    return
                last = position
                yield pair
    except ManifestError as error:
        log.warning("The record of proven pairs is not used any further: %s", error)


def save_proven(state: StateLocation, sides: MappedSides, pairs: Iterable[ProvenPair]) -> None:
    """Write the record anew, in the order given (by key).

    Files are named by their content, and the list of them is written last: a reader finds the old
    record or the new one.
    """
    folder = _folder(sides)
    before = _old_files(state, sides)
    rest, refs = map(pair_line, pairs), []
    while lines := list(islice(rest, LINES_OF_A_FILE)):
        text = "".join(lines)
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        ref = FileRef(key=f"{folder}/{digest}.jsonl", sha256=digest, lines=len(lines))
        if ref.key not in before:
            state.write_text(ref.key, text)
        refs.append(ref)
    files = [asdict(ref) for ref in refs]
    state.write_text(f"{folder}.json", dumps({"schema": SCHEMA, "files": files}))
    for key in before - {ref.key for ref in refs}:
        state.delete(key)


def _files(state: StateLocation, sides: MappedSides) -> list[FileRef]:
    text = state.read_text(f"{_folder(sides)}.json")
    if text is None:
        return []
    data = loads(text, what="record of proven pairs")
    check_schema(data, SCHEMA, what="record of proven pairs")
    try:
        return [FileRef(**ref) for ref in data["files"]]
    except (KeyError, TypeError) as error:
        raise ManifestError(
            "record of proven pairs", found=str(error), accepted="the fields of this version"
        ) from error


def _old_files(state: StateLocation, sides: MappedSides) -> set[str]:
    # Listed, not read from the record: what a killed task has left behind goes with it.
    listed = state.store.list_objects(f"{state.prefix}{_folder(sides)}/")
    return {one.key.removeprefix(state.prefix) for one in listed}


class ByRange:
    """Hands out a stream of pairs in key order, one key range after the other."""

    def __init__(self, pairs: Iterable[ProvenPair]) -> None:
        self._rest = iter(pairs)

    def within(self, key_range: KeyRange, prefix: str) -> Iterator[ProvenPair]:
        """Yield the pairs of one range; ranges must be asked for in key order.

        :param prefix: pairs that are not under it are left out.
        """
        for pair in self._rest:
            if key_range.stop is not None and key_bytes(pair.key) >= key_bytes(key_range.stop):
                self._rest = chain((pair,), self._rest)
                return
            if key_range.contains(pair.key) and pair.key.startswith(prefix):
                yield pair
