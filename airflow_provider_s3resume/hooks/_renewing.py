"""A store whose client is made again, from its connection, when its credentials have expired."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from airflow_provider_s3resume.exceptions import (
    CredentialsExpiredError,
    InvalidInputError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import ALL_KEYS, KeyRange, ListedObject
from airflow_provider_s3resume.storage.base import ObjectStore, uri_of
from airflow_provider_s3resume.storage.layers import Layer, StoreCall

log = logging.getLogger(__name__)
T = TypeVar("T")

BETWEEN_S: Final = 1.0
"""A client is not made twice within less: what was made just now would be refused, too."""

_ONE_AT_A_TIME: Final = threading.Lock()
"""Of all stores of the process. A task asks its supervisor for connections over one socket, and the
SDKs of Airflow 3.0 and 3.1 let two threads take each other's answers from it (those since 3.2 lock
it themselves). While objects are copied, the main thread only waits, and asks nothing."""


class RenewableStore(Layer):
    """A store whose client can be made again, when its credentials have expired.

    Roles, profiles and the machine's own credentials refresh themselves in the SDKs. This is for
    keys and tokens that stand in the connection, where somebody renews them, and for credentials
    that the service takes for expired before the SDK does.

    However many threads are refused at once, one of them makes the new client.

    :param make: reads the connection and returns a store on it.
    :param clock: seconds that only grow.
    """

    def __init__(
        self, make: Callable[[], ObjectStore], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make = make
        self._clock = clock
        self._refused = threading.local()
        self._made = 0
        self._tried_at = -math.inf
        super().__init__(make())

    def around(self, call: StoreCall, act: Callable[[], T]) -> T:  # noqa: ARG002 - a layer's shape
        """Make a call; remember of which client a refusal was."""
        number = self._made
        try:
            return act()
        except CredentialsExpiredError:
            self._refused.number = number
            raise

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects; a refusal may come with every page."""
        number = self._made
        try:
            yield from self.inner.list_objects(prefix, key_range)
        except CredentialsExpiredError:
            self._refused.number = number
            raise

    def renew(self) -> None:
        """Go on with a new client, if the one that refused this thread is still the newest.

        What is being read goes on with the old one. If the last try is less than a second old,
        nothing happens: what it brought is what there is to be had.

        :raises TransientStoreError: if the connection cannot be used any more; another attempt of
            the task reads it anew, and says why.
        :raises StoreError: as whoever gives the credentials says.
        """
        refused = getattr(self._refused, "number", self._made)
        with _ONE_AT_A_TIME:
            if refused != self._made or self._clock() - self._tried_at < BETWEEN_S:
                return
            try:
                self.inner = self._make()
                self._made += 1
                log.info("%s: goes on with new credentials", uri_of(self))
            except InvalidInputError as error:
                # It may be gone for a moment only: a secrets backend that does not answer.
                detail = f"the connection cannot be used any more: {error}"
                raise TransientStoreError("RenewCredentials", uri_of(self), detail) from error
            finally:
                self._tried_at = self._clock()
