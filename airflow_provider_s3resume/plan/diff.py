"""Source listing and target listing → actions, each with its reason: a streaming, sorted merge.

Nothing is held but the two heads of the listings, so memory does not grow with the bucket. Both
listings must be in UTF-8 byte order of the part of the key behind the prefix; the mapping of
prefixes keeps that order.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_s3resume.exceptions import InvalidInputError, ListingError
from airflow_provider_s3resume.plan.digests import Match, compare_etags, normal_etag
from airflow_provider_s3resume.plan.file_keys import FileTree, KeyFault
from airflow_provider_s3resume.plan.objects import (
    Hindrance,
    KeyMapping,
    ListedObject,
    key_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_s3resume.plan.filters import Select


class Verb(enum.Enum):
    """What is to be done about one key."""

    COPY = "copy"
    SKIP = "skip"
    REFUSE = "refuse"


class Reason(enum.Enum):
    """Why. The first group copies, the second skips, the third refuses (and fails the run)."""

    MISSING_AT_TARGET = "missing_at_target"
    SIZE_DIFFERS = "size_differs"
    DIGEST_DIFFERS = "digest_differs"
    DIGEST_UNKNOWN = "digest_unknown"
    SOURCE_NEWER = "source_newer"
    METADATA_DIFFERS = "metadata_differs"
    ASKED_FOR = "asked_for"

    SAME_SIZE = "same_size"
    SAME_DIGEST = "same_digest"
    PROVEN_BEFORE = "proven_before"
    NOT_NEWER = "not_newer"
    UNKNOWN_NOT_NEWER = "unknown_not_newer"
    ONLY_AT_TARGET = "only_at_target"
    OWN_STATE = "own_state"
    SYMLINK = "symlink"
    NOT_SELECTED = "not_selected"
    ARCHIVED = "archived"
    SPECIAL_FILE = "special_file"
    DIRECTORY_MARKER = "directory_marker"

    IN_STATE_LOCATION = "in_state_location"
    KEY_TOO_LONG = "key_too_long"
    KEY_NOT_KEPT = "key_not_kept"
    TOO_LARGE = "too_large"
    DANGLING_SYMLINK = "dangling_symlink"
    UNREACHABLE_KEY = "unreachable_key"
    NOT_AT_SOURCE = "not_at_source"
    SYMLINK_REFUSED = "symlink_refused"
    SYMLINK_OUTSIDE = "symlink_outside"
    TARGET_NO_FILE = "target_no_file"
    RESERVED_KEY = "reserved_key"


EQUAL = frozenset(
    {
        Reason.SAME_SIZE,
        Reason.SAME_DIGEST,
        Reason.PROVEN_BEFORE,
        Reason.NOT_NEWER,
        Reason.UNKNOWN_NOT_NEWER,
    }
)
"""Why the two objects of a pair are taken for equal."""


class Criterion(enum.Enum):
    """What a rule looks at."""

    SIZE = "size"
    ETAG = "etag"
    NEWER = "newer"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRule:
    """By what two objects of one key are told apart.

    Size is always compared. ``etag`` compares digests where they can be compared; a digest that
    cannot be compared copies, unless ``newer`` is in the rule and says that the source is older.
    ``newer`` copies when the source's time is not before the target's (both services' clocks).
    ``metadata`` copies also what differs in headers and metadata alone, for which each pair that is
    equal otherwise is asked (``transfer.metadata``): a listing does not tell.
    """

    criteria: frozenset[Criterion]

    @classmethod
    def parse(cls, text: object, *, parameter: str = "rule") -> DiffRule:
        """Read a rule such as ``size``, ``size+etag`` or ``size+etag+newer``.

        :raises InvalidInputError: for anything else.
        """
        names = {criterion.value: criterion for criterion in Criterion}
        words = text.split("+") if isinstance(text, str) else [""]
        if any(word not in names for word in words) or len(set(words)) != len(words):
            accepted = "'size', 'etag', 'newer' and 'metadata', joined by '+', such as 'size+etag'"
            raise InvalidInputError(parameter, found=text, accepted=accepted)
        return cls(criteria=frozenset(names[word] for word in words) | {Criterion.SIZE})

    @property
    def text(self) -> str:
        """The rule in the form that :meth:`parse` reads."""
        return "+".join(c.value for c in Criterion if c in self.criteria)


DEFAULT_RULE = DiffRule(criteria=frozenset({Criterion.SIZE, Criterion.ETAG}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenPair:
    """Two objects that an earlier run proved equal although their ETags cannot be compared.

    A hint only: it counts while both sides still list exactly these ETags.
    """

    key: str
    source_etag: str
    target_etag: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRules:
    """What decides whether the target can hold a key exactly.

    :param state_prefixes: of our own state, of this and of other syncs, in the target bucket.
    :param source_state_prefixes: the same in the source bucket.
    :param file_tree: what its keys have to be, if it is a tree of files.
    """

    max_key_bytes: int = 1024
    max_object_size: int = 1 << 62
    folds_keys: bool = False
    state_prefixes: tuple[str, ...] = ()
    source_state_prefixes: tuple[str, ...] = ()
    file_tree: FileTree | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One key, what to do about it, and why."""

    verb: Verb
    reason: Reason
    key: str
    target_key: str
    source: ListedObject | None = None
    target: ListedObject | None = None


def folded(key: str) -> str:
    """Return what a store that folds keys makes of a key: no empty or dot segments, no backslashes.

    Source: observed on SeaweedFS, whose keys are paths of a file system.
    """
    key = key.replace("\\", "/")
    segments = [part for part in key.split("/") if part not in {"", ".", ".."}]
    return "/".join(segments) + ("/" if key.endswith("/") and segments else "")


def diff(
    source: Iterable[ListedObject],
    target: Iterable[ListedObject],
    *,
    mapping: KeyMapping,
    rule: DiffRule = DEFAULT_RULE,
    rules: TargetRules = TargetRules(),
    proven: Iterable[ProvenPair] = (),
    select: Select | None = None,
) -> Iterator[Action]:
    """Merge two listings into actions, in key order.

    :param source: listing under ``mapping.source_prefix``.
    :param target: listing under ``mapping.target_prefix``.
    :param proven: pairs proven by earlier runs, in order of their source keys.
    :param select: what is not selected is skipped, and counts as present (c09).
    :raises ListingError: if either listing is out of order or repeats a key.
    """
    lefts = Cursor(source, lambda o: o.key, mapping.source_prefix, "source listing")
    rights = Cursor(target, lambda o: o.key, mapping.target_prefix, "target listing")
    pairs = Cursor(proven, lambda p: p.key, mapping.source_prefix, "record of proven pairs")
    while lefts.head is not None or rights.head is not None:
        left_first = rights.head is None or (
            lefts.head is not None and lefts.position <= rights.position
        )
        if not left_first:
            action = _only_at_target(rights.take(), mapping, rules)
            if action is not None:
                yield action
            continue
        both = rights.head is not None and lefts.position == rights.position
        pairs.skip_to(lefts.position)
        pair = pairs.head if pairs.position == lefts.position else None
        found = lefts.take()
        other = rights.take() if both else None
        target_key = mapping.to_target(found.key)
        yield decide(found, other, pair, target_key, rule, rules, select)


_Item = TypeVar("_Item")


class Cursor(Generic[_Item]):
    """The head of a sorted stream, with the order checked as it goes by (c02, c05)."""

    def __init__(
        self, items: Iterable[_Item], key: Callable[[_Item], str], prefix: str, name: str
    ) -> None:
        self._items = iter(items)
        self._key = key
        self._prefix = prefix
        self._name = name
        self.head: _Item | None = None
        self.position = b""
        self._advance(first=True)

    def take(self) -> _Item:
        """Return the head and move on."""
        head = self.head
        if head is None:
            msg = f"{self._name} is at its end"
            raise LookupError(msg)
        self._advance(first=False)
        return head

    def skip_to(self, position: bytes) -> None:
        """Drop what comes before ``position``."""
        while self.head is not None and self.position < position:
            self._advance(first=False)

    def _advance(self, *, first: bool) -> None:
        self.head = next(self._items, None)
        if self.head is None:
            return
        key = self._key(self.head)
        if not key.startswith(self._prefix):
            msg = f"{self._name}: key {key!r} is not under {self._prefix!r}"
            raise ListingError(msg)
        position = key_bytes(key[len(self._prefix) :])
        if not first and position <= self.position:
            msg = f"{self._name}: key {key!r} is repeated or out of byte order"
            raise ListingError(msg)
        self.position = position


def _only_at_target(found: ListedObject, mapping: KeyMapping, rules: TargetRules) -> Action | None:
    if found.key.startswith(rules.state_prefixes):
        return None
    return Action(
        verb=Verb.SKIP,
        reason=Reason.ONLY_AT_TARGET,
        key=mapping.to_source(found.key),
        target_key=found.key,
        target=found,
    )


def decide(
    source: ListedObject,
    target: ListedObject | None,
    pair: ProvenPair | None,
    target_key: str,
    rule: DiffRule,
    rules: TargetRules,
    select: Select | None,
) -> Action:
    """Say what is to be done about one source object, and why.

    :param target: what is there under its target key.
    :param pair: what an earlier run proved of it.
    """
    verb, reason = _special(source, target_key, rules, select) or (
        (Verb.COPY, Reason.MISSING_AT_TARGET)
        if target is None
        else _compare(source, target, pair, rule)
    )
    return Action(
        verb=verb,
        reason=reason,
        key=source.key,
        target_key=target_key,
        source=source,
        target=target,
    )


_HINDERED = {
    Hindrance.SYMLINK: (Verb.SKIP, Reason.SYMLINK),
    Hindrance.DANGLING_SYMLINK: (Verb.REFUSE, Reason.DANGLING_SYMLINK),
    Hindrance.UNREACHABLE_KEY: (Verb.REFUSE, Reason.UNREACHABLE_KEY),
    Hindrance.REFUSED_SYMLINK: (Verb.REFUSE, Reason.SYMLINK_REFUSED),
    Hindrance.OUTSIDE_SYMLINK: (Verb.REFUSE, Reason.SYMLINK_OUTSIDE),
    Hindrance.SPECIAL_FILE: (Verb.SKIP, Reason.SPECIAL_FILE),
}
_NO_FILE = {
    KeyFault.NOT_KEPT: (Verb.REFUSE, Reason.KEY_NOT_KEPT),
    KeyFault.TOO_LONG: (Verb.REFUSE, Reason.KEY_TOO_LONG),
    KeyFault.RESERVED: (Verb.REFUSE, Reason.RESERVED_KEY),
    KeyFault.MARKER: (Verb.SKIP, Reason.DIRECTORY_MARKER),
}


def _special(
    source: ListedObject, target_key: str, rules: TargetRules, select: Select | None
) -> tuple[Verb, Reason] | None:
    if source.key.startswith(rules.source_state_prefixes):
        return Verb.SKIP, Reason.OWN_STATE
    # Before anything is refused: what is not meant does not have to fit the target.
    if select is not None and not select(source):
        return Verb.SKIP, Reason.NOT_SELECTED
    if source.hindrance is not None:
        return _HINDERED[source.hindrance]
    if rules.file_tree is not None:
        fault = rules.file_tree.fault(target_key, source.size)
        if fault is not None:
            return _NO_FILE[fault]
    refusal = _refusal(source, target_key, rules)
    return None if refusal is None else (Verb.REFUSE, refusal)


def _refusal(source: ListedObject, target_key: str, rules: TargetRules) -> Reason | None:
    if target_key.startswith(rules.state_prefixes):
        return Reason.IN_STATE_LOCATION
    if len(key_bytes(target_key)) > rules.max_key_bytes:
        return Reason.KEY_TOO_LONG
    if not target_key or (rules.folds_keys and folded(target_key) != target_key):
        return Reason.KEY_NOT_KEPT
    if source.size > rules.max_object_size:
        return Reason.TOO_LARGE
    return None


def _compare(
    source: ListedObject, target: ListedObject, pair: ProvenPair | None, rule: DiffRule
) -> tuple[Verb, Reason]:
    if target.hindrance is not None:
        return Verb.REFUSE, Reason.TARGET_NO_FILE
    if source.size != target.size:
        return Verb.COPY, Reason.SIZE_DIFFERS
    by_digest = Criterion.ETAG in rule.criteria
    decided = _by_digest(source, target, pair) if by_digest else None
    if decided is not None:
        return decided
    if Criterion.NEWER in rule.criteria:
        return _by_time(source, target, digest_asked=by_digest)
    return (Verb.COPY, Reason.DIGEST_UNKNOWN) if by_digest else (Verb.SKIP, Reason.SAME_SIZE)


def _by_digest(
    source: ListedObject, target: ListedObject, pair: ProvenPair | None
) -> tuple[Verb, Reason] | None:
    # The record comes first: under KMS two plain ETags differ although the bytes are the same.
    if pair is not None and _still_proven(source, target, pair):
        return Verb.SKIP, Reason.PROVEN_BEFORE
    opaque = not (source.md5_etag and target.md5_etag)
    match = compare_etags(source.etag, target.etag, encrypted=opaque)
    if match is Match.SAME:
        return Verb.SKIP, Reason.SAME_DIGEST
    return (Verb.COPY, Reason.DIGEST_DIFFERS) if match is Match.DIFFERENT else None


def _by_time(
    source: ListedObject, target: ListedObject, *, digest_asked: bool
) -> tuple[Verb, Reason]:
    # Services tell times in whole seconds: an equal second may hide a later write.
    if source.last_modified >= target.last_modified:
        return Verb.COPY, Reason.SOURCE_NEWER
    return Verb.SKIP, Reason.UNKNOWN_NOT_NEWER if digest_asked else Reason.NOT_NEWER


def _still_proven(source: ListedObject, target: ListedObject, pair: ProvenPair) -> bool:
    return (
        source.size == pair.size
        and normal_etag(source.etag) == normal_etag(pair.source_etag)
        and normal_etag(target.etag) == normal_etag(pair.target_etag)
    )
