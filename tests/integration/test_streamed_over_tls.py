"""Parts over TLS, sent while they are read: their checksum follows them, if the target keeps it."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config

from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.s3 import S3Store, client_config, store_settings_from_extra
from airflow_provider_s3resume.transfer import parts
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.config import CopyConfig, ServerSideCopy
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.conftest import SeaweedPair
from tests.support import null_s3
from tests.support.endpoints import CLIENTS, NO_PROXIES
from tests.support.lane import POLICY, Ground, Scene
from tests.support.ministack import MinistackServer
from tests.support.ports import LOOPBACK
from tests.support.tls import Certificate, make_certificate
from tests.support.wire_rules import (
    SLOW_DOWN,
    Action,
    Exchange,
    Flip,
    Match,
    Replace,
    Reset,
    Rule,
    Truncate,
)

PART = MIB
SIZE = 2 * PART + 1000
# Three times as much has more than the 5 MiB that a SeaweedFS takes for a part.
DATA = random.Random(12).randbytes(SIZE)
KEY = "large"
LISTS_CHECKSUMS: Mapping[str, object] = {
    "checksums": "crc64nvme",
    "full_object_checksum": False,
    "part_layout": False,
    "addressing_style": "path",
    "limits": {"min_part_size": PART},
}
ONE_BY_ONE = CopyConfig(
    part_size=PART,
    multipart_threshold=PART,
    part_concurrency=1,
    # Where both buckets are of one server, too, it is the relay that is looked at.
    server_side_copy=ServerSideCopy.NEVER,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give the certificate of the wires."""
    return make_certificate(tmp_path_factory.mktemp("streamed"))


@pytest.fixture(scope="module")
def ground(ministack_server: MinistackServer, certificate: Certificate) -> Iterator[Ground]:
    """Give two buckets behind wires that speak TLS, of a service that lists parts' checksums."""
    ends = ministack_server.endpoint, ministack_server.endpoint
    with Ground.of(*ends, "streamed", known=LISTS_CHECKSUMS, certificate=certificate) as made:
        yield made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_FIRST_WAIT_S", 0.01)


@pytest.fixture
def scene(ground: Ground) -> Scene:
    """Give an object that is copied in three parts."""
    return ground.scene().put(KEY, DATA).plan()


def sent(scene: Scene) -> list[tuple[int, bool]]:
    """Return the parts that went over the wire, and whether their checksum followed them."""
    return [
        (int(exchange.query["partNumber"]), "x-amz-trailer" in exchange.headers)
        for exchange in scene.seen("target", "UploadPart", KEY)
    ]


def check(scene: Scene, parts_sent: int = 3) -> None:
    """See that the object is right, and proven."""
    scene.check_landed()
    outcome = scene.outcomes()[KEY]
    assert outcome.status is Status.COPIED
    assert outcome.proof in {Proof.CHECKSUM, Proof.PARTS}
    assert (outcome.sent_parts, outcome.bytes_moved) == (parts_sent, SIZE)


def test_the_first_part_is_looked_at_and_the_others_are_streamed(scene: Scene) -> None:
    """ListParts says that the target keeps what followed the bytes; nothing is sent twice."""
    scene.run(ONE_BY_ONE).raise_for_failures()
    assert sent(scene) == [(1, True), (2, True), (3, True)]
    asked = [e.operation for e in scene.target.wire.seen(scene.match(None, KEY))]
    assert asked == [
        "CreateMultipartUpload", "UploadPart", "ListParts", "UploadPart", "UploadPart",
        "ListParts", "CompleteMultipartUpload", "HeadObject",
    ]  # fmt: skip
    check(scene)


def test_parts_beside_the_first_one_are_held(scene: Scene) -> None:
    """While it is not known what the target keeps, one part is on trial, and no other waits."""
    first = Match(operation="UploadPart", path=KEY, query={"partNumber": "1"})
    config = CopyConfig(part_size=PART, multipart_threshold=PART, part_concurrency=3)
    worker = threading.Thread(target=lambda: scene.run(config).raise_for_failures(), daemon=True)
    with scene.target.wire.hold(first) as hold:
        worker.start()
        hold.wait()
        others = Match(operation="UploadPart", path=KEY)
        scene.target.wire.wait_for(lambda e: others(e) and e.status == 200, count=2)
        hold.release()
    worker.join(30)
    assert sorted(sent(scene)) == [(1, True), (2, False), (3, False)]
    check(scene)


def is_streamed(exchange: Exchange) -> bool:
    """Tell whether a part's checksum follows it."""
    return exchange.operation == "UploadPart" and "x-amz-trailer" in exchange.headers


