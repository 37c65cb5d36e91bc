"""A run that messages start, task by task, on buckets and queues in memory."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    ObjectNotFoundError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.hooks.queue import Queue
from airflow_provider_s3resume.hooks.taken import Keeper, TakenReference
from airflow_provider_s3resume.operators.acknowledge_events import AcknowledgeEventsOperator
from airflow_provider_s3resume.operators.copy_events import EventCopyOperator
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.plan import PlanSyncOperator
from airflow_provider_s3resume.operators.plan_events import PlanEventsOperator
from airflow_provider_s3resume.operators.report import ReportSyncOperator
from airflow_provider_s3resume.operators.take_events import TakeEventsOperator
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator
from airflow_provider_s3resume.storage._memory_reader import no_hook
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.transfer.reporting import make_report
from airflow_provider_s3resume.transfer.state import StateLocation
from tests.dags.fake_queue import DEAD_URL, URL, MemorySqs, Queues, notification
from tests.dags.fakes import SIDES, Buckets, context_of
from tests.dags.seeding import put
from tests.unit.test_plan_events import document

QUEUE = {"queue_conn_id": "src", "queue_url": URL, "dead_letter_url": DEAD_URL}


@dataclass(slots=True, kw_only=True)
class Run:
    """What the tasks of one run came to."""

    taken: dict[str, Any]
    plan: dict[str, Any] | None = None
    batches: list[dict[str, Any]] = field(default_factory=list)
    report: dict[str, Any] | None = None
    acknowledged: dict[str, int] | None = None
    errors: dict[str, Exception] = field(default_factory=dict)


class World:
    """Two buckets and two queues, and runs over them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.buckets = Buckets.behind_connections(monkeypatch)
        self.queues = Queues.behind_connections(monkeypatch)
        self._runs = 0

    def put(self, key: str, body: bytes = b"data") -> None:
        """Write an object at the source and let its event come."""
        put(self.buckets.source, f"data/{key}", body)
        self.queues.announce(f"data/{key}")

    def take(self, **more: Any) -> dict[str, Any]:
        """Run the first task."""
        self._runs += 1
        take = TakeEventsOperator(task_id="take", **{**SIDES, **QUEUE, **more})
        return take.execute(context_of(take, try_number=self._runs))

    def run(self, **more: Any) -> Run:
        """Run all tasks, each of them whatever became of the others, as Airflow does."""
        run = Run(taken=self.take(**more))
        self.go_on(run)
        return run

    def go_on(self, run: Run) -> None:
        """Run what follows the first task."""
        diff = PlanEventsOperator(task_id="diff", taken=run.taken)
        context = context_of(diff, try_number=self._runs)
        self._try(run, "diff", lambda: run.batches.extend(diff.execute(context)))
        run.plan = context["ti"].xcoms.get("plan")
        for batch in run.batches:
            copy = EventCopyOperator(task_id="transfer", taken=run.taken, batch=batch)
            self._try(run, "transfer", lambda copy=copy: copy.execute(context_of(copy)))
        self.finish(run)

    def finish(self, run: Run) -> None:
        """Run the tasks that run in any case."""
        plan: Any = run.plan
        verify = VerifyCopyOperator(task_id="verify", plan=plan)
        self._try(run, "verify", lambda: verify.execute(context_of(verify)))
        report = ReportSyncOperator(task_id="report", plan=plan)
        context = context_of(report)
        self._try(run, "report", lambda: report.execute(context))
        run.report = context["ti"].xcoms.get("report")
        last = AcknowledgeEventsOperator(task_id="acknowledge", taken=run.taken, plan=plan)
        context = context_of(last)

        def acknowledge() -> None:
            run.acknowledged = last.execute(context)

        self._try(run, "acknowledge", acknowledge)

    def _try(self, run: Run, name: str, task: Any) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001 - what a task came to
            run.errors[name] = error

    def since(self) -> float:
        """Return since when events are consumed, as the state location has it."""
        [key] = [k for k in self.buckets.target.objects if k.startswith(".s3resume/events/")]
        found: float = json.loads(self.buckets.target.data(key))["since"]
        return found


