"""What is wrong where a service refuses a read for the sake of a customer-provided key.

It answers 400 (403 to another key), in words that name no field that a person could change.
Sources: "Using server-side encryption with customer-provided keys (SSE-C)", and what services were
seen to answer.
"""

from __future__ import annotations

from typing import Final

from airflow_provider_s3resume.storage._customer_key import FIELD

_READS: Final = frozenset({"GetObject", "HeadObject"})
_ABOUT_KEYS: Final = ("server side encryption", "encryption parameters")
_PLACE: Final = "another prefix, or another state_uri if it is a record of ours"
_KEY_IS_OTHER: Final = (
    f"expected an object encrypted with the {FIELD} of its connection, found one that is encrypted "
    f"in another way or not at all. Take {FIELD} out of the connection, write the object anew with "
    f"it, or name a place where all objects have it: {_PLACE}"
)
_KEY_IS_MISSING: Final = (
    "expected an object that is read without a customer-provided key, found one that is encrypted "
    f"with one. Put it into the connection as {FIELD}, or name another place: {_PLACE}"
)


def key_advice(operation: str, message: str, *, keyed: bool) -> str:
    """Return what was expected and found, and the way out, if a refusal is about a key.

    :param keyed: the request had a customer-provided key.
    :returns: nothing if it is about something else.
    """
    told = message.lower()
    # A refused HEAD has no words: the GET that looks for them has.
    if operation not in _READS or not any(words in told for words in _ABOUT_KEYS):
        return ""
    return f"; {_KEY_IS_OTHER if keyed else _KEY_IS_MISSING}"
