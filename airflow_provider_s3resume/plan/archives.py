"""Which objects have to be restored before they can be read.

Sources: "Amazon S3 storage classes" (GLACIER_IR is read at once), HeadObject (``x-amz-restore``,
``x-amz-archive-status``); Alibaba Cloud OSS, "Storage classes" and HeadObject (``x-oss-restore``).
"""

from __future__ import annotations

import enum
import re
from typing import Final

from airflow_provider_s3resume.exceptions import InvalidInputError

ARCHIVE_CLASSES: Final = frozenset(
    {"GLACIER", "DEEP_ARCHIVE", "Archive", "ColdArchive", "DeepColdArchive"}
)
"""Classes whose objects are read from a restored copy only."""
TIERED_CLASSES: Final = frozenset({"INTELLIGENT_TIERING"})
"""Classes of which some objects are archived, which no listing tells."""
MAY_BE_ARCHIVED: Final = ARCHIVE_CLASSES | TIERED_CLASSES

_RESTORED: Final = re.compile(r'ongoing-request="false"', re.IGNORECASE)


class OnArchived(enum.Enum):
    """What is done about source objects that would have to be restored first.

    ``REPORT`` copies all others and names these; ``FAIL`` refuses the plan; ``TRY`` takes them for
    objects like any other, where a bucket lets its archived objects be read at once (OSS).
    """

    REPORT = "report"
    FAIL = "fail"
    TRY = "try"

    @classmethod
    def parse(cls, text: object) -> OnArchived:
        """Read a word.

        :raises InvalidInputError: for anything else.
        """
        for one in cls:
            if one.value == text:
                return one
        accepted = ", ".join(repr(one.value) for one in cls)
        raise InvalidInputError("archived", found=text, accepted=accepted)


def has_restored_copy(restore: str | None) -> bool:
    """Tell what the header of a restore says: whether there is a copy that can be read now."""
    return restore is not None and _RESTORED.search(restore) is not None


def is_archived(storage_class: str | None, restore: str | None, archive_status: str | None) -> bool:
    """Tell from an object's headers whether it has to be restored first.

    :param restore: of a restore that was asked for.
    :param archive_status: the archive tier that an object of a tiered class is in.
    """
    if storage_class in ARCHIVE_CLASSES:
        return not has_restored_copy(restore)
    return storage_class in TIERED_CLASSES and bool(archive_status)
