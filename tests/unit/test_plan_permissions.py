"""Policies that are made of the tables of features, for the places of a sync."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_s3resume import permissions
from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.permissions import (
    PLAIN_SYNC,
    Feature,
    Need,
    On,
    choose,
    read_features,
)
from airflow_provider_s3resume.plan.policies import Policy, Resources, policies
from airflow_provider_s3resume.plan.sides import parse_places
from tests.support import features
from tests.support.iam import Asked, Policies, actions_in

_HEAD = "| feature | parameter | API calls | source actions | target actions | RAM actions |"


def table(group: str, *rows: tuple[str, ...]) -> str:
    """Return a heading with its table."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"## {group}", "", _HEAD, "|---|---|---|---|---|---|", *lines, ""])


TEXT = "# Features\n\n" + table(
    PLAIN_SYNC,
    ("list", "`uri`", "`ListObjectsV2`", "`s3:ListBucket`", "-", "`oss:ListObjects`"),
    ("read", "-", "`GetObject`, `HeadObject`", "`s3:GetObject`", "-", "`oss:GetObject`"),
    (
        "write",
        "`a\\|b`",
        "`PutObject`, with `x-amz-tagging`",
        "-",
        "`s3:PutObject`, `s3:ListBucketMultipartUploads`",
        "-",
    ),
    ("state location", "`state_uri`", "`PutObject`", "-", "`s3:PutObject`", "-"),
)
TEXT += table(
    "Versions",
    (
        "all versions",
        "`versions`",
        "`ListObjectVersions`",
        "`s3:ListBucketVersions`, `s3:GetObjectVersion`",
        "-",
        "`oss:ListObjectVersions`",
    ),
    (
        "a `key` of the user's",
        "`kms`",
        "`GetObject`",
        "`kms:Decrypt` (key)",
        "`kms:GenerateDataKey` (key), `kms:Decrypt` (key)",
        "`kms:Decrypt` (key)",
    ),
    (
        "a list",
        "`list`",
        "`GetObject` of it",
        "`s3:GetObject` (list)",
        "-",
        "`oss:GetObject` (list)",
    ),
    ("by the service", "-", "`CopyObject`", "-", "`s3:GetObject` (source)", "-"),
    ("its key", "-", "`CopyObject`", "-", "`kms:Decrypt` (source's key)", "-"),
    ("a queue", "-", "`ReceiveMessage`", "`sqs:ReceiveMessage` (queue)", "-", "-"),
    ("dead", "-", "`SendMessage`", "`sqs:SendMessage` (dead letters)", "-", "-"),
    ("a role", "-", "`AssumeRole`", "`sts:AssumeRole` (role)", "-", "-"),
    ("its role", "-", "`AssumeRole`", "-", "`sts:AssumeRole` (role)", "-"),
)
KNOWN = read_features(TEXT)
PLACES = parse_places("s3://src/in/", "s3://tgt/out/", "s3://tgt/.s3resume/")


def made(*names: str, **more: Any) -> dict[str, Policy]:
    """Return the policies of a plain sync with these features."""
    return policies(PLACES, choose(KNOWN, names), **more)


def test_rows_are_read_with_their_actions_and_calls() -> None:
    """What is quoted and neither an action nor a call is no part of a row."""
    assert KNOWN[2] == Feature(
        group=PLAIN_SYNC,
        name="write",
        calls=("PutObject",),
        target=(Need(action="s3:PutObject"), Need(action="s3:ListBucketMultipartUploads")),
    )
    assert [need.action for need in KNOWN[4].source] == [
        "s3:ListBucketVersions",
        "s3:GetObjectVersion",
    ]
    assert KNOWN[5].name == "a key of the user's"
    assert KNOWN[5].source == (Need(action="kms:Decrypt", on=On.KEY),)


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        (2, "GetObject of the list", "not quoted: GetObject"),
        (2, "`GetObject`, ListObjectsV2", "not quoted: ListObjectsV2"),
        (3, "`s3:GetObject` on the list", "neither an action"),
        (3, "`s3:GetObject` (shelf)", "done to: \\(shelf\\)"),
        (3, "s3:GetObject", "neither an action"),
        (3, "- (the same)", "neither an action"),
        (3, "as above", "neither an action"),
        (3, "`s3:GetObject`; `s3:PutObject`", "neither an action"),
        (3, "`kms:Decrypt`", "a place: kms:Decrypt"),
        (4, "`s3:GetObject` (queue)", "\\(queue\\): s3:GetObject"),
        (5, "`oss:GetObject` (source)", "\\(source\\): oss:GetObject"),
    ],
)
def test_what_is_not_understood_is_refused(column: int, cell: str, said: str) -> None:
    """A policy without it would be too little, and nobody would know."""
    row = ["a feature", "-", "`GetObject`", "`s3:GetObject`", "-", "-"]
    row[column] = cell
    with pytest.raises(ValueError, match=f"Group: a feature: .*{said}"):
        read_features(table("Group", tuple(row)))