def deny(store: MemoryStore, operation: str, prefix: str) -> None:
    """Let a bucket refuse one kind of call about these keys."""

    def check(called: str, arguments: Any) -> None:
        if called == operation and str(arguments["key"]).startswith(prefix):
            raise AccessDeniedError(called, str(arguments["key"]), "AccessDenied (HTTP 403)")

    store.observer.before = check


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Give an empty world."""
    return World(monkeypatch)


def test_what_messages_name_is_copied_verified_reported_and_only_then_deleted(
    world: World,
) -> None:
    """All records of each message; keys as they are behind their encoding."""
    for key in ("plain", "a+b c/ü%2F€", "sub//dir/"):
        world.put(key, key.encode())
    put(world.buckets.source, "data/one", b"1")
    put(world.buckets.source, "data/two", b"2")
    put(world.buckets.source, "data/not announced", b"3")
    world.queues.announce("data/one", "data/two")
    world.queues.events.put(document("test-event"))
    run = world.run()
    assert run.errors == {}
    assert world.buckets.copied() == {
        "plain": b"plain",
        "a+b c/ü%2F€": "a+b c/ü%2F€".encode(),
        "sub//dir/": b"sub//dir/",
        "one": b"1",
        "two": b"2",
    }
    assert run.report is not None
    assert (run.report["planned"], run.report["copied"], run.report["verified"]) == (5, 5, 5)
    assert run.report["events"] == {
        "messages": 5,
        "test_messages": 1,
        "foreign_messages": 0,
        "poison_messages": 0,
        "asks": 5,
        "removed": 0,
        "other_kind": 0,
        "other_prefix": 0,
        "other_bucket": 0,
        "repeated": 0,
        "keys": 5,
        "equal": 0,
        "gone": 0,
        "unreadable": 0,
    }
    assert run.acknowledged == {
        "deleted": 5,
        "dead_lettered": 0,
        "left": 0,
        "lapsed": 0,
        "failed": 0,
    }
    assert world.queues.events.messages == []
    assert world.queues.dead.messages == []


def test_xcom_holds_neither_bodies_nor_handles(world: World) -> None:
    """They are large, and they are nobody's business: what goes round is a place."""
    world.put("a secret name")
    taken = world.take()
    [held] = world.queues.events.messages
    text = json.dumps(taken)
    assert held.handle not in text
    assert "secret name" not in text
    assert TakenReference.from_json_dict(json.loads(text)).messages == 1


def test_nothing_is_deleted_by_taking_planning_and_copying(world: World) -> None:
    """Until its object is verified a message is only hidden."""
    world.put("a")
    run = Run(taken=world.take())
    diff = PlanEventsOperator(task_id="diff", taken=json.dumps(run.taken))
    context = context_of(diff)
    [batch] = diff.execute(context)
    copy = EventCopyOperator(task_id="transfer", taken=run.taken, batch=batch)
    copy.execute(context_of(copy))
    assert world.buckets.copied() == {"a": b"data"}
    names = {name for name, _ in world.queues.events.calls}
    assert names == {"ReceiveMessage", "ChangeMessageVisibilityBatch"}
    assert len(world.queues.events.messages) == 1
    assert world.queues.events.visible == []


def test_a_message_that_comes_again_starts_no_second_copy(world: World) -> None:
    """Its object is asked for at both sides and found equal; then it is deleted."""
    put(world.buckets.source, "data/big", bytes(range(256)) * 70_000, part_size=5 << 20)
    world.put("a")
    world.queues.announce("data/big")
    bodies = [held.body for held in world.queues.events.messages]
    assert world.run().errors == {}
    written = dict(world.buckets.target.objects)
    for body in bodies * 2:
        world.queues.events.put(body)
    again = world.run()
    assert again.errors == {}
    assert again.batches == []
    assert again.report is not None
    assert (again.report["planned"], again.report["events"]["equal"]) == (0, 2)
    assert again.report["events"]["repeated"] == 2
    for key in ("copy/a", "copy/big"):
        assert world.buckets.target.objects[key] == written[key]
    assert world.queues.events.messages == []


def test_a_message_whose_time_is_up_while_its_object_is_copied_does_no_harm(world: World) -> None:
    """The first run cannot delete it any more; the second copies nothing and deletes it."""
    world.put("a")
    first = Run(taken=world.take())
    world.queues.events.now += 100_000
    second = Run(taken=world.take())
    assert second.taken["messages"] == 1
    world.go_on(first)
    assert first.errors == {}
    assert first.acknowledged is not None
    assert (first.acknowledged["deleted"], first.acknowledged["lapsed"]) == (0, 1)
    world.go_on(second)
    assert second.errors == {}
    assert second.batches == []
    assert second.acknowledged is not None
    assert second.acknowledged["deleted"] == 1
    assert world.queues.events.messages == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0, 1, 2)])
