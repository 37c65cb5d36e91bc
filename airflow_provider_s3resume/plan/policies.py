"""Policies of IAM and of RAM, made of the features that a sync uses and limited to its places.

Forms and rules: "Policies and permissions in Amazon S3", "Configuring IAM policies for using access
points", and "RAM policy" of Alibaba Cloud OSS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.access_points import is_access_point, is_arn
from airflow_provider_s3resume.plan.permissions import STATE, Feature, Need, On
from airflow_provider_s3resume.plan.sides import parse_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_s3resume.plan.objects import Location
    from airflow_provider_s3resume.plan.sides import Places

Policy = Mapping[str, Any]
"""A policy as a JSON document."""

PARTITIONS: Final = ("aws", "aws-cn", "aws-us-gov")
_LISTINGS: Final = frozenset({"ListBucket", "ListBucketVersions"})
_OSS_LISTINGS: Final = frozenset({"ListObjects", "ListObjectVersions"})
_OF_OSS_BUCKETS: Final = frozenset({*_OSS_LISTINGS, "ListMultipartUploads"})
_WILD: Final = re.compile(r"[*?$]")
_PARTITION: Final = r"arn:aws(?:-[a-z]+)*"
_QUEUE: Final = (
    re.compile(rf"{_PARTITION}:sqs:[a-z0-9-]+:[0-9]{{12}}:[A-Za-z0-9_-]+"),
    "the ARN of a standard queue, such as 'arn:aws:sqs:eu-central-1:111122223333:events'",
)
_KEY: Final = (
    re.compile(
        rf"(?:{_PARTITION}:kms:[a-z0-9-]+:[0-9]{{12}}|acs:kms:[a-z0-9-]+:[0-9]+):key/[A-Za-z0-9-]+"
    ),
    "the ARN of a KMS key and of no alias, such as 'arn:aws:kms:eu-central-1:111122223333:key/12a'",
)
_ROLE: Final = (
    re.compile(rf"{_PARTITION}:iam::[0-9]{{12}}:role/[A-Za-z0-9_+=,.@/-]+"),
    "the ARN of a role, such as 'arn:aws:iam::111122223333:role/reader'",
)
_FORMS: Final = {
    "queue": _QUEUE,
    "dead_letters": _QUEUE,
    "kms_key_source": _KEY,
    "kms_key_target": _KEY,
    "role_source": _ROLE,
    "role_target": _ROLE,
}
_SIDS: Final = {
    "queue": "Queue",
    "dead_letters": "DeadLetters",
    "kms_key_source": "SourceKey",
    "kms_key_target": "TargetKey",
    "role_source": "Role",
    "role_target": "Role",
}
_OF_S3_SOURCES: Final = frozenset({On.QUEUE, On.DEAD_LETTERS, On.ROLE, On.SOURCE, On.SOURCE_KEY})


def option(name: str) -> str:
    """Return the option of the command that names a resource."""
    return "--list" if name == "lists" else "--" + name.replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What features need beside the places of a sync; each is an option of the command.

    :param lists: URIs of the lists of a selection.
    :param queue: ARN of the queue of events, and ``dead_letters`` of that for dead letters.
    :param kms_key_source: ARN of the key that source objects are encrypted with; ``kms_key_target``
        of that for the target's.
    :param role_source: ARN of the role that the source's connection takes; ``role_target``
        likewise.
    """

    lists: tuple[str, ...] = ()
    queue: str | None = None
    dead_letters: str | None = None
    kms_key_source: str | None = None
    kms_key_target: str | None = None
    role_source: str | None = None
    role_target: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no such URI, or no such ARN.

        :raises InvalidInputError: naming the option.
        """
        for name, (form, accepted) in _FORMS.items():
            found = getattr(self, name)
            if found is not None and not form.fullmatch(found):
                raise InvalidInputError(option(name), found=found, accepted=accepted)
        self.places()

    def places(self) -> list[Location]:
        """Return where the lists are.

        :raises InvalidInputError: naming the option.
        """
        name = option("lists")
        found = [_no_alias(parse_object(uri, name), name) for uri in self.lists]
        for place in found:
            if place.scheme not in {"s3", "oss"}:
                accepted = "the s3:// or oss:// URI of a list; one of the worker needs no policy"
                raise InvalidInputError(name, found=place.uri, accepted=accepted)
        return found

    def given(self) -> set[str]:
        """Return the names of those that say something."""
        return {name for name in ("lists", *_FORMS) if getattr(self, name)}


NO_RESOURCES: Final = Resources()


def resource_of(need: Need, column: str) -> str | None:
    """Return the field of :class:`Resources` that an action is about, ``None`` for a place.

    :param column: ``source`` or ``target``.
    """
    return {
        On.PLACE: None,
        On.SOURCE: None,
        On.LIST: "lists",
        On.QUEUE: "queue",
        On.DEAD_LETTERS: "dead_letters",
        On.KEY: f"kms_key_{column}",
        On.SOURCE_KEY: "kms_key_source",
        On.ROLE: f"role_{column}",
    }[need.on]


def policies(
    places: Places,
    features: Iterable[Feature],
    *,
    resources: Resources = NO_RESOURCES,
    partition: str = PARTITIONS[0],
) -> dict[str, Policy]:
    """Return the policies that a sync needs, by whose they are.

    ``source``, ``target`` and ``state`` for each place that is in a service: a sync whose state
    location has no connection of its own needs ``target`` and ``state`` for the target's. As far as
    the features need them, ``lists`` for the connection of the lists and ``queue`` for that of the
    queue, which is the source's if there is none; ``source_login`` and ``target_login`` for the
    identity that a connection has before it takes its role.

    :param partition: of the ARNs: ``aws``, ``aws-cn`` or ``aws-us-gov``.
    :raises InvalidInputError: naming ``partition``, a resource that was not given, a URI that a
        feature does not go with, or one that no policy can name.
    """
    if partition not in PARTITIONS:
        raise InvalidInputError("partition", found=partition, accepted=" or ".join(PARTITIONS))
    for name in ("source", "target", "state"):
        _no_alias(getattr(places, name), f"{name}_uri")
    chosen = tuple(features)
    for one in chosen:
        _check_fits(one, places)
        _check_given(one, places, resources)
    found: dict[str, Policy] = {}
    for name, statements in _all_statements(places, chosen, resources, partition):
        if statements:
            found[name] = {"Version": _version(name, places, resources), "Statement": statements}
    return found


def _version(name: str, places: Places, resources: Resources) -> str:
    ram = {"source": places.source.scheme == "oss"}
    ram["lists"] = any(place.scheme == "oss" for place in resources.places())
    return "1" if ram.get(name) else "2012-10-17"


def _all_statements(
    places: Places, chosen: Sequence[Feature], resources: Resources, partition: str
) -> Iterator[tuple[str, list[Policy]]]:
    """Yield the statements of each policy."""
    source = _needs_of(chosen, "source", places)
    target = _needs_of(chosen, "target", places)
    state = [need for one in chosen if one.name == STATE for need in one.target]
    if places.source.scheme != "file":
        yield (
            "source",
            [
                *_of_place(places.source, _on(source, On.PLACE), partition),
                *_of_resources(source, {On.KEY}, "source", resources, partition),
            ],
        )
    if places.target.scheme != "file":
        yield (
            "target",
            [
                *_of_place(places.target, _on(target, On.PLACE), partition),
                *_of_place(places.source, _on(target, On.SOURCE), partition, sid="Source"),
                *_of_resources(target, {On.KEY, On.SOURCE_KEY}, "target", resources, partition),
            ],
        )
    yield "state", _of_place(places.state, _on(state, On.PLACE), partition)
    yield "lists", _of_lists(chosen, resources, partition)
    queues = {On.QUEUE, On.DEAD_LETTERS}
    yield "queue", _of_resources(source, queues, "source", resources, partition)
    for column, needs in (("source", source), ("target", target)):
        yield f"{column}_login", _of_resources(needs, {On.ROLE}, column, resources, partition)


def _needs_of(chosen: Iterable[Feature], column: str, places: Places) -> list[Need]:
    """Return what features need in one of their columns, that of the service of the place."""
    found: list[Need] = []
    for one in chosen:
        if column == "source":
            found += {"s3": one.source, "oss": one.ram}.get(places.source.scheme, ())
        elif one.name != STATE:
            found += one.target
    return list(dict.fromkeys(found))


def _on(needs: Iterable[Need], on: On) -> list[str]:
    return [need.action for need in needs if need.on is on]


def _check_fits(one: Feature, places: Places) -> None:
    """Refuse a feature that the places do not have.

    :raises InvalidInputError: naming the URI.
    """
    if places.source.scheme != "s3":
        for need in (*one.source, *one.target):
            if need.on in _OF_S3_SOURCES and (need in one.source or need.on is not On.ROLE):
                accepted = f"an s3:// URI, as {one.name!r} needs {need.action} ({need.on.value})"
                raise InvalidInputError("source_uri", found=places.source.uri, accepted=accepted)
    if places.target.scheme == "file" and any(need.on is not On.PLACE for need in one.target):
        accepted = f"an s3:// URI, as {one.name!r} is about objects in a bucket"
        raise InvalidInputError("target_uri", found=places.target.uri, accepted=accepted)


def _check_given(one: Feature, places: Places, resources: Resources) -> None:
    """Refuse a feature whose resource was not given.

    :raises InvalidInputError: naming the option.
    """
    ram = places.source.scheme == "oss"
    lists = [need for need in one.source if need.on is On.LIST]
    columns = {"source": [*(one.ram if ram else one.source), *lists], "target": one.target}
    for column, needs in columns.items():
        for need in needs:
            name = resource_of(need, column)
            if name is not None and not getattr(resources, name):
                what = "the URI of the list" if name == "lists" else _FORMS[name][1]
                accepted = f"{what}: {one.name!r} needs {need.action} on it"
                raise InvalidInputError(option(name), found=None, accepted=accepted)


# --- statements ---------------------------------------------------------------------------------


def _of_place(
    place: Location, actions: Sequence[str], partition: str, *, sid: str = ""
) -> list[Policy]:
    """Return the statements of actions on a bucket and its objects, as far as its prefix goes."""
    if place.scheme == "oss":
        return _ram_statements(place, actions)
    bucket, objects = _arns(place, partition)
    listing = [one for one in actions if _name(one, "s3") in _LISTINGS]
    of_bucket = [one for one in actions if _is_of_bucket(one) and one not in listing]
    of_objects = [one for one in actions if one not in {*listing, *of_bucket}]
    begins = f"{_literal(place.prefix)}*"
    limited = {"StringLike": {"s3:prefix": [begins]}} if place.prefix else None
    return [
        *_statement(f"{sid}List", listing, [bucket], limited),
        *_statement(f"{sid}Bucket", of_bucket, [bucket]),
        *_statement(f"{sid}Objects", of_objects, [f"{objects}{begins}"]),
    ]


def _ram_statements(place: Location, actions: Sequence[str]) -> list[Policy]:
    listing = [one for one in actions if _name(one, "oss") in _OSS_LISTINGS]
    of_bucket = [
        one
        for one in actions
        if one not in listing and ("Bucket" in one or _name(one, "oss") in _OF_OSS_BUCKETS)
    ]
    of_objects = [one for one in actions if one not in {*listing, *of_bucket}]
    bucket = f"acs:oss:*:*:{place.bucket}"
    limited = {"StringLike": {"oss:Prefix": [f"{place.prefix}*"]}} if place.prefix else None
    return [
        *_statement("", listing, [bucket], limited),
        *_statement("", of_bucket, [bucket]),
        *_statement("", of_objects, [f"{bucket}/{place.prefix}*"]),
    ]


def _of_lists(chosen: Iterable[Feature], resources: Resources, partition: str) -> list[Policy]:
    """Return the statements of the lists' own objects.

    :raises InvalidInputError: if lists are in two services, which no one policy is for.
    """
    found = resources.places()
    if len({place.scheme for place in found}) > 1:
        accepted = "lists in one service: a selection has one connection for them"
        raise InvalidInputError(
            option("lists"), found=", ".join(resources.lists), accepted=accepted
        )
    for scheme in {place.scheme for place in found}:
        needs = [need for one in chosen for need in (one.source if scheme == "s3" else one.ram)]
        actions = list(dict.fromkeys(_on(needs, On.LIST)))
        if scheme == "oss":
            return _statement("", actions, [f"acs:oss:*:*:{p.bucket}/{p.prefix}" for p in found])
        named = [f"{_arns(place, partition)[1]}{_literal(place.prefix)}" for place in found]
        return _statement("Lists", actions, named)
    return []


def _of_resources(
    needs: Sequence[Need], on: set[On], column: str, resources: Resources, partition: str
) -> list[Policy]:
    """Return the statements of actions on what has an ARN of its own."""
    found: dict[str, list[str]] = {}
    for need in needs:
        name = resource_of(need, column)
        if need.on in on and name is not None:
            found.setdefault(name, []).append(need.action)
    statements: list[Policy] = []
    for name, actions in found.items():
        arn: str = getattr(resources, name)
        if arn.startswith("acs:"):
            statements += _statement("", actions, [arn])
            continue
        if not arn.startswith(f"arn:{partition}:"):
            raise InvalidInputError(option(name), found=arn, accepted=f"one of arn:{partition}:…")
        statements += _statement(_SIDS[name], actions, [arn])
    return statements


def _statement(
    sid: str, actions: Sequence[str], resources: list[str], condition: Policy | None = None
) -> list[Policy]:
    if not actions:
        return []
    named: dict[str, Any] = {"Sid": sid} if sid else {}
    made = {**named, "Effect": "Allow", "Action": list(actions), "Resource": resources}
    return [made if condition is None else {**made, "Condition": condition}]


def _arns(place: Location, partition: str) -> tuple[str, str]:
    """Return the ARN of a bucket, and what stands before the keys in those of its objects.

    Of an access point it is the access point's, as requests are judged by that; the bucket behind
    it has to allow them, too, by its own policy ("Delegating access control to access points").
    """
    if is_arn(place.bucket):
        point = place.bucket.replace(":accesspoint:", ":accesspoint/")
        return point, f"{point}/object/"
    bucket = f"arn:{partition}:s3:::{place.bucket}"
    return bucket, f"{bucket}/"


def _no_alias(place: Location, parameter: str) -> Location:
    """Return a place that a policy can name.

    :raises InvalidInputError: for the alias of an access point ("Access point aliases are not
        supported in policies").
    """
    if is_access_point(place.bucket) and not is_arn(place.bucket):
        accepted = "the access point's ARN in place of its alias, which no policy can name"
        raise InvalidInputError(parameter, found=place.uri, accepted=accepted)
    return place


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
