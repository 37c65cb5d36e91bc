"""What the copy of every object of one task shares."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.pool import Workers
from airflow_provider_s3resume.transfer.server_side import ServiceCopies

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords
    from airflow_provider_s3resume.transfer.config import CopyConfig
    from airflow_provider_s3resume.transfer.outcomes import Proof, Status
    from airflow_provider_s3resume.transfer.pool import MemoryBudget
    from airflow_provider_s3resume.transfer.progress import Progress
    from airflow_provider_s3resume.transfer.stopping import StopSignal
    from airflow_provider_s3resume.transfer.tuning import Tuner

_LOOKUPS = 16
"""Threads for lookups, which only wait: as many as there are threads of larger objects at first,
two for each."""

_HELD_ENCRYPTED = 320 * 1024
_SMALL_ENCRYPTED = 192 * 1024
"""What connections over TLS hold of an object, beside its bytes; measured, 256 at once: 290 KiB of
those that are held in a thread each, 140 of small ones of 256 KiB, which one thread copies."""


class ChecksumVerdict:
    """What the target was seen to do with checksums; ``None`` for what was not seen yet.

    Written from many threads; they all find the same.

    :param kept: it shows those that it was sent.
    :param framed: it kept the frames around a part's bytes as if they were bytes.
    :param asking: held by whoever finds that out for all.
    :param streams: the same of those that follow a part's bytes; whoever holds ``on_trial`` finds
        that out.
    :param streams_objects: nothing speaks against writing whole objects while they are read.
    :param streams_given_up: so many of those writes were given up since one succeeded.
    """

    kept: bool | None = None
    streams: bool | None = None
    streams_objects: bool = True
    streams_given_up: int = 0
    framed: bool = False

    def __init__(self) -> None:
        self.on_trial: threading.Lock = threading.Lock()
        self.asking: threading.Lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyContext:
    """Stores, records, configuration, and the threads and memory that all objects share.

    :param objects: how many small objects are under way at once.
    :param parts: the same of parts.
    :param threads: the same of larger objects, each of which has a thread.
    :param lookups: threads for short calls that a copy begins before it needs their answers.
    :param by_service: whether the target's service copies by itself.
    :param known_checkpoints: names of the checkpoint records that stood there at the start.
    :param keeps_attributes: the target's, asked once.
    """

    source: ObjectStore
    target: ObjectStore
    records: CheckpointRecords
    config: CopyConfig
    budget: MemoryBudget
    workers: Workers
    stop: StopSignal
    progress: Progress
    started: float
    objects: Tuner
    parts: Tuner
    threads: Tuner
    known_checkpoints: frozenset[str] = frozenset()
    keeps_attributes: bool = True
    by_service: ServiceCopies = field(default_factory=ServiceCopies)
    verdict: ChecksumVerdict = field(default_factory=ChecksumVerdict)
    lookups: Workers = field(default_factory=lambda: Workers(_LOOKUPS, "s3resume-lookup"))

    @property
    def beside_held(self) -> int:
        """Bytes that go with an object or part that is held while a thread copies it."""
        return _HELD_ENCRYPTED if self._is_encrypted() else 0

    @property
    def beside_small(self) -> int:
        """Bytes that go with a small object without a thread of its own, at the most."""
        return _SMALL_ENCRYPTED if self._is_encrypted() else 0

    def _is_encrypted(self) -> bool:
        return any(s.service.startswith("https://") for s in (self.source, self.target))

    def source_uri(self, key: str) -> str:
        """Return where a source object is, the service included."""
        return f"{self.source.service} {uri_of(self.source, key)}"

    def target_uri(self, key: str) -> str:
        """Return where a target object is, the service included."""
        return f"{self.target.service} {uri_of(self.target, key)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """An object that is at the target and proven; see :class:`~.outcomes.Outcome` for the fields.

    :param checkpointed: a checkpoint has to be forgotten once the outcome is stored.
    """

    status: Status
    target_etag: str | None
    proof: Proof
    sent_parts: int = 0
    kept_parts: int = 0
    reread_parts: int = 0
    bytes_moved: int = 0
    unprotected: bool = False
    by_service: bool = False
    checkpointed: bool = False
    superseded: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
