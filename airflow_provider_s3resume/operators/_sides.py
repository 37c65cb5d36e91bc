"""What all operators of a sync that name both sides have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_s3resume.hooks.sides import SIDES_FIELDS, Sides
from airflow_provider_s3resume.operators._stoppable import StoppableOperator


class SidesOperator(StoppableOperator):
    """An operator that names a source, a target and a state location.

    :param source_conn_id: connection of type ``aws`` or ``s3resume`` for an ``s3://`` source,
        ``oss`` or ``s3resume_oss`` for an ``oss://`` source, ``s3resume_local`` or ``fs`` for a
        ``file://`` one.
    :param source_uri: ``s3://bucket/prefix/``, ``oss://bucket/prefix/`` or ``file:///folder/``;
        nothing in it is decoded.
    :param target_conn_id: connection of type ``aws`` or ``s3resume``, or of a folder's.
    :param target_uri: ``s3://bucket/prefix/`` or ``file:///folder/``; the part of a key behind the
        source prefix is put behind this prefix.
    :param state_conn_id: connection of the state location, by default the target's; a target that
        is a folder needs one, and ``state_uri``.
    :param state_uri: where manifests, checkpoints and reports are kept, by default
        ``.s3resume/`` in the target bucket.
    :param symlinks: what to do about links in an ``oss://`` or ``file://`` source: ``follow`` (copy
        what they point at) or ``report`` (skip them, named in the report), in a folder also
        ``fail``; by default what its connection says.
    """

    template_fields: Sequence[str] = SIDES_FIELDS

    def __init__(
        self,
        *,
        source_conn_id: str | None = None,
        source_uri: str | None = None,
        target_conn_id: str | None = None,
        target_uri: str | None = None,
        state_conn_id: str | None = None,
        state_uri: str | None = None,
        symlinks: str | None = None,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.source_uri = source_uri
        self.target_conn_id = target_conn_id
        self.target_uri = target_uri
        self.state_conn_id = state_conn_id
        self.state_uri = state_uri
        self.symlinks = symlinks

    def sides(self) -> Sides:
        """Return the sides as they are named, with what templates left empty taken out."""
        return Sides.named_by(self)
