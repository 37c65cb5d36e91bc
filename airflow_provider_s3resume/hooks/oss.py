"""``OSSResumeHook``: from an Airflow connection to an ``ObjectStore`` on Alibaba Cloud OSS."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_s3resume.exceptions import AccessDeniedError, S3ResumeError
from airflow_provider_s3resume.hooks._airflow import BaseHook
from airflow_provider_s3resume.hooks._form import form_behaviour, form_widgets
from airflow_provider_s3resume.hooks._oss_connections import OSSFacts, read_oss_connection
from airflow_provider_s3resume.hooks._reading import find_connection, rates_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import oss2

    from airflow_provider_s3resume.hooks._alibaba import RenewableStore
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.storage.layers import Budget, Wait

_FORM = "s3resume_oss"
"""The type whose form is always described; that of ``oss`` is the same, where it is ours."""


class OSSResumeHook(BaseHook):
    """Stores on Alibaba Cloud OSS.

    Takes connections of the alibaba provider's type ``oss``, whether or not that provider is
    installed, with its fields (``auth_type``, ``access_key_id``, ``access_key_secret``, ``region``,
    ``endpoint``, the bucket in ``schema``), and of our own type ``s3resume_oss``, which is the same
    and never another provider's. What else a connection can say stands in
    ``docs/connections.md``.

    :param oss_conn_id: the connection.
    :param parameter: what errors call the connection, such as ``source_conn_id``.
    """

    conn_name_attr: ClassVar[str] = "oss_conn_id"
    default_conn_name: ClassVar[str] = "oss_default"
    conn_type: ClassVar[str] = "oss"
    hook_name: ClassVar[str] = "Alibaba Cloud OSS"

    def __init__(
        self, oss_conn_id: str = default_conn_name, *, parameter: str = "oss_conn_id"
    ) -> None:
        super().__init__()
        self.oss_conn_id = oss_conn_id
        self.parameter = parameter

    def get_store(
        self,
        bucket: str,
        *,
        wait: Wait | None = None,
        symlinks: str | None = None,
        budget: Budget | None = None,
    ) -> ObjectStore:
        """Return the bucket as a store that repeats calls, keeps rates and renews credentials.

        :param wait: sleeps so many seconds between two tries, and returns whether to stop.
        :param symlinks: ``follow`` or ``report``; ``None`` for what the connection says.
        :param budget: of the task, shared with its other stores; the connection's own rates hold
            beside it.
        :raises InvalidInputError: naming the connection and what is wrong with it.
        """
        from airflow_provider_s3resume.hooks._alibaba import (  # noqa: PLC0415 - the SDK
            RenewableStore,
            make_store,
        )
        from airflow_provider_s3resume.storage.build import build_store  # noqa: PLC0415 - as above
        from airflow_provider_s3resume.storage.layers import sleep_through  # noqa: PLC0415

        rates = rates_of(self.facts.settings, self.facts.subject)
        store = RenewableStore(lambda: make_store(self._facts_for(symlinks), bucket))
        return build_store(
            store,
            rates=rates,
            budget=budget,
            wait=wait or sleep_through,
            refresh=self._renew(store),
        )

    def get_conn(self, bucket: str | None = None) -> oss2.Bucket:
        """Return a client of a bucket, by default of the connection's, as the store uses it.

        :raises InvalidInputError: naming the connection and what is wrong with it.
        """
        from airflow_provider_s3resume.hooks._alibaba import make_client  # noqa: PLC0415 - the SDK

        return make_client(self.facts, bucket or self.facts.bucket or "")

    @cached_property
    def facts(self) -> OSSFacts:
        """The connection, read once and checked.

        :raises InvalidInputError: if it is missing, of another type, or has unusable fields.
        """
        connection = find_connection(type(self), self.oss_conn_id, self.parameter)
        return read_oss_connection(connection, self.parameter)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the service for the connection's bucket, or for its buckets; never raises."""
        try:
            return True, self._answer()
        except AccessDeniedError as error:
            listing = error.operation == "ListBuckets"
            advice = "; name a bucket if the keys may not list buckets" if listing else ""
            return False, f"{error}{advice}"
        except S3ResumeError as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - its text may hold what nobody may read (c42)
            return False, f"The test ended with an error of type {type(error).__name__}."

    def _answer(self) -> str:
        from airflow_provider_s3resume.hooks._alibaba import (  # noqa: PLC0415 - the SDK
            count_buckets,
        )

        bucket = self.facts.bucket
        if bucket:
            self.get_store(bucket).check_access()
            return f"The bucket {bucket!r} answers."
        return f"The service answers and shows {count_buckets(self.facts)} buckets."

    def _facts_for(self, symlinks: str | None) -> OSSFacts:
        if symlinks is None:
            return self.facts
        return replace(self.facts, settings={**self.facts.settings, "symlinks": symlinks})

    def _renew(self, store: RenewableStore) -> Callable[[], None]:
        def renew() -> None:
            # The connection is read again: its token may have been renewed meanwhile.
            self.__dict__.pop("facts", None)
            store.renew()

        return renew

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the connection form shows, for releases that do not read it elsewhere."""
        return form_behaviour(_FORM)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's additional fields, for releases that do not read them elsewhere."""
        return form_widgets(_FORM)


class OwnTypeOSSResumeHook(OSSResumeHook):
    """The same for the type that is ours where ``oss`` is the alibaba provider's."""

    default_conn_name: ClassVar[str] = "s3resume_oss_default"
    conn_type: ClassVar[str] = "s3resume_oss"
    hook_name: ClassVar[str] = "Alibaba Cloud OSS (s3resume)"

    # Airflow 3.0 asks a class only for what it does not inherit.
    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the connection form shows, for releases that do not read it elsewhere."""
        return super().get_ui_field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's additional fields, for releases that do not read them elsewhere."""
        return super().get_connection_form_widgets()
