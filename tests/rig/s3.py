"""S3 for the bank: MinIO, or by RIG_S3 one of the two second opinions, SeaweedFS and Ceph's radosgw.

`RIG_S3=minio|seaweedfs|radosgw` says what `up` starts and .rig/env names. A test may ask for any of
them, and for MinIO behind TLS, at any time: `ready_store(rig, "seaweedfs")` starts what is not
running and gives its address, keys and an existing bucket.
"""

from __future__ import annotations

import os
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig import gobuild, loopback, s3_servers, sigv4
from tests.rig.part import Environment
from tests.rig.s3_servers import MINIO, MINIO_TLS, ROOT_KEYS, SEAWEEDFS
from tests.rig.sigv4 import Keys

if TYPE_CHECKING:
    from tests.rig.rig import Rig

RADOSGW = "radosgw"
CHOICES = (MINIO, SEAWEEDFS, RADOSGW)

BUCKET = "bank"
REGION = "us-east-1"
BUCKET_TIMEOUT_S = 240


class StoreFailed(Exception):
    """An S3 server of the rig refused what it must allow; the message ends with its words."""


@dataclass(frozen=True)
class Store:
    """One S3 server of the rig, as a client needs it: path style, and these keys may do all."""

    server: str
    endpoint: str
    keys: Keys = ROOT_KEYS
    ca_file: Path | None = None
    """The authority of the server's certificate; None without TLS."""
    bucket: str = BUCKET
    region: str = REGION

    def request(
        self, method: str, path: str, body: bytes = b"", query: Mapping[str, str] | None = None
    ) -> loopback.Answer:
        """One signed request; `path` is `/bucket/key`."""
        context = ssl.create_default_context(cafile=str(self.ca_file)) if self.ca_file else None
        return sigv4.request(
            method, self.endpoint, path, self.keys,
            body=body, query=query, region=self.region, context=context,
        )  # fmt: skip

    def make_bucket(self, bucket: str) -> None:
        """Make the bucket unless it is there; a server that has only just started is asked again.

        (SeaweedFS answers its health check before its filer takes a bucket.)
        """
        deadline = time.monotonic() + BUCKET_TIMEOUT_S
        while True:
            try:
                answer = self.request("PUT", f"/{bucket}")
            except OSError as error:
                status, words = 0, str(error)
            else:
                status, words = answer.status, answer.body.decode(errors="replace")
            if status in (200, 409) and "BucketAlreadyExists<" not in words:
                return
            if 400 <= status < 500 or time.monotonic() > deadline:
                raise StoreFailed(f"{self.server}: no bucket {bucket}: {status} {words[-500:]}")
            time.sleep(0.1)


def chosen() -> str:
    """What RIG_S3 asks for, else MinIO."""
    wanted = os.environ.get("RIG_S3") or MINIO
    if wanted not in CHOICES:
        raise StoreFailed(f"RIG_S3 is {wanted}; it can be {', '.join(CHOICES)}")
    return wanted


NEEDS = ("packages", "ceph") if chosen() == RADOSGW else ("packages",)


def announce(rig: Rig) -> list[str]:
    """What a first `up` would build, for preflight."""
    if chosen() == MINIO and not gobuild.is_built(gobuild.MINIO, rig.cache):
        return [f"minio from Go modules, into {rig.cache}"]
    return []


def prepare(rig: Rig) -> None:
    """Build, while Debian packages install. Without a Go of the machine's own this must wait."""
    if chosen() == MINIO and gobuild.go_on_path(gobuild.MINIO):
        s3_servers.install(rig, MINIO)


def before_start(rig: Rig) -> None:
    s3_servers.install(rig, chosen())


def start(rig: Rig) -> None:
    ready_store(rig, chosen())


services = s3_servers.services


def environment(rig: Rig) -> Environment:
    found = store(rig, chosen())
    return {
        "S3_ENDPOINT": (found.endpoint, f"{found.server}; another by RIG_S3={'|'.join(CHOICES)}"),
        "S3_REGION": (found.region, ""),
        "S3_BUCKET": (found.bucket, ""),
        "S3_ACCESS_KEY": (found.keys.access_key, ""),
        "S3_SECRET_KEY": (found.keys.secret_key, ""),
    }


def store(rig: Rig, server: str) -> Store:
    """How to reach the server, running or not."""
    if server == RADOSGW:
        return Store(server, f"http://127.0.0.1:{rig.ports['ceph-radosgw']}")
    ca_file = s3_servers.authority(rig) if server == MINIO_TLS else None
    return Store(server, s3_servers.endpoint(rig, server), ca_file=ca_file)


def ready_store(rig: Rig, server: str) -> Store:
    """The server, installed and started if it is not running, with the bucket made.

    radosgw needs the part `ceph` up: a cluster is too much to start on demand.
    """
    found = store(rig, server)
    if server == RADOSGW:
        from tests.rig.openstack import ceph

        ceph.start_radosgw(rig, found.keys.access_key, found.keys.secret_key)
    else:
        if not rig.supervisor.is_running(server):
            s3_servers.install(rig, server)
            rig.supervisor.start(server)
        rig.wait_ready(server)
    found.make_bucket(found.bucket)
    return found


def tls_endpoint(rig: Rig) -> tuple[str, Path]:
    """A MinIO with data of its own behind TLS: its endpoint, and the CA that signed for it."""
    found = ready_store(rig, MINIO_TLS)
    assert found.ca_file is not None
    return found.endpoint, found.ca_file


def restricted_keys(found: Store, policy: Mapping[str, Any]) -> Keys:
    """New keys that may do only what the policy (AWS's language) allows. MinIO only.

    Needs the minio package, as MinIO encrypts this request in a way of its own: for tests, not for
    `up`.
    """
    from minio import MinioAdmin
    from minio.credentials.providers import StaticProvider

    if found.server != MINIO:
        raise ValueError(f"{found.server} has no such keys here")
    keys = Keys(f"rig-{secrets.token_hex(6)}", secrets.token_hex(16))
    admin = MinioAdmin(
        endpoint=found.endpoint.partition("://")[2],
        credentials=StaticProvider(found.keys.access_key, found.keys.secret_key),
        secure=False,
    )
    admin.add_service_account(
        access_key=keys.access_key, secret_key=keys.secret_key, policy=dict(policy)
    )
    return keys