def test_a_row_of_another_width_is_refused() -> None:
    """Its cells would stand for others."""
    with pytest.raises(ValueError, match="2 columns"):
        read_features(f"{TEXT}\n| a table | of another kind |\n")


def test_a_policy_is_limited_to_bucket_and_prefix() -> None:
    """Listings by condition, objects by resource; uploads know no condition."""
    assert made()["source"] == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "List",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::src"],
                "Condition": {"StringLike": {"s3:prefix": ["in/*"]}},
            },
            {
                "Sid": "Objects",
                "Effect": "Allow",
                "Action": ["s3:GetObject"],
                "Resource": ["arn:aws:s3:::src/in/*"],
            },
        ],
    }
    bucket, objects = made()["target"]["Statement"]
    assert (bucket["Action"], bucket["Resource"]) == (
        ["s3:ListBucketMultipartUploads"],
        ["arn:aws:s3:::tgt"],
    )
    assert "Condition" not in bucket
    assert objects["Resource"] == ["arn:aws:s3:::tgt/out/*"]
    assert made()["state"]["Statement"][0]["Resource"] == ["arn:aws:s3:::tgt/.s3resume/*"]


def test_a_whole_bucket_has_no_condition() -> None:
    """A listing of all of it names no prefix."""
    whole = policies(parse_places("s3://src/", "s3://tgt/"), choose(KNOWN, ()))
    listing, objects = whole["source"]["Statement"]
    assert "Condition" not in listing
    assert objects["Resource"] == ["arn:aws:s3:::src/*"]


def test_a_feature_that_is_used_adds_its_actions() -> None:
    """What is about the places stands with those of a plain sync."""
    more = made("all versions")["source"]
    assert [one["Action"] for one in more["Statement"]] == [
        ["s3:ListBucket", "s3:ListBucketVersions"],
        ["s3:GetObject", "s3:GetObjectVersion"],
    ]
    assert "s3:GetObjectVersion" not in actions_in(made()["source"])


KEY = "arn:aws:kms:eu-central-1:111122223333:key/one"
OTHER_KEY = "arn:aws:kms:eu-central-1:111122223333:key/two"
QUEUE = "arn:aws:sqs:eu-central-1:111122223333:events"
DEAD = "arn:aws:sqs:eu-central-1:111122223333:dead"
ROLE = "arn:aws:iam::111122223333:role/reader"
ALL = Resources(
    lists=("s3://lists/a*.txt", "s3://lists/b.csv"),
    queue=QUEUE,
    dead_letters=DEAD,
    kms_key_source=KEY,
    kms_key_target=OTHER_KEY,
    role_source=ROLE,
    role_target=f"{ROLE}-too",
)