def test_order_and_duplicates_make_no_difference(world: World, order: tuple[int, ...]) -> None:
    """What is at the source now is copied, once."""
    bodies = []
    for number in range(3):
        put(world.buckets.source, "data/a", f"version {number}".encode())
        bodies.append(notification("data/a"))
    for number in order:
        world.queues.events.put(bodies[number])
    run = world.run()
    assert run.errors == {}
    assert run.report is not None
    assert run.report["copied"] == 1
    assert world.buckets.copied() == {"a": b"version 2"}


def test_an_object_that_is_gone_is_reported_and_no_failure(world: World) -> None:
    """The event is late; there is nothing to copy."""
    world.queues.announce("data/gone")
    run = world.run()
    assert run.errors == {}
    assert run.report is not None
    assert (run.report["planned"], run.report["events"]["gone"]) == (0, 1)
    assert world.queues.events.messages == []


def test_c40_a_message_whose_object_is_listed_is_left_although_no_head_finds_it(
    world: World,
) -> None:
    """Something in between answers 404; the message comes again, and its object is copied then."""
    world.put("a")

    def not_found(called: str, arguments: Any) -> None:
        if called == "HeadObject" and arguments["key"] == "data/a":
            raise ObjectNotFoundError(called, "data/a", "404 (HTTP 404): Not Found")

    world.buckets.source.observer.before = not_found
    run = world.run()
    assert set(run.errors) == {"acknowledge"}
    assert run.report is not None
    assert (run.report["events"]["gone"], run.report["events"]["unreadable"]) == (0, 1)
    assert len(world.queues.events.messages) == 1
    world.buckets.source.observer.before = no_hook
    world.queues.events.now = 61.0
    assert world.run().errors == {}
    assert world.buckets.copied() == {"a": b"data"}
    assert world.queues.events.messages == []


def test_the_only_object_of_a_run_may_vanish_before_it_is_copied(world: World) -> None:
    """A scan whose every object is gone fails; an event's is only late."""
    world.put("a")
    run = Run(taken=world.take())
    diff = PlanEventsOperator(task_id="diff", taken=run.taken)
    context = context_of(diff)
    run.batches = diff.execute(context)
    run.plan = context["ti"].xcoms["plan"]
    world.buckets.source.delete_object("data/a")
    copy = EventCopyOperator(task_id="transfer", taken=run.taken, batch=run.batches[0])
    copy.execute(context_of(copy))
    world.finish(run)
    assert run.errors == {}
    assert run.report is not None
    assert (run.report["planned"], run.report["gone"]) == (1, 1)
    assert world.queues.events.messages == []


@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "LifecycleExpiration:Delete"])
def test_removals_delete_nothing_and_are_reported(world: World, name: str) -> None:
    """Only a sync that was asked to deletes, with its own safeguards."""
    put(world.buckets.target, "copy/a", b"old")
    world.queues.announce("data/a", name=name)
    run = world.run()
    assert run.errors == {}
    assert run.report is not None
    assert (run.report["events"]["removed"], run.report["events"]["keys"]) == (1, 0)
    assert world.buckets.copied() == {"a": b"old"}
    assert world.queues.events.messages == []


def test_events_of_other_prefixes_are_counted_and_done_with(world: World) -> None:
    """A notification may be of the whole bucket."""
    put(world.buckets.source, "elsewhere/a", b"x")
    world.queues.announce("elsewhere/a")
    run = world.run()
    assert run.errors == {}
    assert run.report is not None
    assert run.report["events"]["other_prefix"] == 1
    assert world.buckets.copied() == {}
    assert world.queues.events.messages == []


