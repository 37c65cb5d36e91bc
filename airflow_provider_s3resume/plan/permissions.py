"""Which permissions a sync needs, as policies limited to its places.

The actions stand in the tables of ``docs/features.md``, which the package carries: one row for
each feature, with the actions of both sides. A policy is made of the rows that are used.

Forms and rules: "Policies and permissions in Amazon S3", "Actions, resources, and condition keys
for Amazon S3", and "RAM policy" of Alibaba Cloud OSS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_s3resume.plan.objects import Location
    from airflow_provider_s3resume.plan.sides import Places

Policy = Mapping[str, Any]
"""A policy as a JSON document."""

PLAIN_SYNC: Final = "A plain sync"
"""The group of what every sync may need."""

STATE: Final = "state location"
"""The row whose target actions are those of the state location."""

PARTITIONS: Final = ("aws", "aws-cn", "aws-us-gov")
_COLUMNS: Final = 6
_HEADING: Final = "## "
_CELL_END: Final = re.compile(r"(?<!\\)\|")
_QUOTED: Final = re.compile(r"`([^`]+)`")
_ACTION: Final = re.compile(r"[a-z][a-z0-9-]*:[A-Z][A-Za-z]*")
_CALL: Final = re.compile(r"[A-Z][A-Za-z]+[0-9]?")
_LISTINGS: Final = frozenset({"ListBucket", "ListBucketVersions"})
_OSS_LISTINGS: Final = frozenset({"ListObjects", "ListObjectVersions"})
_OF_OSS_BUCKETS: Final = frozenset({*_OSS_LISTINGS, "ListMultipartUploads"})
_WILD: Final = re.compile(r"[*?$]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One row: what a feature does, and what a caller has to be allowed for it.

    :param group: heading that the row stands under.
    :param calls: names of API operations.
    :param source: IAM actions on the side that is read.
    :param target: IAM actions on the side that is written, or on the state location.
    :param ram: actions of Alibaba Cloud OSS on a source there.
    """

    group: str
    name: str
    calls: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    ram: tuple[str, ...] = ()


def read_features(text: str) -> tuple[Feature, ...]:
    """Return the rows of all tables of a Markdown document that have six columns.

    :raises ValueError: for a row of another width under a heading that has features.
    """
    group, found = "", list[Feature]()
    for line in text.splitlines():
        if line.startswith(_HEADING):
            group = line.removeprefix(_HEADING).strip()
        elif line.startswith("|"):
            cells = [cell.strip() for cell in _CELL_END.split(line.strip()[1:-1])]
            if cells[0] == "feature" or set(cells[0]) <= {"-", ":"}:
                continue
            if len(cells) != _COLUMNS:
                raise ValueError(f"{group}: a row of {len(cells)} columns: {line}")
            found.append(_feature(group, cells))
    return tuple(found)


def _feature(group: str, cells: Sequence[str]) -> Feature:
    name, _, calls, source, target, ram = cells
    return Feature(
        group=group,
        name=name,
        calls=tuple(word for word in _QUOTED.findall(calls) if _CALL.fullmatch(word)),
        source=_actions(source),
        target=_actions(target),
        ram=_actions(ram),
    )


def _actions(cell: str) -> tuple[str, ...]:
    return tuple(word for word in _QUOTED.findall(cell) if _ACTION.fullmatch(word))


def choose(features: Iterable[Feature], names: Iterable[str]) -> tuple[Feature, ...]:
    """Return the rows of a plain sync, and those of the features that are named.

    :raises InvalidInputError: naming a feature that there is not.
    """
    known = tuple(features)
    optional = [one for one in known if one.group != PLAIN_SYNC]
    wanted = list(names)
    for name in wanted:
        if name not in {one.name for one in optional}:
            accepted = "one of " + "; ".join(sorted(one.name for one in optional))
            raise InvalidInputError("feature", found=name, accepted=accepted)
    return tuple(one for one in known if one.group == PLAIN_SYNC or one.name in wanted)


