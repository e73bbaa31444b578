"""Every setting of the operator: one environment variable each, read once, at start.

A wrong value or an unknown CINDERBANK_ name stops the start: a setting with a typing error that
silently does nothing is found out on the night it was needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

PREFIX = "CINDERBANK_"

# A Service called "cinderbank-x" makes the kubelet put CINDERBANK_X_PORT=tcp://... and relatives into
# every Pod of its namespace (enableServiceLinks); these are not ours and not typing errors.
_SERVICE_LINK_NAME = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$"
)
_SERVICE_LINK_VALUE = re.compile(r"^(tcp|udp|sctp)://")
_NAMESPACE = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


class LogFormat(StrEnum):
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseModel):
    """What an installation may choose. Each field is the variable CINDERBANK_<NAME IN CAPITALS>."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespaces: tuple[str, ...] = Field(
        default=(),
        description="Comma separated namespaces to serve; empty serves the whole cluster. "
        "With a list the operator needs no rights beyond these namespaces.",
    )
    log_format: LogFormat = Field(
        default=LogFormat.JSON, description="`json`: one object a line; `text`: for people."
    )
    log_level: LogLevel = Field(
        default=LogLevel.INFO, description="`debug`, `info`, `warning` or `error`."
    )
    listen_address: str = Field(
        default="0.0.0.0",  # noqa: S104 - the kubelet and Prometheus come from outside the Pod
        min_length=1,
        description="Address of /healthz, /readyz and /metrics.",
    )
    listen_port: int = Field(
        default=8080, ge=0, le=65_535, description="Port of the same; 0 takes any free one."
    )
    max_concurrent_ticks: int = Field(
        default=8,
        ge=1,
        le=64,
        description="How many objects are worked on at once. A tick is a few API calls, never the "
        "bytes; each takes one thread.",
    )
    max_concurrent_transfers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="How many transfer processes run at once; other objects wait in phase Queued. "
        "Each takes up to 150 MiB of memory (more with chunks of 16 MiB) and, while it moves "
        "data, more than one CPU if there is one.",
    )
    resync_interval_seconds: PositiveSeconds = Field(
        default=600,
        description="How often everything is listed and compared with what the watches told; a "
        "watch that broke for too long loses deletions.",
    )
    blocked_retry_seconds: PositiveSeconds = Field(
        default=60,
        description="How long an object waits that needs a Secret or a BackupBank that is not "
        "there or not right (a change of the BackupBank wakes it at once).",
    )
    kube_connect_timeout_seconds: PositiveSeconds = Field(
        default=5, description="Connecting to the Kubernetes API."
    )
    kube_read_timeout_seconds: PositiveSeconds = Field(
        default=30, description="Waiting for an answer of the Kubernetes API."
    )
    status_writes_per_second: float = Field(
        default=5,
        gt=0,
        le=1000,
        description="Status writes of all objects together: each rewrites the object in etcd and "
        "goes to every watcher.",
    )
    status_write_burst: int = Field(
        default=20, ge=1, le=10_000, description="How many of them may come at once."
    )
    progress_interval_seconds: PositiveSeconds = Field(
        default=10,
        description="At most so often is progress alone written to one object's status, and only "
        "when it grew by a percent or 30 seconds have passed.",
    )
    connection_cache_size: int = Field(
        default=64,
        ge=1,
        le=10_000,
        description="How many OpenStack connections and how many bank clients are kept.",
    )
    shutdown_grace_seconds: PositiveSeconds = Field(
        default=20,
        description="How long SIGTERM waits for ticks in flight; the Pod's grace period must be "
        "longer.",
    )

    csi_auth_urls: tuple[str, ...] = Field(
        default=(),
        description="Comma separated Keystone URLs, as `auth_url` in clouds.yaml, of the clouds whose "
        "volumes may become PersistentVolumes (spec.target.persistentVolumeClaim of a VolumeRestore): "
        "those of this cluster's Cinder CSI driver. Empty allows none. See docs/kubernetes-volumes.md.",
    )

    @field_validator("namespaces", "csi_auth_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("namespaces")
    @classmethod
    def _check(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for namespace in value:
            if not _NAMESPACE.match(namespace):
                raise ValueError(f"{namespace!r} is not a name of a namespace")
        return tuple(dict.fromkeys(value))


class SettingsError(Exception):
    """The environment does not make Settings; the message names variable, value and way out."""


def installed_version() -> str:
    """Of the package that runs."""
    try:
        return version("cinderbank")
    except PackageNotFoundError:  # a source tree on PYTHONPATH
        return "unreleased"


def variable_name(field: str) -> str:
    return PREFIX + field.upper()


def load_settings(environ: Mapping[str, str], **overrides: Any) -> Settings:
    """Settings from the environment; `overrides` (command-line options) win when not None.

    Raises SettingsError.
    """
    known = {variable_name(field): field for field in Settings.model_fields}
    values: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or _is_service_link(name, value):
            continue
        if name not in known:
            raise SettingsError(
                f"{name} is not a setting. Take it out, or use one of: {', '.join(sorted(known))}"
            )
        values[known[name]] = value
    values.update({field: value for field, value in overrides.items() if value is not None})
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error


def _is_service_link(name: str, value: str) -> bool:
    return bool(
        _SERVICE_LINK_NAME.search(name)
        or (name.endswith("_PORT") and _SERVICE_LINK_VALUE.match(value))
    )


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        field = str(problem["loc"][0])
        means = Settings.model_fields[field]
        lines.append(
            f"{variable_name(field)}={problem['input']!r} is refused: {problem['msg']}. "
            f"It means: {means.description} "
            f"Leave it out for the default ({_shown(means.default)})."
        )
    return "\n".join(lines)


def settings_reference() -> str:
    """docs/reference/settings.md, whole; a test keeps the file equal to it."""
    rows = [
        f"| `{variable_name(name)}` | {_shown(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Environment variables of `cinderbank operator`, read once, at start. A value that is",
            "not accepted, or a `CINDERBANK_` name that is not in this table, stops the start with",
            "exit status 64. `cinderbank operator --help` names the options that override some.",
            "",
            "| variable | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _shown(value: object) -> str:
    if isinstance(value, StrEnum):
        return f"`{value.value}`"
    return "empty" if value == () else f"`{value}`"