def test_poison_goes_to_the_dead_letter_queue_with_its_reason_and_then_away(world: World) -> None:
    """Body as it was, the reason in an attribute; others are copied meanwhile."""
    world.put("a")
    world.queues.events.put("not json \u00fc")
    world.queues.events.put(document("eventbridge-foreign"))
    world.queues.announce("x", bucket="another")
    run = world.run()
    assert run.errors == {}
    assert world.buckets.copied() == {"a": b"data"}
    assert world.queues.dead_letters() == {
        "not json \u00fc": "poison: no JSON document: JSONDecodeError",
        document("eventbridge-foreign"): "foreign: EventBridge: source is 'aws.ec2'",
        notification("x", bucket="another"): "foreign: an event of the bucket 'another'",
    }
    assert run.acknowledged is not None
    assert (run.acknowledged["deleted"], run.acknowledged["dead_lettered"]) == (1, 3)
    assert world.queues.events.messages == []
    assert [name for name, _ in world.queues.events.calls].count("SendMessage") == 0


def test_foreign_messages_can_be_left(world: World) -> None:
    """They are hidden as long as any other, then somebody else may take them."""
    world.queues.announce("x", bucket="another")
    run = world.run(foreign_messages="leave", dead_letter_url="")
    assert run.errors == {}
    assert run.acknowledged is not None
    assert (run.acknowledged["left"], run.acknowledged["failed"]) == (1, 0)
    assert world.queues.dead.messages == []
    assert len(world.queues.events.messages) == 1
    world.queues.events.now += 1801
    assert len(world.queues.events.visible) == 1


def test_c40_a_message_whose_object_failed_is_left_and_the_run_fails(world: World) -> None:
    """The other messages are acknowledged; it comes again after a pause, and then succeeds."""
    world.put("good")
    world.put("bad")
    deny(world.buckets.source, "GetObject", "data/bad")
    run = world.run()
    assert isinstance(run.errors["acknowledge"], AirflowFailException)
    assert "1 messages are left" in str(run.errors["acknowledge"])
    assert {"transfer", "verify", "report", "acknowledge"} == set(run.errors)
    [left] = world.queues.events.messages
    assert "data/bad" in left.body
    assert left.visible_at == 60.0
    world.buckets.source.observer.before = no_hook
    world.queues.events.now = 61.0
    again = world.run()
    assert again.errors == {}
    assert world.buckets.copied() == {"good": b"data", "bad": b"data"}
    assert world.queues.events.messages == []


def test_c40_what_no_verification_has_looked_at_is_not_deleted(world: World) -> None:
    """The object landed; as long as nothing proves it, its message comes again."""
    world.put("a")
    run = Run(taken=world.take())
    diff = PlanEventsOperator(task_id="diff", taken=run.taken)
    context = context_of(diff)
    run.batches = diff.execute(context)
    run.plan = context["ti"].xcoms["plan"]
    copy = EventCopyOperator(task_id="transfer", taken=run.taken, batch=run.batches[0])
    copy.execute(context_of(copy))
    report = ReportSyncOperator(task_id="report", plan=run.plan)
    with pytest.raises(AirflowFailException, match="were not verified"):
        report.execute(context_of(report))
    last = AcknowledgeEventsOperator(task_id="acknowledge", taken=run.taken, plan=run.plan)
    with pytest.raises(AirflowFailException, match="1 messages are left"):
        last.execute(context_of(last))
    assert len(world.queues.events.messages) == 1


def test_nothing_is_deleted_without_a_report(world: World) -> None:
    """The plan failed, so there is none: even what copies nothing is left."""
    world.put("a")
    world.queues.events.put(document("test-event"))
    world.buckets.source.state.denied = True
    run = world.run()
    assert {"diff", "report", "acknowledge"} <= set(run.errors)
    assert "the run has no report" in str(run.errors["acknowledge"])
    assert len(world.queues.events.messages) == 2
    assert {held.visible_at for held in world.queues.events.messages} == {60.0}


def test_nothing_is_deleted_before_the_report_is_stored(world: World) -> None:
    """The object is there and verified; the report task has not come to its end."""
    world.put("a")
    run = Run(taken=world.take())
    diff = PlanEventsOperator(task_id="diff", taken=run.taken)
    context = context_of(diff)
    [batch] = diff.execute(context)
    run.plan = context["ti"].xcoms["plan"]
    copy = EventCopyOperator(task_id="transfer", taken=run.taken, batch=batch)
    copy.execute(context_of(copy))
    plan: Any = run.plan
    verify = VerifyCopyOperator(task_id="verify", plan=plan)
    assert verify.execute(context_of(verify))["verified"] == 1
    last = AcknowledgeEventsOperator(task_id="acknowledge", taken=run.taken, plan=plan)
    with pytest.raises(AirflowFailException, match="the run has no report"):
        last.execute(context_of(last))
    assert len(world.queues.events.messages) == 1
    report = ReportSyncOperator(task_id="report", plan=plan)
    report.execute(context_of(report))
    assert last.execute(context_of(last))["deleted"] == 1


