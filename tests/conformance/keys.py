"""Keys that services, SDKs and shells are known to trip over; they must arrive unchanged (c04)."""

from __future__ import annotations

from airflow_provider_s3resume.storage.base import ObjectStore

ODD_KEYS = (
    "a//b",
    "/a",
    "//a",
    "a/",
    "a//",
    "/",
    "./a",
    "../a",
    "a/./b",
    "a/../b",
    "a/.",
    "a/..",
    ".",
    "..",
    "...",
    "a+b",
    "a b",
    " a",
    "a ",
    "a%2Fb",
    "a%20b",
    "%",
    "a%",
    "a?b",
    "a#b",
    "a&b=c",
    "a'b",
    'a"b',
    "a<b>c",
    "a\\b",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x01b",
    "a\x7fb",
    "a:b;c,d",
    "a|b*c",
    "a{b}[c]^`~",
    "a@b$c!(d)",
    "caf\u00e9",
    "cafe\u0301",
    "\u65e5\u672c/\u8a9e",
    "\U0001f600",
    "k" * 255 + "/" + "\u00e9" * 120 + "/" + "x" * 255 + "/" + "y" * 255 + "/" + "z" * 15,
)
"""44 keys; the last has 1,024 UTF-8 bytes, in segments that a file tree can hold too."""

PREFIXES_OF_OTHERS = ("p", "p/q", "p-q", "p q", "p.", "p0", "pq", "p\uffee", "p\U00010000")
"""Keys that begin others, and whose order differs by bytes, by UTF-16 and by path segments."""


def prefixes_of_others(store: ObjectStore) -> tuple[str, ...]:
    """Return those keys, without the one that in a tree of files would be a directory, too."""
    tree = store.capabilities.file_tree is not None
    return tuple(key for key in PREFIXES_OF_OTHERS if not tree or key != "p")


def is_kept_by_file_trees(key: str) -> bool:
    """Tell whether a service that folds keys keeps this one, and its bytes, as it is."""
    # SeaweedFS takes a backslash for a slash, and drops the bytes of a key that ends in one.
    segments = key.replace("\\", "/").split("/")
    return "\\" not in key and not {"", ".", ".."} & set(segments)
