"""The columns of the fault table: what the wire does to a call, and how that has to end."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from tests.fault.table_calls import Row
from tests.support import wire_rules as rules
from tests.support.tls import Certificate
from tests.support.wire_rules import EXPIRED_TOKEN, INTERNAL_ERROR, SLOW_DOWN, Action

QUICK_TIMES: Mapping[str, object] = {
    "connect_timeout_s": 5,
    "read_timeout_s": 2,
    "low_speed_bytes_per_s": 50_000,
    "low_speed_time_s": 1,
    "answer_deadline_s": 2,
    "complete_deadline_s": 2,
}
TRICKLE_BYTES_PER_S = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """The attempt ends with the right result, whatever it met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt fails, names what it was about and why, and leaves all whole; the next mends it.

    :param retryable: whether the error says that another attempt can help; ``None`` if it may say
        either.
    :param reason: pattern of what the error has to say.
    """

    retryable: bool | None
    reason: str


Ending = Healed | Failed
HEALED = Healed()


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something that a wire does to requests.

    :param times: to how many of a call's requests; ``None`` for all, for good.
    :param applies: tells the rows that it makes sense for.
    :param slow: it is noticed by a timeout: these are lowered, and so are the tries.
    """

    name: str
    action: Callable[[Certificate], Action]
    times: int | None
    ending: Ending
    applies: Callable[[Row], bool] = field(default=lambda _: True)
    slow: bool = False
    tls: bool = False

    @property
    def lasts(self) -> bool:
        """Whether it stays until somebody mends it."""
        return self.times is None