def test_one_object_that_cannot_be_asked_for_stops_no_other(world: World) -> None:
    """Its message is left, and the run fails with it."""
    world.put("good")
    world.put("bad")
    deny(world.buckets.source, "HeadObject", "data/bad")
    run = world.run()
    assert world.buckets.copied() == {"good": b"data"}
    assert set(run.errors) == {"acknowledge"}
    [left] = world.queues.events.messages
    assert "data/bad" in left.body
    assert run.report is not None
    assert run.report["events"]["unreadable"] == 1


def test_a_key_that_the_target_cannot_hold_is_put_aside_by_name(world: World) -> None:
    """The run fails once, and the message does not come for ever."""
    long = "k" * 1019
    put(world.buckets.source, f"data/{long}", b"x")
    world.queues.announce(f"data/{long}")
    run = world.run(target_uri="s3://target/copies/")
    assert "report" in run.errors
    assert "1 objects can never be copied" in str(run.errors["acknowledge"])
    [reason] = world.queues.dead_letters().values()
    assert reason.startswith("refused: key_too_long: 'data/kkk")
    assert world.queues.events.messages == []


def test_c33_the_state_location_is_never_copied_on_the_word_of_a_message(world: World) -> None:
    """Neither as a source nor as a target."""
    world.run()
    put(world.buckets.source, "data/.s3resume/marker.json", b"x")
    world.queues.announce("data/.s3resume/marker.json")
    run = world.run(target_uri="s3://target/", source_uri="s3://source/data/")
    assert "1 objects can never be copied" in str(run.errors["acknowledge"])
    [reason] = world.queues.dead_letters().values()
    assert "in_state_location" in reason


def test_the_messages_are_hidden_anew_by_every_stage(world: World) -> None:
    """For as long as the task was told, from then on."""
    world.put("a")
    run = Run(taken=world.take(hide_s=600))
    [held] = world.queues.events.messages
    assert held.visible_at == 600.0
    world.queues.events.now = 500.0
    diff = PlanEventsOperator(task_id="diff", taken=run.taken)
    [batch] = diff.execute(context_of(diff))
    assert held.visible_at == 1100.0
    world.queues.events.now = 1000.0
    copy = EventCopyOperator(task_id="transfer", taken=run.taken, batch=batch)
    copy.execute(context_of(copy))
    assert held.visible_at == 1600.0


def test_messages_are_hidden_anew_while_a_copy_goes_on() -> None:
    """Whenever a third of their time is over; a queue that refuses stops nothing."""
    service, times = MemorySqs(), [0.0]
    service.put("{}")
    queue = Queue(service, URL)
    messages = queue.receive(10, wait_s=1, hide_s=90)
    keeper = Keeper(queue, lambda: messages, 90, clock=lambda: times[0])
    extended = []
    for second in range(0, 100, 10):
        times[0] = service.now = float(second)
        before = service.messages[0].visible_at
        keeper.beat()
        if service.messages[0].visible_at != before or second == 0:
            extended.append(second)
    assert extended == [0, 30, 60, 90]

    def refuse(_: str) -> None:
        raise TransientStoreError("ChangeMessageVisibilityBatch", URL, "HTTP 500")

    service.on_call = refuse
    times[0] = 200.0
    keeper.beat()


def test_taking_stops_at_its_limits(world: World) -> None:
    """So many messages, and no more than there are; each once."""
    for number in range(25):
        world.queues.announce(f"data/{number}")
    assert world.take(most_messages="12")["messages"] == 12
    assert len(world.queues.events.visible) == 13
    assert world.take()["messages"] == 13
    asked = [r["MaxNumberOfMessages"] for n, r in world.queues.events.calls if n[0] == "R"]
    assert asked == [10, 2, 10, 10, 10]


def test_an_empty_queue_is_an_empty_run(world: World) -> None:
    """Somebody else was quicker: nothing to do, nothing failed."""
    run = world.run()
    assert run.errors == {}
    assert run.taken["messages"] == 0
    assert run.batches == []


