"""How a copy is done; every value is checked when the configuration is made."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.parts import DEFAULT_PART_SIZE, GIB, MIB
from airflow_provider_s3resume.plan.storage_classes import ClassMapping
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.transfer.options import check_options

MIN_MEMORY_BUDGET = 16 * MIB
MIN_BYTES_PER_S = 64 * 1024
"""Below it services take a connection for dead before its next bytes come."""


class OnSourceChange(enum.Enum):
    """What to do about a source object that is not the planned one any more.

    ``START_OVER`` copies the object as it is now, once, and the report says so; ``FAIL`` fails it.
    """

    START_OVER = "start_over"
    FAIL = "fail"


class OnUnsupportedAttribute(enum.Enum):
    """What to do about metadata, tags and the like that the target does not hold (c19).

    ``REPORT`` names them in the report; ``FAIL`` fails the object, before it is written where that
    is known before. What a service refuses with an error is an error in either case.
    """

    REPORT = "report"
    FAIL = "fail"


class ServerSideCopy(enum.Enum):
    """Who moves the bytes where both sides are one service.

    ``AUTO``: the service, if the target's credentials read the source, and it copies; else they are
    relayed, and the report says why. Small objects are relayed where many of them go at once.
    ``NEVER``: all are relayed. ``REQUIRE``: the service, or the copy fails.
    """

    AUTO = "auto"
    NEVER = "never"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyConfig:
    """Sizes in bytes, times in seconds.

    :param part_size: of objects whose source layout is not reproduced.
    :param multipart_threshold: objects of up to this size are written in one request.
    :param memory_budget: bytes of object data held at once, over all objects and parts of a task.
    :param part_concurrency: parts that are under way at once; ``None`` for as many as bring more.
    :param object_concurrency: the same of objects.
    :param reproduce_layout: cut as the source was cut, so that the ETags can be compared.
    :param max_bytes_per_s: bytes of bodies a second that a task reads from its stores together, and
        as many that it sends to them; ``None`` for no limit. Whoever opens the stores applies it.
    :param max_requests_per_s: requests a second that a task makes to each of its stores.
    :param max_manifest_age_s: an older plan is refused.
    :param storage_classes: gives each object a class by that of its source; ``None`` for that of
        ``options``.
    """

    part_size: int = DEFAULT_PART_SIZE
    multipart_threshold: int = DEFAULT_PART_SIZE
    memory_budget: int = 128 * MIB
    part_concurrency: int | None = None
    object_concurrency: int | None = None
    max_bytes_per_s: int | None = None
    max_requests_per_s: int | None = None
    reproduce_layout: bool = True
    carry_metadata: bool = True
    carry_tags: bool = True
    on_source_change: OnSourceChange = OnSourceChange.START_OVER
    server_side_copy: ServerSideCopy = ServerSideCopy.AUTO
    max_manifest_age_s: float = 7 * 24 * 3600.0
    options: WriteOptions = field(default_factory=WriteOptions)
    storage_classes: ClassMapping | None = None
    on_unsupported_attribute: OnUnsupportedAttribute = OnUnsupportedAttribute.REPORT

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        :raises InvalidInputError: naming the parameter, what was found and what is accepted.
        """
        _whole("part_size", self.part_size, 1, 5 * GIB)
        _whole("multipart_threshold", self.multipart_threshold, 1, 5 * GIB)
        _whole("memory_budget", self.memory_budget, MIN_MEMORY_BUDGET, 1024 * GIB)
        for name in ("part_concurrency", "object_concurrency"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1, 256)
        if self.max_bytes_per_s is not None:
            _whole("max_bytes_per_s", self.max_bytes_per_s, MIN_BYTES_PER_S, 1024 * GIB)
        if self.max_requests_per_s is not None:
            _whole("max_requests_per_s", self.max_requests_per_s, 1, 1_000_000)
        if not self.max_manifest_age_s > 0:
            raise InvalidInputError(
                "max_manifest_age_s", found=self.max_manifest_age_s, accepted="more than 0 seconds"
            )
        check_options(self.options)


def _whole(name: str, value: Any, least: int, most: int) -> None:  # noqa: ANN401 - user input
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        accepted = f"a whole number from {least} to {most}"
        raise InvalidInputError(name, found=value, accepted=accepted)
