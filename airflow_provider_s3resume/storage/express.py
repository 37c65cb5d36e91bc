"""``Express``: the part of a store that small objects go through by the hundred, in one thread.

It is optional, as ``storage.server_side`` is. Nothing is repeated, and nothing sorted out: what
fails is done anew by the store's own methods, which are in ``storage.base``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.digests import Checksum
    from airflow_provider_s3resume.plan.objects import ObjectInfo, SourceIdentity
    from airflow_provider_s3resume.storage.base import Condition, NewUpload, Written

_Result_co = TypeVar("_Result_co", covariant=True)


class Line(Protocol):
    """A connection that one thread drives together with many others."""

    @property
    def place(self) -> object:
        """Where it leads; lines of one place are alike."""

    def fileno(self) -> int:
        """Return what a selector waits on."""

    def is_alive(self) -> bool:
        """Tell whether it may be used, after something could be read though nobody asked."""

    def close(self) -> None:
        """Close it."""


class Exchange(Protocol[_Result_co]):
    """One call that was begun on a line, made once, and never waited for by itself."""

    @property
    def line(self) -> Line:
        """The line that it takes."""

    @property
    def keeps(self) -> bool:
        """Whether the line may be used again, once the result was asked for."""

    @property
    def wants_to_write(self) -> bool:
        """Whether it goes on when its line can be written."""

    def advance(self) -> bool:
        """Do what can be done without waiting; tell whether it has ended."""

    def look(self, now: float) -> bool:
        """Give it up if too little has moved by now (monotonic); tell whether it has ended."""

    def result(self) -> _Result_co:
        """Return the call's result, once it has ended; has to be called exactly once.

        :raises StoreError: if it failed, as far as can be told at a glance: whether another try
            helps is for the store's own methods to find out.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """How many requests a store got, and how many of them it refused as too many."""

    made: int = 0
    refused: int = 0


class Express(Protocol):
    """See the module's docstring for what it is for."""

    @property
    def can_fork(self) -> bool:
        """Tell whether the store can be called by a forked process, too."""

    def after_fork(self) -> None:
        """Leave the connections to the parent process; has to be called first in a forked one."""

    def made(self) -> Requests:
        """Return what the store was asked since the process was forked."""

    def add_made(self, requests: Requests) -> None:
        """Count what another process has asked."""

    def is_open(self) -> bool:
        """Tell whether calls may be begun; not while the service asks for fewer of them."""

    def open_line(self, *, writes: bool) -> Line:
        """Connect for calls of one of the two kinds; this waits.

        :raises StoreError: if that fails.
        """

    def get(
        self, line: Line, key: str, identity: SourceIdentity, sink: memoryview
    ) -> Exchange[ObjectInfo]:
        """Begin to read an object whole into ``sink``, which is as long as it."""

    def put(
        self,
        line: Line,
        key: str,
        body: memoryview,
        *,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None,
        content_md5: str | None,
    ) -> Exchange[Written]:
        """Begin to write an object; see ``ObjectStore.put_object``."""


def express_of(store: object) -> Express | None:
    """Return a store's part for small objects, ``None`` if it has none at the moment."""
    found: Express | None = getattr(store, "express", None)
    return found
