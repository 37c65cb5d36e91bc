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

    Headers are read as Latin-1; services that send raw UTF-8 mean UTF-8.
    """
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
