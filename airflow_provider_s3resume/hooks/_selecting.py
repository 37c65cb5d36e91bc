"""The argument ``selection`` as a person gives it, and the lists that it names, opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._values import document, optional
from airflow_provider_s3resume.hooks.oss import OSSResumeHook
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.plan.filters import SELECTION_NAMES, Selection
from airflow_provider_s3resume.plan.sides import check_unknown, parse_object

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.objects import Location
    from airflow_provider_s3resume.transfer.name_lists import ListFile
    from airflow_provider_s3resume.transfer.selecting import Scope

LIST_NAMES = ("ignore_list", "prefix_list", "key_list")
"""What in a selection names a file."""
_FILE = "file://"


def scope_of(given: object, source: Location, conn_id: str | None) -> Scope:
    """Return what of a source is asked for; nothing is read yet.

    :param given: the names of ``Selection.parse`` and of :data:`LIST_NAMES`, and ``lists_conn_id``.
    :param conn_id: of the source, for lists unless ``lists_conn_id`` names another connection.
    :raises InvalidInputError: naming what cannot be used.
    """
    from airflow_provider_s3resume.transfer.selecting import EVERYTHING, Scope  # noqa: PLC0415

    asked = document("selection", given or None)
    if asked is None:
        return EVERYTHING
    if not isinstance(asked, Mapping):
        accepted = "names and values, such as {'include': ['*.csv'], 'max_age': '7d'}"
        raise InvalidInputError("selection", found=asked, accepted=accepted)
    check_unknown(asked, (*SELECTION_NAMES, *LIST_NAMES, "lists_conn_id"), what="selection")
    conditions = {name: asked[name] for name in SELECTION_NAMES if name in asked}
    lists_conn_id = _text(asked, "lists_conn_id") or conn_id
    files = {name: _list_of(asked, name, lists_conn_id) for name in LIST_NAMES}
    return Scope(selection=Selection.parse(conditions, scheme=source.scheme), **files)


def _text(asked: Mapping[str, Any], name: str) -> str | None:
    value = asked.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInputError(f"selection.{name}", found=value, accepted="a text")
    return optional(value)


def _list_of(asked: Mapping[str, Any], name: str, conn_id: str | None) -> ListFile | None:
    from airflow_provider_s3resume.transfer.name_lists import ListFile  # noqa: PLC0415

    uri, parameter = _text(asked, name), f"selection.{name}"
    if uri is None:
        return None
    path = uri.removeprefix(_FILE)
    if path.startswith("/"):
        return ListFile(parameter=parameter, uri=uri, name=path)
    if "://" not in uri:
        accepted = "a URI such as 's3://bucket/list.txt', or an absolute path on the worker"
        raise InvalidInputError(parameter, found=uri, accepted=accepted)
    place = parse_object(uri, parameter)
    if place.scheme == "oss" and conn_id is None:
        accepted = "the id of a connection: an oss:// URI says neither region nor endpoint"
        raise InvalidInputError("selection.lists_conn_id", found=None, accepted=accepted)
    hook: Any = S3ResumeHook if place.scheme == "s3" else OSSResumeHook
    store = hook(conn_id, parameter="selection.lists_conn_id").get_store(place.bucket)
    return ListFile(parameter=parameter, uri=uri, name=place.prefix, store=store)
