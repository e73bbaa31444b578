"""The key manager (Barbican) as engine and transfer need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cinderbank.domain.facts import SecretFacts

MAX_PAYLOAD_BYTES = 20_000
"""What Barbican takes unless its administrator says otherwise (max_allowed_secret_in_bytes)."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A key with what a key manager says of it."""

    payload: bytes = field(repr=False)
    """1 to MAX_PAYLOAD_BYTES. Never in a log, a message, a status or a file."""
    secret_type: str
    """symmetric for all keys of volumes; passphrase, opaque."""
    algorithm: str
    bit_length: int
    """0 where it is not told."""


class KeyManager(Protocol):
    """Secrets of one project. Errors as in ports.cinder.Cinder, and InvalidSpec (KeyManagerNotFound) when
    the cloud's catalogue has none. No message ever repeats a payload, nor what was said to one."""

    def read_secret(self, secret_id: str) -> Secret:
        """Its payload too. Idempotent. Also raises SourceGone (EncryptionKeyNotFound), Forbidden
        (EncryptionKeyForbidden), Unsupported (EncryptionKeyUnsupported) for one of another kind."""
        ...

    def marked_secrets(self, mark: str) -> Sequence[SecretFacts]:
        """Those of this project that `create_secret` has made with this mark, oldest first. A copy that
        Cinder makes of one does not carry the mark."""
        ...

    def create_secret(self, mark: str, secret: Secret) -> SecretFacts:
        """Not idempotent; OutcomeUnknown when the answer was lost. Also raises Forbidden
        (EncryptionKeyForbidden)."""
        ...

    def delete_secret(self, secret_id: str) -> None:
        """Gone when it returns; 404 is success."""
        ...