def test_messages_that_could_not_be_kept_are_shown_again(world: World) -> None:
    """The state location refuses: the next attempt need not wait until their time is up."""
    world.run()
    world.put("a")
    deny(world.buckets.target, "PutObject", ".s3resume/")
    with pytest.raises(AirflowFailException, match="AccessDenied"):
        world.take()
    assert len(world.queues.events.visible) == 1


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"queue_url": ""}, "queue_url"),
        ({"queue_url": "events"}, "queue_url"),
        ({"queue_url": URL + ".fifo"}, "FIFO"),
        ({"queue_url": "https://key:secret@sqs.example/q"}, "queue_url"),
        ({"dead_letter_url": URL}, "dead_letter_url"),
        ({"dead_letter_url": "dead"}, "dead_letter_url"),
        ({"foreign_messages": "delete"}, "foreign_messages"),
        ({"hide_s": 59}, "hide_s"),
        ({"hide_s": "43201"}, "hide_s"),
        ({"most_messages": 0}, "most_messages"),
        ({"seconds": "soon"}, "seconds"),
        ({"source_uri": "oss://source/data/"}, "source_uri"),
        ({"target_uri": "s3://target/copy"}, "target_uri"),
        (
            {"source_uri": "s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/ap/data/"},
            "source_uri.*the name of the bucket itself",
        ),
        (
            {"source_uri": "s3://ap-a1b2c3-s3alias/data/"},
            "source_uri.*the name of the bucket itself",
        ),
    ],
)
def test_bad_input_is_refused_before_a_message_is_taken(
    world: World, given: dict[str, Any], named: str
) -> None:
    """By name, and without what may be a secret (c42)."""
    world.put("a")
    with pytest.raises(AirflowFailException, match=named) as refused:
        world.take(**given)
    assert isinstance(refused.value.__cause__, InvalidInputError)
    assert "secret" not in str(refused.value)
    assert world.queues.events.calls == []


def test_another_document_is_no_reference() -> None:
    """It is refused by name."""
    others: list[Any] = [{"sides": {}}, [], "null"]
    for other in others:
        with pytest.raises(InvalidInputError, match="taken"):
            TakenReference.from_json_dict(other)


def test_a_run_that_took_nothing_acknowledges_nothing() -> None:
    """The first task failed: there is nothing to do, and that is no failure of this one."""
    last = AcknowledgeEventsOperator(task_id="acknowledge", taken="null", plan="null")
    with pytest.raises(AirflowSkipException):
        last.execute(context_of(last))


def test_c40_a_dead_letter_queue_that_refuses_keeps_its_message_and_no_other(world: World) -> None:
    """It is never deleted before it lies there; what is verified is deleted all the same."""

    def refuse(called: str) -> None:
        if called == "SendMessage":
            raise StoreError("SendMessage", DEAD_URL, "InvalidMessageContents")

    world.queues.dead.on_call = refuse
    world.queues.events.put("poison")
    world.put("a")
    world.queues.events.put("more poison")
    run = world.run()
    assert set(run.errors) == {"acknowledge"}
    assert isinstance(run.errors["acknowledge"], AirflowFailException)
    assert "2 messages are left" in str(run.errors["acknowledge"])
    assert [held.body for held in world.queues.events.messages] == ["poison", "more poison"]
    assert {held.visible_at for held in world.queues.events.messages} == {60.0}


def test_another_attempt_buries_no_message_again(world: World) -> None:
    """What was put aside is noted down before it is deleted."""
    for number in range(12):
        world.queues.events.put(f"poison {number:02}")

    def refuse(called: str) -> None:
        if called == "DeleteMessageBatch":
            raise TransientStoreError("DeleteMessageBatch", URL, "HTTP 500")

    world.queues.events.on_call = refuse
    run = world.run()
    assert set(run.errors) == {"acknowledge"}
    assert len(world.queues.dead.messages) == 10
    world.queues.events.on_call = lambda _: None
    again = Run(taken=run.taken, plan=run.plan)
    world.finish(again)
    assert again.errors == {}
    assert again.acknowledged is not None
    assert again.acknowledged["dead_lettered"] == 12
    assert len(world.queues.dead.messages) == len(world.queues.dead_letters()) == 12
    assert world.queues.events.messages == []


