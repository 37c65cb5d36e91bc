"""What a plan looks at: everything, what lies under listed prefixes, or the keys of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.filters import Select, Selection
from airflow_provider_s3resume.transfer.name_lists import ListFile, ignored_lines, names_under
from airflow_provider_s3resume.transfer.sorting import Names, sorted_names

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.diff import Action
    from airflow_provider_s3resume.storage.base import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a plan is asked to look at.

    :param selection: conditions on each object; ``None`` for none.
    :param ignore_list: patterns that exclude, one a line.
    :param prefix_list: prefixes of source keys; nothing else is listed on either side.
    :param key_list: source keys; nothing is listed, each is asked for.
    """

    selection: Selection | None = None
    ignore_list: ListFile | None = None
    prefix_list: ListFile | None = None
    key_list: ListFile | None = None

    def __post_init__(self) -> None:
        """Refuse two lists of what to look at.

        :raises InvalidInputError: naming ``key_list``.
        """
        if self.prefix_list is not None and self.key_list is not None:
            raise InvalidInputError(
                "selection.key_list", found=self.key_list.uri, accepted="nothing with a prefix_list"
            )

    @property
    def partial(self) -> bool:
        """Whether there may be keys on either side that the plan does not come to know."""
        return self.prefix_list is not None or self.key_list is not None

    def check(self) -> list[str]:
        """Make sure that lists can be read, before anything is listed.

        :returns: what to be warned of.
        :raises InvalidInputError: naming the list and the line.
        """
        facts = self._facts(self._selected())
        if self.prefix_list is not None:
            self.prefix_list.check()
        if self.key_list is not None:
            self.key_list.check(keys=True)
        return list_warnings(facts)

    @contextmanager
    def opened(self, source: ObjectStore, source_prefix: str, *, now: float) -> Iterator[Chosen]:
        """Read the lists, for the length of a ``with`` block.

        :param now: the moment of the plan, in seconds since the epoch.
        :raises InvalidInputError: naming a list and its line.
        """
        selection = self._selected()
        select, facts = None, self._facts(selection)
        if selection is not None:
            select = selection.selector(
                now=now, bucket=source.bucket, source_prefix=source_prefix, scheme=source.scheme
            )
        file = self.prefix_list or self.key_list
        if file is None:
            yield Chosen(select=select, facts=facts)
            return
        kind = "prefix_list" if self.prefix_list is not None else "key_list"
        read = file.lines if self.prefix_list is not None else file.keys
        names = names_under(read(), file, source_prefix)
        with sorted_names(names, fold=self.prefix_list is not None) as found:
            if not found.count:
                file.check(keys=self.key_list is not None)
            facts |= {kind: file.uri, f"{kind}_names": found.count}
            yield Chosen(
                select=select,
                facts=facts,
                prefixes=found if self.prefix_list is not None else None,
                keys=found if self.key_list is not None else None,
            )

    def _facts(self, selection: Selection | None) -> dict[str, Any]:
        facts = {} if selection is None else selection.to_json_dict()
        if self.ignore_list is not None:
            lines = facts.get("ignore", [])
            facts["ignore_list"] = self.ignore_list.uri
            if not lines:
                facts["ignore_list_lines"] = 0
            hashes = sum(line.startswith(("#", ";")) for line in lines)
            if hashes:
                facts["ignore_list_hashes"] = hashes
        return facts

    def _selected(self) -> Selection | None:
        if self.ignore_list is None:
            return self.selection
        lines = ignored_lines(self.ignore_list)
        made = (self.selection or Selection()).with_ignored(lines)
        return made if made != Selection() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What was read of a scope.

    :param facts: what stands in the manifest of it.
    """

    select: Select | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    prefixes: Names | None = None
    keys: Names | None = None

    def gaps(self, *, reorders: bool) -> Callable[[Action], bool] | None:
        """Return what tells before which actions there may be keys that nobody has listed.

        ``None`` if there are none anywhere. A batch that such a gap lies in is not to be listed.

        :param reorders: target keys come in another order than source keys.
        """
        if self.keys is None and self.prefixes is None:
            return None
        if self.prefixes is None or reorders:
            return lambda _: True
        return _Steps(iter(self.prefixes)).is_next


class _Steps:
    """Tells where keys in order go from one prefix to the next."""

    def __init__(self, prefixes: Iterator[str]) -> None:
        self._rest = prefixes
        self._prefix = next(self._rest, "")

    def is_next(self, action: Action) -> bool:
        """Tell whether an action is the first one of its prefix."""
        moved = False
        while not action.key.startswith(self._prefix):
            self._prefix = next(self._rest, "")
            moved = True
        return moved


def list_warnings(facts: Mapping[str, Any]) -> list[str]:
    """Return what to be warned of in lists that were read, from what stands in a manifest of them.

    An ignore list that holds nothing excludes nothing, which is seldom what was meant; and lists of
    other tools have comments.
    """
    uri = facts.get("ignore_list")
    if "ignore_list_lines" in facts:
        return [f"selection.ignore_list: {uri} holds no pattern, so it excludes nothing"]
    if "ignore_list_hashes" in facts:
        told = f"{facts['ignore_list_hashes']} lines begin with '#' or ';'"
        return [f"selection.ignore_list: {uri}: {told}: they are patterns here, and no comments"]
    return []


EVERYTHING = Scope()
