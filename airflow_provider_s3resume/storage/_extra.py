"""Reads single fields of a connection's extra, each checked when it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeGuard, TypeVar

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.storage._pace import Patience

T = TypeVar("T")
_DAY_S: Final = 86_400
_MOST_CONNECTIONS: Final = 10_000


def flag(extra: Mapping[str, object], name: str, *, default: bool) -> bool:
    """Return a field that is true or false.

    :raises InvalidInputError: naming the field.
    """
    found = extra.get(name, default)
    if not isinstance(found, bool):
        raise InvalidInputError(f"extra.{name}", found=found, accepted="true or false")
    return found


def choice(extra: Mapping[str, object], name: str, choices: Mapping[str, T], default: str) -> T:
    """Return what a field that is one of some words stands for.

    :raises InvalidInputError: naming the field.
    """
    found = extra.get(name, default)
    if not isinstance(found, str) or found not in choices:
        accepted = "one of " + ", ".join(repr(word) for word in choices)
        raise InvalidInputError(f"extra.{name}", found=found, accepted=accepted)
    return choices[found]


def seconds(extra: Mapping[str, object], name: str, default: float) -> float:
    """Return a field that is a time to wait: at most a day, since no socket waits for ever.

    :raises InvalidInputError: naming the field.
    """
    found = extra.get(name, default)
    if not _is_number(found) or not 0 < found <= _DAY_S:
        accepted = f"a number of seconds above 0, at most {_DAY_S}"
        raise InvalidInputError(f"extra.{name}", found=found, accepted=accepted)
    return found


def connections(extra: Mapping[str, object], default: int) -> int:
    """Return how many connections may be kept open.

    :raises InvalidInputError: naming the field.
    """
    found = count(extra, "connections", default)
    if found > _MOST_CONNECTIONS:
        accepted = f"at most {_MOST_CONNECTIONS}"
        raise InvalidInputError("extra.connections", found=found, accepted=accepted)
    return found


def patience(extra: Mapping[str, object]) -> Patience:
    """Return when a connection is given up that moves bytes, but too few.

    Fields: ``low_speed_bytes_per_s``, ``low_speed_time_s``, ``answer_deadline_s`` and
    ``complete_deadline_s``.

    :raises InvalidInputError: naming the field.
    """
    base = Patience()
    return Patience(
        low_speed_bytes_per_s=count(extra, "low_speed_bytes_per_s", base.low_speed_bytes_per_s),
        low_speed_time_s=seconds(extra, "low_speed_time_s", base.low_speed_time_s),
        answer_deadline_s=seconds(extra, "answer_deadline_s", base.answer_deadline_s),
        complete_deadline_s=seconds(extra, "complete_deadline_s", base.complete_deadline_s),
    )


def count(extra: Mapping[str, object], name: str, default: int, *, of: str = "") -> int:
    """Return a field that is a whole number above 0.

    :param of: what stands before the name, for a field inside of another one.
    :raises InvalidInputError: naming the field.
    """
    found = extra.get(name, default)
    if not _is_number(found) or found <= 0 or found != int(found):
        accepted = "a whole number above 0"
        raise InvalidInputError(f"extra.{of}{name}", found=found, accepted=accepted)
    return int(found)


def _is_number(found: object) -> TypeGuard[int | float]:
    """Tell whether a value can be reckoned with: JSON as Python reads it has NaN and Infinity."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return isinstance(found, int) or math.isfinite(found)
