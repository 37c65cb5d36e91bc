"""What the kill tests stand on: a killed server keeps what it acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import HTTPClientError

from tests.support.seaweed import SeaweedServer
from tests.support.wire import Wire
from tests.support.wire_rules import Match

PART = b"x" * (5 * 1024 * 1024)


def test_a_server_killed_between_two_parts_still_lists_the_first(
    tmp_path: Path, wire: Callable[..., Wire]
) -> None:
    """The second part is held at the wire while the server is killed and started again."""
    with SeaweedServer(tmp_path, "key", "secret") as server:
        server.client().create_bucket(Bucket="kept")
        upload = server.client().create_multipart_upload(Bucket="kept", Key="big")["UploadId"]
        between = wire(server.endpoint_url)
        client = server.endpoint.through(between.url).client(max_attempts=1)
        client.upload_part(Bucket="kept", Key="big", UploadId=upload, PartNumber=1, Body=PART)
        failures: list[HTTPClientError] = []

        def send_second() -> None:
            with pytest.raises(HTTPClientError) as caught:
                client.upload_part(
                    Bucket="kept", Key="big", UploadId=upload, PartNumber=2, Body=PART
                )
            failures.append(caught.value)

        sender = threading.Thread(target=send_second)
        with between.hold(Match(operation="UploadPart", query={"partNumber": "2"})) as hold:
            sender.start()
            hold.wait()
            server.kill()
            hold.drop()
            sender.join()
        server.start()
        parts = server.client().list_parts(Bucket="kept", Key="big", UploadId=upload)["Parts"]
    assert [part["PartNumber"] for part in parts] == [1]
    assert len(failures) == 1
