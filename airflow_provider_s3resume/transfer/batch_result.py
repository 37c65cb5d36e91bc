"""What became of a batch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import ObjectsFailedError
from airflow_provider_s3resume.transfer.outcomes import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.plan.manifest import BatchRef
    from airflow_provider_s3resume.transfer.journal import Journal
    from airflow_provider_s3resume.transfer.outcomes import Outcome
    from airflow_provider_s3resume.transfer.paces import Pace
    from airflow_provider_s3resume.transfer.progress import Figures

NAMED_FAILURES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of a batch.

    :param counts: status → objects.
    """

    index: int
    outcomes_key: str
    counts: Mapping[str, int]
    figures: Figures
    pace: Pace
    failures: tuple[Outcome, ...]

    def raise_for_failures(self) -> None:
        """Return if every object landed.

        :raises ObjectsFailedError: naming the first that failed, and why.
        """
        if not self.failures:
            return
        total = sum(self.counts.values())
        named = "; ".join(f"{o.key!r}: {o.error}" for o in self.failures[:NAMED_FAILURES])
        more = len(self.failures) - NAMED_FAILURES
        tail = f"; and {more} more" if more > 0 else ""
        raise ObjectsFailedError(
            f"{len(self.failures)} of {total} objects of batch {self.index} failed, all others "
            f"were dealt with: {named}{tail}",
            retryable=any(outcome.retryable for outcome in self.failures),
            kinds={o.error_kind for o in self.failures if o.retryable and o.error_kind},
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Return what goes into XCom: figures, no keys of objects."""
        return {
            "batch": self.index,
            "outcomes": self.outcomes_key,
            "counts": dict(self.counts),
            "bytes_moved": self.figures.bytes_moved,
            "parts_sent": self.figures.parts_sent,
            "parts_kept": self.figures.parts_kept,
            "failed": len(self.failures),
            "pace": asdict(self.pace),
        }


def result_of(ref: BatchRef, journal: Journal, figures: Figures, pace: Pace) -> BatchResult:
    """Return the result of a batch whose every outcome is in the journal."""
    outcomes = journal.outcomes()
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.status.value] = counts.get(outcome.status.value, 0) + 1
    return BatchResult(
        index=ref.index,
        outcomes_key=journal.name,
        counts=counts,
        figures=figures,
        pace=pace,
        failures=tuple(o for o in outcomes if o.status is Status.FAILED),
    )