@pytest.mark.parametrize(
    ("names", "policy", "sid", "actions", "resources"),
    [
        (["a key of the user's"], "source", "SourceKey", ["kms:Decrypt"], [KEY]),
        (
            ["a key of the user's"],
            "target",
            "TargetKey",
            ["kms:GenerateDataKey", "kms:Decrypt"],
            [OTHER_KEY],
        ),
        (
            ["a list"],
            "lists",
            "Lists",
            ["s3:GetObject"],
            ["arn:aws:s3:::lists/a${*}.txt", "arn:aws:s3:::lists/b.csv"],
        ),
        (
            ["by the service"],
            "target",
            "SourceObjects",
            ["s3:GetObject"],
            ["arn:aws:s3:::src/in/*"],
        ),
        (["its key"], "target", "SourceKey", ["kms:Decrypt"], [KEY]),
        (["a queue", "dead"], "queue", "Queue", ["sqs:ReceiveMessage"], [QUEUE]),
        (["a queue", "dead"], "queue", "DeadLetters", ["sqs:SendMessage"], [DEAD]),
        (["a role"], "source_login", "Role", ["sts:AssumeRole"], [ROLE]),
        (["its role"], "target_login", "Role", ["sts:AssumeRole"], [f"{ROLE}-too"]),
    ],
)
def test_an_action_is_limited_to_what_it_is_done_to(
    names: list[str], policy: str, sid: str, actions: list[str], resources: list[str]
) -> None:
    """In the policy of whoever does it, and in no other."""
    found = made(*names, resources=ALL)
    (statement,) = [one for one in found[policy]["Statement"] if one["Sid"] == sid]
    assert (statement["Action"], statement["Resource"]) == (actions, resources)
    plain = made()
    others = {name: one for name, one in found.items() if name in plain and name != policy}
    if names != ["a key of the user's"]:
        assert others == {name: one for name, one in plain.items() if name != policy}
    assert "*" not in [name for one in found[policy]["Statement"] for name in one["Resource"]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a list", "--list: found None.*'a list' needs s3:GetObject"),
        ("a queue", "--queue: .*sqs:ReceiveMessage"),
        ("dead", "--dead-letters: .*sqs:SendMessage"),
        ("a key of the user's", "--kms-key-source: .*kms:Decrypt"),
        ("its key", "--kms-key-source: .*kms:Decrypt"),
        ("a role", "--role-source: .*sts:AssumeRole"),
        ("its role", "--role-target: .*sts:AssumeRole"),
    ],
)
def test_a_feature_whose_resource_was_not_given_is_refused(name: str, said: str) -> None:
    """By the option of the command."""
    with pytest.raises(InvalidInputError, match=said):
        made(name)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"queue": f"{QUEUE}.fifo"}, "--queue: .*standard queue"),
        (
            {"dead_letters": "https://sqs.eu-central-1.amazonaws.com/1/dead"},
            "--dead-letters: .*ARN",
        ),
        ({"kms_key_source": "alias/mine"}, "--kms-key-source: .*ARN"),
        ({"kms_key_target": KEY.replace("key/", "alias/")}, "--kms-key-target: .*no alias"),
        ({"role_source": "reader"}, "--role-source: .*ARN"),
        ({"lists": ("s3://lists/",)}, "--list: .*object"),
        ({"lists": ("file:///opt/lists/ignore.txt",)}, "--list: .*of the worker needs no policy"),
        ({"lists": ("s3://reports-x1y2z3-s3alias/list.txt",)}, "--list: .*in place of its alias"),
    ],
)
def test_what_no_policy_can_name_is_refused(given: dict[str, Any], said: str) -> None:
    """By the option of the command."""
    with pytest.raises(InvalidInputError, match=said):
        Resources(**given)


def test_lists_and_arns_are_those_of_one_service_and_partition() -> None:
    """A selection has one connection for its lists; no ARN reaches into another partition."""
    mixed = Resources(lists=("s3://lists/a", "oss://lists/b"))
    with pytest.raises(InvalidInputError, match=r"--list: .*one service"):
        made("a list", resources=mixed)
    with pytest.raises(InvalidInputError, match=r"--queue: .*aws-cn"):
        made("a queue", resources=ALL, partition="aws-cn")


def test_places_that_a_feature_does_not_go_with_are_refused() -> None:
    """A queue is about S3's events, and no folder has a key."""
    from_oss, from_folder, to_folder = (
        parse_places("oss://src/in/", "s3://tgt/out/"),
        parse_places("file:///in/", "s3://tgt/out/"),
        parse_places("s3://src/in/", "file:///out/", "s3://state/x/"),
    )
    for places, name, said in (
        (from_oss, "a queue", "source_uri: .*'a queue'"),
        (from_folder, "by the service", "source_uri: .*'by the service'"),
        (to_folder, "its key", "target_uri: .*'its key'"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            policies(places, choose(KNOWN, [name]), resources=ALL)
    assert set(policies(from_folder, choose(KNOWN, ()))) == {"target", "state"}
    assert set(policies(to_folder, choose(KNOWN, ()))) == {"source", "state"}
    lists = policies(from_folder, choose(KNOWN, ["a list"]), resources=ALL)["lists"]
    assert actions_in(lists) == ["s3:GetObject"]


def test_an_access_point_stands_by_its_arn_in_place_of_the_bucket() -> None:
    """An alias is refused, as policies do not know it."""
    point = "arn:aws:s3:eu-central-1:111122223333:accesspoint/reports"
    uri = point.replace("accesspoint/", "accesspoint:")
    places = parse_places(f"s3://{uri}/in/", "s3://tgt/out/")
    listing, objects = policies(places, choose(KNOWN, ()))["source"]["Statement"]
    assert listing["Resource"] == [point]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["in/*"]}}
    assert objects["Resource"] == [f"{point}/object/in/*"]
    alias = parse_places("s3://reports-x1y2z3-s3alias/in/", "s3://tgt/out/")
    with pytest.raises(InvalidInputError, match=r"source_uri: .*in place of its alias"):
        policies(alias, choose(KNOWN, ()))


