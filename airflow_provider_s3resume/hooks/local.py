"""``LocalResumeHook``: from an Airflow connection to a folder as an ``ObjectStore``."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.hooks._airflow import BaseHook
from airflow_provider_s3resume.hooks._form import form_behaviour, form_widgets
from airflow_provider_s3resume.hooks._local_connections import LocalFacts, read_local_connection
from airflow_provider_s3resume.hooks._reading import find_connection, rates_of

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.storage.layers import Budget, Wait


class LocalResumeHook(BaseHook):
    """Stores that are folders of the worker's file system.

    Takes connections of our own type ``s3resume_local``, and of the standard provider's ``fs``.
    Their ``path`` is the folder that every ``file://`` URI must lie in, links in both resolved.

    :param local_conn_id: the connection.
    :param parameter: what errors call the connection, such as ``source_conn_id``.
    """

    conn_name_attr: ClassVar[str] = "local_conn_id"
    default_conn_name: ClassVar[str] = "s3resume_local_default"
    conn_type: ClassVar[str] = "s3resume_local"
    hook_name: ClassVar[str] = "Local folder (s3resume)"

    def __init__(
        self, local_conn_id: str = default_conn_name, *, parameter: str = "local_conn_id"
    ) -> None:
        super().__init__()
        self.local_conn_id = local_conn_id
        self.parameter = parameter

    def get_store(
        self,
        folder: str,
        *,
        writes: bool = False,
        wait: Wait | None = None,
        symlinks: str | None = None,
        budget: Budget | None = None,
    ) -> ObjectStore:
        """Return a folder as a store that repeats calls and keeps rates.

        :param folder: its path without the first slash, and with the last one: what its keys begin
            with.
        :param writes: it is a target; else it has to be there, and nothing is ever written to it.
        :param wait: sleeps so many seconds between two tries, and returns whether to stop.
        :param symlinks: ``report``, ``follow`` or ``fail``; ``None`` for what the connection says.
        :param budget: of the task, shared with its other stores; the connection's own rates hold
            beside it.
        :raises InvalidInputError: naming the connection and what is wrong with it, or the URI of a
            folder that does not lie in that of the connection.
        """
        from airflow_provider_s3resume.storage.build import build_store  # noqa: PLC0415 - at parse
        from airflow_provider_s3resume.storage.layers import sleep_through  # noqa: PLC0415
        from airflow_provider_s3resume.storage.local import open_folder  # noqa: PLC0415

        facts = self._facts_for(symlinks)
        store = open_folder(
            facts.path,
            folder,
            facts.settings,
            writes=writes,
            subject=facts.subject,
            parameter=self.parameter.replace("_conn_id", "_uri"),
        )
        return build_store(
            store,
            rates=rates_of(facts.settings, facts.subject),
            budget=budget,
            wait=wait or sleep_through,
        )

    @cached_property
    def facts(self) -> LocalFacts:
        """The connection, read once and checked.

        :raises InvalidInputError: if it is missing, of another type, or has unusable fields.
        """
        connection = find_connection(type(self), self.local_conn_id, self.parameter)
        return read_local_connection(connection, self.parameter)

    def test_connection(self) -> tuple[bool, str]:
        """Look whether the folder is there, on the machine that runs the test; never raises."""
        try:
            folder = self.facts.path.strip("/") + "/"
            self.get_store(folder).check_access()
        except S3ResumeError as error:
            return False, str(error)
        return True, f"The folder {self.facts.path!r} is there, on this machine."

    def _facts_for(self, symlinks: str | None) -> LocalFacts:
        if symlinks is None:
            return self.facts
        return replace(self.facts, settings={**self.facts.settings, "symlinks": symlinks})

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the connection form shows, for releases that do not read it elsewhere."""
        return form_behaviour(cls.conn_type)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's additional fields, for releases that do not read them elsewhere."""
        return form_widgets(cls.conn_type)
