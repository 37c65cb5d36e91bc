"""The arguments ``key_mapping`` and ``key_function`` as a person gives them.

A function is code that runs on the worker: it is named where the DAG is written, and nowhere that
a run's form or a template could reach.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._values import document
from airflow_provider_s3resume.plan.renaming import Renaming

_PATH = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)
_ACCEPTED = "the name of a function as 'package.module:function', which takes a key and returns one"


def renaming_of(key_mapping: object, key_function: object) -> Renaming | None:
    """Return what becomes of keys besides the exchange of prefixes, ``None`` for nothing.

    :raises InvalidInputError: naming what cannot be used.
    """
    given = document("key_mapping", key_mapping or None)
    if given is not None and not isinstance(given, Mapping):
        accepted = "names and values, such as {'strip_prefix': 'old/', 'add_prefix': 'new/'}"
        raise InvalidInputError("key_mapping", found=given, accepted=accepted)
    function = None if key_function is None else _imported(key_function)
    name = "" if key_function is None else str(key_function)
    return Renaming.parse(given or {}, function, name)


def _imported(path: object) -> Callable[[str], object]:
    found = _PATH.fullmatch(path) if isinstance(path, str) else None
    if found is None:
        raise InvalidInputError("key_function", found=path, accepted=_ACCEPTED)
    try:
        function: object = getattr(importlib.import_module(found[1]), found[2])
    except (ImportError, AttributeError) as error:
        told = f"{path}: {type(error).__name__}"
        raise InvalidInputError("key_function", found=told, accepted=_ACCEPTED) from error
    if not callable(function):
        told = f"{path}: {type(function).__name__}"
        raise InvalidInputError("key_function", found=told, accepted=_ACCEPTED)
    return function