def test_a_feature_that_is_not_there_is_refused_by_name() -> None:
    """As is a partition."""
    with pytest.raises(InvalidInputError, match=r"no such thing.*all versions"):
        made("no such thing")
    with pytest.raises(InvalidInputError, match=r"partition.*aws-cn"):
        made(partition="aws-de")
    assert made(partition="aws-cn")["target"]["Statement"][0]["Resource"] == ["arn:aws-cn:s3:::tgt"]


def test_oss_gets_a_ram_policy() -> None:
    """In the form of Alibaba Cloud, with its own actions."""
    places = parse_places("oss://src/in/", "s3://tgt/out/")
    listing, versions_too, objects = (
        policies(places, choose(KNOWN, ()))["source"]["Statement"][0],
        policies(places, choose(KNOWN, ["all versions"]))["source"]["Statement"][0],
        policies(places, choose(KNOWN, ()))["source"]["Statement"][1],
    )
    assert listing["Resource"] == ["acs:oss:*:*:src"]
    assert listing["Condition"] == {"StringLike": {"oss:Prefix": ["in/*"]}}
    key = "acs:kms:cn-hangzhou:1234567890:key/one"
    resources = Resources(kms_key_source=key, kms_key_target=KEY, lists=("oss://lists/a.txt",))
    more = policies(places, choose(KNOWN, ["a key of the user's", "a list"]), resources=resources)
    assert more["source"]["Statement"][-1] == {
        "Effect": "Allow",
        "Action": ["kms:Decrypt"],
        "Resource": [key],
    }
    assert more["lists"] == {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["oss:GetObject"],
                "Resource": ["acs:oss:*:*:lists/a.txt"],
            }
        ],
    }
    assert versions_too["Action"] == ["oss:ListObjects", "oss:ListObjectVersions"]
    assert (objects["Action"], objects["Resource"]) == (
        ["oss:GetObject"],
        ["acs:oss:*:*:src/in/*"],
    )


@pytest.mark.parametrize("prefix", ["a*b/", "what?/", "$cost/", "a b+c%2F/", "日本/"])
def test_a_prefix_stands_for_itself(prefix: str) -> None:
    """Signs that stand for others in a policy are written as variables."""
    places = parse_places(f"s3://src/{prefix}", "s3://tgt/")
    allowed = Policies([policies(places, choose(KNOWN, ()))["source"]])

    def read(key: str) -> bool:
        arn = f"arn:aws:s3:::src/{key}"
        return allowed.allow(Asked(action="s3:GetObject", bucket="src", resource=arn))

    assert read(f"{prefix}key")
    other = prefix.translate(str.maketrans("*?$b日", "xxxxx"))
    assert not read(f"{other}key")


def test_the_document_holds_what_its_tables_make() -> None:
    """If this fails: python -m tests.support.features."""
    text = features.DOCUMENT.read_text(encoding="utf-8")
    assert text == features.renewed(text)


def test_every_row_of_the_document_is_read() -> None:
    """Each has a name of its own below its heading; a plain sync's are in every policy."""
    known = permissions.known_features()
    names = [(one.group, one.name) for one in known]
    assert len(set(names)) == len(names)
    assert {one.group for one in choose(known, ())} == {PLAIN_SYNC}


def test_the_command_prints_the_policies(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, and an error in one line where an argument cannot be."""
    uris = ["s3://src/in/", "s3://tgt/out/"]
    assert permissions.main([*uris, "--state-uri", "s3://state/x/"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["source", "target", "state"]
    assert "s3:GetObjectTagging" in actions_in(found["source"])
    assert permissions.main([uris[0], "s3://tgt/out"]) == 2
    assert "target_uri" in capsys.readouterr().err
    wanted = [*uris, "--feature", "ignore list"]
    assert permissions.main(wanted) == 2
    assert "--list" in capsys.readouterr().err
    assert permissions.main([*wanted, "--list", "s3://lists/ignore.txt"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lists"]["Statement"][0]["Resource"] == ["arn:aws:s3:::lists/ignore.txt"]
    assert permissions.main([*wanted, "--list", "s3://lists/x.txt", "--queue", QUEUE]) == 2
    assert "--queue" in capsys.readouterr().err


def test_a_wheel_carries_the_tables() -> None:
    """Beside the command, under the name that it looks for there."""
    project = (features.DOCUMENT.parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert '"docs/features.md" = "airflow_provider_s3resume/features.md"' in project
    assert Path("features.md") in {Path(file.name) for file in permissions._TABLES}
