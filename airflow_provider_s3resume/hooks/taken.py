"""Messages on their way through a run: taken from a queue, kept hidden, acknowledged at the end."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    ManifestError,
    S3ResumeError,
    StoreError,
)
from airflow_provider_s3resume.hooks.queue import (
    MOST_OF_A_CALL,
    Queue,
    QueueHook,
    keep_hidden,
    take,
)
from airflow_provider_s3resume.hooks.sides import Sides
from airflow_provider_s3resume.plan.messages import (
    Foreign,
    Message,
    Rules,
    Verb,
    Verdict,
    judge,
    pause_s,
    still_hideable_s,
)

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks.sides import OpenSides
    from airflow_provider_s3resume.plan.messages import KeyFate
    from airflow_provider_s3resume.transfer.state import StateLocation
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

DEFAULT_HIDE_S: Final = 1800
MOST_NAMED: Final = 1000
"""Messages that are named one by one in the record of what became of them; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """The queue of the events of a sync, as tasks name it; nothing in it is secret.

    :param url: of the queue.
    :param dead_letter_url: of the queue for what can never be dealt with; ``None`` leaves that in
        the queue, whose own redrive policy may move it.
    :param foreign_messages: ``dead_letter`` or ``leave``.
    :param hide_s: seconds for which messages are hidden at a time.
    """

    conn_id: str | None
    url: str
    dead_letter_url: str | None = None
    foreign_messages: str = Foreign.DEAD_LETTER.value
    hide_s: int = DEFAULT_HIDE_S

    def open(self) -> Queue:
        """Return the queue; asks no service yet.

        :raises InvalidInputError: naming the parameter.
        """
        return QueueHook(self.conn_id).get_queue(self.url)

    def open_dead_letters(self) -> Queue | None:
        """Return the queue for dead letters, if there is one; asks no service yet.

        :raises InvalidInputError: naming the parameter.
        """
        if self.dead_letter_url is None:
            return None
        if self.dead_letter_url == self.url:
            accepted = "another queue than the one that messages are taken from"
            raise InvalidInputError("dead_letter_url", found=self.url, accepted=accepted)
        hook = QueueHook(self.conn_id)
        return hook.get_queue(self.dead_letter_url, parameter="dead_letter_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenReference:
    """What tasks hand to each other: where the taken messages are; neither bodies nor handles.

    :param name: of the file of messages in the state location.
    :param messages: how many there are.
    :param at: when they were taken, in seconds since the epoch.
    """

    sides: Sides
    queue: QueuePlace
    name: str
    messages: int
    at: float

    def to_json_dict(self) -> dict[str, Any]:
        """Return the form that goes through XCom."""
        return asdict(self)

    @classmethod
    def from_json_dict(cls, data: object, *, parameter: str = "taken") -> TakenReference:
        """Read that form.

        :raises InvalidInputError: if it is another thing.
        """
        accepted = "what TakeEventsOperator returned"
        if not isinstance(data, Mapping):
            raise InvalidInputError(parameter, found=type(data).__name__, accepted=accepted)
        try:
            known = {f.name: data[f.name] for f in fields(cls)}
            nested = {"sides": Sides(**data["sides"]), "queue": QueuePlace(**data["queue"])}
            return cls(**{**known, **nested})
        except (KeyError, TypeError) as error:
            raise InvalidInputError(parameter, found=str(error), accepted=accepted) from error

    @property
    def buried_name(self) -> str:
        """The name of the record of those that were put aside."""
        return f"{self.name.rpartition('/')[0]}/buried.txt"

    def load(self, state: StateLocation) -> list[Message]:
        """Return the messages.

        :raises ManifestError: if they are not there, or damaged.
        """
        text = state.read_text(self.name)
        if text is None:
            accepted = "messages that were taken before"
            raise ManifestError("taken messages", found=self.name, accepted=accepted)
        return [Message.from_line(line) for line in text.splitlines()]


def check_dead_letters(queue: Queue) -> None:
    """Make sure that the queue for dead letters answers, before anything is copied.

    :raises StoreError: naming the parameter, if it is not there or may not be asked.
    """
    try:
        queue.depth()
    except StoreError as error:
        detail = (
            f"{error.detail} (dead_letter_url: accepted is a queue that exists, and that the "
            "connection may ask and send to: sqs:GetQueueAttributes, sqs:SendMessage)"
        )
        raise type(error)(error.operation, error.subject, detail) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeLimits:
    """When to stop taking: after so many messages, or so many seconds."""

    most: int
    seconds: float


def take_messages(
    opened: OpenSides,
    sides: Sides,
    queue: Queue,
    place: QueuePlace,
    limits: TakeLimits,
    run_id: str,
    stop: StopSignal,
) -> TakenReference:
    """Take messages and keep them in the state location, which is made sure of before.

    :raises StoreError: if the queue or the state location refuses; the messages come again.
    """
    from airflow_provider_s3resume.transfer.state import run_prefix  # noqa: PLC0415

    at = time.time()
    opened.state.ensure(at)
    messages = take(
        queue, most=limits.most, seconds=limits.seconds, hide_s=place.hide_s, stopped=stop.is_set
    )
    name = f"{run_prefix(f'{run_id}.{opened.mark}')}/taken.jsonl"
    try:
        stop.check()
        opened.state.write_text(name, "".join(message.to_line() for message in messages))
    except S3ResumeError:
        _show_again(queue, messages)
        raise
    return TakenReference(sides=sides, queue=place, name=name, messages=len(messages), at=at)


def _show_again(queue: Queue, messages: Iterable[Message]) -> None:
    try:
        queue.hide(messages, lambda _: 0)
    except S3ResumeError as error:
        log.warning("The messages come again when their time is up: %s", error)


class Keeper:
    """Keeps taken messages hidden while a task works on their objects.

    :param load: returns the messages; called once, by the thread that works.
    """

    def __init__(
        self,
        queue: Queue,
        load: Callable[[], list[Message]],
        hide_s: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._load = load
        self._hide_s = hide_s
        self._clock = clock
        self._messages: list[Message] | None = None
        self._due = clock()

    def beat(self) -> None:
        """Hide the messages anew, if a third of their time is over.

        A failure is logged and no more: a message that comes again starts no second copy.
        """
        if self._clock() < self._due:
            return
        self._due = self._clock() + self._hide_s / 3
        try:
            if self._messages is None:
                self._messages = self._load()
            lapsed = keep_hidden(self._queue, self._messages, self._hide_s)
        except S3ResumeError as error:
            log.warning("The messages are not kept hidden: %s", error)
            return
        if lapsed:
            log.warning("%d messages may come again before they are acknowledged", lapsed)


# --- the end ------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Acknowledged:
    """What became of the messages of a run.

    :param counts: ``deleted``, ``dead_lettered``, ``left``, and ``lapsed``: those that were to be
        deleted and that somebody else has received meanwhile.
    :param failed: messages that are left although they should not be.
    :param named: message → what was done with it, and why; of those that are not simply deleted.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    named: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, int]:
        """Return the counts, zeros included."""
        names = ("deleted", "dead_lettered", "left", "lapsed")
        return {**{name: self.counts[name] for name in names}, "failed": self.failed}

    def name(self, message: Message, what: str) -> None:
        """Say of one message what was done with it."""
        log.info("message %s: %s", message.message_id, what)
        if len(self.named) < MOST_NAMED:
            self.named[message.message_id] = what


def rules_for(sides: Sides, place: QueuePlace) -> Rules:
    """Return what decides about the messages of a sync.

    :raises InvalidInputError: naming the parameter.
    """
    from airflow_provider_s3resume.plan.sides import parse_places  # noqa: PLC0415 - not at parse

    source = parse_places(sides.source_uri, sides.target_uri, sides.state_uri).source
    return Rules(
        bucket=source.bucket,
        prefix=source.prefix,
        foreign=Foreign.parse(place.foreign_messages),
        dead_letters=place.dead_letter_url is not None,
    )


class BuriedRecord:
    """Which messages of a run have been put aside: another attempt only deletes them.

    :param name: under the state prefix.
    """

    def __init__(self, state: StateLocation, name: str) -> None:
        self._state = state
        self._name = name
        self._ids = set((state.read_text(name) or "").splitlines())

    def __contains__(self, message: Message) -> bool:
        """Tell whether a message was put aside."""
        return message.message_id in self._ids

    def add(self, messages: Iterable[Message]) -> None:
        """Note messages down.

        :raises StoreError: if the state location refuses.
        """
        new = {message.message_id for message in messages} - self._ids
        if new:
            self._ids |= new
            self._state.write_text(self._name, "".join(f"{one}\n" for one in sorted(self._ids)))


def acknowledge(
    queue: Queue,
    dead_letters: Queue | None,
    messages: Iterable[Message],
    fates: Mapping[str, KeyFate],
    rules: Rules,
    buried: BuriedRecord,
    stop: StopSignal,
) -> Acknowledged:
    """Delete what is dealt with; put aside what never can be, then delete it; leave the rest.

    What cannot be put aside is left and counts as failed; it keeps no other message.

    :param fates: of the keys that the messages ask for.
    :raises StoreError: if the queue refuses; what was not deleted comes again.
    """
    done = Acknowledged()
    to_delete: list[Message] = []
    to_bury: list[tuple[Message, str]] = []
    to_leave: list[Message] = []
    for message in messages:
        stop.check()
        verdict = judge(message.reading(), fates, rules)
        if verdict.verb is Verb.DEAD_LETTER and dead_letters is not None:
            to_bury.append((message, verdict.reason))
        elif verdict.verb is Verb.DELETE:
            to_delete.append(message)
        else:
            _leave(message, verdict, done, to_leave)
    lapsed = queue.delete(to_delete)
    done.counts["deleted"] += len(to_delete) - len(lapsed)
    done.counts["lapsed"] += len(lapsed)
    if dead_letters is not None:
        for start in range(0, len(to_bury), MOST_OF_A_CALL):
            stop.check()
            some = to_bury[start : start + MOST_OF_A_CALL]
            aside = _bury(dead_letters, some, buried, done, to_leave)
            done.counts["lapsed"] += len(queue.delete(aside))
    leave(queue, to_leave)
    return done


def _bury(
    dead_letters: Queue,
    some: Iterable[tuple[Message, str]],
    buried: BuriedRecord,
    done: Acknowledged,
    to_leave: list[Message],
) -> list[Message]:
    """Put messages aside and return those that lie there; each was noted down."""
    aside: list[Message] = []
    for message, reason in some:
        try:
            if message not in buried:
                dead_letters.bury(message, reason)
        except StoreError as error:
            why = f"it could not be put aside ({reason}): {error}"
            _leave(message, Verdict(verb=Verb.LEAVE, reason=why, failed=True), done, to_leave)
            continue
        done.counts["dead_lettered"] += 1
        done.name(message, f"dead letter: {reason}")
        aside.append(message)
    buried.add(aside)
    return aside


def _leave(message: Message, verdict: Verdict, done: Acknowledged, to_leave: list[Message]) -> None:
    done.counts["left"] += 1
    done.name(message, f"left: {verdict.reason}")
    if verdict.failed:
        done.failed += 1
        to_leave.append(message)


def leave(queue: Queue, messages: Iterable[Message]) -> None:
    """Let messages come again after a pause that is the longer, the more often they came.

    :raises StoreError: if the queue refuses.
    """
    now = time.time()
    queue.hide(messages, lambda one: still_hideable_s(one, pause_s(one), now=now))
