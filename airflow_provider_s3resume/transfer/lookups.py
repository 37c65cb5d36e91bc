"""What the beginning of a copy in parts asks for, asked at once: each answer is a journey away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_s3resume.exceptions import ListingError, UnsupportedError
from airflow_provider_s3resume.plan.digests import part_count_of_etag
from airflow_provider_s3resume.plan.strays import UNKNOWN_UPLOADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from airflow_provider_s3resume.storage.base import PartInfo
    from airflow_provider_s3resume.transfer.checkpoints import Stored
    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.pool import Workers
    from airflow_provider_s3resume.transfer.reading import ExactSource

_T = TypeVar("_T")


class Lookup(Generic[_T]):
    """A call that changes nothing, begun before its answer is wanted; used from one thread.

    :param call: is made anew whenever the answer is wanted again.
    """

    def __init__(self, call: Callable[[], _T]) -> None:
        self._call = call
        self._begun: Future[_T] | None = None

    def begin(self, workers: Workers) -> None:
        """Make the call in another thread."""
        self._begun = workers.submit(self._call)

    def drop(self) -> None:
        """Forget what was begun: things have changed since."""
        self._begun = None

    def answer(self) -> _T:
        """Return, or raise, what the call comes to."""
        begun, self._begun = self._begun, None
        return self._call() if begun is None else begun.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """The lookups of one copy, beside that of the source's headers.

    :param record: the checkpoint; see :meth:`~.checkpoints.CheckpointRecords.load`.
    :param uploads: ids of the unfinished uploads that the target has under the key.
    :param first_part: the source's, which tells how it was cut.
    """

    record: Lookup[Stored | str | None]
    uploads: Lookup[tuple[str, ...]]
    first_part: Lookup[PartInfo | None]

    def begin(self, context: CopyContext, source: ExactSource) -> None:
        """Begin what a copy needs that no earlier attempt began."""
        self.record.begin(context.lookups)
        self.uploads.begin(context.lookups)
        in_parts = part_count_of_etag(source.identity.etag) is not None
        told = context.source.capabilities.part_layout
        if in_parts and told and context.config.reproduce_layout:
            self.first_part.begin(context.lookups)

    def drop(self) -> None:
        """Ask anew for all that is wanted from now on."""
        self.record.drop()
        self.uploads.drop()
        self.first_part.drop()


def lookups_of(
    context: CopyContext, source: ExactSource, target_key: str, uris: tuple[str, str]
) -> Lookups:
    """Return the lookups of a copy, none of them begun.

    :param uris: of the source object and the target object.
    """
    return Lookups(
        record=Lookup(lambda: context.records.load(*uris)),
        uploads=Lookup(lambda: _uploads_before(context, target_key)),
        first_part=Lookup(lambda: source.part(1)),
    )


def _uploads_before(context: CopyContext, target_key: str) -> tuple[str, ...]:
    try:
        return tuple(u.upload_id for u in context.target.list_uploads(target_key))
    except (ListingError, UnsupportedError):
        return (UNKNOWN_UPLOADS,)
