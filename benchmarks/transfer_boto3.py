"""The plain relay with boto3, as lean as boto3 can be, in a process of its own.

``python -m benchmarks.transfer_boto3 ORDER.json``. A large object goes range by range through
``get_object`` and ``upload_part``, small ones through ``get_object`` and ``put_object``, in the
threads of a pool. Payloads are not signed, botocore computes no checksum, and CRC64NVME is made
with awscrt: the defaults cost twice as much on plain HTTP.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from awscrt.checksums import crc64nvme
from botocore.config import Config

from benchmarks.transfer_ending import end_with

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SOURCE, TARGET = "source", "target"


def client_of(order: dict[str, Any]) -> S3Client:
    """Return a client for all threads."""
    return boto3.client(
        "s3",
        endpoint_url=order["endpoint_url"],
        aws_access_key_id=order["access_key"],
        aws_secret_access_key=order["secret_key"],
        region_name="us-east-1",
        verify=order["ca_file"],
        config=Config(
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=order["threads"] + 1,
        ),
    )


def crc_of(data: bytes) -> str:
    """Return the CRC64NVME as its header has it."""
    return base64.b64encode(crc64nvme(data).to_bytes(8, "big")).decode()


def copy_large(source: S3Client, target: S3Client, order: dict[str, Any]) -> None:
    """Copy one object in parts."""
    key, size, part = order["keys"][0], order["size"], order["part_size"]
    to: dict[str, Any] = {"Bucket": TARGET, "Key": order["target_keys"][0]}
    upload = target.create_multipart_upload(
        **to, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
    )
    to["UploadId"] = upload["UploadId"]

    def copy_part(number: int) -> dict[str, Any]:
        start = (number - 1) * part
        wanted = f"bytes={start}-{min(start + part, size) - 1}"
        data = source.get_object(Bucket=SOURCE, Key=key, Range=wanted)["Body"].read()
        answer = target.upload_part(
            **to, PartNumber=number, Body=data, ChecksumCRC64NVME=crc_of(data)
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    with ThreadPoolExecutor(order["threads"]) as pool:
        parts: Any = list(pool.map(copy_part, range(1, -(-size // part) + 1)))
    target.complete_multipart_upload(**to, MultipartUpload={"Parts": parts})


def copy_small(source: S3Client, target: S3Client, order: dict[str, Any]) -> None:
    """Copy objects whole."""

    def copy_one(key: str, target_key: str) -> None:
        data = source.get_object(Bucket=SOURCE, Key=key)["Body"].read()
        target.put_object(Bucket=TARGET, Key=target_key, Body=data, ChecksumCRC64NVME=crc_of(data))

    pairs = zip(order["keys"], order["target_keys"], strict=True)
    with ThreadPoolExecutor(order["threads"]) as pool:
        for future in [pool.submit(copy_one, *pair) for pair in pairs]:
            future.result()


def main() -> None:
    """Carry out the order."""
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    spent, began = time.process_time(), time.time()
    source, target = client_of(order), client_of(order)
    copy: Callable[..., None] = copy_large if order["part_size"] else copy_small
    copy(source, target, order)
    end_with({"began": began, "ended": time.time(), "cpu_before": spent})


if __name__ == "__main__":
    main()
