"""The target of syncs without a source: for tasks that look after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.hooks.sides import check_state_conn_id, open_folder
from airflow_provider_s3resume.plan.sides import parse_target

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.objects import Location
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.storage.layers import Wait
    from airflow_provider_s3resume.transfer.state import StateLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTarget:
    """The stores of a target and of the state location of its syncs, opened."""

    place: Location
    store: ObjectStore
    state: StateLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Connections and URIs, with the same defaults as a sync has; nothing in it is secret.

    :param state_conn_id: ``None`` for the target's.
    :param state_uri: ``None`` for ``.s3resume/`` in the target bucket.
    """

    conn_id: str | None
    uri: str
    state_conn_id: str | None = None
    state_uri: str | None = None

    def open(self, wait: Wait | None = None) -> OpenTarget:
        """Check the URIs, read the connections and return the stores; asks no service yet.

        :param wait: sleeps between two tries of a call, and returns whether to stop.
        :raises InvalidInputError: naming the parameter.
        """
        from airflow_provider_s3resume.transfer.state import StateLocation  # noqa: PLC0415 - SDKs

        target, state = parse_target(self.uri, self.state_uri)
        if target.scheme == "file":
            check_state_conn_id(self.state_conn_id)
            more = {"wait": wait, "writes": True}
            store = kept = open_folder(self.conn_id, "target_conn_id", target, more)
        else:
            hook = S3ResumeHook(self.conn_id, parameter="target_conn_id")
            store = kept = hook.get_store(target.bucket, wait=wait)
        state_conn_id = self.state_conn_id or self.conn_id
        if (state_conn_id, state.bucket) != (self.conn_id, target.bucket):
            state_hook = S3ResumeHook(state_conn_id, parameter="state_conn_id")
            kept = state_hook.get_store(state.bucket, wait=wait)
        return OpenTarget(place=target, store=store, state=StateLocation(kept, state.prefix))