BROKEN: Mapping[str, Action] = {
    "throttled": Replace(status=503, body=SLOW_DOWN),
    "reset-before": Reset(side="request"),
    "reset-behind": Reset(side="answer"),
    "cut": Truncate(PART // 2, side="request"),
    "flipped": Flip(side="request", offset=5000),
}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("how", BROKEN)
def test_c14_c41_a_streamed_part_that_broke_off_is_sent_again_held(
    scene: Scene, how: str, number: int
) -> None:
    """On trial or behind it: that part alone is sent again, from memory."""
    struck = {"partNumber": str(number)}

    def when(exchange: Exchange) -> bool:
        return is_streamed(exchange) and exchange.query["partNumber"] == struck["partNumber"]

    rule = scene.target.wire.add(Rule(when=when, action=BROKEN[how], times=1))
    scene.run(ONE_BY_ONE).raise_for_failures()
    assert rule.used == 1
    again = [(number, True), (number, False)]
    others = [(other, True) for other in (1, 2, 3) if other != number]
    assert sorted(sent(scene)) == sorted(again + others)
    check(scene)


@pytest.mark.parametrize("status", [400, 501])
def test_a_target_that_refuses_trailers_gets_held_parts(scene: Scene, status: int) -> None:
    """One part is tried; the others are not."""
    refusal = b"<Error><Code>NotImplemented</Code><Message>no trailers</Message></Error>"
    if status == 400:
        refusal = b"<Error><Code>InvalidArgument</Code><Message>what is that</Message></Error>"
    scene.target.wire.add(Rule(when=is_streamed, action=Replace(status=status, body=refusal)))
    scene.run(ONE_BY_ONE).raise_for_failures()
    assert sent(scene) == [(1, True), (1, False), (2, False), (3, False)]
    check(scene)


def test_c41_an_upload_that_is_gone_is_not_taken_for_a_lack_of_trailers(scene: Scene) -> None:
    """The copy starts over, and streams again."""
    gone = b"<Error><Code>NoSuchUpload</Code><Message>gone</Message></Error>"
    scene.target.wire.add(Rule(when=is_streamed, action=Replace(status=404, body=gone), times=1))
    scene.run(ONE_BY_ONE).raise_for_failures()
    assert sent(scene) == [(1, True), (1, True), (2, True), (3, True)]
    scene.check_landed()


def test_a_target_that_lists_no_checksums_gets_held_parts(
    seaweed_pair: SeaweedPair, certificate: Certificate
) -> None:
    """A SeaweedFS checks what follows a part, and shows nothing of it: one part is tried."""
    ends = seaweed_pair.source.endpoint, seaweed_pair.target.endpoint
    with Ground.of(*ends, "streamed-weed", certificate=certificate) as ground:
        scene = ground.scene().put(KEY, DATA * 3).plan()
        config = replace(ONE_BY_ONE, part_size=5 * MIB, multipart_threshold=5 * MIB)
        scene.run(config).raise_for_failures()
        assert sent(scene) == [(1, True), (1, False), (2, False)]
        scene.check_landed()
        assert scene.outcomes()[KEY].proof is Proof.CHECKSUM


# --- a target that does not know of trailers ----------------------------------------------------


class KeepsFrames(null_s3.Handler):
    """Keeps what a trailer's frames and its bytes are together, as if they were bytes."""

    def _pieces(self) -> Iterator[bytes]:
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0 and (data := self.rfile.read(min(left, MIB))):
            left -= len(data)
            yield data


@contextmanager
def null_server(certificate: Certificate) -> Iterator[str]:
    """Give the address of a server, in threads of this process, that keeps frames."""
    null_s3.WORLD.reset()
    server = null_s3.Server((LOOPBACK, 0), KeepsFrames)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"https://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
        null_s3.WORLD.reset()


def null_store(url: str, bucket: str, certificate: Certificate, **extra: Any) -> ObjectStore:
    """Return the store of a bucket there."""
    known: dict[str, object] = {
        "addressing_style": "path",
        "conditional_writes": False,
        "checksums": "crc32c",
        "limits": {"min_part_size": PART},
    }
    settings = store_settings_from_extra({**known, **extra})
    options: dict[str, Any] = {**client_config(settings), "proxies": NO_PROXIES}
    with CLIENTS:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="null",
            aws_secret_access_key="null",
            region_name="us-east-1",
            verify=str(certificate.ca_file),
            config=Config(**options),
        )
    return build_store(S3Store(client, bucket, service=url, settings=settings), retry=POLICY)


@pytest.mark.parametrize("md5_etags", [True, False])
def test_c18_a_target_that_keeps_frames_as_bytes_gets_held_parts(
    certificate: Certificate, *, md5_etags: bool
) -> None:
    """What is listed of the first part is not what was sent: it is sent again, and all others."""
    with null_server(certificate) as url:
        source = null_store(url, "source", certificate)
        target = null_store(url, "target", certificate, md5_etags=md5_etags)
        state = StateLocation(MemoryStore("state"))
        key = "big/3x1"
        _, manifest = pairs_manifest(source, target, state, [(key, key)], "run", now=1000.0)
        result = copy_batch(
            source,
            target,
            state,
            manifest.batches[0],
            ONE_BY_ONE,
            stop=StopSignal(),
            now=1000.0,
        )
        result.raise_for_failures()
        found = null_s3.WORLD.totals()
    # The null servers' objects are made of equal parts; an ETag says whether these are the bytes.
    assert (found["objects"], found["bytes"], found["other_etags"]) == (1, 3 * MIB, 0)
    assert found["parts"] == 4
