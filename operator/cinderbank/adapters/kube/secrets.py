"""Secrets, by name only (no list, no watch): read anew for every tick, so that rotation just works."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import secret_path
from cinderbank.domain.errors import Forbidden, InvalidSpec


@dataclass(frozen=True, slots=True)
class Secret:
    """One Secret; `resource_version` changes when its content does."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    data: Mapping[str, bytes] = field(repr=False)


class KubeSecrets:
    def __init__(self, api: KubeApi) -> None:
        self._api = api

    def find(self, namespace: str, name: str) -> Secret | None:
        """The Secret, or None. Raises InvalidSpec, Unavailable, AuthRefused, Forbidden (SecretNotReadable)."""
        try:
            found = self._api.get(secret_path(namespace, name))
        except Forbidden as error:
            raise Forbidden(
                f"the operator may not read Secret {namespace}/{name}; apply the RBAC of deploy/ (an"
                " operator of single namespaces: to this one)",
                reason="SecretNotReadable",
                status_code=error.status_code,
            ) from error
        if found is None:
            return None
        metadata = found["metadata"]
        try:
            data = {
                key: base64.b64decode(value, validate=True)
                for key, value in (found.get("data") or {}).items()
            }
        except (binascii.Error, ValueError) as error:
            raise InvalidSpec(
                f"Secret {namespace}/{name} holds a value that is not base64"
            ) from error
        return Secret(namespace, name, metadata["uid"], metadata["resourceVersion"], data)
