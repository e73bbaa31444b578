"""A key manager over the same project."""

from __future__ import annotations

from collections.abc import Sequence

from cinderbank.domain.errors import SourceGone
from cinderbank.domain.facts import SecretFacts
from cinderbank.ports.key_manager import Secret
from tests.fakes.cloud import FakeCloud


class FakeKeyManager:
    def __init__(self, cloud: FakeCloud) -> None:
        self.cloud = cloud
        self._faults = cloud.faults

    def read_secret(self, secret_id: str) -> Secret:
        self._faults.read("read_secret")
        found = self.cloud.secrets.get(secret_id)
        if found is None:
            raise SourceGone(f"no secret {secret_id}", reason="EncryptionKeyNotFound")
        return Secret(found.payload, "symmetric", "aes", 256)

    def marked_secrets(self, mark: str) -> Sequence[SecretFacts]:
        self._faults.read("marked_secrets")
        now = self.cloud.clock.now()
        found = self.cloud.secrets.items()
        return [SecretFacts(i) for i, s in found if s.mark == mark and s.visible_at <= now]

    def create_secret(self, mark: str, secret: Secret) -> SecretFacts:
        with self._faults.effect("create_secret"):
            made = self.cloud.add_secret(secret.payload, mark)
        return SecretFacts(made)

    def delete_secret(self, secret_id: str) -> None:
        with self._faults.effect("delete_secret"):
            self.cloud.secrets.pop(secret_id, None)
