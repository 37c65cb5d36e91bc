"""What the flow to a store becomes after each answer, moment by moment (c41)."""

from __future__ import annotations

import math

import pytest

from airflow_provider_s3resume.storage import _flow
from airflow_provider_s3resume.storage._flow import Flow


def accept(flow: Flow, *, since: float, until: float, count: int) -> None:
    """Have so many calls accepted, one after the other, evenly over a time."""
    step = (until - since) / count
    for number in range(count):
        began = since + number * step
        flow.begin(began)
        flow.accept(began + step, began)


def refuse(flow: Flow, began: float, now: float) -> None:
    """Have a call refused."""
    flow.begin(began)
    flow.refuse(now, began)


def test_without_a_refusal_there_is_no_limit() -> None:
    """However many requests there are, and however many of them fail for other reasons."""
    flow = Flow()
    for _ in range(1000):
        flow.begin(0.0)
    assert (flow.pause(0.0), flow.rate(0.0), flow.window) == (0.0, math.inf, math.inf)
    for _ in range(1000):
        flow.drop(0.0)
    assert (flow.in_flight, flow.pause(1.0)) == (0, 0.0)


def test_c41_the_first_limit_is_what_was_being_sent() -> None:
    """Ten in flight that take 0.1 s are a hundred a second, of which 0.7 are left."""
    flow = Flow()
    accept(flow, since=0.0, until=0.9, count=1)
    for _ in range(10):
        flow.begin(0.9)
    flow.refuse(1.0, 0.9)
    assert flow.rate(1.0) == pytest.approx(70)
    assert flow.window == pytest.approx(7)
    assert flow.pause(1.0) is None, "nine are in flight"


def test_c41_a_decrease_comes_once_per_round_trip() -> None:
    """Refusals of what began before the last one change nothing."""
    flow = Flow()
    accept(flow, since=0.0, until=1.0, count=50)
    for _ in range(8):
        flow.begin(1.0)
    flow.refuse(1.01, 1.0)
    rate, window = flow.rate(1.01), flow.window
    for _ in range(7):
        flow.refuse(1.01, 1.0)
    assert (flow.rate(1.01), flow.window) == (rate, window)
    assert flow.refused == 8
    refuse(flow, 1.01, 1.02)
    assert flow.rate(1.02) < rate


def test_c41_few_refusals_take_little() -> None:
    """One in a hundred takes a tenth of what one in ten takes."""
    cuts = {}
    for accepted in (9, 99):
        flow = Flow()
        refuse(flow, 0.0, 0.01)
        accept(flow, since=2.0, until=2.5, count=accepted)
        before = flow.rate(2.51)
        refuse(flow, 2.5, 2.51)
        cuts[accepted] = 1 - flow.rate(2.51) / before
    assert cuts[9] == pytest.approx(0.3)
    assert cuts[99] == pytest.approx(0.03)


def test_c41_one_request_asks_while_most_are_refused() -> None:
    """The next waits for its answer; once one is accepted, the rate is doubled from there."""
    flow = Flow()
    for _ in range(20):
        flow.begin(0.0)
    for _ in range(20):
        flow.refuse(0.01, 0.0)
    assert flow.pause(0.02) == 0.0
    flow.begin(0.02)
    assert flow.pause(0.05) is None, "one asks"
    flow.accept(0.11, 0.02)
    assert flow.rate(0.11) == pytest.approx(10), "a tenth of a second after the refusals"
    assert flow.rate(0.11 + 2 * _flow.DOUBLE_S) == pytest.approx(40)
    assert flow.pause(0.12) is not None


def test_c41_what_is_in_flight_for_long_is_taken_for_accepted() -> None:
    """A refusal comes soon, a large part's answer late: the others do not wait for it."""
    flow = Flow()
    for _ in range(10):
        flow.begin(0.0)
    for _ in range(10):
        flow.refuse(0.01, 0.0)
    flow.begin(1.0)
    assert flow.pause(1.5) is None
    assert flow.pause(2.1) == 0.0


