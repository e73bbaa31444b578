"""Clients of banks, by the BackupBanks and Secrets of the objects' own namespaces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cinderbank.adapters.cache import Cache
from cinderbank.adapters.kube.secrets import KubeSecrets
from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.api.v1alpha1.backup_bank import (
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    AccessMode,
    BackupBankSpec,
    PlainBackups,
)
from cinderbank.app.clouds import authority_file, need_secret
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.counts import SealSizes, count
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.health import BankHealth, validate
from cinderbank.bank.keys import opening
from cinderbank.bank.wrapped_keys import parse_kek
from cinderbank.bank.writers import OtherWriters, sign
from cinderbank.domain.errors import Forbidden, InvalidSpec
from cinderbank.engine.bank_validation import BankFound

MAX_KEYS = 16
"""Entries of the Secret that spec.encryption.keySecretRef names."""


@dataclass(frozen=True, slots=True)
class BankAccess:
    """How a bank is reached and opened, and a text that changes when any Secret of it does."""

    location: S3Location
    credentials: S3Credentials
    keks: tuple[KeyEncryptionKey, ...]
    version: str


@dataclass(frozen=True, slots=True)
class OpenBank:
    """A bank, and what a transfer needs to reach it by itself."""

    bank: StoredBank
    store: S3Store
    spec: BackupBankSpec
    location: S3Location
    credentials: S3Credentials
    bank_id: str | None
    """The one it had before; whoever opens it again must find that."""
    keks: tuple[KeyEncryptionKey, ...] = ()

    @property
    def accepts_plain(self) -> bool:
        return _accepts_plain(self.spec)


class Banks:
    """Opens each bank once per spec and state of its Secrets."""

    def __init__(self, secrets: KubeSecrets, size: int, authorities: Path) -> None:
        self._secrets = secrets
        self._authorities = authorities
        # Figures of the seals that were read: a look reads what is new. Two BackupBanks that share them
        # have the same bank, and look one after the other or learn something twice.
        self._sizes: Cache[tuple[str, str, str], SealSizes] = Cache(size)
        self._cache: Cache[tuple[str, str, str, str | None], OpenBank] = Cache(
            size, lambda bank: bank.store.close()
        )

    def open(self, namespace: str, spec: BackupBankSpec, bank_id: str | None) -> OpenBank:
        """`bank_id` is the one it had before; another one is refused at the first use.

        Raises InvalidSpec (SecretNotFound, SecretKeyMissing, ...), Unavailable, Forbidden.
        """
        access = self._how(namespace, spec)
        key = (namespace, spec.model_dump_json(), access.version, bank_id)
        return self._cache.get(key, lambda: _open(spec, access, bank_id))

    def look(
        self, namespace: str, spec: BackupBankSpec, bank_id: str | None, writer: str
    ) -> BankFound:
        """The self-test, on a client of its own: nothing remembered hides what has changed.

        `writer` is as whom we sign (app.writers). Raises what `open` and `bank.health.validate` raise.
        """
        opened = _open(spec, self._how(namespace, spec), bank_id)
        try:
            health = self._validated(opened, namespace)
            keys = opening(opened.store, opened.bank.keys)
            others = OtherWriters()
            if not opened.bank.read_only:
                others = sign(opened.store, spec.site, writer)
            sizes = self._sizes.get(
                (namespace, spec.s3.model_dump_json(), health.bank_id), SealSizes
            )
            counts = count(opened.store, spec.site, sizes, opened.bank.keys)
        finally:
            opened.store.close()
        problems = [*health.problems, *keys.problems]
        if counts.foreign:
            problems.append(
                f"{counts.foreign} objects among the seals are not ours and are ignored"
            )
        return BankFound(
            bank_id=health.bank_id,
            format_version=health.format_version,
            counts=counts.all_sites,
            site_counts=counts.our_site,
            capabilities=health.capabilities,
            problems=tuple(problems),
            encrypted=keys.encrypted,
            key_ids=keys.kek_ids,
            writers_beside_us=others.beside_us,
            writers_lately=others.lately,
        )

    def _validated(self, opened: OpenBank, namespace: str) -> BankHealth:
        try:
            return validate(opened.bank)
        except Forbidden as error:
            name = opened.spec.s3.credentials_secret_ref.name
            raise Forbidden(
                f"Secret {namespace}/{name}: {error.message}", reason=error.reason
            ) from error

    def close(self) -> None:
        self._cache.clear()

    def _how(self, namespace: str, spec: BackupBankSpec) -> BankAccess:
        name = spec.s3.credentials_secret_ref.name
        secret = need_secret(self._secrets, namespace, name)
        for key in (ACCESS_KEY_ID, SECRET_ACCESS_KEY):
            if not secret.data.get(key):
                raise InvalidSpec(
                    f"Secret {namespace}/{name} has no key {key}; it needs {ACCESS_KEY_ID} and"
                    f" {SECRET_ACCESS_KEY}",
                    reason="SecretKeyMissing",
                )
        ca_file, ca_version = self._authority(namespace, spec)
        location = S3Location(
            endpoint_url=spec.s3.endpoint.rstrip("/"),
            bucket=spec.s3.bucket,
            prefix=spec.s3.prefix or "",
            region=spec.s3.region or "",
            addressing=spec.s3.addressing.value.lower(),
            ca_file=ca_file,
            insecure_skip_tls_verify=spec.s3.insecure_skip_verify,
        )
        # who edits a Secret by hand often leaves a line feed at its end
        credentials = S3Credentials(
            secret.data[ACCESS_KEY_ID].decode(errors="replace").strip(),
            secret.data[SECRET_ACCESS_KEY].decode(errors="replace").strip(),
        )
        keks, keys_version = self._keys(namespace, spec)
        version = f"{secret.uid} {secret.resource_version} {ca_version} {keys_version}"
        return BankAccess(location, credentials, keks, version)

    def _keys(
        self, namespace: str, spec: BackupBankSpec
    ) -> tuple[tuple[KeyEncryptionKey, ...], str]:
        if spec.encryption is None:
            return (), ""
        name = spec.encryption.key_secret_ref.name
        secret = need_secret(self._secrets, namespace, name)
        if not 1 <= len(secret.data) <= MAX_KEYS:
            raise InvalidSpec(
                f"Secret {namespace}/{name} (spec.encryption.keySecretRef) has {len(secret.data)}"
                f" entries; it needs 1 to {MAX_KEYS}, each a key that `cinderbank bank key generate`"
                " makes",
                reason="SecretKeyMissing",
            )
        keks = tuple(
            parse_kek(content, f"entry {entry} of Secret {namespace}/{name}")
            for entry, content in sorted(secret.data.items())
        )
        return keks, f"{secret.uid} {secret.resource_version}"

    def _authority(self, namespace: str, spec: BackupBankSpec) -> tuple[str | None, str]:
        reference = spec.s3.ca_secret_ref
        if reference is None:
            return None, ""
        secret = need_secret(self._secrets, namespace, reference.name)
        content = secret.data.get(reference.key)
        if not content:
            raise InvalidSpec(
                f"Secret {namespace}/{reference.name} has no key {reference.key} (spec.s3.caSecretRef)",
                reason="SecretKeyMissing",
            )
        path = authority_file(self._authorities, content)
        return str(path), f"{secret.uid} {secret.resource_version}"


def _accepts_plain(spec: BackupBankSpec) -> bool:
    encryption = spec.encryption
    return encryption is not None and encryption.plain_backups is PlainBackups.READABLE


def _open(spec: BackupBankSpec, access: BankAccess, bank_id: str | None) -> OpenBank:
    store = S3Store(access.location, access.credentials)
    bank = StoredBank(
        store,
        spec.site,
        read_only=spec.access_mode is AccessMode.READ_ONLY,
        expected_bank_id=bank_id,
        keks=access.keks,
        accepts_plain=_accepts_plain(spec),
    )
    return OpenBank(bank, store, spec, access.location, access.credentials, bank_id, access.keks)
