"""Comparing both sides where keys are renamed: the source is sorted by the keys it goes to.

What is sorted are keys and listing fields, in memory up to a bound and beyond it in a temporary
file: about 200 bytes of it for each source object.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.diff import Action, decide
from airflow_provider_s3resume.plan.objects import Hindrance, KeyRange, ListedObject
from airflow_provider_s3resume.plan.renaming import (
    Renamed,
    Renaming,
    diff_renamed,
    pair_of_key,
    without_collisions,
)
from airflow_provider_s3resume.transfer.ahead import answers_in_order
from airflow_provider_s3resume.transfer.comparing import (
    PREFIXES_AT_ONCE,
    Comparison,
    begun,
    listed_by_head,
)
from airflow_provider_s3resume.transfer.proven import ByRange, pair_line, pair_of
from airflow_provider_s3resume.transfer.sorting import Row, sorted_rows

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.diff import ProvenPair
    from airflow_provider_s3resume.transfer.selecting import Chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class RenamedComparison:
    """A comparison of which the keys are renamed.

    :param pairs: of earlier runs, in any order.
    """

    inner: Comparison
    renaming: Renaming
    pairs: Iterable[ProvenPair]

    def of(self, chosen: Chosen, ranges: Sequence[KeyRange]) -> Iterator[Action]:
        """Compare what was chosen.

        :raises PlanRefusedError: if two objects that are meant would meet at the target.
        :raises InvalidInputError: if a key cannot be renamed.
        """
        missing: deque[str] = deque()
        listed = self._sorted(self._listed(chosen, ranges, missing))
        renamed = without_collisions(listed, self._is_meant)
        decided = partial(self._decided, pair_of_key(self._sorted_pairs()))
        if chosen.keys is not None:
            yield from self._of_keys(renamed, decided)
        else:
            mapping = self.inner.mapping
            target = self.inner.target.list_objects(mapping.target_prefix)
            yield from diff_renamed(
                renamed,
                target,
                target_prefix=mapping.target_prefix,
                rules=self.inner.rules,
                decided=decided,
                whole=chosen.prefixes is None,
            )
        yield from self.inner.refused(missing, self._target_key)

    def _listed(
        self, chosen: Chosen, ranges: Sequence[KeyRange], missing: deque[str]
    ) -> Iterator[ListedObject]:
        source, prefix = self.inner.source, self.inner.mapping.source_prefix
        if chosen.keys is not None:
            return self.inner.sources(chosen.keys, missing)
        if chosen.prefixes is not None:
            pages = answers_in_order(
                chosen.prefixes,
                partial(begun, source),
                stop=self.inner.stop,
                at_once=PREFIXES_AT_ONCE,
            )
            return chain.from_iterable(found or () for _, found in pages)
        return chain.from_iterable(source.list_objects(prefix, one) for one in ranges)

    def _of_keys(
        self, renamed: Iterable[Renamed], decided: Callable[[Renamed, ListedObject | None], Action]
    ) -> Iterator[Action]:
        """Ask for each target key: of a few keys a listing would be no help."""
        asked = answers_in_order(
            renamed,
            lambda one: listed_by_head(self.inner.target, one.target_key),
            stop=self.inner.stop,
            wanted=lambda one: self.inner.can_hold(one.target_key),
        )
        return (decided(one, there) for one, there in asked)

    def _sorted(self, listed: Iterable[ListedObject]) -> Iterator[Renamed]:
        """Yield objects in the order of the keys they go to, and then of their own."""
        return map(_of_row, sorted_rows(_row(self._target_key(one.key), one) for one in listed))

    def _sorted_pairs(self) -> Iterator[tuple[str, ProvenPair]]:
        return ((row[0], pair_of(row[2])) for row in sorted_rows(self._pair_rows()))

    def _pair_rows(self) -> Iterator[Row]:
        for pair in self.pairs:
            try:
                target_key = self._target_key(pair.key)
            except InvalidInputError:
                continue  # Of an object that is gone, and that another function was asked about.
            yield target_key, pair.key, pair_line(pair)

    def _target_key(self, source_key: str) -> str:
        return self.renaming.target_key(source_key, self.inner.mapping)

    def _is_meant(self, listed: ListedObject) -> bool:
        if listed.key.startswith(self.inner.rules.source_state_prefixes):
            return False
        return self.inner.select is None or self.inner.select(listed)

    def _decided(
        self,
        find_pair: Callable[[Renamed], ProvenPair | None],
        one: Renamed,
        there: ListedObject | None,
    ) -> Action:
        inner = self.inner
        pair = find_pair(one)
        return decide(
            one.source, there, pair, one.target_key, inner.rule, inner.rules, inner.select
        )


def _row(target_key: str, one: ListedObject) -> Row:
    hindrance = one.hindrance.value if one.hindrance is not None else None
    said = [one.size, one.etag, one.last_modified, one.storage_class, one.md5_etag, hindrance]
    return target_key, one.key, json.dumps([*said, one.restored])


def _of_row(row: Row) -> Renamed:
    target_key, key, said = row
    size, etag, last_modified, storage_class, md5_etag, hindrance, restored = json.loads(said)
    listed = ListedObject(
        key=key,
        size=size,
        etag=etag,
        last_modified=last_modified,
        storage_class=storage_class,
        md5_etag=md5_etag,
        restored=restored,
    )
    if hindrance is not None:
        listed = replace(listed, hindrance=Hindrance(hindrance))
    return Renamed(target_key=target_key, source=listed)


def compared(
    comparison: Comparison,
    renaming: Renaming | None,
    pairs: Iterator[ProvenPair],
    chosen: Chosen,
    ranges: Sequence[KeyRange],
) -> Iterator[Action]:
    """Return the actions of a plan, whatever becomes of its keys.

    :param comparison: without any pairs.
    :param pairs: of earlier runs, in the order of source keys.
    """
    if renaming is not None and not renaming.keeps_order:
        renamed = RenamedComparison(inner=comparison, renaming=renaming, pairs=pairs)
        return renamed.of(chosen, ranges)
    return replace(comparison, proven=ByRange(pairs)).of(chosen, ranges)
