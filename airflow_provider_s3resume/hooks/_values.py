"""Arguments as templates leave them: a rendered number or flag arrives as text."""

from __future__ import annotations

import json

from airflow_provider_s3resume.exceptions import InvalidInputError

_FLAGS = {"true": True, "false": False}


def flag(parameter: str, value: object) -> bool:
    """Return a true or false.

    :raises InvalidInputError: for anything else.
    """
    found = _FLAGS.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise InvalidInputError(parameter, found=value, accepted="true or false")
    return found


def whole(parameter: str, value: object) -> int:
    """Return a whole number; whether it is in range is for its user to say.

    :raises InvalidInputError: if it is none.
    """
    try:
        if isinstance(value, str):
            return int(value)
    except ValueError as error:
        raise InvalidInputError(parameter, found=value, accepted="a whole number") from error
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInputError(parameter, found=value, accepted="a whole number")
    return value


def optional(value: str | None) -> str | None:
    """Return ``None`` for an empty text: what a template gives for a parameter left out."""
    return value or None


def document(parameter: str, value: object) -> object:
    """Return the JSON document that a template rendered, or the value that is one already.

    :raises InvalidInputError: for a text that is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise InvalidInputError(parameter, found=value[:80], accepted="a JSON document") from error
