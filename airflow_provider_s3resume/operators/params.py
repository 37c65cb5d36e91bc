"""Typed parameters of a sync: the form of a manual run, checked by Airflow when it is triggered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Param

from airflow_provider_s3resume.operators._asked_params import ASKED_FROM_PARAMS, asking_params
from airflow_provider_s3resume.operators._selection_params import (
    MAPPING_FROM_PARAMS,
    SELECTION_FROM_PARAMS,
    mapping_params,
    selection_params,
)
from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.parts import DEFAULT_PART_SIZE, MIB
from airflow_provider_s3resume.plan.sides import LOCAL_SYMLINKS, SYMLINKS

URI_PATTERN = (
    r"^s3://([A-Za-z0-9][A-Za-z0-9._\-]{1,253}[A-Za-z0-9]"
    r"|arn:aws[a-z\-]*:s3:[a-z0-9\-]*:[0-9]{12}:accesspoint[/:][A-Za-z0-9.\-]+)(/.*)?$"
)
RULES = ("size+etag", "size+etag+newer", "size+etag+metadata", "size+newer", "size")
SERVER_SIDE_COPY = ("auto", "never", "require")
DEFAULT_MEMORY_BUDGET = 128 * MIB
_CONN_TYPES = {
    "s3": "`aws` or `s3resume`, for an `s3://` source",
    "oss": "`oss` or `s3resume_oss`, for an `oss://` source",
    "file": "`s3resume_local` or `fs`, for a `file://` source",
}
FILE_PATTERN = r"^file:///[^/].*/$"

_FOLDER_TO_READ = (
    "Folder to read, such as `file:///data/exports/`. All workers have to see it under this path."
)
_FOLDER_TO_WRITE = (
    "Folder to write, such as `file:///data/imports/`. All workers have to see it under this path. "
    "What stands behind the source prefix in a key is the path in it."
)

SIDES_FROM_PARAMS: Mapping[str, Any] = {
    "source_conn_id": "{{ params.source_conn_id }}",
    "source_uri": "{{ params.source_uri }}",
    "target_conn_id": "{{ params.target_conn_id }}",
    "target_uri": "{{ params.target_uri }}",
    "state_uri": "{{ params.state_uri or '' }}",
}
OSS_SIDES_FROM_PARAMS: Mapping[str, Any] = {
    **SIDES_FROM_PARAMS,
    "symlinks": "{{ params.symlinks or '' }}",
}
"""For DAGs that take :func:`symlinks_params` too: their source is always ``oss://``."""
LOCAL_SOURCE_FROM_PARAMS = OSS_SIDES_FROM_PARAMS
"""The same for DAGs whose source is always ``file://``."""
LOCAL_TARGET_FROM_PARAMS: Mapping[str, Any] = {
    **SIDES_FROM_PARAMS,
    "state_conn_id": "{{ params.state_conn_id }}",
}
"""For DAGs that take :func:`state_conn_params` too: their target is always ``file://``."""
PLANNING_FROM_PARAMS: Mapping[str, Any] = {
    "rule": "{{ params.rule }}",
    "plan_only": "{{ params.dry_run }}",
    "selection": SELECTION_FROM_PARAMS,
    "archived": "{{ params.archived }}",
    "key_mapping": MAPPING_FROM_PARAMS,
}
CLEANING_FROM_PARAMS: Mapping[str, Any] = {
    "target_conn_id": "{{ params.target_conn_id }}",
    "target_uri": "{{ params.target_uri }}",
    "state_uri": "{{ params.state_uri or '' }}",
    "older_than": "{{ params.older_than_days }}",
    "report_only": "{{ params.dry_run }}",
    "abort_empty_uploads_of_intents": "{{ params.abort_empty_uploads_of_intents }}",
}
COPYING_FROM_PARAMS: Mapping[str, Any] = {
    "part_size": "{{ params.part_size_mib * 1048576 }}",
    "memory_budget": "{{ params.memory_budget_mib * 1048576 }}",
    "max_bytes_per_s": "{{ params.max_mib_per_s * 1048576 if params.max_mib_per_s else '' }}",
    "max_requests_per_s": "{{ params.max_requests_per_s or '' }}",
    **ASKED_FROM_PARAMS,
    "server_side_copy": "{{ params.server_side_copy }}",
}


