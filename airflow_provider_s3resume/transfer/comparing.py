"""Both sides of a plan compared: whole key ranges, listed prefixes, or the keys of a list."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import ObjectNotFoundError, UnsupportedError
from airflow_provider_s3resume.plan.diff import (
    Action,
    DiffRule,
    Reason,
    TargetRules,
    Verb,
    diff,
    folded,
)
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    Hindrance,
    KeyMapping,
    KeyRange,
    ListedObject,
    key_bytes,
)
from airflow_provider_s3resume.transfer.ahead import answers_in_order
from airflow_provider_s3resume.transfer.proven import ByRange

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.filters import Select
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.selecting import Chosen
    from airflow_provider_s3resume.transfer.stopping import StopSignal

PREFIXES_AT_ONCE: Final = 8
"""Of each up to a page of both sides is held: 16,000 listed objects, about 10 MB."""
_LAST_CHARACTER: Final = "\U0010ffff"
NO_PAIRS: Final = ByRange(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the two sides are, and how they are compared.

    :param proven: pairs of earlier runs.
    """

    source: ObjectStore
    target: ObjectStore
    mapping: KeyMapping
    rule: DiffRule
    rules: TargetRules
    select: Select | None
    stop: StopSignal
    proven: ByRange = NO_PAIRS

    def of(self, chosen: Chosen, ranges: Sequence[KeyRange]) -> Iterator[Action]:
        """Compare what was chosen; ``ranges`` cut both listings if that is everything."""
        if chosen.prefixes is not None:
            return self.of_prefixes(chosen.prefixes)
        if chosen.keys is not None:
            return self.of_keys(chosen.keys)
        return self.of_ranges(ranges)

    def of_ranges(self, ranges: Sequence[KeyRange]) -> Iterator[Action]:
        """Compare everything under both prefixes, one key range after the other."""
        prefix, mapping = self.mapping.source_prefix, self.mapping
        for key_range in ranges:
            yield from self._merged(
                self.source.list_objects(prefix, key_range),
                self.target.list_objects(mapping.target_prefix, _mapped(key_range, mapping)),
                key_range,
            )

    def of_prefixes(self, prefixes: Iterable[str]) -> Iterator[Action]:
        """Compare what lies under each of these prefixes of source keys.

        :param prefixes: in order, none of them under another.
        """
        pages = answers_in_order(
            prefixes, self._first_pages, stop=self.stop, at_once=PREFIXES_AT_ONCE
        )
        for prefix, found in pages:
            ours, theirs = found or ((), ())
            # Of the record of proven pairs a few may be passed over, as it is a hint.
            behind = KeyRange(start=prefix, stop=prefix + _LAST_CHARACTER)
            yield from self._merged(ours, theirs, behind)

    def of_keys(self, keys: Iterable[str]) -> Iterator[Action]:
        """Compare the objects of these source keys; one that is not there is refused (c40).

        Nothing is said of what lies at the target only: nobody has listed it.

        :param keys: in order, each once; is read twice.
        """
        missing: deque[str] = deque()
        actions = self._merged(self.sources(keys, missing), self._targets(keys), ALL_KEYS)
        for action in actions:
            yield from self.refused(missing, self.mapping.to_target)
            if action.reason is not Reason.ONLY_AT_TARGET:
                yield action
        yield from self.refused(missing, self.mapping.to_target)

    def _merged(
        self, ours: Iterable[ListedObject], theirs: Iterable[ListedObject], key_range: KeyRange
    ) -> Iterator[Action]:
        return diff(
            ours,
            theirs,
            mapping=self.mapping,
            rule=self.rule,
            rules=self.rules,
            proven=self.proven.within(key_range, self.mapping.source_prefix),
            select=self.select,
        )

    def _first_pages(self, prefix: str) -> tuple[Iterable[ListedObject], Iterable[ListedObject]]:
        return (
            begun(self.source, prefix),
            begun(self.target, self.mapping.to_target(prefix)),
        )

    def sources(self, keys: Iterable[str], missing: deque[str]) -> Iterator[ListedObject]:
        """Yield the source objects of keys, asked for one by one; keys without one are kept."""
        head = partial(listed_by_head, self.source)
        for key, found in answers_in_order(keys, head, stop=self.stop):
            if found is None:
                missing.append(key)
            else:
                yield found

    def _targets(self, keys: Iterable[str]) -> Iterator[ListedObject]:
        mapped = map(self.mapping.to_target, keys)
        head = partial(listed_by_head, self.target)
        asked = answers_in_order(mapped, head, stop=self.stop, wanted=self.can_hold)
        return (found for _, found in asked if found is not None)

    def can_hold(self, target_key: str) -> bool:
        """Tell whether the target can be asked for a key: it refuses what it never holds."""
        folds = self.target.capabilities.folds_keys
        fits = len(key_bytes(target_key)) <= self.target.limits.max_key_bytes
        return bool(target_key) and fits and not (folds and folded(target_key) != target_key)

    @staticmethod
    def refused(missing: deque[str], target_key: Callable[[str], str]) -> Iterator[Action]:
        """Yield the refusals of keys that the source does not have."""
        while missing:
            key = missing.popleft()
            yield Action(
                verb=Verb.REFUSE,
                reason=Reason.NOT_AT_SOURCE,
                key=key,
                target_key=target_key(key),
            )


def _mapped(key_range: KeyRange, mapping: KeyMapping) -> KeyRange:
    return KeyRange(
        start=mapping.to_target(key_range.start) if key_range.start is not None else None,
        stop=mapping.to_target(key_range.stop) if key_range.stop is not None else None,
    )


def begun(store: ObjectStore, prefix: str) -> Iterable[ListedObject]:
    """Return a listing whose first page is here already."""
    listing = iter(store.list_objects(prefix))
    first = list(islice(listing, store.limits.list_page))
    return first if len(first) < store.limits.list_page else chain(first, listing)


def listed_by_head(store: ObjectStore, key: str) -> ListedObject | None:
    """Return an object as its listing would have it, ``None`` if it is not there."""
    try:
        info = store.head(key)
    except ObjectNotFoundError:
        return None
    except UnsupportedError:
        hindrance = Hindrance.UNREACHABLE_KEY
        return ListedObject(key=key, size=0, etag=None, last_modified=0.0, hindrance=hindrance)
    return ListedObject(
        key=key,
        size=info.size,
        etag=info.etag,
        last_modified=info.last_modified,
        storage_class=info.storage_class,
        md5_etag=info.md5_etag,
        restored=not info.archived,
    )
