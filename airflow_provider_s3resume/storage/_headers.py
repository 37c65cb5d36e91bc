"""What headers of all services have in common."""

from __future__ import annotations


def quoted(etag: str) -> str:
    """Return an ETag as headers carry it."""
    return f'"{etag}"'


def bare(etag: object) -> str | None:
    """Return an ETag of an answer as the service spells it, without quotes; ``None`` if empty."""
    text = str(etag or "").removeprefix("W/").strip('"')
    return text or None


def as_unicode(text: str) -> str:
    """Return the text that a header means.

    Headers are read as Latin-1; services that send raw UTF-8 mean UTF-8. What is none stays what
    it was read as, and is the same text in UTF-8 wherever it is written.
    """
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def meant(text: str | None) -> str | None:
    """Return the text that a header means, if it was sent."""
    return as_unicode(text) if text is not None else None
