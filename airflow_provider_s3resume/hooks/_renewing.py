"""A store whose client is made again, from its connection, when its credentials have expired."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

from airflow_provider_s3resume.exceptions import (
    CredentialsExpiredError,
    InvalidInputError,
    S3ResumeError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import ALL_KEYS, KeyRange, ListedObject
from airflow_provider_s3resume.storage.base import ObjectStore, uri_of
from airflow_provider_s3resume.storage.express import Express, express_of
from airflow_provider_s3resume.storage.layers import Layer, StoreCall

log = logging.getLogger(__name__)
T = TypeVar("T")

BETWEEN_S: Final = 1.0
"""A client is not made twice within less: what was made just now would be refused, too."""

NOT_AGAIN_S: Final = 0.2
"""A client is not asked for within so long after that failed: all threads that were refused with
the one that asked would ask, one after the other. Far less than ``Retrying`` waits in all between
the tries of a call: what failed once only is made by one of the next of them."""

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
        self._process = os.getpid()
        self._refused = threading.local()
        self._made = 0
        self._made_at = self._failed_at = -math.inf
        self._failure: Callable[[], StoreError] | None = None
        super().__init__(make())

    @property
    def express(self) -> Express | None:
        """The newest client's; what it refuses is asked for again by a method of this store."""
        return express_of(self.inner)

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

        What is being read goes on with the old one. If the newest is less than a second old,
        nothing happens: what it has is what there is to be had. What failed a moment ago, be it
        while this thread waited for its turn, is not tried again: it failed for this thread, too.

        :raises CredentialsExpiredError: in a forked process.
        :raises TransientStoreError: if the connection cannot be used any more, or something else
            fails that is not known here; another attempt of the task reads it anew, and says why.
        :raises StoreError: as whoever gives the credentials says.
        """
        if os.getpid() != self._process:
            # A forked one has no supervisor to ask: it would take the answers of the task's.
            detail = "only the task's own process reads connections"
            raise CredentialsExpiredError("RenewCredentials", uri_of(self), detail)
        refused = getattr(self._refused, "number", self._made)
        with _ONE_AT_A_TIME:
            if refused != self._made or self._clock() - self._made_at < BETWEEN_S:
                return
            if self._failure and self._clock() - self._failed_at < NOT_AGAIN_S:
                raise self._failure()
            try:
                self._go_on()
            except StoreError as error:
                # Only its words: an error that is kept keeps what its frames hold.
                words = error.operation, error.subject, error.detail
                self._failure = partial(type(error), *words)
                self._failed_at = self._clock()
                raise

    def _go_on(self) -> None:
        try:
            self.inner = self._make()
        except InvalidInputError as error:
            # It may be gone for a moment only: a secrets backend that does not answer.
            detail = f"the connection cannot be used any more: {error}"
            raise TransientStoreError("RenewCredentials", uri_of(self), detail) from error
        except S3ResumeError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever makes a session raises what it likes
            failure = _unexpected(error, uri_of(self))
        else:
            self._made += 1
            self._made_at = self._clock()
            log.info("%s: goes on with new credentials", uri_of(self))
            return
        # Not where the other is being handled: it would be told along with this one.
        raise failure


def _unexpected(error: Exception, subject: str) -> TransientStoreError:
    """Return an error of ours for one whose text may hold anything, a secret included."""
    place = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: unexpected %s at\n%s", subject, type(error).__name__, place)
    detail = f"unexpected {type(error).__name__}; the task's log says where"
    return TransientStoreError("RenewCredentials", subject, detail)