def test_a_dead_letter_queue_that_is_not_there_is_found_before_anything_is_copied(
    world: World,
) -> None:
    """No message is taken then; the parameter is named."""
    world.put("a")

    def refuse(called: str) -> None:
        raise StoreError(called, DEAD_URL, "AWS.SimpleQueueService.NonExistentQueue (HTTP 400)")

    world.queues.dead.on_call = refuse
    with pytest.raises(AirflowFailException, match=r"NonExistentQueue.*dead_letter_url"):
        world.take()
    assert world.queues.events.calls == []


def scan(*, now: float | None = None) -> dict[str, Any]:
    """Run the plan, the copies and the report of a nightly scan; return the report."""
    diff = PlanSyncOperator(task_id="nightly", **SIDES)
    context = context_of(diff, try_number=time.time_ns())
    with pytest.MonkeyPatch.context() as clock:
        if now is not None:
            clock.setattr("time.time", lambda: now)
        batches = diff.execute(context)
        plan = context["ti"].xcoms["plan"]
        for batch in batches:
            copy = ResumableMultipartCopyOperator(task_id="transfer", batch=batch)
            copy.execute(context_of(copy))
        verify = VerifyCopyOperator(task_id="verify", plan=plan)
        verify.execute(context_of(verify))
        report = ReportSyncOperator(task_id="report", plan=plan)
        found: dict[str, Any] = report.execute(context_of(report))
    return found


def test_c07_what_only_a_record_tells_equal_is_not_copied_again(world: World) -> None:
    """Under KMS no ETag tells: neither a repeated message nor the next scan copies once more.

    The scans' own record, of what no message was about, stays.
    """
    kms = MemoryStore("target", service="memory://tgt", traits=MemoryTraits(encryption="aws:kms"))
    world.buckets.replace_target(kms)
    put(world.buckets.source, "data/scanned", b"1")
    assert scan()["reasons"] == {"missing_at_target": 1}
    world.put("b")
    world.put("a")
    assert world.run().errors == {}
    world.queues.announce("data/a", "data/b")
    again = world.run()
    assert (again.errors, again.batches) == ({}, [])
    second = scan()
    assert (second["planned"], second["skipped"]) == (0, {"proven_before": 3})
    put(world.buckets.source, "data/a", b"new!")
    world.queues.announce("data/a")
    changed = world.run()
    assert changed.report is not None
    assert changed.report["copied"] == 1
    assert scan()["skipped"] == {"proven_before": 3}


def test_c07_what_a_scan_proved_after_an_event_is_not_copied_by_every_scan(world: World) -> None:
    """The event's pair is older than the scan's: a change that no event told of came between."""
    kms = MemoryStore("target", service="memory://tgt", traits=MemoryTraits(encryption="aws:kms"))
    world.buckets.replace_target(kms)
    world.put("a", b"version 1")
    world.put("b")
    assert world.run().errors == {}
    put(world.buckets.source, "data/a", b"version 2")
    assert scan()["copied"] == 1
    again = scan()
    assert (again["planned"], again["skipped"]) == (0, {"proven_before": 2})


def test_the_report_of_a_scan_says_how_many_objects_events_have_missed(world: World) -> None:
    """Written since events are consumed, long enough ago, and copied by none of them."""
    put(world.buckets.source, "data/before", b"0")
    assert scan()["events"] == {}
    world.put("announced")
    assert world.run().errors == {}
    since = world.since()
    at = [0.0]
    world.buckets.source.state.clock = lambda: at[0]
    for key, later in (("older", -10), ("missed", 10), ("young", 5000)):
        at[0] = since + later
        put(world.buckets.source, f"data/{key}", key.encode())
    report = scan(now=since + 5000 + 899)
    assert report["reasons"] == {"missing_at_target": 3}
    assert report["events"] == {"missed": 1, "consumed_since": since}
    told = make_report(StateLocation(world.buckets.target), report["manifest_key"], now=since)
    assert "missed by events: 1 of the planned objects" in told.short_text()
    assert told.metrics()["missed_by_events"] == 1.0
    at[0] = since + 20
    put(world.buckets.source, "data/announced", b"another")
    report = scan(now=since + 5000 + 900)
    assert report["reasons"] == {"size_differs": 1}
    assert report["events"]["missed"] == 1
    assert scan(now=since + 9000)["events"]["missed"] == 0
