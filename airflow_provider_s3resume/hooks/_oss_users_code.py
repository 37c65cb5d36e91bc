"""Credentials from the user's own code, whose errors may hold secrets: only their type is told.

Python keeps what was raised as the context of what is raised while it is handled, and logs print
that too. So everything here is raised after the user's error has been dealt with (c42).
"""

from __future__ import annotations

import importlib
import logging
import re
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    S3ResumeError,
    TransientStoreError,
)
from airflow_provider_s3resume.hooks._oss_metadata import Keys

log = logging.getLogger(__name__)
T = TypeVar("T")

_OPERATION: Final = "get_credentials"
_ACCEPTED: Final = "a callable without arguments that returns an oss2 CredentialsProvider"
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z", re.ASCII)
_MISTAKES: Final = (TypeError, ImportError)
"""Errors that come again: arguments that are missing, modules that are not installed."""


class UsersProvider:
    """A provider that a callable of the user's own returns.

    The callable is tried at once, so that what is no provider is refused before anything is read.
    If it fails in a way that may pass, it is called again when credentials are needed.

    :param path: dotted path of the callable.
    :param parameter: what errors name.
    """

    def __init__(self, path: str, parameter: str) -> None:
        self._path = path
        self._parameter = parameter
        self._lock = threading.Lock()
        self._made: Any = None
        self._make = self._imported()
        try:
            self._provider()
        except TransientStoreError as error:
            log.warning("It will be called again: %s", error)

    def keys(self) -> Keys:
        """Return the credentials of this moment.

        :raises TransientStoreError: if the user's code failed: it may have asked a service that did
            not answer.
        :raises InvalidInputError: if another try cannot help.
        """
        found = self._asked(self._provider().get_credentials)
        keys = self._asked(lambda: _keys_of(found))
        if keys is None:
            raise self._refuse(f"whose get_credentials returned {type(found).__name__}")
        return keys

    def _provider(self) -> Any:  # noqa: ANN401 - whatever the user's code returns
        with self._lock:
            if self._made is None:
                self._made = self._new_provider()
            return self._made

    def _new_provider(self) -> Any:  # noqa: ANN401 - as above
        found = self._asked(self._make)
        if not self._asked(lambda: callable(getattr(found, "get_credentials", None))):
            raise self._refuse(f"which returned {type(found).__name__}")
        return found

    def _imported(self) -> Callable[[], Any]:
        module, _, name = self._path.replace(":", ".").rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except Exception as error:  # noqa: BLE001 - a module may raise anything
            why = _why_not_imported(error)
        else:
            why = "" if callable(found) else f"which is no callable but {type(found).__name__}"
            if not why:
                make: Callable[[], Any] = found
                return make
        raise self._refuse(why)

    def _asked(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            raised = self._told(error)
        raise raised

    def _told(self, error: Exception) -> S3ResumeError:
        why = f"which raised {type(error).__name__}"
        if isinstance(error, _MISTAKES):
            return self._refuse(why)
        return TransientStoreError(_OPERATION, self._path, why)

    def _refuse(self, why: str) -> InvalidInputError:
        return InvalidInputError(self._parameter, found=f"{self._path}, {why}", accepted=_ACCEPTED)


def _keys_of(found: Any) -> Keys | None:  # noqa: ANN401 - as above
    """Return what the SDK would ask of credentials, ``None`` if they are none."""
    names = ("get_access_key_id", "get_access_key_secret", "get_security_token")
    key_id, secret, token = (getattr(found, name, None) for name in names)
    if not (callable(key_id) and callable(secret) and callable(token)):
        return None
    return key_id(), secret(), token()


def _why_not_imported(error: Exception) -> str:
    """Tell the error's type, and the module that is missing: Python itself sets that name."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    named = missing is not None and _MODULE.match(missing)
    detail = f"no module named {missing}" if named else type(error).__name__
    return f"which cannot be imported: {detail}"
