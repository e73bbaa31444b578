"""The tools of part `path`: how each stores what comes from Glance, and gives it back.

Every one reads the same image by HTTP from the same Glance, and all but borg (which has no S3) write
to the same S3 server. Commands get secrets through their environment and files, never as arguments.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from minio import Minio

from tests.bench.cinderbank_job import remove_all
from tests.bench.names import BORG, CURL, RCLONE, RESTIC
from tests.stage.bucket import Bucket


@dataclass(frozen=True, slots=True)
class Source:
    """The image that is read."""

    url: str
    header_file: Path
    """Holds the token's header, as curl takes it."""
    size_bytes: int

    @property
    def command(self) -> str:
        return f"curl -sS --fail -H @{shlex.quote(str(self.header_file))} {self.url}"


@dataclass(frozen=True, slots=True)
class Target:
    """The bucket, a folder for what a tool keeps beside it, and the S3 keys as variables."""

    bucket: Bucket
    endpoint: str
    prefix: str
    folder: Path
    keys: Mapping[str, str] = field(repr=False)


class Tool(Protocol):
    """A tool in one turn: `setup` and `clean` are not timed, the other two are shell commands."""

    name: str

    def setup(self) -> str: ...
    def store(self) -> str: ...
    def read_back(self) -> str: ...
    def environment(self) -> Mapping[str, str]: ...
    def clean(self) -> None: ...


class Curl:
    """No work at all: what the network and the two servers can do."""

    name = CURL

    def __init__(self, source: Source, target: Target) -> None:
        self._source = source
        self._target = target

    def setup(self) -> str:
        return "true"

    def store(self) -> str:
        put = self._presigned("PUT")
        # MinIO takes no chunked body into an address that was signed before.
        plain = f"-H Transfer-Encoding: -H Content-Length:{self._source.size_bytes} -H Expect:"
        return f"{self._source.command} | curl -sS --fail -o /dev/null -T - {plain} {put}"

    def read_back(self) -> str:
        return f"curl -sS --fail -o /dev/null {self._presigned('GET')}"

    def environment(self) -> Mapping[str, str]:
        return {}

    def clean(self) -> None:
        remove_all(self._target.bucket, self._target.prefix)

    def _presigned(self, method: str) -> str:
        client: Minio = self._target.bucket.client
        name, key = self._target.bucket.name, f"{self._target.prefix}/image"
        return shlex.quote(client.get_presigned_url(method, name, key, timedelta(hours=1)))


class Rclone(Curl):
    """Multipart, no compression."""

    name = RCLONE

    def store(self) -> str:
        return f"{self._source.command} | rclone rcat {self._where}"

    def read_back(self) -> str:
        return f"rclone cat {self._where} > /dev/null"

    def environment(self) -> Mapping[str, str]:
        return {
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_BENCH_TYPE": "s3",
            "RCLONE_CONFIG_BENCH_PROVIDER": "Minio",
            "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
            "RCLONE_CONFIG_BENCH_ENDPOINT": self._target.endpoint,
            "RCLONE_CONFIG_BENCH_REGION": "us-east-1",
            **self._target.keys,
        }

    @property
    def _where(self) -> str:
        return f"bench:{self._target.bucket.name}/{self._target.prefix}/image"


class Restic(Curl):
    """Content-defined chunks, zstd (compression auto), always encrypted."""

    name = RESTIC

    def setup(self) -> str:
        return "restic init -q"

    def store(self) -> str:
        return f"{self._source.command} | restic backup -q --stdin --stdin-filename image"

    def read_back(self) -> str:
        return "restic dump -q latest /image > /dev/null"

    def environment(self) -> Mapping[str, str]:
        where = f"{self._target.endpoint}/{self._target.bucket.name}/{self._target.prefix}"
        return {
            "RESTIC_REPOSITORY": f"s3:{where}",
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self._target.folder / "restic-cache"),
            **self._target.keys,
        }


class Borg(Curl):
    """Content-defined chunks, zstd level 3, not encrypted, into a folder of this machine."""

    name = BORG

    def setup(self) -> str:
        return "borg init -e none"

    def store(self) -> str:
        return f"{self._source.command} | borg create -C zstd,3 ::image -"

    def read_back(self) -> str:
        return "borg extract --stdout ::image > /dev/null"

    def environment(self) -> Mapping[str, str]:
        return {
            "BORG_REPO": str(self._target.folder / "borg"),
            "BORG_BASE_DIR": str(self._target.folder / "borg-base"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }


PEERS: tuple[type[Curl], ...] = (Curl, Rclone, Restic, Borg)
