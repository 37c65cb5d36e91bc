"""Whether an object that a HEAD does not find is listed all the same.

HEAD has no body: a bucket that vanished, a gateway's own 404 and a deleted object look alike, so
what is taken for gone is looked for in a listing, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.plan.objects import KeyRange

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.objects import ListedObject
    from airflow_provider_s3resume.storage.base import ObjectStore

LISTED_ALL_THE_SAME: Final = "HEAD does not find it, the listing does"


def listed_exactly(store: ObjectStore, key: str) -> ListedObject | None:
    """Return what a listing of just this key has, ``None`` if it is not there.

    :raises StoreError: if the bucket cannot be listed: then nothing is known.
    """
    just_this = KeyRange(start=key, stop=key + "\0")
    return next((one for one in store.list_objects(key, just_this) if one.key == key), None)
