"""``RateLimited`` keeps what goes to a store within agreed rates, and a task within its budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar, cast

from airflow_provider_s3resume.exceptions import CopyStoppedError, StoreError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    ByteRange,
    KeyRange,
    ListedObject,
    SourceIdentity,
)
from airflow_provider_s3resume.storage._layer import CountedReader, Layer, StoreCall, each_page
from airflow_provider_s3resume.storage._paced_bodies import PacedBody, PacedStream
from airflow_provider_s3resume.storage.base import (
    Condition,
    NewUpload,
    ObjectStore,
    PartBody,
    RangeReader,
    SupportsRead,
    Written,
)
from airflow_provider_s3resume.storage.express import Express, express_of
from airflow_provider_s3resume.storage.retrying import Wait, sleep_through

T = TypeVar("T")

BURST_S: Final = 0.1
"""What may be taken at once, as a time: a rate holds over any longer span."""
_LEAST_SLICE: Final = 16 * 1024
_LEAST_PAUSE_S: Final = 0.01


class TokenBucket:
    """A rate with a tenth of a second's worth in hand, and one unit at least.

    What is taken beyond that is waited for.

    :param rate: units a second.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._most = self._level = max(1.0, rate * BURST_S)
        self._at = clock()

    def take(self, count: float) -> float:
        """Take ``count`` units, and return the seconds to wait before they are due."""
        with self._lock:
            now = self._clock()
            self._level = min(self._most, self._level + (now - self._at) * self.rate) - count
            self._at = now
            return max(0.0, -self._level / self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Agreed rates of one store, ``None`` for no limit. Bytes count both ways."""

    requests_per_s: float | None = None
    bytes_per_s: float | None = None


class Budget:
    """What one task may use; its stores share it.

    :param requests_per_s: of each store by itself; ``None`` for no limit.
    :param bytes_per_s: of bodies, each way by itself: what is read from all stores together, and
        what is sent to all of them; ``None`` for no limit. What HTTP and TLS add is not counted.
    """

    def __init__(
        self,
        *,
        requests_per_s: float | None = None,
        bytes_per_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests_per_s = requests_per_s
        self.bytes_per_s = bytes_per_s
        self.received: TokenBucket | None = None
        self.sent: TokenBucket | None = None
        if bytes_per_s:
            self.received = TokenBucket(bytes_per_s, clock)
            self.sent = TokenBucket(bytes_per_s, clock)


class RateLimited(Layer):
    """A store that is called no faster than agreed; threads share the rates.

    Bytes are paid for as they move, in slices of a twentieth of a second, so that a part is no
    burst of its whole size.

    :param rates: of this store.
    :param budget: of the task, shared with its other stores.
    :param wait: sleeps; a stop that it reports ends the waiting with ``CopyStoppedError``.
    """

    def __init__(
        self,
        inner: ObjectStore,
        rates: Rates,
        budget: Budget | None = None,
        *,
        wait: Wait = sleep_through,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self.wait = wait
        task = budget or Budget()
        per_s = [rate for rate in (rates.requests_per_s, task.requests_per_s) if rate]
        own = TokenBucket(rates.bytes_per_s, clock) if rates.bytes_per_s else None
        self._requests = [TokenBucket(rate, clock) for rate in per_s]
        self._received = [bucket for bucket in (own, task.received) if bucket]
        self._sent = [bucket for bucket in (own, task.sent) if bucket]

    @property
    def express(self) -> Express | None:
        """The inner store's, if there is nothing to keep to: it knows no rates."""
        limited = self._requests or self._received or self._sent
        return None if limited else express_of(self.inner)

    def around(self, call: StoreCall, act: Callable[[], T]) -> T:  # noqa: ARG002 - all count alike
        """Make a call when it is due."""
        self._pay(self._requests, 1)
        return act()

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects; a page is a request, if pages are as long as the limits say."""
        if not self._requests:
            return self.inner.list_objects(prefix, key_range)
        call = StoreCall(operation="ListObjectsV2", store=self, key=prefix)
        listing = self.inner.list_objects(prefix, key_range)
        return each_page(listing, self.limits.list_page, partial(self.around, call))

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> RangeReader:
        """Open a range that is read no faster than agreed."""
        reader = super().open_range(key, byte_range, identity)
        if not self._received:
            return reader
        most = _slice(self._received)
        return CountedReader(reader, partial(self._pay, self._received), most=most)

    def put_object(
        self,
        key: str,
        body: PartBody,
        *,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None = None,
        content_md5: str | None = None,
    ) -> Written:
        """Write a whole object no faster than agreed."""
        with self._sending(body) as sent:
            return super().put_object(
                key,
                sent,
                upload=upload,
                checksum=checksum,
                condition=condition,
                content_md5=content_md5,
            )

    def upload_part(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: PartBody,
        checksum: Checksum | None,
    ) -> str:
        """Send one part no faster than agreed."""
        with self._sending(body) as sent:
            return super().upload_part(key, upload_id, part_number, sent, checksum)

    def upload_part_stream(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: SupportsRead,
        length: int,
        algorithm: ChecksumAlgorithm | None,
    ) -> str:
        """Send one part while it is read, no faster than agreed."""
        if not self._sent:
            return super().upload_part_stream(key, upload_id, part_number, body, length, algorithm)
        paced = PacedStream(body, partial(self._pay, self._sent), _slice(self._sent))
        with _stopped_within(paced):
            return super().upload_part_stream(key, upload_id, part_number, paced, length, algorithm)

    def put_object_stream(
        self,
        key: str,
        body: SupportsRead,
        length: int,
        *,
        upload: NewUpload,
        content_md5: str,
        condition: Condition | None = None,
    ) -> Written:
        """Write a whole object while it is read, no faster than agreed."""
        stream = partial(
            super().put_object_stream, upload=upload, content_md5=content_md5, condition=condition
        )
        if not self._sent:
            return stream(key, body, length)
        paced = PacedStream(body, partial(self._pay, self._sent), _slice(self._sent))
        with _stopped_within(paced):
            return stream(key, paced, length)

    @contextmanager
    def _sending(self, body: PartBody) -> Iterator[PartBody]:
        if not self._sent or not len(body):
            yield body
            return
        paced = PacedBody(body, partial(self._pay, self._sent), _slice(self._sent))
        with _stopped_within(paced):
            # The contract speaks of buffers; see the class for what makes it one.
            yield cast("PartBody", paced)

    def _pay(self, buckets: Sequence[TokenBucket], count: float) -> None:
        pause = max((bucket.take(count) for bucket in buckets), default=0.0) if count else 0.0
        # A shorter one is left to the next who pays: a sleep is not that exact.
        if pause >= _LEAST_PAUSE_S and self.wait(pause):
            raise CopyStoppedError("stopped while waiting for the agreed rate")


@contextmanager
def _stopped_within(body: PacedBody | PacedStream) -> Iterator[None]:
    """Raise a stop that came while a body was sent: an SDK makes a network fault of it."""
    try:
        yield
    except StoreError:
        if body.stopped is not None:
            raise body.stopped from None
        raise


def _slice(buckets: Sequence[TokenBucket]) -> int:
    """Return how many bytes may move at once without being a burst."""
    return max(_LEAST_SLICE, int(min(bucket.rate for bucket in buckets) * BURST_S / 2))
