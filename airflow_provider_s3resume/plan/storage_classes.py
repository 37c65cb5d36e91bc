"""Which storage class a copy gets where that depends on the class of its source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airflow_provider_s3resume.exceptions import InvalidInputError

SOURCE: Final = "source"
"""What is asked for in place of a class to have the source's own, mapped."""
ANY: Final = "*"
"""In a mapping: all classes that it does not name."""
_STANDARD: Final = "STANDARD"
S3_CLASSES: Final = (
    _STANDARD,
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "REDUCED_REDUNDANCY",
)
"""What PutObject of an ordinary bucket takes ("PutObject" in the Amazon S3 API reference)."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
DEFAULT_CLASSES: Final[Mapping[str, str]] = {
    **{name: name for name in S3_CLASSES},
    # Classes of directory buckets, Outposts, Snow devices and file systems: no other bucket has
    # them.
    **dict.fromkeys(("EXPRESS_ONEZONE", "OUTPOSTS", "SNOW", "FSX_OPENZFS", "FSX_ONTAP"), _STANDARD),
    # Alibaba Cloud OSS ("Storage classes"), by how long a read has to wait: nothing, or a minute;
    # hours; up to two days.
    "Standard": _STANDARD,
    "IA": "STANDARD_IA",
    "Archive": "GLACIER_IR",
    "ColdArchive": "GLACIER",
    "DeepColdArchive": "DEEP_ARCHIVE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMapping:
    """From the class of a source object to that of its copy.

    :param classes: by name; :data:`ANY` stands for all others.
    """

    classes: Mapping[str, str]

    @classmethod
    def of(cls, given: object, *, parameter: str = "storage_class_map") -> ClassMapping:
        """Return the default mapping with a user's on top of it.

        :raises InvalidInputError: if that is no object of class names.
        """
        pairs = {} if given is None else given
        if not isinstance(pairs, Mapping) or not all(
            (name == ANY or is_class(name)) and is_class(value) for name, value in pairs.items()
        ):
            accepted = (
                'an object of classes of the source and of the target, such as {"Archive": '
                f'"GLACIER", "{ANY}": "STANDARD"}}'
            )
            raise InvalidInputError(parameter, found=given, accepted=accepted)
        return cls(classes={**DEFAULT_CLASSES, **pairs})

    def target_class(self, found: str | None, *, uri: str) -> str:
        """Return the class of a copy.

        :param found: the source's; services leave the standard class out.
        :param uri: of the source object, for the error.
        :raises InvalidInputError: if the mapping has nothing for it.
        """
        name = found or _STANDARD
        mapped = self.classes.get(name, self.classes.get(ANY))
        if mapped is None:
            raise InvalidInputError(
                "storage_class_map",
                found=f"no class for {name!r}, which {uri} has",
                accepted=f"a mapping that names {name!r}, or {ANY!r} for all others",
            )
        return mapped


def is_class(name: object) -> bool:
    """Tell whether a value may be the name of a class: services have more than Amazon S3."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
