"""What a server's certificate is verified with, made as urllib3 makes it."""

from __future__ import annotations

import ssl
from pathlib import Path

from urllib3.util.ssl_ import create_urllib3_context


def tls_context(
    authorities: str | None, own: tuple[str, str | None] | None = None
) -> ssl.SSLContext:
    """Return a context for connections to servers.

    :param authorities: a file or folder of certificates; ``None`` to verify nothing.
    :param own: files of a certificate of the client's own and of its key.
    """
    context: ssl.SSLContext = create_urllib3_context()
    if authorities is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        if Path(authorities).is_dir():
            context.load_verify_locations(capath=authorities)
        else:
            context.load_verify_locations(cafile=authorities)
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
    if own is not None:
        context.load_cert_chain(*own)
    return context
