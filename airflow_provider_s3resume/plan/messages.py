"""Messages that were taken from a queue, and what becomes of each when its objects are dealt with.

A message is deleted only when every object that it asks for is verified, is equal anyway, or is
gone from the source; one that can never be dealt with goes to the dead-letter queue, with the
reason; all others are left, and come again.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import InvalidInputError, ManifestError
from airflow_provider_s3resume.plan.events import Concern, Nature, concern_of, read_body
from airflow_provider_s3resume.plan.manifest import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.plan.events import Reading

MOST_HIDDEN_S: Final = 43_200
"""How long a message can be kept from others, counted from when it was received ("Amazon SQS
visibility timeout": 12 hours)."""
_FIRST_PAUSE_S: Final = 60
_LONGEST_PAUSE_S: Final = 900
_MARGIN_S: Final = 5
_SHOWN: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, as one reception gave it.

    :param receipt_handle: of this reception: what hides and deletes the message.
    :param received: seconds since the epoch.
    :param receive_count: how often it was received, this time included.
    """

    message_id: str
    receipt_handle: str
    body: str
    received: float
    receive_count: int = 1

    def reading(self) -> Reading:
        """Return what it says."""
        return read_body(self.body)

    def to_line(self) -> str:
        """Return the JSON line, with its newline."""
        return dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Message:
        """Read a line.

        :raises ManifestError: if it is damaged.
        """
        try:
            return cls(**loads(line, what="taken message"))
        except TypeError as error:
            raise ManifestError(
                "taken message", found=str(error), accepted="the fields that this version writes"
            ) from error


def still_hideable_s(message: Message, wanted_s: int, *, now: float) -> int:
    """Return for how many seconds from now a message can be hidden, at most ``wanted_s``.

    0 if its time is up: the service refuses more than :data:`MOST_HIDDEN_S` in all.
    """
    left = MOST_HIDDEN_S - _MARGIN_S - int(now - message.received)
    return max(0, min(wanted_s, left))


def pause_s(message: Message) -> int:
    """Return how long a message that is left stays hidden: the longer, the more often it came."""
    doublings = min(max(message.receive_count - 1, 0), 8)
    return int(min(_FIRST_PAUSE_S * 2**doublings, _LONGEST_PAUSE_S))


class KeyState(enum.Enum):
    """What became of a key that was asked for.

    ``EQUAL``: nothing had to be copied, or nothing ever is, such as our own state. ``REFUSED``: it
    can never be copied. ``PENDING``: not copied, not verified, or it could not be found out.
    """

    VERIFIED = "verified"
    EQUAL = "equal"
    GONE = "gone"
    REFUSED = "refused"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFate:
    """A key's state, and for what cannot be copied, why."""

    state: KeyState
    reason: str = ""


class Foreign(enum.Enum):
    """What to do with messages that are not about objects of the source's bucket."""

    DEAD_LETTER = "dead_letter"
    LEAVE = "leave"

    @classmethod
    def parse(cls, text: object, *, parameter: str = "foreign_messages") -> Foreign:
        """Read the policy.

        :raises InvalidInputError: for anything else.
        """
        for policy in cls:
            if text == policy.value:
                return policy
        accepted = " or ".join(repr(policy.value) for policy in cls)
        raise InvalidInputError(parameter, found=text, accepted=accepted)


class Verb(enum.Enum):
    """What is done with a message."""

    DELETE = "delete"
    DEAD_LETTER = "dead_letter"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is done with a message, and why.

    :param failed: it is left because objects of it are not dealt with.
    """

    verb: Verb
    reason: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides about messages.

    :param bucket, prefix: of the source.
    :param dead_letters: whether there is a queue for them; without one they are left.
    """

    bucket: str
    prefix: str
    foreign: Foreign = Foreign.DEAD_LETTER
    dead_letters: bool = False


def judge(reading: Reading, fates: Mapping[str, KeyFate], rules: Rules) -> Verdict:
    """Decide what is done with a message.

    :param fates: of the keys that were asked for; one that is missing is pending.
    """
    concerns = [(e, concern_of(e, rules.bucket, rules.prefix)) for e in reading.events]
    asked = [event.key for event, concern in concerns if concern is Concern.ASKS]
    pending = KeyFate(state=KeyState.PENDING)
    states = {key: fates.get(key, pending) for key in asked}
    open_keys = [key for key, fate in states.items() if fate.state is KeyState.PENDING]
    if open_keys:
        return Verdict(verb=Verb.LEAVE, reason=_not_yet(open_keys), failed=True)
    if reading.nature is Nature.POISON:
        return _dead(f"poison: {reading.reason}", rules)
    refused = [
        f"{fate.reason}: {_shown(key)}"
        for key, fate in states.items()
        if fate.state is KeyState.REFUSED
    ]
    if refused:
        return _dead(f"refused: {'; '.join(refused[:3])}", rules)
    if reading.nature is Nature.FOREIGN:
        return _foreign(reading.reason, rules)
    elsewhere = [event for event, concern in concerns if concern is Concern.OTHER_BUCKET]
    if elsewhere:
        return _foreign(f"an event of the bucket {elsewhere[0].bucket!a}", rules)
    return Verdict(verb=Verb.DELETE)


def _not_yet(keys: list[str]) -> str:
    return f"{len(keys)} objects are not verified, such as {_shown(keys[0])}"


def _shown(key: str) -> str:
    text = ascii(key)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _foreign(reason: str, rules: Rules) -> Verdict:
    if rules.foreign is Foreign.LEAVE:
        return Verdict(verb=Verb.LEAVE, reason=f"foreign: {reason}")
    return _dead(f"foreign: {reason}", rules)


def _dead(reason: str, rules: Rules) -> Verdict:
    return Verdict(verb=Verb.DEAD_LETTER if rules.dead_letters else Verb.LEAVE, reason=reason)