def sides_params(
    *,
    source_conn_id: str,
    source_uri: str,
    target_conn_id: str,
    target_uri: str,
    state_uri: str | None = None,
    source_schemes: Sequence[str] = ("s3", "oss"),
    target_scheme: str = "s3",
) -> dict[str, Param]:
    """Return the parameters that name both sides and the state location, with these defaults.

    :param source_schemes: which URIs the form takes as a source.
    :param target_scheme: and as a target: ``s3`` or ``file``.
    """
    types = [_CONN_TYPES[scheme] for scheme in source_schemes]
    return {
        "source_conn_id": _text(
            source_conn_id,
            "Source connection",
            f"Id of a connection of type {'; '.join(types)}.",
            "Source",
        ),
        "source_uri": _uri(
            source_uri,
            "Source",
            _FOLDER_TO_READ
            if source_schemes == ["file"]
            else f"Bucket and prefix to read, such as `{source_schemes[0]}://bucket/prefix/`.",
            schemes=source_schemes,
        ),
        **target_params(
            target_conn_id=target_conn_id,
            target_uri=target_uri,
            state_uri=state_uri,
            scheme=target_scheme,
        ),
    }


def target_params(
    *, target_conn_id: str, target_uri: str, state_uri: str | None = None, scheme: str = "s3"
) -> dict[str, Param]:
    """Return the parameters that name the target and the state location, with these defaults.

    :param scheme: of the target: ``s3``, or ``file``, which needs a state location.
    """
    types = _CONN_TYPES[scheme].partition(",")[0]
    return {
        "target_conn_id": _text(
            target_conn_id, "Target connection", f"Id of a connection of type {types}.", "Target"
        ),
        "target_uri": _uri(
            target_uri,
            "Target",
            _FOLDER_TO_WRITE
            if scheme == "file"
            else "Bucket and prefix to write, on S3 or a compatible service. What stands behind "
            "the source prefix in a key is put behind this prefix. It must end with `/` (or be "
            "empty) just as the source does.",
            schemes=[scheme],
        ),
        "state_uri": Param(
            state_uri,
            type="string" if scheme == "file" else ["null", "string"],
            pattern=URI_PATTERN,
            title="State location",
            description_md="Where manifests, checkpoints and reports are kept, in a bucket."
            if scheme == "file"
            else "Where manifests, checkpoints and reports are kept. Empty: `.s3resume/` "
            "in the target bucket. A bucket of its own is the better choice.",
            section="Target",
        ),
    }


def state_conn_params(default: str) -> dict[str, Param]:
    """Return the parameter that names the connection of the state location, with this default."""
    return {
        "state_conn_id": _text(
            default,
            "State connection",
            "Id of the connection of the state location, of type `aws` or `s3resume`.",
            "Target",
        )
    }


def local_symlinks_params(default: str | None = None) -> dict[str, Param]:
    """Return the parameter that says what is done about links in a ``file://`` source.

    :param default: ``None`` for what the source's connection says.
    """
    text = (
        "`report`: copy nothing, and name the link in the report; `follow`: copy what it leads to, "
        "if that lies in the folder of the connection; `fail`: refuse each by name. Empty: what "
        "the connection says, which is `report` if it says nothing."
    )
    return {"symlinks": _symlinks(default, LOCAL_SYMLINKS, text)}


def symlinks_params(default: str | None = None) -> dict[str, Param]:
    """Return the parameter that says what is done about links in an ``oss://`` source.

    :param default: ``None`` for what the source's connection says.
    """
    text = (
        "`follow`: copy what a link points at, under the link's key; `report`: copy nothing, and "
        "name the link in the report. Empty: what the connection says, which is `follow` if it "
        "says nothing."
    )
    return {"symlinks": _symlinks(default, SYMLINKS, text)}


def versions_params() -> dict[str, Param]:
    """Return the parameter that chooses versions of named keys."""
    return {
        "versions": Param(
            {},
            type="object",
            additionalProperties={"type": "string", "minLength": 1, "maxLength": 1024},
            title="Versions",
            description_md='Ids of versions by key, such as `{"a.csv": "3HL4kqtJlcpXroDTDmJ"}`, as '
            "the key stands in *Keys*. Keys that are not named: their newest version.",
            section="What to copy",
        )
    }


