"""How many requests a copy will make, as far as sizes, part sizes and limits tell.

As many as named here are made at least: parts are listed as often as a copy wants to know of them.
What a fault, a checkpoint, a tag or the state location adds is not in it: it is an estimate of
what a service charges for at least.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from airflow_provider_s3resume.plan.digests import part_count_of_etag
from airflow_provider_s3resume.plan.parts import DEFAULT_PART_SIZE, Limits, choose_layout

_PARTS_ON_A_PAGE = 1000
"""Of ListParts ("Amazon S3 multipart upload limits")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyCosts:
    """What the requests of a copy depend on; sizes in bytes.

    :param limits: of the target.
    :param part_size: of objects whose parts at the source are not reproduced.
    :param single_up_to: objects of up to this size are written in one request, unless the source
        has them in parts.
    :param reproduces: whether the source tells how its objects were cut, so that copies are cut
        the same.
    """

    limits: Limits = field(default_factory=Limits)
    part_size: int = DEFAULT_PART_SIZE
    single_up_to: int = DEFAULT_PART_SIZE
    reproduces: bool = True

    def parts(self, size: int, etag: str | None) -> int:
        """Return in how many parts an object will be copied, 0 for one that goes in one request."""
        told = part_count_of_etag(etag) if self.reproduces and size else None
        if told is None and size <= min(self.single_up_to, self.limits.max_single_put):
            return 0
        if told is not None and self._fits(size, told):
            return told
        return choose_layout(size, self.limits, self.part_size).count

    def of(self, size: int, etag: str | None) -> dict[str, int]:
        """Return the requests that copying one object makes, by side and name.

        :raises InvalidInputError: if the target cannot hold the object.
        """
        parts = self.parts(size, etag)
        if not parts:
            return {"source.GetObject": 1, "target.PutObject": 1}
        asked = 1 if self.reproduces and part_count_of_etag(etag) is not None else 0
        return {
            # Its headers, and those of its first part.
            "source.HeadObject": 1 + asked,
            "source.GetObject": parts,
            "target.ListMultipartUploads": 1,
            "target.CreateMultipartUpload": 1,
            "target.UploadPart": parts,
            "target.ListParts": -(-parts // _PARTS_ON_A_PAGE),
            "target.CompleteMultipartUpload": 1,
            "target.HeadObject": 1,
        }

    def _fits(self, size: int, parts: int) -> bool:
        return (
            parts <= self.limits.max_parts
            and -(-size // parts) <= self.limits.max_part_size
            # All but the last have at least the least size; how large that one is, is not told.
            and size > (parts - 1) * self.limits.min_part_size
        )


class RequestSum:
    """Adds the requests of many objects up; most of them need one request of each side."""

    def __init__(self, costs: CopyCosts) -> None:
        self._costs = costs
        self._singles = 0
        self._sum: Counter[str] = Counter()

    def add(self, size: int, etag: str | None) -> None:
        """Add one object to copy."""
        if size <= self._costs.single_up_to and (not etag or "-" not in etag):
            self._singles += 1
        else:
            self._sum.update(self._costs.of(size, etag))

    def requests(self) -> dict[str, int]:
        """Return the requests of all, by side and name."""
        single = {"source.GetObject": self._singles, "target.PutObject": self._singles}
        total = self._sum + Counter(single)
        return dict(sorted(total.items()))
