"""Clients and stores of OSS over a connection that has been checked already.

Imported only when a client is made: a DAG file is read every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import oss2

from airflow_provider_s3resume.exceptions import InvalidInputError, StoreError
from airflow_provider_s3resume.hooks._oss_providers import make_provider
from airflow_provider_s3resume.hooks._renewing import RenewableStore
from airflow_provider_s3resume.storage._oss_errors import translated
from airflow_provider_s3resume.storage.oss import (
    OSSStore,
    make_bucket,
    oss_settings_from_extra,
    service_of,
)

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks._oss_connections import OSSFacts

__all__ = ["RenewableStore", "count_buckets", "make_client", "make_store"]

_NO_BUCKET = "any-bucket"


def make_client(facts: OSSFacts, bucket: str) -> oss2.Bucket:
    """Return a client of one bucket.

    :raises InvalidInputError: naming the field of the connection.
    """
    address = facts.address
    with _of_connection(facts):
        settings = oss_settings_from_extra(facts.settings)
        return make_bucket(_make_auth(facts), address.endpoint, bucket, address.region, settings)


def make_store(facts: OSSFacts, bucket: str) -> OSSStore:
    """Return one bucket as a store, without any layer.

    :raises InvalidInputError: naming the field of the connection.
    """
    with _of_connection(facts):
        settings = oss_settings_from_extra(facts.settings)
    address = facts.address
    service = service_of(address.endpoint, address.region, settings.is_cname)
    return OSSStore(make_client(facts, bucket), service=service, settings=settings)


@contextmanager
def _of_connection(facts: OSSFacts) -> Iterator[None]:
    """Say in an error of a field whose connection it is: a task has two of them."""
    try:
        yield
    except InvalidInputError as error:
        if facts.subject in error.parameter:
            raise
        named = f"{error.parameter} of {facts.subject}"
        raise InvalidInputError(named, found=error.found, accepted=error.accepted) from None


def count_buckets(facts: OSSFacts) -> int:
    """Return how many buckets the service shows on one page.

    :raises InvalidInputError: naming the field of the connection.
    :raises StoreError: as the service says.
    """
    client = make_client(facts, _NO_BUCKET)
    service = oss2.Service(
        client.auth,
        client.endpoint,
        session=client.session,
        connect_timeout=client.timeout,
        region=client.region,
        is_path_style=oss_settings_from_extra(facts.settings).is_path_style,
    )
    operation, endpoint = "ListBuckets", facts.address.endpoint
    with translated(operation, endpoint):
        try:
            return len(service.list_buckets().buckets)
        except RuntimeError as error:
            # That is what oss2 raises over an entry that is missing or not what it should be.
            detail = f"{error}; is the endpoint one of Alibaba Cloud OSS?"
            raise StoreError(operation, endpoint, detail) from error


def _make_auth(facts: OSSFacts) -> Any:  # noqa: ANN401 - the SDK has no annotations
    provider = make_provider(facts.credentials, facts.subject)
    if facts.address.signature_version == "v1":
        return oss2.ProviderAuth(provider)
    return oss2.ProviderAuthV4(provider)
