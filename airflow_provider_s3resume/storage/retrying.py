"""``Retrying``: makes calls again that another try can help, and no others (c41, c16)."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from airflow_provider_s3resume.exceptions import (
    CopyStoppedError,
    CredentialsExpiredError,
    DigestRejectedError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import ALL_KEYS, KeyRange, ListedObject
from airflow_provider_s3resume.storage._layer import Layer, StoreCall
from airflow_provider_s3resume.storage.base import ObjectStore, uri_of
from airflow_provider_s3resume.storage.express import Express, express_of

log = logging.getLogger(__name__)
T = TypeVar("T")
Wait = Callable[[float], bool]
"""Waits so many seconds, less if told to stop; returns whether it was told to stop."""

_NOT_CARRIED_OUT: Final = (ThrottledError, CredentialsExpiredError, DigestRejectedError)
"""Refusals: after these a write has certainly not taken effect."""

LONE_ATTEMPTS: Final = 50
"""Refusals in a row without which no call is given up while others are accepted: of requests of
which half are accepted, fewer than one in 2**50 is refused so often by chance."""
REFRESH_AGAIN_S: Final = 60.0
"""Seconds after which credentials that were refreshed for a call may have expired again."""


def sleep_through(seconds: float) -> bool:
    """Wait without anything that could stop it."""
    time.sleep(seconds)
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently; all times in seconds.

    The n-th wait is ``base_s * 2**n``, at most ``most_s``, of which the half is left to chance, so
    that many workers do not come back at once.

    Throttled calls have waits of their own. These are short, as ``storage.adaptive`` says when a
    call is made; they grow for the sake of a single key that the service refuses while it accepts
    others. Such tries go on while the store accepts any, but for ``lone_s``.

    :param attempts: tries in all, of calls that are not throttled.
    :param deadline_s: no try of these begins later than this after the first one.
    :param patience_s: a throttled call is given up if the store has refused all calls for so long.
    :param lone_s: a throttled call is given up if it was itself refused for so long, at least
        ``LONE_ATTEMPTS`` times, though of the other calls meanwhile no more were refused than
        accepted.
    :param throttled_attempts: tries in all of a throttled call, ``None`` for no limit.
    """

    attempts: int = 5
    base_s: float = 0.2
    most_s: float = 10.0
    throttled_attempts: int | None = None
    throttled_base_s: float = 0.05
    throttled_most_s: float = 5.0
    patience_s: float = 600.0
    lone_s: float = 3600.0
    deadline_s: float = 600.0

    def pause(self, error: StoreError, failures: int, chance: float) -> float | None:
        """Return how long to wait after so many failures, ``None`` for no more tries.

        :param chance: from 0 to 1.
        """
        throttled = isinstance(error, ThrottledError)
        attempts = self.throttled_attempts if throttled else self.attempts
        base = self.throttled_base_s if throttled else self.base_s
        most = self.throttled_most_s if throttled else self.most_s
        if attempts is not None and failures >= attempts:
            return None
        # Beyond 2**32 the limit has long been reached, and floats would overflow.
        whole = min(base * 2.0 ** min(failures - 1, 32), most)
        return float(whole * (0.5 + chance / 2))


class Retrying(Layer):
    """A store whose calls are made again while that can help.

    :param refresh: called when credentials were refused as expired; then the call is made again at
        once. They are refreshed another time only after a minute in which calls were accepted.
    :param wait: sleeps; a stop that it reports ends the waiting.
    :param clock: seconds that only grow.
    :param chance: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        inner: ObjectStore,
        policy: RetryPolicy | None = None,
        *,
        wait: Wait = sleep_through,
        refresh: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(inner)
        self.policy = policy or RetryPolicy()
        self.wait = wait
        self.refresh = refresh
        self.clock = clock
        self.chance = chance
        # Written by many threads, of which any may be the last; about how many is enough.
        self.accepted_at = -math.inf
        self.accepted = 0
        self.silence = _Silence()

    def around(self, call: StoreCall, act: Callable[[], T]) -> T:
        """Make a call until it succeeds, or another try cannot help.

        :raises TransientStoreError: at once for a call that may have taken effect unheard: the
            caller has to look at the target.
        """
        tries = _Tries(self)
        while True:
            try:
                result = act()
            except TransientStoreError as error:
                ambiguous = call.settles and not isinstance(error, _NOT_CARRIED_OUT)
                if call.once or ambiguous:
                    raise
                tries.again_after(error)
            except StoreError:
                # An answer, and none about too many requests.
                self._count_accepted()
                raise
            else:
                self._count_accepted()
                return result

    @property
    def express(self) -> Express | None:
        """The inner store's: what fails there is made again by this store's own methods."""
        return express_of(self.inner)

    def _count_accepted(self) -> None:
        self.accepted_at = self.clock()
        self.accepted += 1

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects; after a fault, go on behind the last key yielded.

        An unordered listing has no such place: a fault behind its first key is raised.
        """
        tries, last = _Tries(self), None
        while True:
            # The least key behind a key is that key and a zero byte.
            start = key_range.start if last is None else last + "\0"
            try:
                for listed in self.inner.list_objects(
                    prefix, KeyRange(start=start, stop=key_range.stop)
                ):
                    if last is None or last != listed.key:
                        tries, last = _Tries(self), listed.key
                        self.accepted_at = tries.began
                    yield listed
            except TransientStoreError as error:
                if last is not None and not self.capabilities.ordered_listing:
                    raise
                tries.again_after(error)
            else:
                self._count_accepted()
                return

    def _stopped(self, error: StoreError) -> CopyStoppedError:
        uri = uri_of(self)
        return CopyStoppedError(f"stopped while waiting to call {uri} again after: {error}")


