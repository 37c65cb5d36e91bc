"""``Selection``: which objects of a source are meant, decided from what its listing says of them.

What is not selected counts as present all the same (c09): a selection is a question about the
source, and says nothing about objects at the target.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.globs import (
    check_regex,
    glob_regexes,
    ignore_regex,
    matcher,
)
from airflow_provider_s3resume.plan.objects import ListedObject
from airflow_provider_s3resume.plan.sides import check_unknown

Select = Callable[[ListedObject], bool]
"""Tells whether a listed source object is meant."""

STORAGE_CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": (
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
        "OUTPOSTS",
        "SNOW",
        "EXPRESS_ONEZONE",
        "FSX_OPENZFS",
        "FSX_ONTAP",
    ),
    "oss": ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive"),
}
"""By the scheme of a source; the first is what an object has of which no class is told."""

_UNITS: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SPANS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NUMBER: Final = re.compile(r"([0-9]{1,18}) ?([A-Za-z]{0,3})")
_SIZE: Final = "a whole number of bytes, or one with a unit, such as '64 MiB' (KiB, MiB, GiB, TiB)"
_AGE: Final = "a whole number of seconds, or one with a unit, such as '12h' (s, m, h, d, w)"
_TIME: Final = (
    "a date or time in ISO 8601, such as '2026-01-31' or '2026-01-31T12:00:00+01:00'; UTC if it "
    "names no zone"
)
_TEXTS: Final = "a list of texts, or one text with a line for each"
_ONE_LINE: Final = "one line at least; or nothing at all, which selects everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is meant: every condition that is given has to hold.

    A key is selected if it matches one of the patterns that include, if there are any, and none of
    those that exclude; the order of the patterns does not matter. ``include`` and ``exclude`` are
    globs (see :mod:`~airflow_provider_s3resume.plan.globs`); they and the regexes, which are
    searched for, look at the key behind the last ``/`` of the source's prefix.

    :param ignore: lines of an ignore list: shell wildcards on ``bucket/key``; what matches one of
        them is excluded.
    :param min_size, max_size: bytes, both included.
    :param min_age_s, max_age_s: seconds before the moment of the plan, both included.
    :param modified_after, modified_before: seconds since the epoch, by the source's clock: from
        the first on, and before the second.
    :param storage_classes: one of these, if any are given.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include_regex: tuple[str, ...] = ()
    exclude_regex: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    min_size: int | None = None
    max_size: int | None = None
    min_age_s: int | None = None
    max_age_s: int | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    storage_classes: tuple[str, ...] = ()
    exclude_storage_classes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: Mapping[str, object], *, scheme: str = "s3") -> Selection | None:
        """Read a selection as a person writes it; ``None`` if it selects everything.

        Lists may be texts of many lines; sizes and ages may have units, and ages are named
        ``min_age`` and ``max_age``; what is empty counts as not given.

        :param scheme: of the source, whose storage classes may be named.
        :raises InvalidInputError: naming what cannot be used.
        """
        check_unknown(given, SELECTION_NAMES, what="selection")
        found: dict[str, Any] = {}
        for name, value in given.items():
            if value is not None and value not in ("", [], ()):
                field_name, read = _READERS[name]
                found[field_name] = read(f"selection.{name}", value)
                if name in _SELECTING and not found[field_name]:
                    raise InvalidInputError(f"selection.{name}", found=value, accepted=_ONE_LINE)
        for name in ("storage_classes", "exclude_storage_classes"):
            _check_classes(f"selection.{name}", found.get(name, ()), scheme)
        made = cls(**found)
        made.check()
        return made if made != cls() else None

    def check(self) -> None:
        """Refuse patterns that are none, and bounds that nothing lies between.

        :raises InvalidInputError: naming the parameter.
        """
        self._patterns()
        for low, high, least in (
            ("min_size", "max_size", 0),
            ("min_age_s", "max_age_s", 0),
            ("modified_after", "modified_before", 1),
        ):
            first, last = getattr(self, low), getattr(self, high)
            if first is not None and last is not None and last < first + least:
                accepted = f"more than {low}, {first}" if least else f"at least {low}, {first}"
                raise InvalidInputError(f"selection.{high}", found=last, accepted=accepted)

    def selector(
        self, *, now: float, bucket: str, source_prefix: str = "", scheme: str = "s3"
    ) -> Select:
        """Return what decides about listed objects, made once for a whole listing.

        :param now: the moment of the plan, in seconds since the epoch, which ages count from.
        :raises InvalidInputError: for patterns that :meth:`check` refuses.
        """
        tests = [
            *self._number_tests(now),
            *self._class_tests(next(iter(_classes(scheme)), None)),
            *self._key_tests(bucket, source_prefix),
        ]

        def select(listed: ListedObject) -> bool:
            for test in tests:  # noqa: SIM110 - `all` of a generator takes twice as long
                if not test(listed):
                    return False
            return True

        return select

    def with_ignored(self, lines: Sequence[str]) -> Selection:
        """Return the same, and these lines of an ignore list."""
        return replace(self, ignore=tuple(lines))

    def to_json_dict(self) -> dict[str, Any]:
        """Return what is asked for and nothing else, as it stands in a manifest."""
        given = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in given.items()}

    def _patterns(self) -> tuple[list[str], list[str], list[str]]:
        """Return regexes: of what includes, of what excludes, and of ignored objects."""
        wanted = _regexes("include", self.include, self.include_regex)
        unwanted = _regexes("exclude", self.exclude, self.exclude_regex)
        return wanted, unwanted, [ignore_regex(line) for line in self.ignore]

    def _number_tests(self, now: float) -> list[Select]:
        least, most = self.min_size, self.max_size
        tests: list[Select] = []
        if least is not None:
            tests.append(lambda listed: listed.size >= least)
        if most is not None:
            tests.append(lambda listed: listed.size <= most)
        ages = (self.min_age_s, self.max_age_s)
        newest, oldest = (None if age is None else now - age for age in ages)
        start, stop = self.modified_after, self.modified_before
        if newest is not None:
            tests.append(lambda listed: listed.last_modified <= newest)
        if oldest is not None:
            tests.append(lambda listed: listed.last_modified >= oldest)
        if start is not None:
            tests.append(lambda listed: listed.last_modified >= start)
        if stop is not None:
            tests.append(lambda listed: listed.last_modified < stop)
        return tests

    def _class_tests(self, plain: str | None) -> list[Select]:
        wanted, unwanted = frozenset(self.storage_classes), frozenset(self.exclude_storage_classes)
        tests: list[Select] = []
        if wanted:
            tests.append(lambda listed: (listed.storage_class or plain) in wanted)
        if unwanted:
            tests.append(lambda listed: (listed.storage_class or plain) not in unwanted)
        return tests

    def _key_tests(self, bucket: str, source_prefix: str) -> list[Select]:
        start = source_prefix.rfind("/") + 1
        included, excluded, ignored = map(matcher, self._patterns())
        tests: list[Select] = []
        if included is not None:
            tests.append(lambda listed: included(listed.key[start:]) is not None)
        if excluded is not None:
            tests.append(lambda listed: excluded(listed.key[start:]) is None)
        if ignored is not None:
            tests.append(lambda listed: ignored(f"{bucket}/{listed.key}") is None)
        return tests


def _regexes(name: str, globs: Sequence[str], regexes: Sequence[str]) -> list[str]:
    made = [regex for one in globs for regex in glob_regexes(one, parameter=f"selection.{name}")]
    return made + [check_regex(one, parameter=f"selection.{name}_regex") for one in regexes]


# --- reading what a person wrote ----------------------------------------------------------------


def lines_of(parameter: str, value: object) -> tuple[str, ...]:
    """Return the texts of a list, or the lines of a text that are not blank.

    :raises InvalidInputError: naming the parameter, for anything else.
    """
    if isinstance(value, str):
        lines = (line.removesuffix("\r") for line in value.split("\n"))
        return tuple(line for line in lines if line.strip())
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise InvalidInputError(parameter, found=value, accepted=_TEXTS)
    if not all(one.strip() for one in value):
        raise InvalidInputError(parameter, found=value, accepted=f"{_TEXTS}, none of them blank")
    return tuple(value)


def _amount(parameter: str, value: object, units: Mapping[str, int], accepted: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2] not in units:
        raise InvalidInputError(parameter, found=value, accepted=accepted)
    return int(found[1]) * units[found[2]]


def _size(parameter: str, value: object) -> int:
    return _amount(parameter, value, _UNITS, _SIZE)


def _age(parameter: str, value: object) -> int:
    return _amount(parameter, value, _SPANS, _AGE)


def _moment(parameter: str, value: object) -> float:
    try:
        found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError as error:
        raise InvalidInputError(parameter, found=value, accepted=_TIME) from error
    if not isinstance(found, datetime):
        raise InvalidInputError(parameter, found=value, accepted=_TIME)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _classes(scheme: str) -> tuple[str, ...]:
    """Return the classes of a scheme; files and web pages have none."""
    return STORAGE_CLASSES.get(scheme, ())


def _check_classes(parameter: str, classes: Sequence[str], scheme: str) -> None:
    known = _classes(scheme)
    unknown = [one for one in classes if one not in known]
    if unknown:
        accepted = f"classes of {scheme}:// objects: {', '.join(known) or 'there are none'}"
        raise InvalidInputError(parameter, found=", ".join(unknown), accepted=accepted)


_READERS: Final[Mapping[str, tuple[str, Callable[[str, object], Any]]]] = {
    "include": ("include", lines_of),
    "exclude": ("exclude", lines_of),
    "include_regex": ("include_regex", lines_of),
    "exclude_regex": ("exclude_regex", lines_of),
    "min_size": ("min_size", _size),
    "max_size": ("max_size", _size),
    "min_age": ("min_age_s", _age),
    "max_age": ("max_age_s", _age),
    "modified_after": ("modified_after", _moment),
    "modified_before": ("modified_before", _moment),
    "storage_classes": ("storage_classes", lines_of),
    "exclude_storage_classes": ("exclude_storage_classes", lines_of),
}
SELECTION_NAMES: Final = tuple(_READERS)
"""What a selection may name, as :meth:`Selection.parse` reads it."""
_SELECTING: Final = frozenset({"include", "include_regex", "storage_classes"})
"""Names under which blank lines alone would select everything, though some were to be named."""
