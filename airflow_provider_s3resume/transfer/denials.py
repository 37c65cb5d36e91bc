"""What an error says about an object that failed: a refusal, by whose connection it was met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import AccessDeniedError
from airflow_provider_s3resume.storage.base import uri_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_s3resume.exceptions import S3ResumeError
    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.transfer.context import CopyContext

_OF_SOURCES: Final = frozenset({"GetObject", "GetObjectTagging"})
_LISTING: Final = "ListObjectsV2"
_STATE: Final = ("state_conn_id", "target_conn_id")
"""By default the state location has the target's."""
_TARGET: Final = ("target_conn_id",)

_ADVICE: Final = "docs/features.md names the actions that it needs)"


def error_text(context: CopyContext, entry: CopyEntry, error: S3ResumeError) -> str:
    """Return an error's text; of a refusal, with the parameter of the connection that met it."""
    if not isinstance(error, AccessDeniedError) or error.detail.endswith(_ADVICE):
        return str(error)
    return f"{error}{_met_by(_refused(context, entry, error))}"


def refusal_at_state(error: AccessDeniedError) -> AccessDeniedError:
    """Return a refusal with the parameters of the connection that the state location has."""
    return _refusal(error, _STATE)


def refusal_at_target(error: AccessDeniedError) -> AccessDeniedError:
    """Return a refusal of the source's object that the target's connection met."""
    return _refusal(error, _TARGET)


def _refusal(error: AccessDeniedError, names: Iterable[str]) -> AccessDeniedError:
    return AccessDeniedError(error.operation, error.subject, f"{error.detail}{_met_by(names)}")


def _met_by(names: Iterable[str]) -> str:
    return f" (refused to {' or '.join(names)}; {_ADVICE}"


def _refused(context: CopyContext, entry: CopyEntry, error: AccessDeniedError) -> tuple[str, ...]:
    of = {"source_conn_id": context.source, "target_conn_id": context.target}
    if error.operation == _LISTING:
        # Asked once, about one object, for all that are left.
        buckets = {name: uri_of(store, "") for name, store in of.items()}
        return tuple(n for n, uri in buckets.items() if error.subject.startswith(uri)) or _STATE
    keys = {"source_conn_id": entry.key, "target_conn_id": entry.target_key}
    named = [name for name, store in of.items() if error.subject == uri_of(store, keys[name])]
    if len(named) < len(of):
        return tuple(named) or _STATE
    # Two services with buckets of one name: the call tells, unless both are asked it.
    if error.operation == "HeadObject":
        return tuple(named)
    return (named[0] if error.operation in _OF_SOURCES else named[1],)
