"""The rig's bucket, looked at with the S3 SDK and nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from minio import Minio


class Bucket:
    def __init__(self, environment: Mapping[str, str]) -> None:
        address = urlsplit(environment["S3_ENDPOINT"])
        self.client = Minio(
            address.netloc,
            environment["S3_ACCESS_KEY"],
            environment["S3_SECRET_KEY"],
            secure=address.scheme == "https",
        )
        self.name = environment["S3_BUCKET"]

    def keys(self, prefix: str) -> list[str]:
        """Every key under the prefix, without the prefix."""
        found = self.client.list_objects(self.name, prefix=f"{prefix}/", recursive=True)
        return sorted((item.object_name or "").removeprefix(f"{prefix}/") for item in found)

    def read(self, key: str) -> bytes:
        """The whole object of that key, prefix included."""
        with self.client.get_object(self.name, key) as answer:
            return bytes(answer.read())
