"""Connections to OpenStack projects, by the Secrets of the objects' own namespaces."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cinderbank.adapters.cache import Cache
from cinderbank.adapters.kube.secrets import KubeSecrets, Secret
from cinderbank.adapters.openstack.cinder import OpenStackCinder
from cinderbank.adapters.openstack.glance import OpenStackGlance
from cinderbank.adapters.openstack.session import Connection, connect
from cinderbank.adapters.secret_files import secret_files, write_secret_files
from cinderbank.domain.errors import InvalidSpec

CLOUDS_YAML = "clouds.yaml"
CACERT = "cacert"


@dataclass(frozen=True, slots=True)
class Cloud:
    """One project of one site, and the Secret that opened it."""

    connection: Connection
    cinder: OpenStackCinder
    glance: OpenStackGlance
    name: str
    secret: Secret


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
        return self._cache.get(key, lambda: self._connect(secret, cloud_name))

    def close(self) -> None:
        self._cache.clear()

    def _connect(self, secret: Secret, cloud_name: str) -> Cloud:
        cacert: Path | None = None
        if CACERT in secret.data:
            cacert = authority_file(self._authorities, secret.data[CACERT])
        with secret_files({CLOUDS_YAML: secret.data[CLOUDS_YAML]}) as folder:
            connection = connect(folder / CLOUDS_YAML, cloud_name, cacert=cacert)
        cinder, glance = OpenStackCinder(connection), OpenStackGlance(connection)
        return Cloud(connection, cinder, glance, cloud_name, secret)


def authority_file(folder: Path, content: bytes) -> Path:
    """A CA certificate as a file, named by its content; it stays, as every new socket reads it."""
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{digest}.pem"
    if not path.exists():
        write_secret_files(folder, {path.name: content})
    return path


def need_secret(secrets: KubeSecrets, namespace: str, name: str) -> Secret:
    found = secrets.find(namespace, name)
    if found is None:
        raise InvalidSpec(
            f"Secret {namespace}/{name} is not there; create it, the object then goes on by itself",
            reason="SecretNotFound",
        )
    return found
