"""``Adaptive``: calls a store as fast as it accepts calls, and no faster (c41).

As long as nothing is refused, every call passes at once. After a refusal (``ThrottledError``) calls
are let through as ``storage._flow`` says, one after the other. A request holds its place from its
first byte to the head of the answer; an open body holds none, and neither does a refused request
that waits to be made again. So nothing that holds a place waits for another one of the same store.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from airflow_provider_s3resume.exceptions import (
    CopyStoppedError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.digests import Checksum
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    KeyRange,
    ListedObject,
    ObjectInfo,
    SourceIdentity,
)
from airflow_provider_s3resume.storage._flow import Flow
from airflow_provider_s3resume.storage._layer import Layer, StoreCall, each_page
from airflow_provider_s3resume.storage.base import (
    Condition,
    NewUpload,
    ObjectStore,
    Written,
    uri_of,
)
from airflow_provider_s3resume.storage.express import Exchange, Express, Line, Requests, express_of
from airflow_provider_s3resume.storage.retrying import Wait, sleep_through

log = logging.getLogger(__name__)
T = TypeVar("T")
_POLL_S: Final = 0.1
_LOOK_S: Final = 1.0
_TELL_S: Final = 30.0


class Adaptive(Layer):
    """A store that is called as fast as it accepts calls; all threads share one flow.

    :param wait: sleeps; a stop that it reports ends the waiting with ``CopyStoppedError``.
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        wait: Wait = sleep_through,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self.wait = wait
        self.clock = clock
        self.flow = Flow()
        # Guards the flow; its condition is told when a place becomes free that somebody waits for.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waits = False
        # One caller at a time waits for its turn, the others for this: a due time wakes one thread.
        self._turn = threading.Lock()
        self._told_at: float | None = None
        self._express: _CountedExpress | None = None

    def around(self, call: StoreCall, act: Callable[[], T]) -> T:
        """Make a call when it is its turn.

        :raises CopyStoppedError: if told to stop before.
        """
        began = self._enter(call)
        try:
            result = act()
        except ThrottledError as error:
            self._refused(began, error)
            raise
        except StoreError as error:
            self._ended(began, answered=not isinstance(error, TransientStoreError))
            raise
        except BaseException:
            self._ended(began, answered=False)
            raise
        self._ended(began, answered=True)
        return result

    @property
    def express(self) -> Express | None:
        """The inner store's; its calls count like all others."""
        inner = express_of(self.inner)
        if inner is None:
            return None
        if self._express is None or self._express.inner is not inner:
            self._express = _CountedExpress(inner, self)
        return self._express

    def is_unlimited(self) -> bool:
        """Tell whether nothing is held back at the moment."""
        with self._lock:
            return math.isinf(self.flow.rate(self.clock()))

    def begin_unlimited(self) -> float:
        """Count a call that begins without being held back; return when that is."""
        with self._lock:
            now = self.clock()
            self.flow.begin(now)
            return now

    def end_unlimited(self, began: float, error: BaseException | None) -> None:
        """Count the end of such a call."""
        if isinstance(error, ThrottledError):
            self._refused(began, error)
        else:
            unheard = error is not None and (
                isinstance(error, TransientStoreError) or not isinstance(error, StoreError)
            )
            self._ended(began, answered=not unheard)

    def add_made(self, requests: Requests) -> None:
        """Count what another process has asked."""
        with self._lock:
            self.flow.begun += requests.made
            self.flow.refused += requests.refused

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects; a page is a request, if pages are as long as the limits say."""
        call = StoreCall(operation="ListObjectsV2", store=self, key=prefix)
        listing = self.inner.list_objects(prefix, key_range)
        in_turn = False
        began = self.clock()

        def ask(act: Callable[[], ListedObject | None]) -> ListedObject | None:
            nonlocal in_turn, began
            in_turn, began = True, self.clock()
            listed = self.around(call, act)
            in_turn = False
            return listed

        try:
            yield from each_page(listing, self.limits.list_page, ask)
        except ThrottledError as error:
            if not in_turn:
                # A page that began elsewhere than was guessed.
                with self._lock:
                    began = self.clock()
                    self.flow.begin(began)
                self._refused(began, error)
            raise

    def _enter(self, call: StoreCall) -> float:
        """Return when the call began, which is now."""
        with self._lock:
            # Whoever waits already comes first.
            began = None if self._turn.locked() else self._begun()
        if began is not None:
            return began
        with self._turn:
            while True:
                with self._lock:
                    began = self._begun()
                    if began is not None:
                        return began
                    pause = self.flow.pause(self.clock())
                    if pause is None:
                        self._waits = True
                        self._changed.wait(_POLL_S)
                        self._waits = False
                # What there is to wait for may have changed meanwhile.
                if self.wait(min(pause or 0.0, _LOOK_S)):
                    raise CopyStoppedError(
                        f"stopped while {call.operation} of {call.subject} waited for its turn: "
                        "the service asks for fewer requests"
                    )

    def _begun(self) -> float | None:
        """Begin a request if it may begin now; return when."""
        now = self.clock()
        if self.flow.pause(now) != 0:
            return None
        self.flow.begin(now)
        return now

    def _ended(self, began: float, *, answered: bool) -> None:
        with self._lock:
            if answered:
                self.flow.accept(self.clock(), began)
            else:
                self.flow.drop(began)
            if self._waits:
                self._changed.notify()

    def _refused(self, began: float, error: ThrottledError) -> None:
        with self._lock:
            now = self.clock()
            self.flow.refuse(now, began)
            if self._waits:
                self._changed.notify()
            rate, window, refused = self.flow.rate(now), self.flow.window, self.flow.refused
            tell = self._told_at is None or now - self._told_at >= _TELL_S
            if tell:
                self._told_at = now
        if tell:
            log.warning(
                "%s asks for fewer requests; it gets about %.1f a second now, %d at once; it "
                "refused %d so far, the last one: %s",
                uri_of(self),
                rate,
                window,
                refused,
                error,
            )


class _CountedExchange(Generic[T]):
    """An exchange whose end is counted."""

    __slots__ = ("_began", "_inner", "_layer", "advance", "line", "look")

    def __init__(self, inner: Exchange[T], layer: Adaptive) -> None:
        self._inner = inner
        self._layer = layer
        self._began = layer.begin_unlimited()
        self.line = inner.line
        self.advance = inner.advance
        self.look = inner.look

    @property
    def keeps(self) -> bool:
        """The inner one's."""
        return self._inner.keeps

    @property
    def wants_to_write(self) -> bool:
        """The inner one's."""
        return self._inner.wants_to_write

    def result(self) -> T:
        """Return the inner one's."""
        try:
            result = self._inner.result()
        except BaseException as error:
            self._layer.end_unlimited(self._began, error)
            raise
        self._layer._ended(self._began, answered=True)  # noqa: SLF001 - two classes, one module
        return result