def error_xml(code: str, message: str = "on purpose") -> bytes:
    """Return an error as a service answers it."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def _always(action: Action) -> Callable[[Certificate], Action]:
    return lambda _: action


def _answer(status: int, body: bytes, **headers: str) -> Callable[[Certificate], Action]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return _always(rules.Replace(status=status, body=body, headers=named))


def _entries(body: bytes) -> list[bytes]:
    return re.findall(rb"<(?:Contents|Part|Upload)>.*?</(?:Contents|Part|Upload)>", body, re.DOTALL)


def _twice(body: bytes) -> bytes:
    """Return a page that lists each entry twice."""
    for entry in _entries(body):
        body = body.replace(entry, entry + entry, 1)
    return body


def _backwards(body: bytes) -> bytes:
    """Return a page that lists its entries in the other order."""
    entries = _entries(body)
    marks = [b"\0%d\0" % number for number in range(len(entries))]
    for entry, mark in zip(entries, marks, strict=True):
        body = body.replace(entry, mark, 1)
    for entry, mark in zip(reversed(entries), marks, strict=True):
        body = body.replace(mark, entry, 1)
    return body


def _endless(body: bytes) -> bytes:
    """Return a page that does not say whether another one follows."""
    return re.sub(rb"<IsTruncated>.*?</IsTruncated>", b"", body)


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _with_body(row: Row) -> bool:
    return row.answers_with_body


def _with_xml(row: Row) -> bool:
    return row.answers_with_xml


def _reads(row: Row) -> bool:
    return row.call == "open_range"


def _sends(row: Row) -> bool:
    return row.sends


def _lists(row: Row) -> bool:
    return row.listing is not None


def _both(
    name: str,
    action: Callable[[Certificate], Action],
    times: int,
    reason: str,
    applies: Callable[[Row], bool] = lambda _: True,
    *,
    retryable: bool = True,
    slow: bool = False,
) -> tuple[Fault, Fault]:
    """Return a fault that passes, and is healed, and the same for good, which fails."""
    return (
        Fault(name=name, action=action, times=times, ending=HEALED, applies=applies, slow=slow),
        Fault(
            name=f"{name}-for-good",
            action=action,
            times=None,
            ending=Failed(retryable=retryable, reason=reason),
            applies=applies,
            slow=slow,
        ),
    )


def _hopeless(
    name: str, action: Callable[[Certificate], Action], reason: str, *, tls: bool = False
) -> tuple[Fault]:
    """Return a fault that no other try helps against."""
    ending = Failed(retryable=False, reason=reason)
    return (Fault(name=name, action=action, times=None, ending=ending, tls=tls),)


_BROKEN = r"Connection(Closed)?Error|Connect(ion)?TimeoutError|Could not connect|reset|broken"
_EARLY = r"IncompleteRead|early|parse|Connection(Closed)?Error|broken"
_LATE = r"given up|[Tt]imed? ?out"
_ELSEWHERE = b"<Region>eu-west-1</Region></Error>"

FAULTS: tuple[Fault, ...] = tuple(
    chain(
        # The network.
        (
            Fault(
                name="refused-for-a-while",
                action=_always(rules.Gone(for_s=0.05)),
                times=1,
                ending=HEALED,
            ),
            Fault(
                name="refused-for-good",
                action=_always(rules.Gone()),
                times=None,
                ending=Failed(retryable=True, reason=_BROKEN),
            ),
        ),
        _both("reset-before-the-server", _always(rules.Reset(side="request")), 1, _BROKEN),
        _both(
            "reset-in-the-request-body",
            _always(rules.Truncate(5, side="request", by_reset=True)),
            1,
            _BROKEN,
            _sends,
        ),
        _both("reset-in-the-head", _always(rules.CutHead()), 1, _BROKEN),
        _both(
            "reset-in-the-body",
            _always(rules.Truncate(20, by_reset=True)),
            1,
            f"{_BROKEN}|{_EARLY}",
            _with_xml,
        ),
        # Each connection brings some bytes.
        _both(
            "reset-in-the-object",
            _always(rules.Truncate(300, by_reset=True)),
            1,
            f"{_BROKEN}|{_EARLY}",
            _reads,
        ),
        _both("object-cut-short", _always(rules.Truncate(300)), 1, _EARLY, _reads),
        _both("answer-lost", _always(rules.Reset(side="answer")), 1, _BROKEN),
        _both("body-cut-short", _always(rules.Truncate(20)), 1, _EARLY, _with_xml),
        _both("silence", _always(rules.Delay(threading.Event())), 1, _LATE, slow=True),
        _both(
            "stall-in-the-body",
            _always(rules.Stall(after_bytes=0)),
            1,
            _LATE,
            _with_body,
            slow=True,
        ),
        _both(
            "trickle",
            _always(rules.Throttle(TRICKLE_BYTES_PER_S // 20, only="answer")),
            1,
            _LATE,
            slow=True,
        ),
        _both(
            "trickle-in-the-body",
            _always(rules.Throttle(TRICKLE_BYTES_PER_S)),
            1,
            _LATE,
            _reads,
            slow=True,
        ),
        # The service.
        _both("burst-of-500", _answer(500, INTERNAL_ERROR), 2, "InternalError|HTTP 500"),
        _both("burst-of-503", _answer(503, SLOW_DOWN), 3, r"SlowDown|503"),
        _both("request-timeout", _answer(400, error_xml("RequestTimeout")), 2, "RequestTimeout"),
        _both("error-in-200", _answer(200, INTERNAL_ERROR), 1, "InternalError|answer", _with_xml),
        _both("empty-200", _answer(200, b""), 1, "answer|complete", _with_xml),
        # No XML: botocore takes it for an answer with the status 500.
        _both("garbage-200", _answer(200, b"<html>login</htm"), 1, "HTTP 500|range", _with_body),
        _both("foreign-200", _answer(200, b"<html>login</html>"), 1, "answer", _with_xml),
        _both("half-a-page", _always(rules.Edit(_half)), 1, "HTTP 500|parse", _lists),
        _both(
            "entries-twice",
            _always(rules.Edit(_twice)),
            1,
            "repeats a key",
            _lists,
            retryable=False,
        ),
        _both(
            "entries-backwards",
            _always(rules.Edit(_backwards)),
            1,
            "is not their order",
            _lists,
            retryable=False,
        ),
        _both(
            "page-without-end",
            _always(rules.Edit(_endless)),
            1,
            "does not say whether it is complete",
            _lists,
            retryable=False,
        ),
        _both("expired", _answer(403, EXPIRED_TOKEN), 1, "ExpiredToken|expired credentials"),
        _both("bad-digest", _answer(400, error_xml("BadDigest")), 2, "BadDigest", _sends),
        _both(
            "flipped-on-the-way-in",
            _always(rules.Flip(side="request", offset=7)),
            1,
            "Digest|ETag|checksum|MalformedXML",
            _sends,
        ),
        _both(
            "moved-to-another-region",
            _answer(301, error_xml("PermanentRedirect"), x_amz_bucket_region="eu-west-1"),
            1,
            "PermanentRedirect|301",
            retryable=False,
        ),
        _both(
            "temporary-redirect",
            _answer(307, error_xml("TemporaryRedirect"), x_amz_bucket_region="eu-west-1"),
            1,
            "TemporaryRedirect|307",
            retryable=False,
        ),
        _both(
            "signed-for-another-region",
            _answer(
                400,
                error_xml("AuthorizationHeaderMalformed").replace(b"</Error>", _ELSEWHERE),
                x_amz_bucket_region="eu-west-1",
            ),
            1,
            "AuthorizationHeaderMalformed|400",
            retryable=False,
        ),
        # What no other try helps against.
        _hopeless("clock-skew", _answer(403, error_xml("RequestTimeTooSkewed")), "Skew|403"),
        _hopeless("access-denied", _answer(403, error_xml("AccessDenied")), "AccessDenied|403"),
        _hopeless(
            "unknown-certificate",
            rules.Impostor,
            "CERTIFICATE_VERIFY_FAILED",
            tls=True,
        ),
    )
)


def cells(rows: tuple[Row, ...]) -> list[tuple[Fault, Row]]:
    """Return every fault with every row that it makes sense for."""
    return [(fault, row) for row in rows for fault in FAULTS if fault.applies(row)]
