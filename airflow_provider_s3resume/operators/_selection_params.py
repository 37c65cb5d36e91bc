"""The form's fields of what of a source is meant, and which keys it goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from airflow_provider_s3resume.plan.renaming import MAPPING_NAMES

_SECTION = "What to copy"
_LIST_PATTERN = r"^(s3|oss)://[A-Za-z0-9][A-Za-z0-9._\-]{1,253}[A-Za-z0-9]/.+$"
_SIZE_PATTERN = r"^[0-9]{1,18} ?(B|KiB|MiB|GiB|TiB)?$"
_AGE_PATTERN = r"^[0-9]{1,18} ?[smhdw]?$"
_NAMES = (
    "include",
    "exclude",
    "include_regex",
    "exclude_regex",
    "min_size",
    "max_size",
    "min_age",
    "max_age",
    "modified_after",
    "modified_before",
    "storage_classes",
    "exclude_storage_classes",
    "ignore_list",
    "prefix_list",
    "key_list",
)

SELECTION_FROM_PARAMS: Mapping[str, str] = {
    name: f"{{{{ params.{name} or '' }}}}" for name in _NAMES
}
"""The argument ``selection`` of a DAG that has :func:`selection_params`."""
MAPPING_FROM_PARAMS: Mapping[str, str] = {
    name: f"{{{{ params.{name} or '' }}}}" for name in MAPPING_NAMES
}
"""The argument ``key_mapping`` of a DAG that has :func:`mapping_params`."""


def selection_params() -> dict[str, Param]:
    """Return the parameters that say which objects are meant; all are empty."""
    globs = (
        "One glob a line, on the key behind the source's prefix: `*` and `?` stay between two `/`, "
        "`**` does not; `*.csv` fits in every folder, `/a/**` only from the top."
    )
    searched = "One regular expression (Python's) a line, searched for in the same."
    file = "in a bucket that the source's connection may read, such as `s3://lists/{}`."
    return {
        "include": _lines("Include", f"Only what fits one of these. {globs}"),
        "exclude": _lines("Exclude", "Nothing that fits one of these globs; wins over *Include*."),
        "include_regex": _lines("Include (regex)", f"Only what fits one of these. {searched}"),
        "exclude_regex": _lines("Exclude (regex)", f"Nothing that fits one of these. {searched}"),
        "min_size": _text("Size, at least", "Bytes, or such as `64 KiB`.", _SIZE_PATTERN),
        "max_size": _text("Size, at most", "Bytes, or such as `5 GiB`.", _SIZE_PATTERN),
        "min_age": _text(
            "Age, at least", "Since it was written, such as `15m` (s, m, h, d, w).", _AGE_PATTERN
        ),
        "max_age": _text("Age, at most", "Such as `7d`.", _AGE_PATTERN),
        "modified_after": _text(
            "Written since", "A date or time (ISO 8601; UTC if it names no zone), included."
        ),
        "modified_before": _text("Written before", "A date or time, not included."),
        "storage_classes": _lines("Storage classes", "One name a line, such as `STANDARD_IA`."),
        "exclude_storage_classes": _lines("Without storage classes", "One name a line."),
        "ignore_list": _text(
            "Ignore list",
            "A file of shell wildcards on `bucket/key`, one a line, " + file.format("ignore.txt"),
            _LIST_PATTERN,
        ),
        "prefix_list": _text(
            "Prefix list",
            "A file of prefixes, one a line: nothing else is listed; "
            + file.format("prefixes.txt"),
            _LIST_PATTERN,
        ),
        "key_list": _text(
            "Key list",
            "A file of keys (`.csv` with a column `key`, `.jsonl`, `.txt`): only these are looked "
            "at, and one that is not there fails the run; " + file.format("keys.csv"),
            _LIST_PATTERN,
        ),
    }


def mapping_params() -> dict[str, Param]:
    """Return the parameters that say which keys objects go to; all are empty."""
    return {
        "strip_prefix": _text(
            "Strip prefix",
            "Taken off each key behind the source's prefix that begins with it; `old/` is a "
            "folder, `old` begins `older/x`, too.",
        ),
        "add_prefix": _text(
            "Add prefix", "Put before each key, behind the target's prefix, such as `new/`."
        ),
    }


def _text(title: str, description: str, pattern: str | None = None) -> Param:
    checked: dict[str, Any] = {} if pattern is None else {"pattern": pattern}
    return Param(
        None,
        type=["null", "string"],
        title=title,
        description_md=description,
        section=_SECTION,
        **checked,
    )


def _lines(title: str, description: str) -> Param:
    return Param(
        None,
        type=["null", "string"],
        format="multiline",
        title=title,
        description_md=description,
        section=_SECTION,
    )
