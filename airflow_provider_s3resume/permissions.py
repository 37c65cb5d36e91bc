"""Print the policies that a sync needs: ``python -m airflow_provider_s3resume.permissions``.

The actions are those of ``docs/features.md``, which a wheel carries beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.permissions import (
    PARTITIONS,
    Feature,
    choose,
    policies,
    read_features,
)
from airflow_provider_s3resume.plan.sides import parse_places

_HERE: Final = Path(__file__).resolve().parent
_TABLES: Final = (_HERE / "features.md", _HERE.parent / "docs" / "features.md")
"""Of an installed wheel, and of a clone."""


def known_features() -> tuple[Feature, ...]:
    """Return the rows of the tables of features.

    :raises FileNotFoundError: if neither file is there.
    """
    found = next((file for file in _TABLES if file.exists()), _TABLES[0])
    return read_features(found.read_text(encoding="utf-8"))


def main(arguments: list[str] | None = None) -> int:
    """Print the policies of the places that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_s3resume.permissions",
        description="Print the IAM policies (for an oss:// source, the RAM policy) that a sync "
        "needs. The policy 'state' is for the target's identity, too, unless the state location "
        "has a connection of its own.",
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
    given = parser.parse_args(arguments)
    try:
        places = parse_places(given.source_uri, given.target_uri, given.state_uri)
        chosen = choose(known_features(), given.feature)
        found = policies(places, chosen, partition=given.partition)
    except InvalidInputError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 2
    print(json.dumps(found, indent=2, ensure_ascii=False))  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