class _CountedExpress:
    """Calls that are begun only while the service asks for no fewer of them, and counted."""

    def __init__(self, inner: Express, layer: Adaptive) -> None:
        self.inner = inner
        self._layer = layer
        self.open_line = inner.open_line
        self.can_fork = inner.can_fork

    def after_fork(self) -> None:
        """Leave the connections to the parent process, and count anew."""
        self._layer.flow = Flow()
        self.inner.after_fork()

    def made(self) -> Requests:
        """Return what was counted, calls of the layer included."""
        return requests_of(self._layer)

    def add_made(self, requests: Requests) -> None:
        """Count what another process has asked."""
        self._layer.add_made(requests)

    def is_open(self) -> bool:
        """Tell whether calls may be begun."""
        return self._layer.is_unlimited() and self.inner.is_open()

    def get(
        self, line: Line, key: str, identity: SourceIdentity, sink: memoryview
    ) -> Exchange[ObjectInfo]:
        """Begin to read an object whole."""
        return _CountedExchange(self.inner.get(line, key, identity, sink), self._layer)

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
        """Begin to write an object."""
        begun = self.inner.put(
            line,
            key,
            body,
            upload=upload,
            checksum=checksum,
            condition=condition,
            content_md5=content_md5,
        )
        return _CountedExchange(begun, self._layer)


def requests_of(store: ObjectStore) -> Requests:
    """Return what went to a store so far, if one of its layers is ``Adaptive``; pages count."""
    layer: object = store
    while isinstance(layer, Layer):
        if isinstance(layer, Adaptive):
            return Requests(made=layer.flow.begun, refused=layer.flow.refused)
        layer = layer.inner
    return Requests()