class _Silence:
    """Since when a store refuses everything; shared by all threads that call it.

    It begins with the first refusal after an acceptance. Time in which nobody called is no part of
    it; after a patience's worth of such time it begins anew with the next refusal.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._since = self._asked_at = -math.inf
        self._lock = threading.Lock()

    def ask(self, now: float) -> None:
        """Note that a try has ended without an answer."""
        with self._lock:
            self._asked_at = max(self._asked_at, now)

    def refuse(self, began: float, now: float, accepted_at: float, policy: RetryPolicy) -> float:
        """Count a refusal; return the seconds of silence.

        :param began: when the try that was refused began.
        :param accepted_at: when the store accepted something.
        """
        with self._lock:
            self.refused += 1
            idle = began - self._asked_at
            if self._since <= accepted_at or idle > policy.patience_s:
                self._since = now
            else:
                # Those who wait for another try call, in a way.
                self._since += max(0.0, idle - max(policy.most_s, policy.throttled_most_s))
            self._asked_at = max(self._asked_at, now)
            return now - self._since


class _Tries:
    """The failures of one call so far."""

    def __init__(self, layer: Retrying) -> None:
        self._layer = layer
        self._failures = 0
        self._throttled = 0
        self._refreshed_at: float | None = None
        # At the first refusal: when, and how many were accepted and refused by then.
        self._lone_since = (0.0, 0, 0)
        self._began = self.began = self._failing_since = layer.clock()

    def again_after(self, error: StoreError) -> None:
        """Return when it is time for another try.

        :raises StoreError: the error itself, if there shall be none.
        :raises CopyStoppedError: if told to stop meanwhile.
        """
        layer = self._layer
        if isinstance(error, CredentialsExpiredError):
            fault = self._refresh_after(error)
            if fault is None:
                self._began = layer.clock()
                return
            error = fault
        now = layer.clock()
        count = self._count(error, now)
        pause = layer.policy.pause(error, count, layer.chance())
        if pause is None:
            raise error
        if not isinstance(error, ThrottledError) and (
            now + pause - self._failing_since > layer.policy.deadline_s
        ):
            raise error
        log.info("Trying again in %.1f s, after failure %d: %s", pause, count, error)
        if layer.wait(pause):
            raise layer._stopped(error) from error  # noqa: SLF001 - two classes, one module
        self._began = layer.clock()

    def _count(self, error: StoreError, now: float) -> int:
        """Count a failure among those of its kind; return how many in a row there were.

        A call may be refused as one too many for hours: what fails then has tries of its own.
        """
        if isinstance(error, ThrottledError):
            # An answer: the network is there.
            self._failures = 0
            self._throttled += 1
            self._check_patience(error, now)
            return self._throttled
        self._layer.silence.ask(now)
        self._failures += 1
        if self._failures == 1 and self._throttled:
            self._failing_since = now
        return self._failures

    def _check_patience(self, error: ThrottledError, now: float) -> None:
        layer, policy = self._layer, self._layer.policy
        silent = layer.silence.refuse(self._began, now, layer.accepted_at, policy)
        if self._throttled == 1:
            self._lone_since = (now, layer.accepted, layer.silence.refused - 1)
        reason = None
        if silent >= policy.patience_s:
            reason = f"the service has accepted no request at all for {policy.patience_s:.0f} s"
        elif self._is_alone(now):
            reason = (
                f"this call alone was refused {self._throttled} times in {policy.lone_s:.0f} s and "
                "more, while the service accepted most others"
            )
        if reason is not None:
            detail = f"{error.detail}; given up, as {reason}"
            raise ThrottledError(error.operation, error.subject, detail) from error

    def _is_alone(self, now: float) -> bool:
        layer, (since, accepted, refused) = self._layer, self._lone_since
        if now - since < layer.policy.lone_s or self._throttled < LONE_ATTEMPTS:
            return False
        others_refused = layer.silence.refused - refused - self._throttled
        return others_refused <= layer.accepted - accepted

    def _refresh_after(self, error: CredentialsExpiredError) -> TransientStoreError | None:
        """Refresh the credentials; return the fault that it met, if any."""
        layer, refreshed_at = self._layer, self._refreshed_at
        refresh = layer.refresh
        # A throttled call may last longer than credentials do. One that is refused at once with new
        # ones has another reason, though others are accepted.
        now = layer.clock()
        in_vain = refreshed_at is not None and (
            layer.accepted_at <= refreshed_at or now - refreshed_at < REFRESH_AGAIN_S
        )
        if refresh is None or in_vain:
            raise error
        log.info("Refreshing expired credentials: %s", error)
        try:
            refresh()
        except CredentialsExpiredError:
            raise
        except TransientStoreError as fault:
            # None of the store's answers, even if somebody asks for fewer requests.
            return TransientStoreError(fault.operation, fault.subject, fault.detail)
        self._refreshed_at = now
        return None
