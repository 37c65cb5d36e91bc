"""What gives the OSS SDK its credentials, by the connection's ``auth_type``."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from oss2.credentials import (
    EcsRamRoleCredentialsProvider,
    EnvironmentVariableCredentialsProvider,
    StaticCredentialsProvider,
)

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    S3ResumeError,
    TransientStoreError,
)

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks._oss_credentials import Credentials

METADATA_URL = "http://100.100.100.200/latest/meta-data/ram/security-credentials/"
"""Where an ECS instance finds the credentials of its role ("Instance RAM roles")."""
_ENVIRONMENT = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET")
_ACCEPTED = "a callable without arguments that returns an oss2 CredentialsProvider"


def make_provider(credentials: Credentials, subject: str) -> Any:  # noqa: ANN401 - the SDK has no annotations
    """Return what the SDK asks for credentials, at every request.

    :param subject: how errors call the connection.
    :raises InvalidInputError: if the credentials that are meant cannot be had.
    """
    if credentials.auth_type == "custom":
        return _UsersProvider(credentials.provider, f"extra 'credentials_provider' of {subject}")
    if credentials.auth_type == "ecs_ram_role":
        return EcsRamRoleCredentialsProvider(METADATA_URL + credentials.role_name)
    if credentials.auth_type == "env":
        _check_environment(subject)
        return EnvironmentVariableCredentialsProvider()
    return StaticCredentialsProvider(
        credentials.access_key_id, credentials.access_key_secret, credentials.security_token
    )


def _check_environment(subject: str) -> None:
    missing = [name for name in _ENVIRONMENT if not os.environ.get(name)]
    if missing:
        raise InvalidInputError(
            f"extra 'auth_type' of {subject}",
            found=f"'env', and no {missing[0]} in the environment",
            accepted=" and ".join(_ENVIRONMENT) + " in the environment of every worker",
        )


class _UsersProvider:
    """A provider of the user's own.

    Whatever its code raises, the text of that may hold a secret: only its type is told.
    """

    def __init__(self, path: str, parameter: str) -> None:
        self._path = path
        self._parameter = parameter
        self._provider = _told(self._imported(), self._refuse)
        if not callable(getattr(self._provider, "get_credentials", None)):
            raise self._refuse(f"which returned {type(self._provider).__name__}")

    def get_credentials(self) -> Any:  # noqa: ANN401 - as above
        """Return the credentials of this moment.

        :raises TransientStoreError: if the provider failed: it may be a service that did not
            answer.
        """
        found = _told(
            self._provider.get_credentials,
            lambda why: TransientStoreError("get_credentials", self._path, why),
        )
        if not callable(getattr(found, "get_access_key_id", None)):
            raise self._refuse(f"whose get_credentials returned {type(found).__name__}")
        return found

    def _imported(self) -> Callable[[], Any]:
        module, _, name = self._path.replace(":", ".").rpartition(".")
        try:
            found: Callable[[], Any] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise self._refuse(f"which cannot be imported: {error}") from error
        return found

    def _refuse(self, why: str) -> InvalidInputError:
        return InvalidInputError(self._parameter, found=f"{self._path}, {why}", accepted=_ACCEPTED)


def _told(call: Callable[[], Any], error_of: Callable[[str], S3ResumeError]) -> Any:  # noqa: ANN401 - as above
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        raise error_of(f"which raised {type(error).__name__}") from None
