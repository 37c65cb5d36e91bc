"""What unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.oss_world import OSSWorld


@pytest.fixture
def oss() -> Iterator[OSSWorld]:
    """Give an OSS server of its own, in threads of this process, with one bucket."""
    # The SDK takes a while to import, and most tests need no server.
    from tests.support.oss_server import OSSServer  # noqa: PLC0415
    from tests.support.oss_world import OSSWorld  # noqa: PLC0415

    with OSSServer() as server:
        yield OSSWorld(server)
