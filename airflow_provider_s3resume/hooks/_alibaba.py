"""Clients and stores of OSS over a connection that has been checked already.

Imported only when a client is made: a DAG file is read every few seconds.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import oss2
from oss2.credentials import (
    EcsRamRoleCredentialsProvider,
    EnvironmentVariableCredentialsProvider,
    StaticCredentialsProvider,
)

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.storage.layers import Layer
from airflow_provider_s3resume.storage.oss import (
    OSSStore,
    make_bucket,
    oss_settings_from_extra,
    service_of,
)

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks._oss_connections import OSSFacts

METADATA_URL = "http://100.100.100.200/latest/meta-data/ram/security-credentials/"
"""Where an ECS instance finds the credentials of its role ("Instance RAM roles")."""
CLIENT_ERRORS: tuple[type[Exception], ...] = (oss2.exceptions.OssError, OSError)
"""What the SDK lets through: its own errors, and those of requests (they are ``OSError``)."""
_ENVIRONMENT = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET")


def make_auth(facts: OSSFacts) -> Any:  # noqa: ANN401 - the SDK has no annotations
    """Return what signs the requests.

    :raises InvalidInputError: if the credentials that are meant cannot be had.
    """
    provider = _PROVIDERS[facts.credentials.auth_type](facts)
    if facts.address.signature_version == "v1":
        return oss2.ProviderAuth(provider)
    return oss2.ProviderAuthV4(provider)


def make_client(facts: OSSFacts, bucket: str) -> oss2.Bucket:
    """Return a client of one bucket.

    :raises InvalidInputError: naming the field of the connection.
    """
    address = facts.address
    settings = oss_settings_from_extra(facts.settings)
    return make_bucket(make_auth(facts), address.endpoint, bucket, address.region, settings)


def make_store(facts: OSSFacts, bucket: str) -> OSSStore:
    """Return one bucket as a store, without any layer.

    :raises InvalidInputError: naming the field of the connection.
    """
    settings = oss_settings_from_extra(facts.settings)
    address = facts.address
    service = service_of(address.endpoint, address.region, settings.is_cname)
    return OSSStore(make_client(facts, bucket), service=service, settings=settings)


def count_buckets(facts: OSSFacts) -> int:
    """Return how many buckets the service shows of one page of them."""
    client = make_client(facts, "unnamed")
    service = oss2.Service(
        client.auth,
        client.endpoint,
        session=client.session,
        connect_timeout=client.timeout,
        region=client.region,
    )
    return len(service.list_buckets().buckets)


class RenewableStore(Layer):
    """A store that can be made again, when its credentials have expired.

    Providers of roles refresh themselves; this is for tokens that stand in the connection, and
    that somebody renews there.
    """

    def __init__(self, make: Callable[[], OSSStore]) -> None:
        self._make = make
        super().__init__(make())

    def renew(self) -> None:
        """Go on with a new client; what is being read goes on with the old one."""
        self.inner = self._make()


def _static(facts: OSSFacts) -> Any:  # noqa: ANN401 - as above
    found = facts.credentials
    return StaticCredentialsProvider(
        found.access_key_id, found.access_key_secret, found.security_token
    )


def _role_of_the_machine(facts: OSSFacts) -> Any:  # noqa: ANN401 - as above
    return EcsRamRoleCredentialsProvider(METADATA_URL + facts.credentials.role_name)


def _environment(facts: OSSFacts) -> Any:  # noqa: ANN401 - as above
    missing = [name for name in _ENVIRONMENT if not os.environ.get(name)]
    if missing:
        raise InvalidInputError(
            f"extra 'auth_type' of {facts.subject}",
            found=f"'env', and no {missing[0]} in the environment",
            accepted=" and ".join(_ENVIRONMENT) + " in the environment of every worker",
        )
    return EnvironmentVariableCredentialsProvider()


def _custom(facts: OSSFacts) -> Any:  # noqa: ANN401 - as above
    path = facts.credentials.provider
    parameter = f"extra 'credentials_provider' of {facts.subject}"
    accepted = "a callable without arguments that returns an oss2 CredentialsProvider"
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        found = f"{path}: {error}"
        raise InvalidInputError(parameter, found=found, accepted=accepted) from error
    try:
        provider = make()
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        # Whatever it raises, its text may hold a secret.
        found = f"{path}, which raised {type(error).__name__}"
        raise InvalidInputError(parameter, found=found, accepted=accepted) from None
    if not callable(getattr(provider, "get_credentials", None)):
        found = f"{path}, which returned {type(provider).__name__}"
        raise InvalidInputError(parameter, found=found, accepted=accepted)
    return provider


_PROVIDERS: Mapping[str, Callable[[OSSFacts], Any]] = {
    "AK": _static,
    "STS": _static,
    "ecs_ram_role": _role_of_the_machine,
    "env": _environment,
    "custom": _custom,
}
