"""ports.key_manager.KeyManager over Barbican's API v1.

The service is optional, so nothing is asked of it before it is needed. What Barbican says to a body is never
repeated: its refusals quote what they refuse.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from keystoneauth1.exceptions import EndpointNotFound
from openstack.connection import Connection
from openstack.proxy import Proxy

from cinderbank.adapters.openstack.bodies import Body
from cinderbank.adapters.openstack.calls import is_uuid, made, read, read_bytes, unexpected, write
from cinderbank.adapters.openstack.errors import Call, mapped
from cinderbank.domain.errors import Forbidden, InvalidSpec, SourceGone, Unsupported
from cinderbank.domain.facts import SecretFacts
from cinderbank.ports.key_manager import MAX_PAYLOAD_BYTES, Secret

SERVICE = "key-manager"
READABLE_TYPES = frozenset({"symmetric", "passphrase", "opaque"})
"""Of secrets that are bytes; Cinder's keys are symmetric."""

MARKED_LIMIT = 100


class OpenStackKeyManager:
    """One project of one Barbican; may be shared by threads as its Connection may be."""

    def __init__(self, connection: Connection) -> None:
        config = connection.config
        self._proxy = Proxy(
            session=connection.session,
            service_type=SERVICE,
            interface=config.get_interface(SERVICE),
            region_name=config.get_region_name(SERVICE),
            endpoint_override=config.get_endpoint(SERVICE),
        )

    def read_secret(self, secret_id: str) -> Secret:
        """Two calls: what it is, then its payload. See the port."""
        call = Call("read", f"secret {secret_id}")
        if not is_uuid(secret_id):
            raise _gone(call)
        path = self._url(f"/secrets/{secret_id}", call)
        with _told(call):
            about = Body(read(self._proxy, path, call), call)
            kind = about.text("secret_type")
            if kind not in READABLE_TYPES:
                raise Unsupported(
                    f"{call}: it is of the type {kind[:60]!r}, no key of a volume",
                    reason="EncryptionKeyUnsupported",
                )
            payload = read_bytes(self._proxy, f"{path}/payload", call, limit=MAX_PAYLOAD_BYTES)
        if not payload:
            raise unexpected(call, "its payload is empty")
        algorithm, bits = about.text("algorithm"), about.number("bit_length")
        return Secret(payload, kind, algorithm, bits or 0)

    def marked_secrets(self, mark: str) -> Sequence[SecretFacts]:
        """By the secret's `mode`, which Barbican only keeps; castellan, by which Cinder copies a key, does
        not read it (measured, castellan 5.8: name, algorithm and bit length are copied)."""
        call = Call("list", f"secrets marked {mark}")
        params = {"mode": mark, "limit": f"{MARKED_LIMIT}", "sort": "created:asc"}
        with _told(call):
            found = read(self._proxy, self._url("/secrets", call), call, params=params)
        items = found.get("secrets", [])
        if not isinstance(items, list):
            raise unexpected(call, "`secrets` is not a list")
        bodies = [Body(item, call) for item in items[:MARKED_LIMIT]]
        return [_secret(body, call) for body in bodies if body.text("mode") == mark]

    def create_secret(self, mark: str, secret: Secret) -> SecretFacts:
        """Without a name, as Cinder's own keys: its copy would carry it for ever."""
        call = Call("create", "the secret of a volume's key", makes=True, bad_request=InvalidSpec)
        json: dict[str, object] = {
            "secret_type": secret.secret_type,
            "mode": mark,
            "payload": base64.b64encode(secret.payload).decode("ascii"),
            "payload_content_type": "application/octet-stream",
            "payload_content_encoding": "base64",
        }
        if secret.algorithm:
            json["algorithm"] = secret.algorithm
        if secret.bit_length:
            json["bit_length"] = secret.bit_length
        url = self._url("/secrets", call)
        with _told(call):
            answer = write(
                self._proxy, "POST", url, call, expected=(201,), json=json, quotes_us=True
            )
        return made(answer, call, lambda body: _secret(Body(body, call), call))

    def delete_secret(self, secret_id: str) -> None:
        """Idempotent: 404 is success."""
        call = Call("delete", f"secret {secret_id}")
        if not is_uuid(secret_id):
            return
        try:
            with _told(call):
                path = self._url(f"/secrets/{secret_id}", call)
                write(self._proxy, "DELETE", path, call, expected=(204,))
        except SourceGone:
            return

    def _url(self, path: str, call: Call) -> str:
        """Catalogues have Barbican with its version and without."""
        endpoint = None
        with mapped(call.verb, call.resource), suppress(EndpointNotFound):
            endpoint = self._proxy.get_endpoint()
        if not endpoint:
            raise InvalidSpec(
                f"{call}: the catalogue of this cloud has no {SERVICE} service (Barbican) for these "
                "credentials; it goes on by itself when it is there",
                reason="KeyManagerNotFound",
            )
        root = endpoint.rstrip("/")
        return f"{root if root.endswith('/v1') else f'{root}/v1'}{path}"


def _secret(body: Body, call: Call) -> SecretFacts:
    """`secret_ref` is a URL that ends in the id; it is not followed."""
    secret_id = body.needed_text("secret_ref").rstrip("/").rsplit("/", 1)[-1]
    if not is_uuid(secret_id):
        raise unexpected(call, "`secret_ref` does not end in a UUID")
    return SecretFacts(secret_id)


@contextmanager
def _told(call: Call) -> Iterator[None]:
    """Reasons of their own, as these errors are about rights and things that nothing else needs."""
    try:
        yield
    except Forbidden as error:
        raise Forbidden(
            f"{error.message}. The credentials need the right to read, to create and to delete secrets "
            "in the key manager: the role member, or creator in an older Barbican; roles that are "
            "granted now are not in an application credential made before",
            reason="EncryptionKeyForbidden",
            status_code=error.status_code,
            request_id=error.request_id,
        ) from error
    except SourceGone as error:
        raise _gone(call) from error


def _gone(call: Call) -> SourceGone:
    return SourceGone(
        f"{call}: the key manager has no such secret in this project",
        reason="EncryptionKeyNotFound",
    )
