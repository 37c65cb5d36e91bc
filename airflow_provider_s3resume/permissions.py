"""Print the policies that a sync needs: ``python -m airflow_provider_s3resume.permissions``.

The actions are those of ``docs/features.md``, which a wheel carries beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.permissions import Feature, choose, read_features
from airflow_provider_s3resume.plan.policies import (
    PARTITIONS,
    Resources,
    option,
    policies,
    resource_of,
)
from airflow_provider_s3resume.plan.sides import parse_places

if TYPE_CHECKING:
    from collections.abc import Iterable

_HERE: Final = Path(__file__).resolve().parent
_TABLES: Final = (_HERE / "features.md", _HERE.parent / "docs" / "features.md")
"""Of an installed wheel, and of a clone."""
_RESOURCES: Final = {
    "queue": "ARN of the queue of events",
    "dead_letters": "ARN of the queue for dead letters",
    "kms_key_source": "ARN of the KMS key of the source's objects",
    "kms_key_target": "ARN of the KMS key of the target's objects",
    "role_source": "ARN of the role that the source's connection takes",
    "role_target": "ARN of the role that the target's connection takes",
}


def known_features() -> tuple[Feature, ...]:
    """Return the rows of the tables of features.

    :raises FileNotFoundError: if neither file is there.
    """
    found = next((file for file in _TABLES if file.exists()), _TABLES[0])
    return read_features(found.read_text(encoding="utf-8"))


def main(arguments: list[str] | None = None) -> int:
    """Print the policies of the places that the arguments name; return the exit code."""
    given = vars(_parser().parse_args(arguments))
    try:
        places = parse_places(given["source_uri"], given["target_uri"], given["state_uri"])
        chosen = choose(known_features(), given["feature"])
        named = {name: given[name] for name in _RESOURCES}
        resources = Resources(lists=tuple(given["lists"]), **named)
        check_used(chosen, resources)
        found = policies(places, chosen, resources=resources, partition=given["partition"])
    except InvalidInputError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 2
    print(json.dumps(found, indent=2, ensure_ascii=False))  # noqa: T201 - a command
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_s3resume.permissions",
        description="Print the IAM policies (for an oss:// source, the RAM policy) that a sync "
        "needs. The policy 'state' is for the target's identity, too, unless the state location "
        "has a connection of its own; 'lists' and 'queue' are for the source's, unless those have "
        "one; 'source_login' and 'target_login' for who takes the role, all others for the role.",
    )
    parser.add_argument("source_uri", help="s3://bucket/prefix/ or oss://bucket/prefix/")
    parser.add_argument("target_uri", help="s3://bucket/prefix/")
    parser.add_argument("--state-uri", help="by default .s3resume/ in the target bucket")
    parser.add_argument("--partition", default=PARTITIONS[0], help=" or ".join(PARTITIONS))
    parser.add_argument(
        "--feature",
        action="append",
        default=[],
        help="one that is used beside a plain sync, as docs/features.md calls it; more than once",
    )
    parser.add_argument(
        option("lists"),
        dest="lists",
        metavar="URI",
        action="append",
        default=[],
        help="URI of a list that the selection names; more than once",
    )
    for name, text in _RESOURCES.items():
        parser.add_argument(option(name), metavar="ARN", help=text)
    return parser


def check_used(chosen: Iterable[Feature], resources: Resources) -> None:
    """Refuse a resource that no feature is about: the feature was forgotten.

    :raises InvalidInputError: naming the option.
    """
    used = {
        resource_of(need, column)
        for one in chosen
        for column, needs in (("source", (*one.source, *one.ram)), ("target", one.target))
        for need in needs
    }
    for name in sorted(resources.given() - used):
        found = resources.lists if name == "lists" else getattr(resources, name)
        accepted = "nothing, unless a --feature uses it"
        raise InvalidInputError(option(name), found=found, accepted=accepted)


if __name__ == "__main__":
    sys.exit(main())
