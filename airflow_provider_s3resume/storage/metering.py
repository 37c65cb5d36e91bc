"""``Metered`` counts what goes to a store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    ByteRange,
    KeyRange,
    ListedObject,
    SourceIdentity,
)
from airflow_provider_s3resume.storage._layer import CountedReader, Layer, StoreCall
from airflow_provider_s3resume.storage.base import ObjectStore, RangeReader

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """What a meter showed at one moment; sizes in bytes.

    :param calls: number of calls by operation. A listing counts as one, however many its pages.
    :param errors: number of errors by the name of their class.
    """

    calls: Mapping[str, int]
    errors: Mapping[str, int]
    bytes_received: int
    bytes_sent: int


class Meter:
    """Counts from many threads; several stores may share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._received = 0
        self._sent = 0

    def call(self, operation: str) -> None:
        """Count a call."""
        with self._lock:
            self._calls[operation] += 1

    def error(self, error: BaseException) -> None:
        """Count an error."""
        with self._lock:
            self._errors[type(error).__name__] += 1

    def received(self, count: int) -> None:
        """Count bytes read."""
        with self._lock:
            self._received += count

    def sent(self, count: int) -> None:
        """Count bytes of a body that was acknowledged."""
        with self._lock:
            self._sent += count

    def snapshot(self) -> MeterReading:
        """Return what was counted so far."""
        with self._lock:
            return MeterReading(
                calls=dict(self._calls),
                errors=dict(self._errors),
                bytes_received=self._received,
                bytes_sent=self._sent,
            )


class Metered(Layer):
    """A store whose traffic is counted."""

    def __init__(self, inner: ObjectStore, meter: Meter | None = None) -> None:
        super().__init__(inner)
        self.meter = meter or Meter()

    def around(self, call: StoreCall, act: Callable[[], T]) -> T:
        """Count a call, its body if it was acknowledged, or its error."""
        self.meter.call(call.operation)
        try:
            result = act()
        except BaseException as error:
            self.meter.error(error)
            raise
        self.meter.sent(call.sent)
        return result

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects, counting an error on the way."""
        self.meter.call("ListObjectsV2")
        try:
            yield from self.inner.list_objects(prefix, key_range)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.meter.error(error)
            raise

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> RangeReader:
        """Open a range whose bytes are counted as they come."""
        reader = super().open_range(key, byte_range, identity)
        return CountedReader(reader, self.meter.received, self.meter.error)

    def snapshot(self) -> MeterReading:
        """Return what was counted so far."""
        return self.meter.snapshot()
