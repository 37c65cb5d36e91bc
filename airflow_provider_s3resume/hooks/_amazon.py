"""The amazon provider's connection machinery over a connection that has been checked already.

Imported only when a client is made: boto3 costs a DAG parse more than everything else here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
)
from botocore.exceptions import ConnectionError as EndpointError

from airflow_provider_s3resume.exceptions import InvalidInputError, StoreError
from airflow_provider_s3resume.hooks import _renewing
from airflow_provider_s3resume.hooks._access import check_signable
from airflow_provider_s3resume.hooks._clients import (
    read_times_quickly,
    share_descriptions,
    sign_without_copies,
)
from airflow_provider_s3resume.hooks._services import AMAZON, service_of
from airflow_provider_s3resume.plan.access_points import is_arn, region_of
from airflow_provider_s3resume.storage._s3_errors import translated
from airflow_provider_s3resume.storage.s3 import S3Store, discover_region

if TYPE_CHECKING:
    from types import FrameType

    from boto3.session import Session
    from mypy_boto3_s3.client import S3Client

    from airflow_provider_s3resume.hooks._connections import Facts
    from airflow_provider_s3resume.storage.s3 import S3Settings

CLIENT_ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError)
_OF_WHO_GIVES: Final = (
    ClientError,
    CredentialRetrievalError,
    EndpointError,
    HTTPClientError,
    MetadataRetrievalError,
)
"""What is raised when a role is assumed, or the machine asked for credentials, and that fails."""
_ASSUMED: Final = "sts-assume-role"


class CheckedConnectionHook(AwsBaseHook):
    """The amazon hook, with profiles, keys, roles, tokens, custom session factories and all.

    The connection is handed in: the amazon hook itself goes on without a connection that it does
    not find, with whatever credentials the machine has.
    """

    def __init__(self, facts: Facts, client_type: str = "s3") -> None:
        super().__init__(aws_conn_id=facts.conn_id, client_type=client_type)
        self._facts = facts

    @cached_property
    def conn_config(self) -> AwsConnectionWrapper:
        """Return the connection as the amazon provider reads it."""
        facts = self._facts
        wrapper: AwsConnectionWrapper = AwsConnectionWrapper.from_connection_metadata(
            conn_id=facts.conn_id, login=facts.login, password=facts.password, extra=facts.extra
        )
        return wrapper

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Session:  # noqa: FBT001, FBT002 - the amazon hook's own
        """Return the session; what it was given for a role is used for most of its time."""
        session: Session = super().get_session(region_name, deferrable)
        share_descriptions(session)
        read_times_quickly(session)
        if self._facts.settings.get("unsigned") is not True:
            # Without need, boto3 would look for some on the machine, and in its metadata service.
            _refresh_late(session.get_credentials())
        return session

    @staticmethod
    def _find_operator_class_name(target_function_name: str) -> str | None:
        """Return the class of what is at work, which the amazon hook tells in the user agent.

        That one looks for it twice in a list of all that has called, with the source of each: a
        quarter of the time that a task takes to make its clients.
        """
        frame: FrameType | None = sys._getframe()  # noqa: SLF001
        while frame is not None and frame.f_code.co_name != target_function_name:
            frame = frame.f_back
        return None if frame is None else type(frame.f_locals["self"]).__name__

    @staticmethod
    def _find_executor_class_name() -> str | None:
        """Return that none of Airflow's executors uses the hook."""
        return None


def _refresh_late(credentials: object) -> None:
    """Let credentials of a role be refreshed in the last quarter of their time.

    botocore asks for new ones from 15 minutes before the end, and lets all wait for them from 10
    minutes before. Of those that are good for 15 minutes, the least that a role can be asked for,
    it would want new ones at every request. Of an hour, a quarter is what botocore does anyway.
    """
    if isinstance(credentials, RefreshableCredentials) and credentials.method == _ASSUMED:
        # botocore takes both when they are made, which the amazon provider does.
        known: Any = credentials
        lasts = known._seconds_remaining()  # noqa: SLF001
        known._advisory_refresh_timeout = min(known._advisory_refresh_timeout, lasts / 4)  # noqa: SLF001
        known._mandatory_refresh_timeout = min(known._mandatory_refresh_timeout, lasts / 6)  # noqa: SLF001


@contextmanager
def making_client(facts: Facts) -> Iterator[None]:
    """Say in an error of ours why no client can be made from a connection.

    :raises InvalidInputError: if the connection cannot make one.
    :raises StoreError: if whoever gives the credentials does not.
    """
    try:
        yield
    except _OF_WHO_GIVES as error:
        with translated(getattr(error, "operation_name", "GetCredentials"), facts.subject):
            raise
    except (BotoCoreError, ValueError, TypeError, NotImplementedError) as error:
        # Their texts name fields and places, as an unknown profile or a region: never a secret.
        accepted = "fields that the amazon provider's connections take"
        raise InvalidInputError(
            facts.subject, found=f"{type(error).__name__}: {error}", accepted=accepted
        ) from error


def make_client(facts: Facts, config: dict[str, Any]) -> S3Client:
    """Return a client; what the connection says in ``config_kwargs`` wins over ``config``.

    :raises InvalidInputError: if the connection cannot make one.
    :raises StoreError: if whoever gives the credentials does not.
    """
    with making_client(facts):
        hook = CheckedConnectionHook(facts)
        client: S3Client = hook.get_client_type(
            region_name=hook.region_name, config=_merged(config, hook.config)
        )
    sign_without_copies(client)
    return client


def make_client_near(facts: Facts, config: dict[str, Any], bucket: str) -> S3Client:
    """Return a client in the bucket's own region, if the connection names no region and no host.

    A client of another region is redirected by the service, once for every new connection. The ARN
    of an access point says its region.

    :raises InvalidInputError: also for a Multi-Region Access Point that nothing here signs for.
    """
    check_signable(bucket, facts.subject)
    named = facts.extra.get("region_name")
    region = region_of(bucket)
    if region is not None and not named:
        facts = replace(facts, extra={**facts.extra, "region_name": region})
    client = make_client(facts, config)
    if is_arn(bucket):
        return client
    if service_of(client.meta.endpoint_url) not in AMAZON or named:
        return client
    try:
        region = discover_region(client, bucket, facts.settings.get("expected_bucket_owner"))
    except StoreError:
        return client  # The first real call says what is wrong, and of which place.
    if region in {"", client.meta.region_name}:
        return client
    return make_client(replace(facts, extra={**facts.extra, "region_name": region}), config)


def _merged(ours: dict[str, Any], users: Config) -> Config:
    nested: Any = {**ours.get("s3", {}), **(getattr(users, "s3", None) or {})}
    return Config(**ours).merge(users).merge(Config(s3=nested))


class RenewableStore(_renewing.RenewableStore):
    """An S3 store whose client can be made again.

    :param make: reads the connection and returns a client.
    :param settings: what the connection says about its service.
    """

    def __init__(
        self, make: Callable[[], S3Client], bucket: str, settings: Callable[[], S3Settings]
    ) -> None:
        def make_store() -> S3Store:
            client, said = make(), settings()
            service = service_of(client.meta.endpoint_url, client.meta.region_name)
            if said.customer_key is not None and not service.startswith("https://"):
                # The connection was checked; this one may come from the environment.
                accepted = "an https:// endpoint: a customer's key would go over an open line"
                raise InvalidInputError("endpoint", found=service, accepted=accepted)
            return S3Store(client, bucket, service=service, settings=said)

        super().__init__(make_store)
