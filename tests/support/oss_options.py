"""What the headers of a writing request set on the object: class, ACL, and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_plus

from tests.support.oss_messages import OSSError, invalid_argument
from tests.support.oss_model import CLASSES, Bucket, StoredObject

OBJECT_ACLS = ("default", "private", "public-read", "public-read-write")
_TAG_TEXT = re.compile(r"[\w +\-=.:/]*")
_MOST_TAGS = 10
_LONGEST_TAG_KEY = 128
_LONGEST_TAG_VALUE = 256


def apply_options(bucket: Bucket, made: StoredObject, headers: Mapping[str, str]) -> None:
    """Set on a new object what the headers (names in lower case) ask for."""
    made.storage_class = headers.get("x-oss-storage-class", bucket.storage_class)
    if made.storage_class not in CLASSES:
        raise invalid_argument(
            "The storage class is invalid.", "x-oss-storage-class", made.storage_class
        )
    made.acl = checked_acl(headers.get("x-oss-object-acl", "default"))
    made.tags = tags_of_header(headers.get("x-oss-tagging", ""))


def checked_acl(acl: str) -> str:
    """Return the ACL of an object; InvalidArgument if there is none of that name."""
    if acl not in OBJECT_ACLS:
        raise invalid_argument("no such object access control exists", "x-oss-object-acl", acl)
    return acl


def tags_of_header(text: str) -> dict[str, str]:
    """Return the tags of an ``x-oss-tagging`` header."""
    if not text:
        return {}
    pairs = [item.partition("=") for item in text.split("&")]
    return checked_tags([(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs])


def header_of_tags(tags: Mapping[str, str]) -> str:
    """Return tags as an ``x-oss-tagging`` header has them."""
    return "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in tags.items()
    )


def checked_tags(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return tags by their keys; InvalidTag if OSS would not take them."""
    if len(pairs) > _MOST_TAGS or len(dict(pairs)) != len(pairs):
        raise _invalid_tag("more than ten tags, or the same key twice")
    for name, value in pairs:
        if not 1 <= len(name) <= _LONGEST_TAG_KEY or len(value) > _LONGEST_TAG_VALUE:
            raise _invalid_tag("a tag's key or value is of a wrong length")
        if not _TAG_TEXT.fullmatch(name + value):
            raise _invalid_tag("a tag has a character that tags cannot have")
    return dict(pairs)


def _invalid_tag(words: str) -> OSSError:
    return OSSError(400, "InvalidTag", f"The tags are invalid: {words}.")
