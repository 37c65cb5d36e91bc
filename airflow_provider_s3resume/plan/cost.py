"""How many requests a copy will make, as far as sizes, part sizes and limits tell.

As many as named here are made at least: parts are listed as often as a copy wants to know of them.
Whether a service copies by itself is found out when it is asked to, and not before. What a fault,
a checkpoint, a tag or the state location adds, and what is asked to find out, is not in it: it is
an estimate of what a service charges for at least.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.digests import part_count_of_etag
from airflow_provider_s3resume.plan.parts import DEFAULT_PART_SIZE, Limits, choose_layout

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    :param by_service: both sides are one service, which is to copy by itself.
    :param relayed_up_to: objects of up to this size that go in one request are relayed all the
        same; -1 for none.
    """

    limits: Limits = field(default_factory=Limits)
    part_size: int = DEFAULT_PART_SIZE
    single_up_to: int = DEFAULT_PART_SIZE
    reproduces: bool = True
    by_service: bool = False
    relayed_up_to: int = -1

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
        cut = self.reproduces and part_count_of_etag(etag) is not None
        copied = self.by_service and (parts > 0 or size > self.relayed_up_to)
        if copied and (not size or (size <= self.limits.max_single_put and not cut)):
            return {"source.HeadObject": 1, "target.CopyObject": 1}
        if not parts:
            return {"source.GetObject": 1, "target.PutObject": 1}
        return {
            # Its headers, and those of its first part.
            "source.HeadObject": 1 + cut,
            **({} if copied else {"source.GetObject": parts}),
            "target.ListMultipartUploads": 1,
            "target.CreateMultipartUpload": 1,
            f"target.UploadPart{'Copy' if copied else ''}": parts,
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
        most = costs.single_up_to
        self._relayed_up_to = min(most, costs.relayed_up_to) if costs.by_service else most
        self._copied_up_to = costs.limits.max_single_put if costs.by_service else -1
        self._singles = self._copied = 0
        self._sum: Counter[str] = Counter()

    def add(self, size: int, etag: str | None) -> None:
        """Add one object to copy."""
        if size <= self._relayed_up_to and (not etag or "-" not in etag):
            self._singles += 1
        elif size <= self._copied_up_to and (not etag or "-" not in etag):
            self._copied += 1
        else:
            self._sum.update(self._costs.of(size, etag))

    def requests(self) -> dict[str, int]:
        """Return the requests of all, by side and name."""
        single = {"source.GetObject": self._singles, "target.PutObject": self._singles}
        copied = {"source.HeadObject": self._copied, "target.CopyObject": self._copied}
        total = self._sum + Counter(single) + Counter(copied)
        return dict(sorted(total.items()))


def caveat(requests: Mapping[str, int]) -> str:
    """Return what has to be said beside an estimate; nothing if a service is to copy nothing."""
    if not {"target.CopyObject", "target.UploadPartCopy"} & requests.keys():
        return ""
    return (
        "; where the service does not copy, GetObject with PutObject or UploadPart in place of "
        "CopyObject and UploadPartCopy"
    )
