"""``docs/compatibility.md``: what the cells said of themselves."""

# ruff: noqa: E501 - lines of the document are as long as in the others

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final

from tests.matrix.cells import AIRFLOW, ROOT, Cell, Facts, pinned

DOCUMENT = ROOT / "docs" / "compatibility.md"
_SHOWN: Final = {
    "Airflow": AIRFLOW,
    "amazon provider": "apache-airflow-providers-amazon",
    "boto3": "boto3",
    "oss2": "oss2",
}

_HEAD: Final = """# Compatibility

The wheel is installed beside each of these sets of packages, and used there: the provider registers with its connection types, every example DAG is
parsed, and the nightly sync runs between two S3 servers by `dag.test()`. Where the table says so, a real scheduler runs it, too, and an event starts a copy. What arrived is
compared byte for byte by another program.

<!-- Made by `make matrix MATRIX=--write`, and compared by `make matrix`. -->
"""

_MIDDLE: Final = """
*MWAA* is what Amazon MWAA's images of August 2026 pin (its public repository of images). With its constraints, installing the wheel changes, removes and upgrades nothing: the list of packages before and after
is compared. *newest* is what `uv.lock` says, by its minor versions. Any other release from 3.0.6 on should do; these are the ones that every change is tested on.

## What depends on the release of Airflow

Each of these was found out in the environment itself, none is a list of releases:

"""

MEANINGS: Final[Mapping[str, str]] = {
    "start of a run by an event": (
        "Of `s3_event_driven_copy`. With an *asset watcher* the triggerer asks the queue, and no run waits. With a *deferred sensor* the DAG "
        "is `@continuous`, and there is always a run whose first task waits in the triggerer. `S3RESUME_EVENTS_BY` chooses ([events](events.md))."
    ),
    "another attempt of a task": (
        "*By the class of the error* means that throttling waits longer, and a stopped task less. *By the task's arguments* means `retries`, "
        "`retry_delay` and waits that double, whatever the error. What no retry helps fails at once in either case ([operating](operating.md))."
    ),
    "form of a connection": (
        "*Our fields* stand in the form of our connection types. Where they do not, the same names go into *Extra* as JSON "
        "([connections](connections.md)); nothing else differs. Airflow 3.0 shows them only where `wtforms` is installed, as the FAB provider does."
    ),
    "pool that does not exist": (
        "A listener in the scheduler tells the task `list`, which fails with the command that makes the pool. Without it transfers would "
        "wait until the `dagrun_timeout`."
    ),
    "event of the asset": "Emitted by the task `report`, and only when all is verified.",
    "names of batches": (
        "What the page of a run calls mapped tasks: by the first and the last key of the batch, or by a number."
    ),
    "connections for bytes": (
        "*Own* connections carry the bytes of objects at less processor time; with a botocore that is built otherwise they are *botocore's*, "
        "and nothing but speed differs."
    ),
    "restored copies in OSS": (
        "Whether the listing of archived objects says that there is a restored copy, or each object has to be asked (that depends on oss2)."
    ),
    "regular expressions that never end": (
        "A selection's are judged before they are used, by the parser of this Python ([selection](selection.md))."
    ),
}
"""What each feature that an environment tells of is about, and what it is where it is missing."""


def document(told: Mapping[Cell, Facts]) -> str:
    """Return the document."""
    return f"{_HEAD}\n{versions(told)}{_MIDDLE}{features(told)}\n{_meanings(told)}{_TAIL}"


_TAIL: Final = """
Classes that have moved between releases are taken from where they are (`hooks/_airflow.py`). Until 3.1 the SDK mixes up answers when two threads ask it at once: there as everywhere one thread asks at a time.
"""


def difference(there: str, wanted: str) -> str:
    """Return how a text differs from what it should be; empty if it does not."""
    is_now, should_be = (text.splitlines(keepends=True) for text in (there, wanted))
    return "".join(difflib.unified_diff(is_now, should_be, "is", "should be", n=0))


def versions(told: Mapping[Cell, Facts]) -> str:
    """Return the table of the environments."""
    rows = [["", "Python", *_SHOWN, "comes with the wheel", "nightly sync by"]]
    for cell, facts in told.items():
        ways = "`dag.test()`, scheduler" if cell.scheduler else "`dag.test()`"
        added = ", ".join(facts.added) or "-"
        shown = [_version(cell, facts, name) for name in _SHOWN.values()]
        rows.append([_title(cell), cell.python, *shown, added, ways])
    return _table(rows)


def _title(cell: Cell) -> str:
    return f"MWAA {cell.airflow}" if cell.airflow else "newest"


def _version(cell: Cell, facts: Facts, name: str) -> str:
    """Return a version in full where it is pinned for ever, else without what follows the minor.

    A newer patch in ``uv.lock`` would change the document otherwise.
    """
    version = facts.versions[name]
    is_pinned = cell.pins is not None and (name == AIRFLOW or name in pinned(cell.pins.read_text()))
    return version if is_pinned else ".".join(version.split(".")[:2])


def features(told: Mapping[Cell, Facts]) -> str:
    """Return the table of what depends on the release: a column for each, if they differ."""
    columns: dict[str, list[tuple[Cell, Facts]]] = {}
    for cell, facts in told.items():
        columns.setdefault(cell.airflow or "newest", []).append((cell, facts))
    rows = [["", *columns]]
    rows += [[name, *(_value(name, some) for some in columns.values())] for name in _names(told)]
    return _table(rows)


def _value(name: str, some: Sequence[tuple[Cell, Facts]]) -> str:
    """Return how a feature is in the environments of one release, which may differ by Python."""
    values: dict[str, list[str]] = {}
    for cell, facts in some:
        values.setdefault(facts.features[name], []).append(cell.python)
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} (Python {', '.join(on)})" for value, on in values.items())


def _names(told: Mapping[Cell, Facts]) -> list[str]:
    """Return the features in the order in which they are explained, those that differ first.

    :raises KeyError: for one that nobody has explained.
    """
    found = {name: {f.features[name] for f in told.values()} for name in _all_names(told)}
    order = list(MEANINGS)
    return sorted(found, key=lambda name: (len(found[name]) == 1, order.index(name)))


def _all_names(told: Mapping[Cell, Facts]) -> set[str]:
    named = {name for facts in told.values() for name in facts.features}
    if named - set(MEANINGS):
        raise KeyError(f"features without a meaning: {sorted(named - set(MEANINGS))}")
    return named


def _meanings(told: Mapping[Cell, Facts]) -> str:
    return "".join(
        f"* **{name[0].upper()}{name[1:]}.** {MEANINGS[name]}\n" for name in _names(told)
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"
