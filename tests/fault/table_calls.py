"""The rows of the fault table: every call of the ``ObjectStore`` contract, as the wire sees it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tests.support.wire_rules import Exchange, Match, Predicate

Place = Literal["source", "target", "state"]
"""Where a call goes. The state location is in the target's bucket."""

LARGE, HUGE, SMALL, WHOLE = "large", "huge", "small", "whole"
STATE = "/state-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A call to one place, how it is told on the wire, and the scenario that makes it.

    :param call: the method of ``ObjectStore``.
    :param scenario: a name of ``table_scenarios.SCENARIOS``.
    :param sends: its request has a body.
    :param listing: its answer names entries, one of these elements each.
    """

    call: str
    place: Place
    scenario: str
    match: Predicate
    sends: bool = False
    listing: str | None = None

    @property
    def name(self) -> str:
        """The row's name in the ids of tests and in the list of exceptions."""
        return f"{self.call}@{self.place}"

    @property
    def answers_with_body(self) -> bool:
        """Whether a successful answer has a body that says something."""
        silent = {"head", "head_part", "abort_upload", "delete_object"}
        return self.call not in silent and not self.call.startswith(("upload_part", "put_object"))

    @property
    def answers_with_xml(self) -> bool:
        """Whether that body is XML."""
        return self.answers_with_body and self.call != "open_range"

    def applies_to(self, exchange: Exchange) -> bool:
        """Tell whether a request on the wire is this call to this place."""
        in_state = STATE in exchange.path or STATE in "/" + exchange.query.get("prefix", "")
        return self.match(exchange) and in_state == (self.place == "state")


def _listing(*, one_key: bool) -> Predicate:
    if one_key:
        return Match(operation="ListObjectsV2", query={"max-keys": "1"})
    return Match(operation="ListObjectsV2", without_query=("max-keys",))


_ONE_BYTE = "bytes=0-0"


def _head(*, of_part: bool) -> Predicate:
    """Return what picks a HEAD, and the GET that asks why one was refused."""

    def matches(exchange: Exchange) -> bool:
        if exchange.headers.get("range") == _ONE_BYTE:
            return True
        return exchange.operation == "HeadObject" and ("partNumber" in exchange.query) is of_part

    return matches


def _get(exchange: Exchange) -> bool:
    asks_why = exchange.headers.get("range") == _ONE_BYTE
    return exchange.operation == "GetObject" and "tagging" not in exchange.query and not asks_why


_HEAD = _head(of_part=False)
_LIST, _PUT = _listing(one_key=False), Match(operation="PutObject")
_PART = Match(operation="UploadPart")
_UPLOADS = Match(operation="ListMultipartUploads")

ROWS: tuple[Row, ...] = (
    *(
        Row(call="check_access", place=place, scenario="plan", match=_listing(one_key=True))
        for place in ("source", "target")
    ),
    Row(call="list_objects", place="source", scenario="plan", match=_LIST, listing="Contents"),
    Row(call="list_objects", place="target", scenario="plan", match=_LIST, listing="Contents"),
    Row(call="list_objects", place="state", scenario="copy", match=_LIST),
    Row(call="head", place="source", scenario="copy", match=_HEAD),
    Row(call="head", place="target", scenario="copy", match=_HEAD),
    Row(call="head", place="state", scenario="plan", match=_HEAD),
    Row(
        call="head_part",
        place="source",
        scenario="copy",
        match=_head(of_part=True),
    ),
    Row(call="open_range", place="source", scenario="copy", match=_get),
    Row(call="open_range", place="state", scenario="copy", match=_get),
    Row(
        call="get_tags",
        place="source",
        scenario="copy",
        match=Match(operation="GetObject", query={"tagging": None}),
    ),
    Row(call="put_object", place="target", scenario="copy", match=_PUT, sends=True),
    Row(call="put_object", place="state", scenario="plan", match=_PUT, sends=True),
    Row(
        call="put_object_stream",
        place="target",
        scenario="whole",
        match=Match(operation="PutObject", path=f"/{WHOLE}$"),
        sends=True,
    ),
    Row(
        call="create_upload",
        place="target",
        scenario="copy",
        match=Match(operation="CreateMultipartUpload"),
    ),
    Row(call="upload_part", place="target", scenario="copy", match=_PART, sends=True),
    Row(call="upload_part_stream", place="target", scenario="stream", match=_PART, sends=True),
    Row(
        call="list_parts",
        place="target",
        scenario="resume",
        match=Match(operation="ListParts"),
        listing="Part",
    ),
    Row(call="list_uploads", place="target", scenario="copy", match=_UPLOADS, listing="Upload"),
    Row(
        call="list_all_uploads",
        place="target",
        scenario="uploads",
        match=_UPLOADS,
        listing="Upload",
    ),
    Row(
        call="complete_upload",
        place="target",
        scenario="copy",
        match=Match(operation="CompleteMultipartUpload"),
        sends=True,
    ),
    Row(
        call="abort_upload",
        place="target",
        scenario="start-over",
        match=Match(operation="AbortMultipartUpload"),
    ),
    Row(
        call="delete_object",
        place="state",
        scenario="verify",
        match=Match(operation="DeleteObject"),
    ),
)


def calls_of(contract: type) -> set[str]:
    """Return the public methods of a contract: what a caller can ask of a store."""
    return {name for name, _ in inspect.getmembers(contract, callable) if not name.startswith("_")}


def calls_without_rows(contract: type, rows: Iterable[Row] = ROWS) -> set[str]:
    """Return the calls of a contract that no row of the table is about."""
    return calls_of(contract) - {row.call for row in rows}
