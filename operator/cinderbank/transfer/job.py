"""The job file: what a transfer process does, and where the files are that hold its secrets.

Written by the operator for its own child; parsed strictly all the same, because a Pod may run an
older image than the operator that made its job. Holds no secret itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from cinderbank.bank.chunk import DEFAULT_CHUNK_BYTES
from cinderbank.domain.errors import InvalidSpec
from cinderbank.ports.transfers import (
    BackupTransfer,
    CompareTransfer,
    CopyTransfer,
    RestoreTransfer,
    Transfer,
)

JOB_VERSION = 1
KINDS: dict[str, type[Transfer]] = {
    "backup": BackupTransfer,
    "restore": RestoreTransfer,
    "compare": CompareTransfer,
    "copy": CopyTransfer,
}


@dataclass(frozen=True, slots=True)
class BankJob:
    """Which bank; `credentials_file` holds JSON: access_key, secret_key and maybe session_token."""

    endpoint_url: str
    bucket: str
    prefix: str
    region: str
    addressing: str
    credentials_file: str
    site: str
    read_only: bool = False
    bank_id: str | None = None
    ca_file: str | None = None
    insecure_skip_tls_verify: bool = False
    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    keys_file: str | None = None
    """JSON: a list of the bank's keys, each base64; None in a bank without encryption."""
    accepts_plain: bool = False
    bandwidth_bytes_per_second: int | None = None
    """To and from the bank, by this process; None: as fast as it goes."""


@dataclass(frozen=True, slots=True)
class CloudJob:
    """Which cloud of which clouds.yaml."""

    clouds_file: str
    cloud_name: str
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    bank: BankJob
    cloud: CloudJob | None
    """None exactly in a copy."""
    transfer: Transfer
    target: BankJob | None = None
    """The bank that a copy goes to; exactly a copy has one."""


def dump(job: Job) -> str:
    kind = next(name for name, each in KINDS.items() if isinstance(job.transfer, each))
    return json.dumps({"version": JOB_VERSION, "kind": kind, **asdict(job)}, default=_encode)


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a job")


def load(path: Path) -> Job:
    """Read a job file. InvalidSpec (InvalidJob) names the field that is wrong."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _bad(str(path), f"not readable as JSON: {error}") from error
    if not isinstance(document, dict) or document.get("version") != JOB_VERSION:
        raise _bad("version", f"not {JOB_VERSION}")
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _bad("kind", f"not one of {', '.join(KINDS)}")
    copies = KINDS[kind] is CopyTransfer
    return Job(
        bank=_bank(document, "bank"),
        cloud=None if copies else _decode(document.get("cloud"), CloudJob, "cloud"),
        transfer=_decode(document.get("transfer"), KINDS[kind], "transfer"),
        target=_bank(document, "target") if copies else None,
    )


def _bank(document: Mapping[str, Any], name: str) -> BankJob:
    bank: BankJob = _decode(document.get(name), BankJob, name)
    limit = bank.bandwidth_bytes_per_second
    if limit is not None and limit < 1:
        raise _bad(f"{name}.bandwidth_bytes_per_second", f"{limit} is less than 1")
    return bank


def _bad(name: str, why: str) -> InvalidSpec:
    return InvalidSpec(f"transfer job: {name}: {why}", reason="InvalidJob")


def _decode(value: Any, wanted: Any, name: str) -> Any:
    """A value of the type that a dataclass' annotation asks for."""
    wanted = getattr(wanted, "__supertype__", wanted)  # a NewType is its base at run time
    origin = get_origin(wanted)
    if origin in (UnionType, Union):
        inner = [option for option in get_args(wanted) if option is not NoneType]
        return None if value is None else _decode(value, inner[0], name)
    if is_dataclass(wanted):
        return _decode_fields(value, cast("type[Any]", wanted), name)
    if origin is Mapping:
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        if not all(isinstance(key, str) and isinstance(item, str) for key, item in pairs):
            raise _bad(name, "not an object of strings")
        return dict(value)
    if wanted is datetime:
        return _moment(value, name)
    # Not isinstance: true is no integer here.
    if type(value) is not wanted:
        raise _bad(name, f"not a {wanted.__name__}")
    return value


def _decode_fields(value: Any, wanted: type[Any], name: str) -> Any:
    if not isinstance(value, dict):
        raise _bad(name, "not an object")
    known = {field.name for field in fields(wanted)}
    if set(value) - known:
        raise _bad(name, f"unknown fields {sorted(set(value) - known)}")
    types = get_type_hints(wanted)
    arguments = {key: _decode(item, types[key], f"{name}.{key}") for key, item in value.items()}
    try:
        return wanted(**arguments)
    except TypeError as error:
        raise _bad(name, f"a field is missing: {error}") from error


def _moment(value: Any, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise _bad(name, "not a time of ISO 8601") from error
    if moment.tzinfo is None:
        raise _bad(name, "a time without its offset from UTC")
    return moment