def test_c41_the_second_search_ends_at_half_of_where_the_first_was_refused() -> None:
    """Otherwise it would swing for ever where answers take long."""
    flow = Flow()
    for _ in range(5):
        refuse(flow, 0.0, 0.01)
    accept(flow, since=0.02, until=0.11, count=1)
    refused_at = flow.rate(1.11)
    assert refused_at == pytest.approx(160)
    refuse(flow, 1.1, 1.11)
    accept(flow, since=1.12, until=1.21, count=1)
    assert flow.rate(1.21) == pytest.approx(10)
    assert flow.rate(1.21 + 3 * _flow.DOUBLE_S) == pytest.approx(refused_at / 2)
    assert flow.rate(1.21 + 6 * _flow.DOUBLE_S) == pytest.approx(refused_at / 2, rel=0.1)


def test_c41_the_rate_comes_back_along_a_curve() -> None:
    """Soon to nine tenths of what was accepted, then slowly to it, then faster beyond."""
    flow = Flow()
    refuse(flow, 0.0, 0.01)
    accept(flow, since=10.0, until=11.0, count=90)
    for _ in range(10):
        flow.begin(11.0)
        flow.refuse(11.0, 11.0)
    after = flow.rate(11.0)
    rates = [flow.rate(11.0 + seconds) for seconds in (0, 2, 5, 7, 10, 20)]
    assert rates == sorted(rates)
    assert after == rates[0]
    assert rates[-1] > 4 * rates[2]


def test_c41_the_least_rate_is_kept() -> None:
    """A store that refuses everything is still asked."""
    flow, now = Flow(), 0.0
    for _ in range(200):
        pause = flow.pause(now)
        assert pause is not None
        now += pause
        refuse(flow, now, now + 0.01)
        now += 0.01
    assert flow.rate(now) == pytest.approx(_flow.LEAST_RATE, rel=0.01)
    assert flow.pause(now) == pytest.approx(1 / _flow.LEAST_RATE, rel=0.01)
    assert flow.window == 1


def test_c41_a_limit_is_forgotten() -> None:
    """A minute without a refusal."""
    flow = Flow()
    refuse(flow, 0.0, 0.01)
    accept(flow, since=1.0, until=2.0, count=5)
    assert flow.rate(50.0) < math.inf
    assert flow.pause(62.0) == 0.0
    assert (flow.rate(62.0), flow.window) == (math.inf, math.inf)


def test_a_late_caller_is_made_up_for_but_not_for_long() -> None:
    """Sleeping a little too long costs nothing; after a silence there is no burst."""
    flow = Flow()
    flow.begin(0.0)
    accept(flow, since=0.0, until=0.5, count=50)
    flow.refuse(0.5, 0.0)
    accept(flow, since=30.0, until=30.001, count=1)
    gap = 1 / flow.rate(30.0)
    waited = 0
    for _ in range(50):
        pause = flow.pause(40.0)
        if pause:
            break
        flow.begin(40.0)
        flow.accept(40.0, 40.0)
        waited += 1
    assert 1 <= waited <= 2 + _flow.LATE_S / gap * 3


def test_c41_a_request_that_is_refused_after_minutes_begins_a_limit_anew() -> None:
    """What was known when it began is forgotten; the rate was being doubled then."""
    flow = Flow()
    for _ in range(5):
        refuse(flow, 0.0, 0.01)
    accept(flow, since=0.02, until=0.11, count=1)
    refuse(flow, 0.2, 300.2)
    assert flow.rate(300.2) == pytest.approx(_flow.LEAST_RATE)
    assert flow.in_flight == 0


def test_c41_an_answer_after_minutes_brings_no_old_limit_back() -> None:
    """A minute without a refusal has ended it."""
    flow = Flow()
    refuse(flow, 0.0, 0.01)
    flow.begin(1.0)
    flow.accept(100.0, 1.0)
    assert flow.rate(100.0) == math.inf
