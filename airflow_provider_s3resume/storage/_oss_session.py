"""Makes oss2 buckets whose connections do what the store says, and nothing of their own accord.

oss2 sends its requests through sessions of ``requests``, which take credentials from ``~/.netrc``
(they would replace the signature) and proxies from the environment, follow redirects, and keep
cookies.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import oss2
import requests
from requests.adapters import HTTPAdapter

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.storage._oss_settings import OSSSettings, endpoint_url

_MOST_OF_AN_ERROR: Final = 64 * 1024
_SIGNED_WITH_REGION: Final = "v4"


class _WithoutSecrets(logging.Filter):
    """Keeps back what is below a warning: oss2 logs whole requests there, signature and token."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


_FILTER: Final = _WithoutSecrets()


def silence_sdk() -> None:
    """See to it that no logger of oss2 gives out what holds signatures or tokens (c42).

    The level spares the work, the filter holds even if a logging configuration sets levels anew.
    """
    names = [n for n in logging.root.manager.loggerDict if n == "oss2" or n.startswith("oss2.")]
    for name in ("oss2", *names):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.addFilter(_FILTER)


silence_sdk()


class _PlainResponse(oss2.http.Response):  # type: ignore[misc]  # oss2 has no types
    """An answer whose body is read as it came, never decoded."""

    def read(self, amt: int | None = None) -> Any:  # noqa: ANN401 - bytes, by urllib3 1 and 2
        """Return the whole body, or up to ``amt`` bytes of it.

        oss2 reads 4,096 bytes of an error and understands none that was cut there. A refused
        signature comes with all that was signed, which may well be longer.
        """
        most = None if amt is None else max(amt, _MOST_OF_AN_ERROR)
        return self.response.raw.read(most, decode_content=False)


class PlainSession(oss2.Session):  # type: ignore[misc]  # oss2 has no types
    """What oss2 sends its requests through: the adapter of requests, without a session around it.

    So nothing is taken from the environment, no redirect is followed and no cookie kept, and a
    request costs a third less.
    """

    def __init__(self, settings: OSSSettings) -> None:
        adapter = HTTPAdapter(pool_maxsize=settings.connections, pool_block=False)
        super().__init__(adapter=adapter)
        # Nothing is sent through oss2's own; should anything ever be, then not as it would be.
        self.session.trust_env = False
        self._adapter = adapter
        self._verify = settings.verify
        self._proxies = dict(settings.proxies or {})

    def do_request(self, req: Any, timeout: Any) -> _PlainResponse:  # noqa: ANN401 - oss2 has no types
        """Send a request and return the answer with its body unread.

        :raises oss2.exceptions.RequestError: as oss2's own session does.
        """
        request = requests.PreparedRequest()
        # oss2 says so of headers that requests would add.
        headers = {name: value for name, value in req.headers.items() if value is not None}
        try:
            request.prepare(
                method=req.method,
                url=req.url,
                headers=headers,
                data=req.data or None,
                params=req.params,
            )
            answer = self._adapter.send(
                request,
                stream=True,
                timeout=timeout,
                verify=self._verify,
                proxies=self._proxies,
            )
        except requests.RequestException as error:
            raise oss2.exceptions.RequestError(error) from error
        return _PlainResponse(answer)


def make_bucket(
    auth: Any,  # noqa: ANN401 - oss2 has no types
    endpoint: str,
    bucket_name: str,
    region: str | None,
    settings: OSSSettings,
) -> oss2.Bucket:
    """Return a bucket of oss2 with connections of its own; make it after a fork, not before.

    :param auth: one of oss2's, which may ask a provider for credentials at each request.
    :param endpoint: host, with or without scheme and port; HTTPS if nothing else is said.
    :param region: such as ``cn-hangzhou``; signatures of version 4 need it.
    :raises InvalidInputError: naming what cannot be used.
    """
    url = endpoint_url(endpoint)
    if not region and auth.auth_version() == _SIGNED_WITH_REGION:
        accepted = "the bucket's region, such as 'cn-hangzhou', for signatures of version 4"
        raise InvalidInputError("region", found=region, accepted=accepted)
    if isinstance(settings.verify, str) and not Path(settings.verify).exists():
        accepted = "the path of a file of certificates that exists"
        raise InvalidInputError("extra.verify", found=settings.verify, accepted=accepted)
    try:
        return oss2.Bucket(
            auth,
            url,
            bucket_name,
            is_cname=settings.is_cname,
            session=PlainSession(settings),
            # oss2 hands it to requests as it is, which takes both timeouts.
            connect_timeout=(settings.connect_timeout_s, settings.read_timeout_s),
            # Its CRC costs more than all else together; the engine computes its own.
            enable_crc=False,
            region=region,
            is_path_style=settings.is_path_style,
        )
    except oss2.exceptions.ClientError:
        accepted = "an endpoint's host, and 3 to 63 lower-case letters, digits and hyphens"
        raise InvalidInputError(
            "endpoint and bucket", found=f"{url} {bucket_name}", accepted=accepted
        ) from None
