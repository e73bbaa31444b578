"""The key of an encrypted volume, as the manifest of its backup holds it. No I/O.

Only in a manifest that is encrypted: that is bound to the bank and to its own place there (bank.crypto), so
the key goes with this backup and with no other. docs/bank-format.md.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from cinderbank.bank.json_object import Fields
from cinderbank.domain.facts import VolumeEncryption
from cinderbank.ports.key_manager import MAX_PAYLOAD_BYTES, Secret

MAX_BASE64_CHARS = -(-MAX_PAYLOAD_BYTES // 3) * 4
MAX_BITS = 1 << 20
WORD_CHARS = 255


@dataclass(frozen=True, slots=True)
class EscrowedKey:
    """How the volume was encrypted, and the secret that opens what the backup holds."""

    encryption: VolumeEncryption
    secret: Secret

    def to_fields(self) -> dict[str, Any]:
        """`volume_encryption` of a manifest. The id of the key at its own site is no part of it."""
        about, secret = self.encryption, self.secret
        return {
            "provider": about.provider,
            "cipher": about.cipher,
            "key_size_bits": about.key_size_bits,
            "control_location": about.control_location,
            "key": {
                "secret_type": secret.secret_type,
                "algorithm": secret.algorithm,
                "bit_length": secret.bit_length,
                "payload": base64.b64encode(secret.payload).decode("ascii"),
            },
        }

    @classmethod
    def parse(cls, fields: Fields) -> EscrowedKey:
        """Raises DataCorrupt, which never repeats a value."""
        key = fields.object("key")
        return cls(
            VolumeEncryption(
                provider=fields.text("provider", WORD_CHARS),
                cipher=fields.text("cipher", WORD_CHARS),
                key_size_bits=fields.integer("key_size_bits", 0, MAX_BITS),
                control_location=fields.text("control_location", WORD_CHARS),
            ),
            Secret(
                payload=_payload(key),
                secret_type=key.text("secret_type", WORD_CHARS),
                algorithm=key.text("algorithm", WORD_CHARS),
                bit_length=key.integer("bit_length", 0, MAX_BITS),
            ),
        )


def _payload(key: Fields) -> bytes:
    text = key.text("payload", MAX_BASE64_CHARS)
    try:
        payload = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # Not `from`: its text may repeat what was read.
        raise key.bad("payload", "not base64") from None
    if not 1 <= len(payload) <= MAX_PAYLOAD_BYTES:
        raise key.bad("payload", f"not 1 to {MAX_PAYLOAD_BYTES} bytes")
    return payload
