"""Reads single fields of a connection's extra, each checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from airflow_provider_s3resume.exceptions import InvalidInputError

T = TypeVar("T")


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


def positive(extra: Mapping[str, object], name: str, default: float, *, of: str = "") -> float:
    """Return a field that is a number above 0.

    :param of: what stands before the name, for a field inside of another one.
    :raises InvalidInputError: naming the field.
    """
    found = extra.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or found <= 0:
        raise InvalidInputError(f"extra.{of}{name}", found=found, accepted="a number above 0")
    return found
