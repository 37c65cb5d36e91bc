"""Whatever a service's limit is, the flow to it comes near and does not exceed it by much (c41)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_s3resume.storage._flow import Flow
from tests.support.throttling import Service, Simulation


@st.composite
def simulations(draw: st.DrawFn) -> Simulation:
    """Draw a service, and more callers than it takes."""
    rate = draw(st.floats(5, 150))
    latency = draw(st.floats(0.001, 0.15))
    # What a second gives is in hand, or a tenth of it; services without any are left out.
    burst = max(2.0, rate * draw(st.floats(0.1, 1.0)))
    callers = max(8, math.ceil(2 * rate * latency * 1.3))
    return Simulation(
        service=Service(rate, burst),
        callers=draw(st.integers(callers, 2 * callers)),
        latency=latency,
        jitter=0.3 * latency,
        seed=draw(st.integers(0, 9)),
    )


@settings(max_examples=25)
@given(simulation=simulations())
def test_c41_throttling_backs_off_to_what_is_accepted(simulation: Simulation) -> None:
    """The rate settles between four fifths of the limit and the limit; few requests are refused."""
    simulation.run(until=30)
    limit = simulation.service.rate
    needed = len(simulation.accepted)
    assert 0.8 * limit <= simulation.rate(since=10) <= 1.05 * limit
    # At the start one for each caller, and what it takes to find the rate.
    assert len(simulation.refused) <= simulation.callers + 40 + 0.12 * needed
    assert simulation.refusals(since=10) <= 10 + 0.1 * 20 * limit
    assert simulation.least_window >= 1


@settings(max_examples=25)
@given(simulation=simulations())
def test_c41_after_throttling_the_flow_recovers(simulation: Simulation) -> None:
    """A minute and a half after the limit was lifted nothing is left of it."""
    simulation.run(until=5)
    limit = simulation.service.rate
    assert simulation.flow.rate(simulation.now) < math.inf
    simulation.service.rate = simulation.service.burst = math.inf
    simulation.run(until=20)
    assert simulation.flow.rate(simulation.now) >= 2 * limit
    simulation.flow.pause(95)
    assert simulation.flow.rate(95) == simulation.flow.window == math.inf


@settings(max_examples=25)
@given(simulation=simulations(), lower=st.floats(0.2, 0.5))
def test_c41_a_limit_that_falls_is_followed(simulation: Simulation, lower: float) -> None:
    """To a fifth of what it was."""
    simulation.run(until=10)
    simulation.service.rate *= lower
    simulation.service.burst = max(2.0, simulation.service.burst * lower)
    simulation.run(until=40)
    limit = simulation.service.rate
    assert simulation.rate(since=25) <= 1.05 * limit + 0.2
    assert simulation.rate(since=25) >= 0.7 * limit


@settings(max_examples=25)
@given(simulation=simulations(), silence=st.floats(1, 60))
def test_c41_a_service_that_takes_nothing_is_asked_seldom(
    simulation: Simulation, silence: float
) -> None:
    """One request in five seconds in the end; a few seconds after it is back, so is the rate."""
    simulation.run(until=5)
    rate = simulation.service.rate
    simulation.service.rate = 0.0
    simulation.service.burst = 0.0
    simulation.service.takes(simulation.now)
    simulation.run(until=5 + silence)
    assert simulation.refusals(since=5) <= 2 * simulation.callers + 60 + silence / 4
    simulation.service.rate, simulation.service.burst = rate, max(2.0, rate / 5)
    back = simulation.now
    simulation.run(until=back + 20)
    assert simulation.rate(since=back + 12) >= 0.7 * rate


def test_the_simulated_service_throttles() -> None:
    """Its burst first, then its rate."""
    service = Service(rate=10, burst=5)
    assert [service.takes(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert [service.takes(0.21) for _ in range(3)] == [True, True, False]
    assert Simulation(service=service).rate(since=-1) == pytest.approx(0)


STEPS = st.tuples(
    st.sampled_from(["begin", "accept", "refuse", "refuse", "drop", "pause"]),
    st.sampled_from([0.0, 0.01, 0.3, 5.0, 59.0, 61.0, 300.0, 1e6, 1e300]),
    st.integers(0, 20),
)


@settings(max_examples=500)
@given(steps=st.lists(STEPS, max_size=60))
def test_c41_no_sequence_of_answers_makes_the_flow_fail(
    steps: list[tuple[str, float, int]],
) -> None:
    """Whenever they come, and however late."""
    flow, now, begun = Flow(), 0.0, list[float]()
    for what, later, which in steps:
        now += later
        if what == "begin" or not begun:
            flow.begin(now)
            begun.append(now)
        elif what == "pause":
            pause = flow.pause(now)
            assert pause is None or 0 <= pause < math.inf
        elif what == "drop":
            flow.drop(begun.pop(which % len(begun)))
        else:
            getattr(flow, what)(now, begun.pop(which % len(begun)))
        assert flow.rate(now) > 0
        assert flow.rate(now + 1e9) > 0
        assert flow.window >= 1
        assert flow.in_flight == len(begun)
