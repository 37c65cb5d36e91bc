"""When messages are deleted, and when they are not, whatever became of the tasks before."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.operators.copy_events import EventCopyOperator
from airflow_provider_s3resume.operators.plan_events import PlanEventsOperator
from airflow_provider_s3resume.storage._memory_reader import no_hook
from airflow_provider_s3resume.transfer.progress import Figures
from tests.dags.fake_queue import notification
from tests.dags.fakes import context_of
from tests.unit.test_operators_events import Run, World, deny


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Give an empty world."""
    return World(monkeypatch)


def test_c40_the_plan_of_an_earlier_attempt_deletes_no_message(world: World) -> None:
    """All tasks were cleared, and the one that plans never began: its old plan is at hand.

    It has the key, and it has proven what was there before the message came.
    """
    world.put("a")
    first = world.run()
    assert first.errors == {}
    world.put("a", b"newer")
    again = Run(taken=world.take(), plan=first.plan)
    world.finish(again)
    assert set(again.errors) == {"acknowledge"}
    assert "not of these messages" in str(again.errors["acknowledge"])
    [left] = world.queues.events.messages
    assert left.visible_at == 60.0
    assert world.buckets.copied() == {"a": b"data"}
    world.queues.events.now = 61.0
    assert world.run().errors == {}
    assert world.buckets.copied() == {"a": b"newer"}
    assert world.queues.events.messages == []


def test_c40_a_message_whose_copy_is_not_there_any_more_is_left(world: World) -> None:
    """It had landed; the verification looks at the target."""
    world.put("a")
    run = Run(taken=world.take())
    diff = PlanEventsOperator(task_id="diff", taken=run.taken)
    context = context_of(diff)
    [batch] = diff.execute(context)
    run.plan = context["ti"].xcoms["plan"]
    copy = EventCopyOperator(task_id="transfer", taken=run.taken, batch=batch)
    copy.execute(context_of(copy))
    del world.buckets.target.objects["copy/a"]
    world.finish(run)
    assert set(run.errors) == {"verify", "report", "acknowledge"}
    assert len(world.queues.events.messages) == 1


def test_c07_nothing_is_deleted_before_the_record_of_pairs_is_kept(world: World) -> None:
    """Else the next scan would copy once more what no message is about any more."""
    world.put("a")
    deny(world.buckets.target, "PutObject", ".s3resume/events/")
    run = world.run()
    assert set(run.errors) == {"acknowledge"}
    assert len(world.queues.events.messages) == 1
    world.buckets.target.observer.before = no_hook
    again = Run(taken=run.taken, plan=run.plan)
    world.finish(again)
    assert again.errors == {}
    assert world.queues.events.messages == []


def test_foreign_messages_are_left_although_there_is_a_queue_for_them(world: World) -> None:
    """If that is what was asked for."""
    world.queues.announce("x", bucket="another")
    world.queues.events.put("poison")
    run = world.run(foreign_messages="leave")
    assert run.errors == {}
    assert [held.body for held in world.queues.dead.messages] == ["poison"]
    assert [held.body for held in world.queues.events.messages] == [
        notification("x", bucket="another")
    ]


def test_a_copy_that_tells_how_far_it_is_keeps_its_messages_hidden(world: World) -> None:
    """Every few seconds, whatever it copies: when a third of their time is over they are hidden."""
    world.put("a")
    run = Run(taken=world.take(hide_s=60))
    diff = PlanEventsOperator(task_id="diff", taken=run.taken)
    [batch] = diff.execute(context_of(diff))
    copy = EventCopyOperator(task_id="transfer", taken=run.taken, batch=batch)
    copy.execute(context_of(copy))
    [held] = world.queues.events.messages
    world.queues.events.now = 50.0
    keeper, figures = copy._keeper, Figures()
    assert keeper is not None
    copy._tell(figures, {})
    assert held.visible_at == 60.0
    keeper._due = 0.0
    copy._tell(figures, {})
    assert held.visible_at == 110.0
