"""Heads of requests, at the cost of what differs between one request and the next.

Requests of one operation have the same headers in the same order, signed in the same order; only
some values are others. So all that the names decide is put together once for the requests that have
the same names. What comes out is what ``_sigv4.Signer.sign`` and ``_heads.request_head`` make, to
the same letter: the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

from airflow_provider_s3resume.storage import _heads
from airflow_provider_s3resume.storage._sigv4 import Signer, is_signed, trimmed

_MOST: Final = 64
"""Forms kept: names of metadata may be others for each object."""
_TOKEN: Final = "x-amz-security-token"  # noqa: S105 - a header's name
_AUTHORIZATION: Final = "authorization"
_TARGET: Final = ""


class Forms:
    """The forms of an operation's requests.

    :param path: up to the key.
    :param headers: that all requests have, by lower-case name.
    :param signer: ``None`` for requests that are not signed.
    """

    def __init__(
        self, method: str, path: str, headers: Mapping[str, str], signer: Signer | None
    ) -> None:
        self._method = method
        self._path = path
        self._headers = headers
        self._signer = signer
        self._forms: dict[tuple[str, ...], _Form] = {}

    def head(
        self,
        key: str,
        query: str,
        given: Mapping[str, str],
        payload: str,
        credentials: Any,  # noqa: ANN401 - botocore's frozen credentials
    ) -> bytes:
        """Return the head of a request.

        :param key: percent-encoded.
        :param given: further headers, by lower-case name.
        :param payload: how its body is signed.
        :raises ValueError: if a header would be more than one, or cannot be sent; the text does not
            hold it.
        """
        path = self._path + key
        values = {**given}
        signer = self._signer
        moment = ""
        if signer is not None:
            moment = signer.now()
            values["x-amz-content-sha256"] = payload
            values["x-amz-date"] = moment
            if credentials.token:
                values[_TOKEN] = credentials.token
        names = tuple(values)
        form = self._forms.get(names) or self._made(names)
        if signer is not None:
            request = form.canonical(self._method, path, query, values, payload)
            values[_AUTHORIZATION] = signer.authorization(request, form.signed, moment, credentials)
        values[_TARGET] = f"{path}?{query}" if query else path
        return form.head(values)

    def _made(self, names: tuple[str, ...]) -> _Form:
        if len(self._forms) >= _MOST:
            self._forms.clear()
        form = self._forms[names] = _Form(self._method, self._headers, names, self._signer)
        return form


class _Form:
    """What requests with the same names of headers have in common.

    :param names: of the headers whose values are given each time.
    """

    def __init__(
        self, method: str, headers: Mapping[str, str], names: tuple[str, ...], signer: Signer | None
    ) -> None:
        # In this order, and one for the other, as dictionaries that are merged.
        wholly = {**headers, **dict.fromkeys(names)}
        signed = sorted(name for name in wholly if is_signed(name))
        self.signed = ";".join(signed)
        self._canonical = "\n".join(
            [f"{_escaped(name)}:{_slot(wholly[name], trimmed)}" for name in signed]
        )
        self._signed_values = _values([name for name in signed if wholly[name] is None])
        wholly |= {_AUTHORIZATION: None} if signer is not None else {}
        # As http.client does: else any coding would be welcome. Proxies change it, so it is not
        # signed.
        wholly["accept-encoding"] = "identity"
        _heads.check_lines([method, *wholly, *(value or "" for value in wholly.values())])
        lines = [f"{_escaped(name)}: {_slot(value)}" for name, value in wholly.items()]
        self._head = "\r\n".join([f"{_escaped(method)} %s HTTP/1.1", *lines, "", ""])
        self._sent_values = _values([_TARGET, *(n for n, value in wholly.items() if value is None)])

    def canonical(
        self, method: str, path: str, query: str, values: Mapping[str, str], payload: str
    ) -> str:
        """Return a request in its canonical form."""
        found = self._signed_values(values)
        joined = "".join(found)
        if " " in joined or "\t" in joined:
            found = tuple(map(trimmed, found))
        lines = self._canonical % found
        return f"{method}\n{path}\n{query}\n{lines}\n\n{self.signed}\n{payload}"

    def head(self, values: Mapping[str, str]) -> bytes:
        """Return the head of a request.

        :raises ValueError: if a value has a line break, or cannot be sent; the text does not hold
            it.
        """
        found = self._sent_values(values)
        _heads.check_lines(found)
        return _heads.encoded(self._head % found)


def _slot(value: str | None, shape: Callable[[str], str] = str) -> str:
    """Return what stands for a value in a text that values are put into."""
    return "%s" if value is None else _escaped(shape(value))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _values(names: list[str]) -> Callable[[Mapping[str, str]], tuple[str, ...]]:
    """Return what picks these names' values, in order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple([values[name] for name in names])
