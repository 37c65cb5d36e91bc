"""Pairs proven equal by an earlier run whose ETags cannot be compared.

Kept so that a later plan need not copy them again; it counts only while both sides still list the
very ETags of the record (c07). One file per pair of sides, in key order.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.diff import ProvenPair
from airflow_provider_s3resume.plan.manifest import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_s3resume.plan.manifest import Side
    from airflow_provider_s3resume.transfer.state import StateLocation


class Sides(Protocol):
    """Anything that names both sides of a sync."""

    @property
    def source(self) -> Side:
        """The source side."""

    @property
    def target(self) -> Side:
        """The target side."""


def pair_name(source: Side, target: Side) -> str:
    """Return a name for a pair of sides, for use in keys of the state location."""
    text = f"{source.service}\n{source.uri}\n{target.service}\n{target.uri}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _name(sides: Sides) -> str:
    return f"proven/{pair_name(sides.source, sides.target)}.jsonl"


def load_proven(state: StateLocation, sides: Sides) -> tuple[ProvenPair, ...]:
    """Return the recorded pairs in key order; none if the record cannot be read.

    It is a hint: without it objects are copied again, nothing is lost.
    """
    text = state.read_text(_name(sides))
    try:
        return tuple(
            ProvenPair(**loads(line, what="proven pair")) for line in (text or "").splitlines()
        )
    except (ManifestError, TypeError):
        return ()


def save_proven(state: StateLocation, sides: Sides, pairs: Iterable[ProvenPair]) -> None:
    """Write the record anew, in the order given (by key)."""
    state.write_text(_name(sides), "".join(dumps(asdict(pair)) + "\n" for pair in pairs))