def planning_params() -> dict[str, Param]:
    """Return the parameters of what is copied."""
    return {
        "rule": Param(
            RULES[0],
            type="string",
            enum=list(RULES),
            title="Rule",
            description_md="What tells two objects of one key apart. `etag`: digests, where they "
            "can be compared, else the object is copied; `newer`: the source was written later; "
            "`metadata`: also headers and metadata, for which both objects of each pair that is "
            "equal otherwise are asked.",
            section="What to copy",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description_md="Plan and report, copy nothing.",
            section="What to copy",
        ),
        **selection_params(),
        **mapping_params(),
        "archived": Param(
            OnArchived.REPORT.value,
            type="string",
            enum=[one.value for one in OnArchived],
            title="Archived objects",
            description_md="Of objects that have to be restored before they can be read: `report` "
            "copies all others and names these, `fail` copies nothing, `try` copies them like any "
            "other, which works where the bucket lets them be read at once.",
            section="What to copy",
        ),
    }


def copying_params() -> dict[str, Param]:
    """Return the parameters of how it is copied."""
    return {
        "part_size_mib": Param(
            DEFAULT_PART_SIZE // MIB,
            type="integer",
            minimum=5,
            maximum=5120,
            title="Part size in MiB",
            description_md="Of objects whose parts at the source are not reproduced.",
            section="How to copy",
        ),
        "memory_budget_mib": Param(
            DEFAULT_MEMORY_BUDGET // MIB,
            type="integer",
            minimum=16,
            maximum=65536,
            title="Memory in MiB",
            description_md="Object data that one task holds at once.",
            section="How to copy",
        ),
        **_rate_params(),
        "server_side_copy": Param(
            SERVER_SIDE_COPY[0],
            type="string",
            enum=list(SERVER_SIDE_COPY),
            title="Copies by the service",
            description_md="Where both sides are one service. `auto`: the service copies by itself "
            "if the target's credentials may read the source, and the report says so; `never`: the "
            "bytes go through the worker; `require`: fail if the service does not copy.",
            section="How to copy",
        ),
        **asking_params(),
    }


def _rate_params() -> dict[str, Param]:
    return {
        "max_mib_per_s": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=1048576,
            title="MiB per second",
            description_md="What one task reads at most, and as much that it sends. Empty: no "
            "limit. All tasks together: times the slots of their pool.",
            section="How to copy",
        ),
        "max_requests_per_s": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=1000000,
            title="Requests per second",
            description_md="What one task asks the source at most, and as often the target. Empty: "
            "no limit but what they accept.",
            section="How to copy",
        ),
    }


def cleaning_params() -> dict[str, Param]:
    """Return the parameters of what is cleared away."""
    return {
        "older_than_days": Param(
            7,
            type="integer",
            minimum=1,
            title="Older than so many days",
            description_md="Checkpoints that nothing was written to for so long are cleared away, "
            "with the uploads that they name. Choose more days than any copy may take: one that is "
            "under way would start over.",
            section="What to clear away",
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description_md="Find and report, change nothing.",
            section="What to clear away",
        ),
        "abort_empty_uploads_of_intents": Param(
            False,
            type="boolean",
            title="Also empty uploads of which only an intent is known",
            description_md="A worker that was killed in the moment in which it began an upload "
            "left one without parts, whose id no checkpoint has. **Risk:** an upload of the same "
            "key that another tool began after that, and has sent no part of for so many days, "
            "looks just like it and is aborted, too. Off: they are named in the report only.",
            section="What to clear away",
        ),
    }


def _symlinks(default: str | None, words: Sequence[str], description: str) -> Param:
    return Param(
        default,
        type=["null", "string"],
        enum=[None, *words],
        title="Symlinks",
        description_md=description,
        section="Source",
    )


def _text(default: str, title: str, description: str, section: str) -> Param:
    return Param(
        default,
        type="string",
        minLength=1,
        maxLength=200,
        title=title,
        description_md=description,
        section=section,
    )


def _uri(default: str, section: str, description: str, schemes: Sequence[str] = ("s3",)) -> Param:
    pattern = URI_PATTERN.replace("s3", f"({'|'.join(schemes)})", 1)
    examples = [f"{scheme}://bucket/{end}" for scheme in schemes for end in ("", "prefix/")]
    if list(schemes) == ["file"]:
        pattern, examples = FILE_PATTERN, ["file:///data/", "file:///data/exports/"]
    return Param(
        default,
        type="string",
        pattern=pattern,
        title=f"{section} URI",
        description_md=description,
        examples=examples,
        section=section,
    )
