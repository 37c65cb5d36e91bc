"""What unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.oss_world import OSSWorld
    from tests.support.tls import Certificate
    from tests.support.wire_direct import Servers


@pytest.fixture
def oss() -> Iterator[OSSWorld]:
    """Give an OSS server of its own, in threads of this process, with one bucket."""
    # The SDK takes a while to import, and most tests need no server.
    from tests.support.oss_server import OSSServer  # noqa: PLC0415
    from tests.support.oss_world import OSSWorld  # noqa: PLC0415

    with OSSServer() as server:
        yield OSSWorld(server)


@pytest.fixture(scope="session")
def certificate_of_servers(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give what scripted servers show that speak TLS."""
    from tests.support.tls import make_certificate  # noqa: PLC0415

    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def servers(certificate_of_servers: Certificate) -> Iterator[Servers]:
    """Give what makes scripted servers, and connections to them; all end with the test."""
    from tests.support.wire_direct import Servers  # noqa: PLC0415

    made = Servers(certificate_of_servers)
    yield made
    made.close()
