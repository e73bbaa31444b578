"""The bank file: where a bank is and who we are, for a shell. Holds names of files, never a secret."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from cinderbank.adapters.s3 import S3Store
from cinderbank.adapters.s3_location import S3Credentials, S3Location
from cinderbank.bank import layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.wrapped_keys import parse_kek
from cinderbank.domain.errors import InvalidSpec

DEFAULT_SITE = "shell"
MAX_FILE_BYTES = 64 * 1024

CREDENTIALS = {
    "access_key_id_file": "AWS_ACCESS_KEY_ID",
    "secret_access_key_file": "AWS_SECRET_ACCESS_KEY",
    "session_token_file": "AWS_SESSION_TOKEN",
}
"""Each credential: the field that names its file, and the variable that is asked without one."""


@dataclass(frozen=True, slots=True)
class BankFile:
    """The fields of a bank file, in YAML in camel case. Paths are relative to the file's folder."""

    folder: Path
    endpoint: str
    bucket: str
    prefix: str = ""
    region: str = ""
    addressing: str = "auto"
    site: str = DEFAULT_SITE
    bank_id: str | None = None
    read_only: bool = False
    access_key_id_file: str | None = None
    secret_access_key_file: str | None = None
    session_token_file: str | None = None
    ca_file: str | None = None
    insecure_skip_verify: bool = False
    key_files: tuple[str, ...] = ()
    plain_backups: bool = False

    @classmethod
    def read(cls, path: Path) -> BankFile:
        """Raises InvalidSpec, which names the file and the field."""
        try:
            with path.open("rb") as file:
                document = yaml.safe_load(file.read(MAX_FILE_BYTES))
        except OSError as error:
            raise InvalidSpec(f"bank file {path}: {error.strerror}") from error
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise InvalidSpec(f"bank file {path} is not YAML: {str(error)[:300]}") from error
        if not isinstance(document, dict):
            raise InvalidSpec(f"bank file {path} is not a mapping; docs/bank-cli.md has an example")
        known = {_camel(field.name): field for field in fields(cls) if field.name != "folder"}
        values: dict[str, Any] = {}
        for name, value in document.items():
            if name not in known:
                raise _wrong(path, str(name)[:80], f"not known; there are {', '.join(known)}")
            values[known[name].name] = _value(path, name, str(known[name].type), value)
        for name in ("endpoint", "bucket"):
            if name not in values:
                raise _wrong(path, name, "missing")
        found = cls(path.parent, **values)
        if not layout.is_site(found.site):
            raise _wrong(path, "site", "not a DNS label, such as paris-1")
        return found

    def path(self, name: str) -> Path:
        return self.folder / Path(name).expanduser()

    def location(self) -> S3Location:
        return S3Location(
            self.endpoint.rstrip("/"),
            self.bucket,
            self.prefix.strip("/"),
            self.region,
            self.addressing.lower(),
            str(self.path(self.ca_file)) if self.ca_file else None,
            self.insecure_skip_verify,
        )

    def credentials(self, environ: Mapping[str, str]) -> S3Credentials:
        """Raises InvalidSpec (CredentialsMissing)."""
        found: dict[str, str | None] = {}
        for field, variable in CREDENTIALS.items():
            named: str | None = getattr(self, field)
            found[field] = _text(self.path(named), field) if named else environ.get(variable)
        access, secret, token = found.values()
        if not access or not secret:
            raise InvalidSpec(
                "no S3 credentials: set accessKeyIDFile and secretAccessKeyFile in the bank file, or"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
                reason="CredentialsMissing",
            )
        return S3Credentials(access, secret, token or None)

    def keks(self) -> tuple[KeyEncryptionKey, ...]:
        """Raises InvalidSpec (BankKeyInvalid)."""
        return tuple(
            parse_kek(_bytes(self.path(name), "key_files"), f"bank file: keyFiles: {name}")
            for name in self.key_files
        )


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join({"id": "ID"}.get(word, word.capitalize()) for word in rest)


def _value(path: Path, name: str, type_: str, value: Any) -> Any:
    if type_ == "bool" and isinstance(value, bool):
        return value
    if type_.startswith("tuple") and isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
    elif type_.startswith("str") and isinstance(value, str):
        return value
    wanted = {"b": "true or false", "t": "a list of strings", "s": "a string"}[type_[0]]
    raise _wrong(path, name, f"not {wanted}")


def _wrong(path: Path, name: str, why: str) -> InvalidSpec:
    return InvalidSpec(f"bank file {path}: {name}: {why}")


def _bytes(path: Path, field: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise InvalidSpec(
            f"bank file: {_camel(field)}: {path} can not be read: {error.strerror}",
            reason="CredentialsMissing",
        ) from None


def _text(path: Path, field: str) -> str:
    # who edits a secret by hand often leaves a line feed at its end
    return _bytes(path, field).decode("utf-8", "replace").strip()


@contextmanager
def open_bank(
    path: Path,
    *,
    writes: bool = False,
    creates: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[StoredBank]:
    """The bank of a bank file, opened; its connections are closed at the end.

    Makes a bank only with `creates`; without `writes` it is read-only whatever the file says. Raises
    InvalidSpec and what `StoredBank.open` raises.
    """
    file = BankFile.read(path)
    store = S3Store(file.location(), file.credentials(environ))
    try:
        if not creates and store.get(layout.BANK, 64 * 1024) is None:
            raise InvalidSpec(
                f"{store.where()} holds no bank; mend endpoint, bucket and prefix in {path}",
                reason="BankNotFound",
            )
        bank = StoredBank(
            store,
            file.site,
            read_only=file.read_only or not writes,
            expected_bank_id=file.bank_id,
            keks=file.keks(),
            accepts_plain=file.plain_backups,
        )
        bank.open()
        yield bank
    finally:
        store.close()
