"""How each cell of the fault table has to end: as its fault does, but for those told here."""

from __future__ import annotations

from airflow_provider_s3resume.exceptions import S3ResumeError
from tests.fault.table_calls import Row
from tests.fault.table_faults import FAULTS, HEALED, Ending, Failed, Fault

_BY_NAME = {fault.name: fault for fault in FAULTS}
_LISTING_FAULTS = frozenset({"entries-twice", "entries-backwards", "page-without-end"})
_ACTED_UNHEARD = frozenset({"answer-lost", "reset-in-the-head", "trickle"})
_ACTED_UNREAD = frozenset({"body-cut-short", "reset-in-the-body", "stall-in-the-body"})
_REDIRECTS = frozenset(
    {"moved-to-another-region", "temporary-redirect", "signed-for-another-region"}
)
_CLEARLY_REFUSED = _REDIRECTS | {"burst-of-503", "expired"}
_TAGS_REFUSED = frozenset({"access-denied", "clock-skew", "signed-for-another-region"})
_SOME_BYTES_EACH = frozenset({"object-cut-short", "reset-in-the-object", "trickle-in-the-body"})


def ending_of(fault: Fault, row: Row) -> Ending:
    """Return how a cell has to end."""
    kind = fault.name.removesuffix("-for-good").removesuffix("-for-a-while")
    special = _special(kind, fault, row)
    return fault.ending if special is None else special


def meets_create(fault: Fault, row: Row, caught: S3ResumeError) -> bool:
    """Tell whether a fault that takes all connections with it met another object's Create.

    It is not sent again: the first may have been begun unheard (c34), and the next attempt looks.
    """
    takes_all = fault.name == "refused-for-a-while" and row.place == "target"
    return takes_all and caught.retryable and "CreateMultipartUpload of" in str(caught)


def _special(kind: str, fault: Fault, row: Row) -> Ending | None:
    if kind in _LISTING_FAULTS:
        return _of_listing(kind, fault, row)
    if row.call == "open_range":
        return _of_reading(kind, row)
    if row.call == "upload_part_stream":
        return _of_streaming(kind, fault)
    return _of_settling(kind, fault, row)


def _of_settling(kind: str, fault: Fault, row: Row) -> Ending | None:
    match row.call:
        case "create_upload" if fault.tls:
            # Its own connection is broken, and not made again; what meets the certificate first is
            # whatever is said next, be it of this object.
            return Failed(retryable=None, reason="CERTIFICATE_VERIFY_FAILED")
        case "create_upload" if not fault.lasts and kind not in _CLEARLY_REFUSED:
            # It may have been begun unheard. Begun again, the first one would be known to nobody;
            # the intent names what the next attempt has to look for.
            return _BY_NAME[f"{kind}-for-good"].ending
        case "put_object" | "put_object_stream" | "complete_upload" if (
            row.place == "target" and kind in _acted(row)
        ):
            return HEALED  # It looks at the target, and finds the object (c16).
        case "get_tags" if kind in _TAGS_REFUSED:
            return HEALED  # Without its tags, and the report says so (c19).
    return None


def _acted(row: Row) -> frozenset[str]:
    """Return the faults under which the service did as it was told, though nobody heard of it."""
    return _ACTED_UNHEARD | (_ACTED_UNREAD if row.answers_with_body else frozenset())


def _of_listing(kind: str, fault: Fault, row: Row) -> Ending:
    """Refuse listings that cannot be relied upon, where something rests on them (c01)."""
    lasting = _BY_NAME[f"{kind}-for-good"].ending
    if row.call == "list_objects":
        return lasting
    if kind == "page-without-end" and row.call != "list_uploads":
        return lasting
    if kind == "page-without-end" and fault.lasts:
        # There are none: without an end, nothing is said at all.
        return Failed(retryable=True, reason="lists nothing, nor an end")
    # The same part listed twice is one part (ADR 0011); uploads and parts need no order; and what
    # uploads there were before this one, need not be known to copy.
    return HEALED


def _of_reading(kind: str, row: Row) -> Ending | None:
    if kind == "garbage-200":
        # An answer that is not the range may come from a service that knows no ranges (c12).
        return Failed(retryable=True, reason="status, length and range")
    if kind == "trickle-in-the-body":
        return HEALED  # Slowly, but it arrives.
    if kind in _SOME_BYTES_EACH and row.place == "source":
        return HEALED  # Every connection goes on where the last one ended.
    return None


def _of_streaming(kind: str, fault: Fault) -> Ending | None:
    """Return what becomes of a body that no layer can send again: the part is read anew."""
    if kind == "flipped-on-the-way-in":
        # Nothing but the ETag tells, when the part is there already: the next attempt starts over.
        return Failed(retryable=True, reason="is not the MD5 of what was sent")
    if kind in _REDIRECTS and fault.lasts:
        return Failed(retryable=True, reason="Need to rewind the stream|has to be read again")
    return None
