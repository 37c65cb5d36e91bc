"""A service that throttles, and callers of it, in simulated time."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field

from airflow_provider_s3resume.storage._flow import Flow
from airflow_provider_s3resume.storage.layers import RetryPolicy

POLICY = RetryPolicy()


class Service:
    """Takes so many requests a second, and refuses others.

    :param rate: requests a second; may be changed.
    :param burst: requests that are taken at once after a silence.
    """

    def __init__(self, rate: float, burst: float = 1.0) -> None:
        self.rate = rate
        self.burst = burst
        self._level = burst
        self._at = 0.0

    def takes(self, now: float) -> bool:
        """Tell whether a request is accepted that arrives now."""
        now = max(now, self._at)
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


@dataclass(order=True)
class _Call:
    """A request under way, or a caller who waits to make one again."""

    at: float
    caller: int
    failures: int = field(default=0, compare=False)
    began: float = field(default=0.0, compare=False)
    arrives: float = field(default=0.0, compare=False)


@dataclass
class Simulation:
    """Callers who make one request after the other, each again until it is accepted.

    :param latency: seconds from a request to its answer, at least.
    :param jitter: seconds that chance adds to it, at most.
    """

    service: Service
    callers: int = 8
    latency: float = 0.003
    jitter: float = 0.001
    seed: int = 1
    flow: Flow = field(default_factory=Flow)
    now: float = 0.0
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    least_window: float = float("inf")

    def __post_init__(self) -> None:
        """Let all callers begin at once."""
        self._chance = random.Random(self.seed)
        self._ready = [_Call(at=0.0, caller=n) for n in range(self.callers)]
        self._waiting: deque[_Call] = deque()
        self._ending: list[_Call] = []

    def run(self, until: float) -> None:
        """Go on until this moment."""
        while self.now < until:
            while self._ready and self._ready[0].at <= self.now:
                self._waiting.append(heapq.heappop(self._ready))
            pause = self.flow.pause(self.now) if self._waiting else None
            if pause == 0:
                self._begin(self._waiting.popleft())
                continue
            times = [calls[0].at for calls in (self._ready, self._ending) if calls]
            if pause is not None:
                times.append(self.now + pause)
            self.now = max(self.now, min(times))
            while self._ending and self._ending[0].at <= self.now:
                self._end(heapq.heappop(self._ending))
            self.least_window = min(self.least_window, self.flow.window)

    def _begin(self, call: _Call) -> None:
        self.flow.begin(self.now)
        takes = self.latency + self._chance.random() * self.jitter
        call.began, call.arrives, call.at = self.now, self.now + takes / 2, self.now + takes
        heapq.heappush(self._ending, call)

    def _end(self, call: _Call) -> None:
        if self.service.takes(call.arrives):
            self.flow.accept(call.at, call.began)
            self.accepted.append(call.at)
            heapq.heappush(self._ready, _Call(at=call.at, caller=call.caller))
            return
        self.flow.refuse(call.at, call.began)
        self.refused.append(call.at)
        call.failures += 1
        base, most = POLICY.throttled_base_s, POLICY.throttled_most_s
        whole = min(base * 2 ** (call.failures - 1), most)
        call.at += whole * (0.5 + self._chance.random() / 2)
        heapq.heappush(self._ready, call)

    def rate(self, since: float) -> float:
        """Return the requests a second that were accepted since a moment."""
        return sum(at >= since for at in self.accepted) / (self.now - since)

    def refusals(self, since: float) -> int:
        """Return how many were refused since a moment."""
        return sum(at >= since for at in self.refused)
