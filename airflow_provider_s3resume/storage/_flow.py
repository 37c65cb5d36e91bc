"""``Flow``: how fast, and how many at once, a store may be called that asks for fewer requests.

A value without threads, clock or I/O, so that it can be tried against simulated services. What it
is made of, with the sources:

- Additive increase and multiplicative decrease, at most once per round trip: the one linear rule by
  which independent callers come to fair shares (Chiu and Jain 1989, "Analysis of the increase and
  decrease algorithms for congestion avoidance in computer networks").
- The rate comes back along the curve of CUBIC (RFC 9438): fast up to what was accepted before,
  hesitantly about there, faster beyond it; never below a straight line (its "Reno-friendly
  region"). The factor of 0.7 is that of RFC 9438, and of the "adaptive" retry mode of the AWS SDKs,
  which uses the same curve. Its length in time is fixed here, not its steepness: a store may take a
  request a second or ten thousand.
- The decrease is in proportion to the share of requests that were refused, as in DCTCP (RFC 8257):
  a hundred requests a second of which one is refused are nearly what the store takes.
- Where most requests are refused, nothing is known of the rate: one request at a time asks until
  one is accepted, and from there the rate is doubled until one is refused, the next time up to half
  of that (the "slow start" of TCP and its threshold, RFC 5681). So looking for the rate costs a
  request a step, however many callers there are.

A window of requests in flight alone cannot do it: where an answer takes 3 ms, even one request in
flight is more than 300 a second.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

MOST_CUT: Final = 0.3
"""What a decrease takes away at most: RFC 9438, section 4.6, has a factor of 0.7."""
FULL_CUT_SHARE: Final = 0.1
"""The share of refused requests that the whole of it is taken away for."""
PLATEAU_S: Final = 5.0
"""Seconds from a decrease until what was accepted before is tried again."""
LINE_PER_S: Final = 0.05
"""Additive increase a second, as a share of the rate after the decrease."""
LEAST_RATE: Final = 0.2
"""Requests a second that are tried however many are refused."""
SPAN_S: Final = 1.0
"""Seconds over which accepted and refused requests are counted."""
FORGET_S: Final = 60.0
"""Seconds without a refusal after which there is no limit any more."""
LATE_S: Final = 0.02
"""So much of a delay in sending is made up for; more of it is lost."""
PROBE_SHARE: Final = 0.5
"""The share of refused requests above which one request asks before others follow."""
DOUBLE_S: Final = 0.25
"""Seconds in which the rate is doubled after that."""
_LEAST_TRIP_S: Final = 0.001
_MOST_RATE: Final = 1e6
"""Requests a second: more than any process sends, and no number grows without end."""


@dataclass(slots=True)
class _Limit:
    """What is left after a decrease, and how it grows.

    :param rate: requests a second right after it.
    :param goal: requests a second that the store accepted before.
    :param window: requests in flight.
    :param probing_since: since when most requests are refused, and one at a time is let through;
        ``None`` if they are not.
    :param probes: requests in flight that began after the decrease.
    :param doubling: the rate is doubled, since ``cut_at``.
    :param threshold: what it is doubled up to: half of where a request was refused before.
    """

    rate: float
    goal: float
    window: float
    cut_at: float
    window_cut_at: float
    probing_since: float | None = None
    probes: int = 0
    doubling: bool = False
    threshold: float = math.inf

    def rate_at(self, now: float) -> float:
        # A power of a longer time would not be a number any more.
        since = min(max(0.0, now - self.cut_at), FORGET_S)
        if self.doubling:
            return min(self._doubled(since), _MOST_RATE)
        if since < PLATEAU_S:
            curve = self.goal - (self.goal - self.rate) * (1 - since / PLATEAU_S) ** 3
        else:
            curve = _beyond(self.goal, since - PLATEAU_S)
        return min(max(self.rate * (1 + LINE_PER_S * since), curve), _MOST_RATE)

    def _doubled(self, since: float) -> float:
        doubled_s = DOUBLE_S * math.log2(max(1.0, self.threshold / self.rate))
        if since < doubled_s:
            return float(self.rate * 2 ** (since / DOUBLE_S))
        reached, since = max(self.rate, self.threshold), since - doubled_s
        return max(reached * (1 + LINE_PER_S * since), _beyond(reached, since))

    def gap_at(self, now: float) -> float:
        """Return the seconds in which the rate adds up to one request."""
        rate = self.rate_at(now)
        if self.doubling:
            return DOUBLE_S * math.log2(1 + math.log(2) / (rate * DOUBLE_S))
        return 1 / rate


def _beyond(goal: float, since: float) -> float:
    """Return the rate so many seconds after what was accepted before was reached."""
    return goal * (1 + MOST_CUT * (since / PLATEAU_S) ** 3)


class Flow:
    """The flow of requests to one store; times are seconds of one clock that only grows."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.begun = 0
        self.refused = 0
        self._limit: _Limit | None = None
        self._next_at = -math.inf
        self._began_at = -math.inf
        self._accepted_at = -math.inf
        self._seen: deque[tuple[float, bool]] = deque()
        self._seen_refused = 0

    def rate(self, now: float) -> float:
        """Return the requests a second that may be begun now, infinite without a limit."""
        return math.inf if self._limit is None else self._limit.rate_at(now)

    @property
    def window(self) -> float:
        """How many requests may be in flight, infinite without a limit; never below 1."""
        return math.inf if self._limit is None else self._limit.window

    def pause(self, now: float) -> float | None:
        """Return the seconds until the next request may begin, ``None`` if one has to end first."""
        self._forget(now)
        limit = self._limit
        if limit is None:
            return 0.0
        # A refusal comes soon: what has been in flight for a while is as good as accepted.
        probing = limit.probing_since is not None and now - self._began_at < SPAN_S
        if self.in_flight >= math.floor(limit.window) or (probing and limit.probes):
            return None
        return max(0.0, self._next_at - now)

    def _forget(self, now: float) -> None:
        if self._limit is not None and now - self._limit.cut_at > FORGET_S:
            self._limit = None

    def begin(self, now: float) -> None:
        """Count a request that begins."""
        self.in_flight += 1
        self.begun += 1
        self._began_at = now
        if self._limit is not None:
            due = max(self._next_at, now - LATE_S)
            self._next_at = due + self._limit.gap_at(now)
            self._limit.probes += 1

    def drop(self, began: float) -> None:
        """Count the end of a request that the service has not answered."""
        self._end(began)

    def accept(self, now: float, began: float) -> None:
        """Count the end of a request that was carried out, or refused for a reason of its own."""
        if self._limit is None:
            # Nearly always.
            self.in_flight -= 1
            self._see(now, accepted=True)
            self._accepted_at = now
            return
        self._forget(now)
        is_new = self._end(began)
        self._see(now, accepted=True)
        if self._limit is not None:
            self._limit.window += 1 / self._limit.window
            if self._limit.probing_since is not None and is_new:
                self._begin_slowly(self._limit, self._limit.probing_since, now)
        self._accepted_at = now

    def _begin_slowly(self, limit: _Limit, probing_since: float, now: float) -> None:
        since = max(self._accepted_at, probing_since)
        accepted = 1 / max(now - since, _LEAST_TRIP_S)
        limit.rate = max(LEAST_RATE, min(limit.rate_at(now), accepted))
        limit.cut_at, limit.probing_since, limit.doubling = now, None, True
        self._next_at = min(self._next_at, now + limit.gap_at(now))

    def _end(self, began: float) -> bool:
        """Count the end of a request; tell whether it began after the last decrease."""
        self.in_flight -= 1
        limit = self._limit
        if limit is None or began < limit.cut_at:
            return False
        limit.probes = max(0, limit.probes - 1)
        return True

    def refuse(self, now: float, began: float) -> None:
        """Count the end of a request that was refused as one too many.

        :param began: one that began before the last decrease says nothing about it.
        """
        # Whatever takes longer than a limit lasts may be refused at its end.
        self._forget(now)
        is_new = self._end(began)
        self.refused += 1
        self._see(now, accepted=False)
        first = self._limit is None
        if self._limit is None:
            # Little's law: what is in flight, by the time that it takes.
            sent = (self.in_flight + 1) / max(now - began, _LEAST_TRIP_S)
            window = float(max(1, self.in_flight + 1))
            self._limit = _Limit(sent, sent, window, cut_at=now, window_cut_at=-math.inf)
        share = self._seen_refused / len(self._seen)
        if share > PROBE_SHARE and self._limit.probing_since is None:
            self._limit.probing_since = now
        if is_new or first:
            self._decrease(self._limit, share, now)

    def _decrease(self, limit: _Limit, share: float, now: float) -> None:
        factor = 1 - MOST_CUT * min(1.0, share / FULL_CUT_SHARE)
        before = limit.rate_at(now)
        if limit.doubling:
            limit.threshold = before / 2
        accepted = (len(self._seen) - self._seen_refused) / SPAN_S
        limit.rate = max(LEAST_RATE, before * factor)
        limit.goal = max(limit.rate, min(max(limit.goal, before), accepted))
        limit.cut_at = now
        limit.probes, limit.doubling = 0, False
        if now - limit.window_cut_at >= SPAN_S:
            # Less often: where answers come fast, the rate alone decides.
            limit.window = max(1.0, limit.window * factor)
            limit.window_cut_at = now
        self._next_at = max(self._next_at, now + limit.gap_at(now))

    def _see(self, now: float, *, accepted: bool) -> None:
        seen = self._seen
        seen.append((now, accepted))
        self._seen_refused += not accepted
        while seen[0][0] < now - SPAN_S:
            self._seen_refused -= not seen.popleft()[1]
