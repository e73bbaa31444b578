"""Connections to OpenStack projects, by the Secrets of the objects' own namespaces."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cinderbank.adapters.cache import Cache
from cinderbank.adapters.kube.secrets import KubeSecrets, Secret
from cinderbank.adapters.openstack.cinder import OpenStackCinder
from cinderbank.adapters.openstack.clouds import parse_cloud
from cinderbank.adapters.openstack.glance import OpenStackGlance
from cinderbank.adapters.openstack.groups import OpenStackGroups
from cinderbank.adapters.openstack.key_manager import OpenStackKeyManager
from cinderbank.adapters.openstack.session import Connection, connect
from cinderbank.adapters.secret_files import secret_files, write_secret_files
from cinderbank.domain.errors import InvalidSpec

CLOUDS_YAML = "clouds.yaml"
CACERT = "cacert"

AUTHORITY_BYTES = 512 << 10
"""Twice what a system trusts altogether."""

AUTHORITIES_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Cloud:
    """One project of one site, and the Secret that opened it."""

    connection: Connection
    cinder: OpenStackCinder
    glance: OpenStackGlance
    key_manager: OpenStackKeyManager
    groups: OpenStackGroups
    name: str
    secret: Secret
    auth_url: str
    has_endpoint_overrides: bool
    """Whether clouds.yaml itself says where Cinder or Glance is, whatever the catalogue says."""


class Clouds:
    """Opens each cloud once per state of its Secret: who changes the Secret gets a new connection."""

    def __init__(self, secrets: KubeSecrets, size: int, authorities: Path) -> None:
        self._secrets = secrets
        self._authorities = authorities
        self._cache: Cache[tuple[str, str, str, str], Cloud] = Cache(
            size, lambda cloud: cloud.connection.close()
        )

    def open(self, namespace: str, secret_name: str, cloud_name: str) -> Cloud:
        """Raises InvalidSpec (SecretNotFound, SecretKeyMissing, ...), AuthRefused, Unavailable, Forbidden."""
        secret = need_secret(self._secrets, namespace, secret_name)
        if CLOUDS_YAML not in secret.data:
            raise InvalidSpec(
                f"Secret {namespace}/{secret_name} has no key {CLOUDS_YAML}; put the file there under"
                " that key",
                reason="SecretKeyMissing",
            )
        key = (namespace, secret.uid, secret.resource_version, cloud_name)
        cacert: Path | None = None
        if CACERT in secret.data:
            cacert = authority_file(self._authorities, secret.data[CACERT])
        return self._cache.get(key, lambda: self._connect(secret, cloud_name, cacert))

    def close(self) -> None:
        self._cache.clear()

    def _connect(self, secret: Secret, cloud_name: str, cacert: Path | None) -> Cloud:
        with secret_files({CLOUDS_YAML: secret.data[CLOUDS_YAML]}) as folder:
            connection = connect(folder / CLOUDS_YAML, cloud_name, cacert=cacert)
        cinder, glance = OpenStackCinder(connection), OpenStackGlance(connection)
        entry = parse_cloud(secret.data[CLOUDS_YAML], cloud_name)
        return Cloud(
            connection, cinder, glance, OpenStackKeyManager(connection), OpenStackGroups(connection),
            cloud_name, secret, entry.auth_url,
            has_endpoint_overrides=bool(entry.endpoint_overrides),
        )  # fmt: skip


def claims_refusal(cloud: Cloud, trusted_auth_urls: Collection[str]) -> str | None:
    """Why no PersistentVolume may be made of this cloud's volumes; None when it may.

    The Cinder CSI driver of the cluster acts on a PersistentVolume's volume with credentials of its own.
    Who may write the Secret could name a cloud of his that gives out ids of other people's volumes, so
    the administrator says which Keystone is the driver's, and that one's catalogue says where Cinder is.
    """
    ours = {url.rstrip("/") for url in trusted_auth_urls}
    where = f"Secret {cloud.secret.namespace}/{cloud.secret.name}, cloud {cloud.name!r}"
    if cloud.auth_url.rstrip("/") not in ours:
        return (
            f"{where}: auth_url {cloud.auth_url} is not in the operator's CINDERBANK_CSI_AUTH_URLS, so "
            "its volumes do not become PersistentVolumes; an administrator adds it if it is the cloud of "
            "this cluster's Cinder CSI driver"
        )
    if cloud.has_endpoint_overrides:
        return (
            f"{where}: it overrides an endpoint of the catalogue, so its volumes do not become "
            "PersistentVolumes; take the ..._endpoint_override out"
        )
    return None


def authority_file(folder: Path, content: bytes) -> Path:
    """A CA certificate as a file, named by its content; every new socket reads it, so ask for it anew
    in every tick. Those that were not asked for the longest go when all together are too much: what
    is temporary is one small file system, and a project may change its Secret as often as it likes.

    Raises InvalidSpec when it is too long.
    """
    if len(content) > AUTHORITY_BYTES:
        raise InvalidSpec(
            f"the CA certificates have {len(content)} bytes, at most {AUTHORITY_BYTES} are taken; keep"
            " those that this server needs"
        )
    path = folder / f"{hashlib.sha256(content).hexdigest()}.pem"
    try:
        os.utime(path)
    except FileNotFoundError:
        _write_at_once(path, content)
        _forget_the_oldest(folder)
    return path


def _write_at_once(path: Path, content: bytes) -> None:
    """Never seen half written, not even when the disk is full."""
    new = path.with_suffix(f".{threading.get_ident()}")
    try:
        write_secret_files(path.parent, {new.name: content})
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _forget_the_oldest(folder: Path) -> None:
    files = []
    for path in folder.glob("*.pem"):
        with suppress(FileNotFoundError):  # another thread does the same
            files.append((path.stat(), path))
    left_bytes = AUTHORITIES_BYTES
    for found, path in sorted(files, key=lambda file: file[0].st_mtime_ns, reverse=True):
        left_bytes -= found.st_size
        if left_bytes < 0:
            path.unlink(missing_ok=True)


def need_secret(secrets: KubeSecrets, namespace: str, name: str) -> Secret:
    found = secrets.find(namespace, name)
    if found is None:
        raise InvalidSpec(
            f"Secret {namespace}/{name} is not there; create it, the object then goes on by itself",
            reason="SecretNotFound",
        )
    return found
