"""Stacks the layers around a store, in the one order that works.

From the inside out: ``Metered`` sees every request that is really made; ``Adaptive`` holds a place
for each while it is made, and none while something further out waits; ``RateLimited`` holds back
repeated ones too; ``SortedListing``, which reads a listing whole before it yields, lies inside
``Retrying``, so that a listing that failed half way is read again, and not resumed at a key that
means nothing to an unordered service.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.layers import (
    Adaptive,
    Budget,
    Meter,
    Metered,
    RateLimited,
    Rates,
    Retrying,
    RetryPolicy,
    SortedListing,
    Wait,
    sleep_through,
)


def build_store(
    raw: ObjectStore,
    *,
    retry: RetryPolicy | None = None,
    rates: Rates | None = None,
    budget: Budget | None = None,
    adaptive: bool = True,
    meter: Meter | None = None,
    wait: Wait = sleep_through,
    refresh: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    folder: str | None = None,
) -> ObjectStore:
    """Return ``raw`` with everything that the engine expects of a store.

    :param retry: the policy, ``None`` for the default one.
    :param rates: of this store.
    :param budget: of the task, shared by its stores.
    :param adaptive: call it more slowly while it asks for fewer requests; only measurements do
        without.
    :param meter: counts the requests, if given; stores may share one.
    :param wait: sleeps so many seconds and returns whether to stop.
    :param refresh: renews expired credentials.
    :param folder: for the temporary file of an unordered listing.
    """
    store: ObjectStore = raw
    if meter is not None:
        store = Metered(store, meter)
    if adaptive:
        store = Adaptive(store, wait=wait, clock=clock)
    if rates is not None or budget is not None:
        store = RateLimited(store, rates or Rates(), budget, wait=wait, clock=clock)
    if not store.capabilities.ordered_listing:
        store = SortedListing(store, folder=folder)
    return Retrying(store, retry, wait=wait, refresh=refresh, clock=clock)
