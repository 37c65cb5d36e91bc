"""``S3ResumeHook``: from an Airflow connection to an ``ObjectStore``."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.hooks._airflow import BaseHook
from airflow_provider_s3resume.hooks._connections import Facts, read_connection
from airflow_provider_s3resume.hooks._form import form_behaviour, form_widgets
from airflow_provider_s3resume.hooks._reading import find_connection, rates_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3.client import S3Client

    from airflow_provider_s3resume.hooks._amazon import RenewableStore
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.storage.layers import Budget, Wait
    from airflow_provider_s3resume.storage.s3 import S3Settings


class S3ResumeHook(BaseHook):
    """Stores on Amazon S3 and compatible services.

    Takes connections of the amazon provider's type ``aws``, with all that they can say (keys,
    profiles, roles to assume, session tokens, ``endpoint_url``, ``verify``, ``config_kwargs``,
    ``service_config``), and of our own type ``s3resume``, which is the same with form fields, the
    endpoint in ``host`` and the bucket to test in ``schema``.

    What the service can do and accepts stands in the extra field ``s3resume``. A value comes from
    the argument, else from the connection, else it is Amazon S3's.

    :param s3_conn_id: the connection; ``None`` for what boto3 finds on the machine by itself.
    :param parameter: what errors call the connection, such as ``source_conn_id``.
    """

    conn_name_attr: ClassVar[str] = "s3_conn_id"
    default_conn_name: ClassVar[str] = "s3resume_default"
    conn_type: ClassVar[str] = "s3resume"
    hook_name: ClassVar[str] = "S3 or compatible, for s3resume"

    def __init__(
        self,
        s3_conn_id: str | None = default_conn_name,
        *,
        parameter: str = "s3_conn_id",
    ) -> None:
        super().__init__()
        self.s3_conn_id = s3_conn_id
        self.parameter = parameter

    def get_store(
        self, bucket: str, *, wait: Wait | None = None, budget: Budget | None = None
    ) -> ObjectStore:
        """Return the bucket as a store that repeats calls, keeps rates and renews credentials.

        :param wait: sleeps so many seconds between two tries, and returns whether to stop.
        :param budget: of the task, shared with its other stores; the connection's own rates hold
            beside it.
        :raises InvalidInputError: naming the connection and what is wrong with it.
        """
        from airflow_provider_s3resume.hooks._amazon import RenewableStore  # noqa: PLC0415 - boto3
        from airflow_provider_s3resume.storage.build import build_store  # noqa: PLC0415 - as above
        from airflow_provider_s3resume.storage.layers import sleep_through  # noqa: PLC0415

        rates = rates_of(self.facts.settings, self.facts.subject)
        store = RenewableStore(self._conn_near(bucket), bucket, lambda: self.store_settings)
        return build_store(
            store,
            rates=rates,
            budget=budget,
            wait=wait or sleep_through,
            refresh=self._renew(store),
        )

    def get_conn(self) -> S3Client:
        """Return a boto3 client, made with what the store needs.

        :raises InvalidInputError: naming the connection and what is wrong with it.
        """
        from airflow_provider_s3resume.hooks._amazon import make_client  # noqa: PLC0415 - boto3
        from airflow_provider_s3resume.storage.s3 import client_config  # noqa: PLC0415 - boto3

        return make_client(self.facts, client_config(self.store_settings))

    def _conn_near(self, bucket: str) -> Callable[[], S3Client]:
        from airflow_provider_s3resume.hooks._amazon import (  # noqa: PLC0415 - boto3
            make_client_near,
        )
        from airflow_provider_s3resume.storage.s3 import client_config  # noqa: PLC0415 - boto3

        return lambda: make_client_near(self.facts, client_config(self.store_settings), bucket)

    @cached_property
    def facts(self) -> Facts:
        """The connection, read once and checked.

        :raises InvalidInputError: if it is missing, of another type, or has unusable fields.
        """
        return self._read()

    @property
    def store_settings(self) -> S3Settings:
        """What the connection says about its service."""
        from airflow_provider_s3resume.storage.s3 import (  # noqa: PLC0415 - boto3
            store_settings_from_extra,
        )

        return store_settings_from_extra(self.facts.settings)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the service for the connection's bucket, or for its buckets; never raises.

        The amazon provider asks STS instead, which no compatible service has.
        """
        from airflow_provider_s3resume.hooks._amazon import CLIENT_ERRORS  # noqa: PLC0415 - boto3

        try:
            if self.facts.bucket:
                self.get_store(self.facts.bucket).check_access()
                return True, f"The bucket {self.facts.bucket!r} answers."
            count = len(self.get_conn().list_buckets()["Buckets"])
        except S3ResumeError as error:
            return False, str(error)
        except CLIENT_ERRORS as error:
            advice = "name a bucket in the connection if its keys may not list buckets"
            return False, f"ListBuckets: {type(error).__name__}; {advice}"
        return True, f"The service answers and shows {count} buckets."

    def _renew(self, store: RenewableStore) -> Callable[[], None]:
        def renew() -> None:
            # The connection is read again: its keys may have been renewed meanwhile.
            self.__dict__.pop("facts", None)
            store.renew()

        return renew

    def _read(self) -> Facts:
        if self.s3_conn_id is None:
            return Facts(conn_id=None, subject=f"{self.parameter} None")
        connection = find_connection(type(self), self.s3_conn_id, self.parameter)
        return read_connection(connection, self.parameter)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the connection form shows, for releases that do not read it elsewhere."""
        return form_behaviour(cls.conn_type)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's additional fields, for releases that do not read them elsewhere."""
        return form_widgets(cls.conn_type)
