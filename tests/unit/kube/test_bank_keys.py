"""From spec.encryption and its Secret to a bank that is opened with keys."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cinderbank.adapters.kube.secrets import KubeSecrets
from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.app.banks import Banks
from cinderbank.domain.errors import InvalidSpec

A, B = os.urandom(32), os.urandom(32)


class Secrets:
    """The API server, as far as Secrets go."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, bytes]] = {
            "s3": {"access-key-id": b"me", "secret-access-key": b"hush"}
        }
        self.version = 1

    def get(self, path: str) -> dict[str, Any] | None:
        data = self.data.get(path.rsplit("/", 1)[1])
        if data is None:
            return None
        return {
            "metadata": {"uid": "u", "resourceVersion": str(self.version)},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }


def spec(**encryption: Any) -> BackupBankSpec:
    document: dict[str, Any] = {
        "site": "site-a",
        "s3": {
            "endpoint": "http://127.0.0.1:9",
            "bucket": "bucket",
            "credentialsSecretRef": {"name": "s3"},
        },
    }
    if encryption:
        document["encryption"] = encryption
    return BackupBankSpec.read(document, "spec")


@pytest.fixture
def api() -> Secrets:
    return Secrets()


@pytest.fixture
def banks(api: Secrets, tmp_path: Path) -> Iterator[Banks]:
    made = Banks(KubeSecrets(api), 4, tmp_path)  # type: ignore[arg-type]  # only its get is used
    yield made
    made.close()


def test_every_entry_of_the_secret_is_a_key(api: Secrets, banks: Banks) -> None:
    api.data["keys"] = {"2026": A, "recovery": base64.b64encode(B) + b"\n"}
    opened = banks.open("team", spec(keySecretRef={"name": "keys"}), None)
    assert [kek.secret for kek in opened.keks] == [A, B]
    assert not opened.accepts_plain
    readable = spec(keySecretRef={"name": "keys"}, plainBackups="Readable")
    assert banks.open("team", readable, None).accepts_plain
    assert banks.open("team", spec(), None).keks == ()
    shown = repr(opened)
    assert repr(A)[2:-1] not in shown
    assert repr(B)[2:-1] not in shown


def test_a_key_that_comes_later_is_used_at_once(api: Secrets, banks: Banks) -> None:
    api.data["keys"] = {"one": A}
    encrypted = spec(keySecretRef={"name": "keys"})
    assert banks.open("team", encrypted, None) is banks.open("team", encrypted, None)
    api.data["keys"]["two"] = B
    api.version = 2
    assert len(banks.open("team", encrypted, None).keks) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "SecretNotFound"),
        ({}, "SecretKeyMissing"),
        ({str(n): os.urandom(32) for n in range(17)}, "SecretKeyMissing"),
        ({"one": A, "password": b"hunter2"}, "BankKeyInvalid"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told(
    api: Secrets, banks: Banks, data: dict[str, bytes] | None, reason: str
) -> None:
    if data is not None:
        api.data["keys"] = data
    with pytest.raises(InvalidSpec) as raised:
        banks.open("team", spec(keySecretRef={"name": "keys"}), None)
    assert raised.value.reason == reason
    assert "team/keys" in raised.value.message
    assert "hunter2" not in raised.value.message