def policies(
    places: Places, features: Iterable[Feature], *, partition: str = PARTITIONS[0]
) -> dict[str, Policy]:
    """Return a policy for each place that is in a service: ``source``, ``target`` and ``state``.

    A sync whose state location has no connection of its own needs ``target`` and ``state`` for the
    target's.

    :param partition: of the ARNs: ``aws``, ``aws-cn`` or ``aws-us-gov``.
    :raises InvalidInputError: naming ``partition``.
    """
    if partition not in PARTITIONS:
        raise InvalidInputError("partition", found=partition, accepted=" or ".join(PARTITIONS))
    chosen = tuple(features)
    of_state = [one for one in chosen if one.name == STATE]
    others = [one for one in chosen if one.name != STATE]
    needed = {
        "source": (places.source, _union(one.source for one in others)),
        "target": (places.target, _union(one.target for one in others)),
        "state": (places.state, _union(one.target for one in of_state)),
    }
    found: dict[str, Policy] = {}
    for name, (place, actions) in needed.items():
        if place.scheme == "s3":
            found[name] = _iam_policy(place, actions, f"arn:{partition}:s3:::{place.bucket}")
        elif place.scheme == "oss":
            found[name] = _ram_policy(place, _union(one.ram for one in others))
    return found


def _union(actions: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(action for some in actions for action in some))


def _iam_policy(place: Location, actions: Sequence[str], bucket: str) -> Policy:
    listing = [one for one in actions if _name(one, "s3") in _LISTINGS]
    of_bucket = [one for one in actions if _is_of_bucket(one) and one not in listing]
    of_others = [one for one in actions if not one.startswith("s3:")]
    of_objects = [one for one in actions if one not in {*listing, *of_bucket, *of_others}]
    begins = f"{_literal(place.prefix)}*"
    limited = {"StringLike": {"s3:prefix": [begins]}} if place.prefix else None
    return {
        "Version": "2012-10-17",
        "Statement": [
            *_statement("List", listing, bucket, limited),
            *_statement("Bucket", of_bucket, bucket),
            *_statement("Objects", of_objects, f"{bucket}/{begins}"),
            # What these are about, such as a key or a queue, is to be named here.
            *_statement("OtherServices", of_others, "*"),
        ],
    }


def _ram_policy(place: Location, actions: Sequence[str]) -> Policy:
    listing = [one for one in actions if _name(one, "oss") in _OSS_LISTINGS]
    of_bucket = [
        one
        for one in actions
        if one not in listing and ("Bucket" in one or _name(one, "oss") in _OF_OSS_BUCKETS)
    ]
    of_others = [one for one in actions if not one.startswith("oss:")]
    of_objects = [one for one in actions if one not in {*listing, *of_bucket, *of_others}]
    bucket = f"acs:oss:*:*:{place.bucket}"
    limited = {"StringLike": {"oss:Prefix": [f"{place.prefix}*"]}} if place.prefix else None
    statements = [
        *_statement("", listing, bucket, limited),
        *_statement("", of_bucket, bucket),
        *_statement("", of_objects, f"{bucket}/{place.prefix}*"),
        *_statement("", of_others, "*"),
    ]
    return {"Version": "1", "Statement": statements}


def _statement(
    sid: str, actions: Sequence[str], resource: str, condition: Policy | None = None
) -> list[Policy]:
    if not actions:
        return []
    named: dict[str, Any] = {"Sid": sid} if sid else {}
    made = {**named, "Effect": "Allow", "Action": list(actions), "Resource": [resource]}
    return [made if condition is None else {**made, "Condition": condition}]


def _name(action: str, service: str) -> str:
    """Return an action without its service, nothing for one of another service."""
    of, _, name = action.partition(":")
    return name if of == service else ""


def _is_of_bucket(action: str) -> bool:
    """Tell whether an action of S3 is about a bucket, and not about objects."""
    name = _name(action, "s3")
    return "Bucket" in name or name.endswith("Configuration")


def _literal(prefix: str) -> str:
    """Return a prefix in which no sign stands for others ("Policy variables")."""
    return _WILD.sub(lambda found: f"${{{found[0]}}}", prefix)
