"""What gives the OSS SDK its credentials, by the connection's ``auth_type``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from oss2.credentials import Credentials as SDKCredentials

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._oss_credentials import can_be_sent
from airflow_provider_s3resume.hooks._oss_metadata import METADATA, Keys, RoleKeys
from airflow_provider_s3resume.hooks._oss_users_code import UsersProvider

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks._oss_credentials import Credentials

_NAMES: Final = ("access_key_id", "access_key_secret", "security_token")
_ENVIRONMENT: Final = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
_NEEDED: Final = 2
"""The token may be missing, the names before it may not."""


class Provider:
    """What the SDK asks for credentials, at every request.

    Those that were read from a file or a secret often end with a line break. The SDK would put that
    into a header, and the HTTP client refuse it in words that repeat it (c42).

    :param keys: gives the credentials of this moment.
    :param parameter: what errors name.
    :param names: what errors call the three.
    """

    def __init__(
        self, keys: Callable[[], Keys], parameter: str, names: tuple[str, str, str] = _NAMES
    ) -> None:
        self._keys = keys
        self._parameter = parameter
        self._names = names

    def get_credentials(self) -> SDKCredentials:
        """Return the credentials of this moment, without surrounding whitespace.

        :raises InvalidInputError: naming the one that is missing or cannot be sent.
        :raises StoreError: if whoever gives them failed.
        """
        named = zip(self._names, self._keys(), strict=True)
        texts = {name: self._text(name, found) for name, found in named}
        missing = [name for name in self._names[:_NEEDED] if not texts[name]]
        if missing:
            raise self._refuse(f"no {missing[0]}")
        return SDKCredentials(*texts.values())

    def _text(self, name: str, found: object) -> str:
        text = "" if found is None else found.strip() if isinstance(found, str) else None
        if text is None or not can_be_sent(text):
            raise self._refuse(f"a value of {name} that cannot be sent (it is not repeated here)")
        return text

    def _refuse(self, found: str) -> InvalidInputError:
        needed, token = " and ".join(self._names[:_NEEDED]), self._names[_NEEDED]
        accepted = f"{needed}, and {token} if there is one, of printable ASCII characters"
        return InvalidInputError(self._parameter, found=found, accepted=accepted)


def make_provider(credentials: Credentials, subject: str) -> Provider:
    """Return what the SDK asks for credentials, at every request.

    :param subject: how errors call the connection.
    :raises InvalidInputError: if the credentials that are meant cannot be had.
    """
    if credentials.auth_type == "custom":
        parameter = f"extra 'credentials_provider' of {subject}"
        return Provider(UsersProvider(credentials.provider, parameter).keys, parameter)
    if credentials.auth_type == "ecs_ram_role":
        role = RoleKeys(credentials.role_name, METADATA)
        return Provider(role.keys, f"extra 'role_name' of {subject}")
    if credentials.auth_type == "env":
        parameter = f"environment of the worker, as auth_type of {subject} is 'env'"
        provider = Provider(_in_environment, parameter, _ENVIRONMENT)
        # Refused before anything is read; the SDK asks again at every request.
        provider.get_credentials()
        return provider
    keys = (
        credentials.access_key_id,
        credentials.access_key_secret,
        credentials.security_token,
    )
    return Provider(lambda: keys, f"extra of {subject}")


def _in_environment() -> Keys:
    key_id, secret, token = (os.environ.get(name) for name in _ENVIRONMENT)
    return key_id, secret, token
