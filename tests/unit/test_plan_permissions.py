"""Policies that are made of the tables of features, for the places of a sync."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_s3resume import permissions
from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.permissions import (
    PLAIN_SYNC,
    Feature,
    Policy,
    choose,
    policies,
    read_features,
)
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
    ("a key of the user's", "`kms`", "-", "`kms:Decrypt`", "-", "-"),
)
KNOWN = read_features(TEXT)
PLACES = parse_places("s3://src/in/", "s3://tgt/out/", "s3://tgt/.s3resume/")


def made(*names: str, **more: str) -> dict[str, Policy]:
    """Return the policies of a plain sync with these features."""
    return policies(PLACES, choose(KNOWN, names), **more)


def test_rows_are_read_with_their_actions_and_calls() -> None:
    """What is quoted and neither an action nor a call is no part of a row."""
    assert KNOWN[2] == Feature(
        group=PLAIN_SYNC,
        name="write",
        calls=("PutObject",),
        target=("s3:PutObject", "s3:ListBucketMultipartUploads"),
    )
    assert KNOWN[4].source == ("s3:ListBucketVersions", "s3:GetObjectVersion")


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
    """Those of other services stand alone, to be limited by hand."""
    more = made("all versions", "a key of the user's")["source"]
    assert [one["Action"] for one in more["Statement"]] == [
        ["s3:ListBucket", "s3:ListBucketVersions"],
        ["s3:GetObject", "s3:GetObjectVersion"],
        ["kms:Decrypt"],
    ]
    assert more["Statement"][-1]["Resource"] == ["*"]
    assert "s3:GetObjectVersion" not in actions_in(made()["source"])


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


def test_a_wheel_carries_the_tables() -> None:
    """Beside the command, under the name that it looks for there."""
    project = (features.DOCUMENT.parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert '"docs/features.md" = "airflow_provider_s3resume/features.md"' in project
    assert Path("features.md") in {Path(file.name) for file in permissions._TABLES}
