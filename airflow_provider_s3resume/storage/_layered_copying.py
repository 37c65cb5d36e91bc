"""Copies by a service, passed through a layer like every other call of its store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_s3resume.exceptions import UnsupportedError
from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo
from airflow_provider_s3resume.storage.base import Condition, NewUpload, ObjectStore, Written
from airflow_provider_s3resume.storage.server_side import Origin, ServerSide, server_side_of


class LayeredCopying:
    """A ``ServerSide`` whose calls are made by a layer.

    :param inner: returns the store below, which may be another one after each renewal.
    :param call: makes a call of an operation and a key, as the layer makes its own.
    """

    def __init__(self, inner: Callable[[], ObjectStore], call: Callable[..., Any]) -> None:
        self._inner = inner
        self._call = call

    def look_at(self, origin: Origin) -> ObjectInfo:
        """Return the headers of an origin."""
        found: ObjectInfo = self._call(
            "HeadObject", origin.key, lambda: self._below().look_at(origin)
        )
        return found

    def copy_object(
        self, key: str, origin: Origin, *, upload: NewUpload, condition: Condition | None
    ) -> Written:
        """Let the service copy a whole object."""

        def act() -> Written:
            return self._below().copy_object(key, origin, upload=upload, condition=condition)

        # Made again after a lost answer, a conditional one would meet its own success (c16).
        written: Written = self._call("CopyObject", key, act, settles=condition is not None)
        return written

    def copy_part(
        self, key: str, upload_id: str, part_number: int, origin: Origin, byte_range: ByteRange
    ) -> Written:
        """Let the service copy a range."""

        def act() -> Written:
            return self._below().copy_part(key, upload_id, part_number, origin, byte_range)

        written: Written = self._call("UploadPartCopy", key, act)
        return written

    def _below(self) -> ServerSide:
        store = self._inner()
        found = server_side_of(store)
        if found is None:
            raise UnsupportedError("CopyObject", store.bucket, "this store cannot ask for copies")
        return found
