"""Policies of the environment's execution role, from the table in ``docs/features.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_s3resume.permissions import known_features
from airflow_provider_s3resume.plan.permissions import choose
from airflow_provider_s3resume.plan.policies import policies
from airflow_provider_s3resume.plan.sides import Places
from deploy.mwaa.connections import PREFIX

Policy = Mapping[str, Any]


def needed(places: Places, features: Sequence[str], *, partition: str = "aws") -> dict[str, Policy]:
    """Return the policies of a sync by whose they are, as the command ``permissions`` prints them.

    :raises InvalidInputError: naming a feature that is unknown, or does not go with the places.
    """
    return policies(places, choose(known_features(), features), partition=partition)


def of_role(
    found: Mapping[str, Policy],
    conn_ids: Iterable[str],
    *,
    partition: str = "aws",
    region: str = "*",
    account: str = "*",
) -> Policy:
    """Return one policy for a role that reads the source, writes the target and keeps the state.

    What an OSS source needs is a policy of Alibaba Cloud's, and no part of it.

    :param conn_ids: connections that the role may read from Secrets Manager; a secret's ARN ends
        with six characters that Secrets Manager chooses.
    """
    amazon = {name: policy for name, policy in found.items() if policy["Version"] != "1"}
    statements = [
        {**statement, "Sid": f"{_camel(name)}{statement['Sid']}"}
        for name, policy in amazon.items()
        for statement in policy["Statement"]
    ]
    place = f"arn:{partition}:secretsmanager:{region}:{account}:secret:{PREFIX}"
    secrets = {
        "Sid": "Connections",
        "Effect": "Allow",
        "Action": ["secretsmanager:GetSecretValue"],
        "Resource": [f"{place}/{conn_id}-??????" for conn_id in sorted(set(conn_ids))],
    }
    return {"Version": "2012-10-17", "Statement": [*statements, secrets]}


def _camel(name: str) -> str:
    # A statement's id has letters and digits only ("IAM JSON policy elements: Sid").
    return "".join(word.capitalize() for word in name.split("_"))
