"""Small objects of a bucket of S3: many calls under way in one thread (``storage.express``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from airflow_provider_s3resume.exceptions import StoreError, TransientStoreError
from airflow_provider_s3resume.storage._exchange import Exchange
from airflow_provider_s3resume.storage._s3_direct import Direct, MovedError, is_error
from airflow_provider_s3resume.storage._s3_errors import translated
from airflow_provider_s3resume.storage._s3_headers import (
    identity_parameters,
    object_info,
    raw_headers,
    written,
)
from airflow_provider_s3resume.storage._s3_reader import check_answer, check_identity
from airflow_provider_s3resume.storage.express import Requests

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.digests import Checksum
    from airflow_provider_s3resume.plan.objects import ObjectInfo, SourceIdentity
    from airflow_provider_s3resume.storage._exchange import Line as ExchangeLine
    from airflow_provider_s3resume.storage._heads import Head
    from airflow_provider_s3resume.storage._s3_common import Common
    from airflow_provider_s3resume.storage.base import Condition, NewUpload, Written
    from airflow_provider_s3resume.storage.express import Line

log = logging.getLogger(__name__)

_SUCCESS: Final = range(200, 300)
_GET, _PUT = "GetObject", "PutObject"
_TOGETHER: Final = 8 * 1024
"""Bodies up to this are sent in one piece with the head, and encrypted as one: that costs less than
a copy of so many bytes."""
Parameters = dict[str, Any]
PutParameters = Callable[
    [str, "NewUpload", "Checksum | None", "Condition | None", "str | None"], Parameters
]
"""Makes the parameters of a PutObject of key, upload, checksum, condition and Content-MD5."""


class S3Express:
    """Calls of one bucket, made once each.

    :param subject: names an object in messages.
    :param common: the parameters that all calls have.
    :param put_parameters: makes those of a PutObject.
    """

    def __init__(
        self,
        direct: Direct,
        subject: Callable[[str], str],
        common: Common,
        put_parameters: PutParameters,
    ) -> None:
        self._direct = direct
        self._subject = subject
        self._common = common
        self._put_parameters = put_parameters

    @property
    def can_fork(self) -> bool:
        """Tell that it can: a forked process makes connections of its own."""
        return True

    def after_fork(self) -> None:
        """Leave the connections to the parent process."""
        self._direct.after_fork()

    def made(self) -> Requests:
        """Return nothing: a layer counts."""
        return Requests()

    def add_made(self, requests: Requests) -> None:
        """Count nothing, as above."""

    def is_open(self) -> bool:
        """Tell whether calls may be begun: as long as they are not botocore's own."""
        try:
            return self._direct.serves(_GET) and self._direct.serves(_PUT)
        except Exception as error:  # noqa: BLE001 - what is none of the store's is raised as it is
            # Whoever makes the call in the ordinary way tells, and tries again.
            told = self._translate(_GET, "", error)
            log.info("Small objects go the ordinary way: %s", told)
            return False

    def open_line(self, *, writes: bool) -> ExchangeLine:
        """Connect.

        :raises StoreError: if that fails.
        """
        operation = _PUT if writes else _GET
        with translated(operation, self._subject("")):
            try:
                return self._direct.line(operation)
            except MovedError as error:
                detail = "the bucket is elsewhere, or only botocore can call it"
                raise TransientStoreError(operation, self._subject(""), detail) from error

    def get(
        self, line: Line, key: str, identity: SourceIdentity, sink: memoryview
    ) -> Exchange[ObjectInfo]:
        """Begin to read an object whole."""
        parameters = {**identity_parameters(identity), **self._common.of(_GET)}
        finish = partial(self._read, key, identity)
        return self._begin(line, _GET, key, parameters, {}, None, sink, finish)

    def put(
        self,
        line: Line,
        key: str,
        body: memoryview,
        *,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None,
        content_md5: str | None,
    ) -> Exchange[Written]:
        """Begin to write an object."""
        parameters = self._put_parameters(key, upload, checksum, condition, content_md5)
        given = {**parameters, **self._common.of(_PUT)}
        sent = {name.lower(): text for name, text in raw_headers(upload).items()}
        sent["content-length"] = str(len(body))
        return self._begin(line, _PUT, key, given, sent, body, None, partial(self._written, key))

    def _begin(
        self,
        line: Line,
        operation: str,
        key: str,
        parameters: Parameters,
        headers: dict[str, str],
        body: memoryview | None,
        sink: memoryview | None,
        finish: Callable[[Head, bytes], Any],
    ) -> Exchange[Any]:
        problem: BaseException | None = None
        try:
            place, head = self._direct.request(operation, key, parameters, headers)
        except Exception as error:  # noqa: BLE001 - what is none of the store's is raised as it is
            problem = self._not_begun(operation, key, error)
        if problem is not None:
            # Not where the other is being handled: that one may hold what is secret.
            raise problem
        if place is not line.place:
            raise TransientStoreError(operation, self._subject(key), "the line leads elsewhere")
        if body is not None and len(body) <= _TOGETHER:
            pieces = [memoryview(b"".join((head, body)))]
        else:
            pieces = [memoryview(head)] if body is None else [memoryview(head), body]
        return Exchange(
            cast("ExchangeLine", line),
            "GET" if body is None else "PUT",
            pieces,
            sink=sink,
            finish=finish,
            translate=partial(self._translate, operation, key),
        )

    def _not_begun(self, operation: str, key: str, error: Exception) -> BaseException:
        if isinstance(error, MovedError):
            told = TransientStoreError(operation, self._subject(key), "the bucket is elsewhere")
            told.__cause__ = error
            return told
        return self._translate(operation, key, error)

    def _translate(self, operation: str, key: str, error: BaseException) -> BaseException:
        return _translate(operation, self._subject(key), error)

    def _read(self, key: str, identity: SourceIdentity, head: Head, refusal: bytes) -> ObjectInfo:
        subject = self._subject(key)
        if head.status not in _SUCCESS:
            self._refuse(_GET, subject, head, refusal)
        answer = self._direct.answer(_GET, head)
        info = object_info(key, answer, identity.size)
        check_identity(info, identity, subject)
        check_answer(answer, None, identity.size, subject)
        return info

    def _written(self, key: str, head: Head, refusal: bytes) -> Written:
        if head.status not in _SUCCESS:
            self._refuse(_PUT, self._subject(key), head, refusal)
        if refusal and is_error(refusal):
            self._refuse(_PUT, self._subject(key), replace(head, status=500), refusal)
        answer = self._direct.answer(_PUT, head)
        self._common.check_written(answer, _PUT, self._subject(key))
        return written(answer)

    def _refuse(self, operation: str, subject: str, head: Head, refusal: bytes) -> None:
        """Raise what is wrong with an answer that is no success.

        :raises StoreError: as its body says, or its status where there is no body.
        """
        with translated(operation, subject):
            try:
                self._direct.refuse(operation, head, refusal)
            except MovedError as error:
                detail = f"HTTP {head.status}: the bucket is elsewhere"
                raise TransientStoreError(operation, subject, detail) from error


def _translate(operation: str, subject: str, error: BaseException) -> BaseException:
    try:
        with translated(operation, subject):
            raise error
    except StoreError as told:
        return told
