"""Which permissions a feature needs: the tables of ``docs/features.md``, read.

The package carries that document: one row for each feature, with the actions of both sides. What is
in its columns of calls and actions is read to the letter, so what is not understood is refused.

Names of actions: "Actions, resources, and condition keys" of Amazon S3, Amazon SQS, AWS KMS and AWS
STS, and "RAM policy" of Alibaba Cloud OSS.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PLAIN_SYNC: Final = "A plain sync"
"""The group of what every sync may need."""

STATE: Final = "state location"
"""The row whose target actions are those of the state location."""

_COLUMNS: Final = 6
_HEADING: Final = "## "
_CELL_END: Final = re.compile(r"(?<!\\)\|")
_QUOTED: Final = re.compile(r"`([^`]+)`")
_NONE: Final = "-"
_NEED: Final = re.compile(r"`(?P<action>[a-z][a-z0-9]*:[A-Z][A-Za-z]*)`(?: \((?P<on>[^()]+)\))?")
_CALL: Final = re.compile(
    r"\b(?:Abort|Assume|Change|Complete|Copy|Create|Delete|Get|Head|List|Put|Receive|Send|Upload)"
    r"[A-Z][A-Za-z]+(?:V[0-9])?\b"
)


class On(enum.Enum):
    """What an action is done to; in the tables it stands behind the action, in parentheses.

    ``PLACE``: what lies at the place of the action's column; nothing stands there for it.
    ``LIST``: the lists that a selection names.
    ``SOURCE``: the objects of the source, by whoever writes the target.
    ``QUEUE``, ``DEAD_LETTERS``: a queue.
    ``KEY``: the KMS key of the objects at the place of the column.
    ``SOURCE_KEY``: that of the source's objects, by whoever writes the target.
    ``ROLE``: the role that the connection of the column's side takes.
    """

    PLACE = ""
    LIST = "list"
    SOURCE = "source"
    QUEUE = "queue"
    DEAD_LETTERS = "dead letters"
    KEY = "key"
    SOURCE_KEY = "source's key"
    ROLE = "role"


_SERVICES: Final = {
    On.PLACE: {"s3", "oss"},
    On.LIST: {"s3", "oss"},
    On.SOURCE: {"s3"},
    On.QUEUE: {"sqs"},
    On.DEAD_LETTERS: {"sqs"},
    On.KEY: {"kms"},
    On.SOURCE_KEY: {"kms"},
    On.ROLE: {"sts"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """An action, and what it is done to.

    :param action: with its service, such as ``s3:GetObject``.
    """

    action: str
    on: On = On.PLACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One row: what a feature does, and what a caller has to be allowed for it.

    :param group: heading that the row stands under.
    :param calls: names of API operations.
    :param source: IAM actions of the source's connection, or of the queue's.
    :param target: IAM actions of the target's connection, or on the state location.
    :param ram: actions of Alibaba Cloud OSS on a source there.
    """

    group: str
    name: str
    calls: tuple[str, ...] = ()
    source: tuple[Need, ...] = ()
    target: tuple[Need, ...] = ()
    ram: tuple[Need, ...] = ()


def read_features(text: str) -> tuple[Feature, ...]:
    """Return the rows of all tables of a Markdown document that have six columns.

    :raises ValueError: for a row of another width under a heading that has features, for a call
        that is not quoted, and for what is no action, or none that is done to what is said.
    """
    group, found = "", list[Feature]()
    for line in text.splitlines():
        if line.startswith(_HEADING):
            group = line.removeprefix(_HEADING).strip()
        elif line.startswith("|"):
            cells = [cell.strip() for cell in _CELL_END.split(line.strip()[1:-1])]
            if cells[0] == "feature" or set(cells[0]) <= {"-", ":"}:
                continue
            if len(cells) != _COLUMNS:
                raise ValueError(f"{group}: a row of {len(cells)} columns: {line}")
            found.append(_feature(group, cells))
    return tuple(found)


def _feature(group: str, cells: Sequence[str]) -> Feature:
    name, _, calls, source, target, ram = cells
    # As a person writes it in a shell, where quotes of this kind mean something else.
    name = name.replace("`", "")
    where = f"{group}: {name}"
    return Feature(
        group=group,
        name=name,
        calls=_calls(calls, where),
        source=_needs(source, where),
        target=_needs(target, where),
        ram=_needs(ram, where),
    )


def _calls(cell: str, where: str) -> tuple[str, ...]:
    """Return the calls of a cell; other words in it say when they are made, and are for people."""
    bare = _CALL.search(_QUOTED.sub("", cell))
    if bare:
        raise ValueError(f"{where}: a call that is not quoted: {bare[0]}")
    quoted = [word for word in _QUOTED.findall(cell) if _CALL.fullmatch(word)]
    return tuple(dict.fromkeys(quoted))


def _needs(cell: str, where: str) -> tuple[Need, ...]:
    if cell == _NONE:
        return ()
    return tuple(_need(item.strip(), where) for item in cell.split(","))


def _need(item: str, where: str) -> Need:
    found = _NEED.fullmatch(item)
    if found is None:
        raise ValueError(f"{where}: neither an action nor '-': {item}")
    try:
        on = On(found["on"] or "")
    except ValueError:
        raise ValueError(f"{where}: nothing that an action is done to: ({found['on']})") from None
    if found["action"].partition(":")[0] not in _SERVICES[on]:
        what = f"({on.value})" if on.value else "what lies at a place"
        raise ValueError(f"{where}: no action that is done to {what}: {found['action']}")
    return Need(action=found["action"], on=on)


def choose(features: Iterable[Feature], names: Iterable[str]) -> tuple[Feature, ...]:
    """Return the rows of a plain sync, and those of the features that are named.

    :raises InvalidInputError: naming a feature that there is not.
    """
    known = tuple(features)
    optional = [one for one in known if one.group != PLAIN_SYNC]
    wanted = list(names)
    for name in wanted:
        if name not in {one.name for one in optional}:
            accepted = "one of " + "; ".join(sorted(one.name for one in optional))
            raise InvalidInputError("feature", found=name, accepted=accepted)
    return tuple(one for one in known if one.group == PLAIN_SYNC or one.name in wanted)
