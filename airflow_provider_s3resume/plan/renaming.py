"""Keys mapped in another way than by prefixes alone, which need not keep their order.

Where the order is lost, two source keys may meet at one target key: such a plan is refused (c04).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from airflow_provider_s3resume.exceptions import InvalidInputError, PlanRefusedError
from airflow_provider_s3resume.plan.diff import (
    Action,
    Cursor,
    ProvenPair,
    Reason,
    TargetRules,
    Verb,
)
from airflow_provider_s3resume.plan.objects import KeyMapping, ListedObject, key_bytes
from airflow_provider_s3resume.plan.sides import check_unknown, is_whole

MAPPING_NAMES = ("strip_prefix", "add_prefix")
"""What the argument ``key_mapping`` may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    """What becomes of a key behind the source's prefix, before the target's is put in front.

    First ``strip_prefix`` is taken off, if the key begins with it; then ``function`` is asked;
    then ``add_prefix`` is put before the rest. Prefixes are opaque: ``p`` begins ``pq/x``, too,
    ``p/`` does not.

    :param function: takes a key and returns one; has to give the same for the same key always.
    :param function_name: as the user named it.
    """

    strip_prefix: str = ""
    add_prefix: str = ""
    function: Callable[[str], object] | None = None
    function_name: str = ""

    @classmethod
    def parse(
        cls,
        given: Mapping[str, object],
        function: Callable[[str], object] | None = None,
        function_name: str = "",
    ) -> Renaming | None:
        """Read prefixes as a person gives them; ``None`` if keys stay as they are.

        :raises InvalidInputError: naming what cannot be used.
        """
        check_unknown(given, MAPPING_NAMES, what="key_mapping")
        found: dict[str, str] = {}
        for name in MAPPING_NAMES:
            value = given.get(name) or ""
            if not isinstance(value, str):
                raise InvalidInputError(f"key_mapping.{name}", found=value, accepted="a text")
            found[name] = value
        strip, add = (found[name] for name in MAPPING_NAMES)
        if strip and is_whole(strip) != is_whole(add):
            ends = "ends with '/' or is empty" if is_whole(strip) else "does not end with '/'"
            accepted = f"a prefix that {ends}, as strip_prefix, {strip!r}"
            raise InvalidInputError("key_mapping.add_prefix", found=add, accepted=accepted)
        if not (strip or add or function):
            return None
        return cls(
            strip_prefix=strip,
            add_prefix=add,
            function=function,
            function_name=function_name,
        )

    @property
    def keeps_order(self) -> bool:
        """Whether keys keep their order, and none of them can meet another."""
        return not self.strip_prefix and self.function is None

    def to_json_dict(self) -> dict[str, str]:
        """Return what stands in a manifest."""
        given = {
            "strip_prefix": self.strip_prefix,
            "add_prefix": self.add_prefix,
            "function": self.function_name,
        }
        return {name: value for name, value in given.items() if value}

    def target_key(self, source_key: str, mapping: KeyMapping) -> str:
        """Return the target key of a source key.

        :raises InvalidInputError: if the function fails, or returns no key.
        """
        key = source_key[len(mapping.source_prefix) :].removeprefix(self.strip_prefix)
        if self.function is not None:
            key = self._asked(key)
        return mapping.target_prefix + self.add_prefix + key

    def _asked(self, key: str) -> str:
        function, accepted = self.function, "a function that returns a key for every key"
        try:
            found = function(key) if function is not None else key
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            # Its text may hold anything, a secret included (c42).
            told = f"{self.function_name}, which raised {type(error).__name__} for {key!r}"
            raise InvalidInputError("key_function", found=told, accepted=accepted) from None
        if not isinstance(found, str) or (key and not found):
            told = f"{self.function_name}, which returned {type(found).__name__} for {key!r}"
            if found == "":
                told = f"{self.function_name}, which returned an empty key for {key!r}"
            raise InvalidInputError("key_function", found=told, accepted=accepted)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A source object and the key that it goes to."""

    target_key: str
    source: ListedObject


def diff_renamed(
    source: Iterable[Renamed],
    target: Iterable[ListedObject],
    *,
    target_prefix: str,
    rules: TargetRules,
    decided: Callable[[Renamed, ListedObject | None], Action],
    whole: bool = True,
) -> Iterator[Action]:
    """Merge a source in the order of its target keys with the target's listing.

    The key of an action about what lies at the target only is its target key: there is no way back.

    :param decided: decides about one object.
    :param whole: whether the source is all that there is: else nothing is said of what lies at the
        target only.
    :raises ListingError: if the target's listing is out of order or repeats a key.
    """
    rights = Cursor(target, lambda o: o.key, target_prefix, "target listing")
    claimed: bytes | None = None

    def passed(stop: bytes | None) -> Iterator[Action]:
        while rights.head is not None and (stop is None or rights.position < stop):
            is_claimed = rights.position == claimed
            found = rights.take()
            if whole and not is_claimed and not found.key.startswith(rules.state_prefixes):
                yield Action(
                    verb=Verb.SKIP,
                    reason=Reason.ONLY_AT_TARGET,
                    key=found.key,
                    target_key=found.key,
                    target=found,
                )

    for one in source:
        position = key_bytes(one.target_key[len(target_prefix) :])
        yield from passed(position)
        both = rights.head is not None and rights.position == position
        claimed = position if both else claimed
        yield decided(one, rights.head if both else None)
    yield from passed(None)


def without_collisions(
    source: Iterable[Renamed], is_meant: Callable[[ListedObject], bool]
) -> Iterator[Renamed]:
    """Yield what comes in the order of target keys.

    :param is_meant: whether an object may be copied: others meet nobody.
    :raises PlanRefusedError: naming two source keys that would meet at the target (c04).
    """
    last: Renamed | None = None
    for one in source:
        if is_meant(one.source):
            if last is not None and last.target_key == one.target_key:
                raise PlanRefusedError(
                    f"source keys {last.source.key!r} and {one.source.key!r} are both mapped to "
                    f"{one.target_key!r}; nothing was copied. Map them to keys of their own"
                )
            last = one
        yield one


def pair_of_key(pairs: Iterator[tuple[str, ProvenPair]]) -> Callable[[Renamed], ProvenPair | None]:
    """Return what finds the pair of an object; asked in the order of target keys.

    :param pairs: with their target keys, in the order of these and then of source keys.
    """
    head = next(pairs, None)

    def find(one: Renamed) -> ProvenPair | None:
        nonlocal head
        place = key_bytes(one.target_key), key_bytes(one.source.key)
        while head is not None and (key_bytes(head[0]), key_bytes(head[1].key)) < place:
            head = next(pairs, None)
        return head[1] if head is not None and head[1].key == one.source.key else None

    return find
