"""One cloud's entry of a project's clouds.yaml, read with suspicion.

Everything is read as text (`project_id: 0123` stays that), aliases are refused (a few lines of them
can stand for gigabytes), and only the keys named here count: no profile is looked up, no file of the
machine is opened, and no plugin is loaded that asks, executes or reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from keystoneauth1 import loading
from keystoneauth1.exceptions import ClientException
from keystoneauth1.loading import BaseLoader
from keystoneauth1.plugin import BaseAuthPlugin

from cinderbank.domain.errors import InvalidSpec

FILE_LIMIT_BYTES = 64 << 10
DEPTH_LIMIT = 20
"""PyYAML needs time that grows with the square of the depth: six seconds for 5000 brackets."""

AUTH_TYPES = (
    "password",
    "v3password",
    "v3applicationcredential",
    "token",
    "v3token",
)
"""The others prompt (v3oidcdeviceauthz), run programs or read files of this machine (v3kerberos,
v3oauth2mtlsclientcredential, v3k8s...), or send nothing that Cinder would take (none, http_basic)."""

_NAME_OF_THEIRS = re.compile(r"(tag handle|alias|anchor) ['\"].*", re.DOTALL)

INTERFACES = ("public", "internal", "admin")
OVERRIDES = {
    "block_storage_endpoint_override": "block-storage",
    "volume_endpoint_override": "block-storage",
    "volumev3_endpoint_override": "block-storage",
    "image_endpoint_override": "image",
    "key_manager_endpoint_override": "key-manager",
}


@dataclass(frozen=True, slots=True)
class Cloud:
    """The keys of an entry that count. `auth` holds secrets and stays out of the repr."""

    name: str
    auth_type: str
    auth_url: str
    auth: Mapping[str, str] = field(repr=False)
    region_name: str | None = None
    interface: str = "public"
    verify: bool = True
    names_cacert: bool = False
    endpoint_overrides: Mapping[str, str] = field(default_factory=dict)
    """Service type to URL."""


def read_cloud(clouds_yaml: Path, cloud_name: str) -> Cloud:
    """The entry of that name. Raises InvalidSpec, which names the key, its value and the way out."""
    try:
        with clouds_yaml.open("rb") as file:
            content = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as exc:
        raise InvalidSpec(f"clouds.yaml cannot be read: {exc.strerror}") from exc
    return parse_cloud(content, cloud_name)


def parse_cloud(content: bytes, cloud_name: str) -> Cloud:
    """As read_cloud, from the file's content."""
    clouds = _load(content).get("clouds")
    if not isinstance(clouds, dict) or not clouds:
        raise InvalidSpec("clouds.yaml has no entry under `clouds`")
    entry = clouds.get(cloud_name)
    if entry is None:
        names = ", ".join(sorted(str(name)[:60] for name in clouds)[:20])
        raise InvalidSpec(f"cloudName {cloud_name!r} is not in clouds.yaml, which has: {names}")
    where = f"clouds.yaml, cloud {cloud_name!r}"
    if not isinstance(entry, dict):
        raise InvalidSpec(f"{where}: it is not a mapping")
    return _cloud(cloud_name, entry, where)


class _TextLoader(yaml.BaseLoader):
    """Mappings, lists and texts, and null for what YAML means by it; no numbers, no objects."""

    def construct_scalar(self, node: yaml.ScalarNode) -> str | None:  # type: ignore[override]
        if node.style is None and node.value in ("", "~", "null", "Null", "NULL"):
            return None
        return str(node.value)


def _load(content: bytes) -> dict[str, object]:
    if len(content) > FILE_LIMIT_BYTES:
        raise InvalidSpec(f"clouds.yaml is longer than {FILE_LIMIT_BYTES} bytes")
    try:
        text = content.decode()
        _refuse_bombs(text)
        loaded = yaml.load(text, _TextLoader)  # noqa: S506 - it makes text, nothing else
    except yaml.MarkedYAMLError as exc:
        # Neither str(exc), which repeats the lines around the fault, passwords and all, nor a name that
        # the problem quotes: `password: !Secret!1` is an undefined tag handle '!Secret!'.
        problem = _NAME_OF_THEIRS.sub(r"\1", exc.problem or "")
        raise InvalidSpec(f"clouds.yaml is not YAML: {_line(exc.problem_mark)}{problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        raise InvalidSpec(f"clouds.yaml is not YAML ({type(exc).__name__})") from None
    if not isinstance(loaded, dict):
        raise InvalidSpec("clouds.yaml is not a mapping with the key `clouds`")
    return loaded


def _line(mark: Any) -> str:
    """Of a yaml.Mark, of which there are two that have nothing in common."""
    return f"line {mark.line + 1}: " if mark else ""


def _refuse_bombs(text: str) -> None:
    """Event by event, before anything is built from them."""
    depth = 0
    for event in yaml.parse(text, _TextLoader):
        if isinstance(event, yaml.AliasEvent):
            raise InvalidSpec(
                f"clouds.yaml has a YAML alias: {_line(event.start_mark)}write the value out, or put a"
                " text that begins with * between quotes"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT:
            raise InvalidSpec(f"clouds.yaml is nested more than {DEPTH_LIMIT} levels deep")


def _cloud(name: str, entry: Mapping[str, object], where: str) -> Cloud:
    auth = entry.get("auth")
    if not isinstance(auth, dict) or not auth:
        raise InvalidSpec(f"{where}: `auth` is missing")
    auth = {key: value for key, value in auth.items() if value is not None}
    if not all(isinstance(value, str) for value in auth.values()):
        raise InvalidSpec(f"{where}: a value under `auth` is not a text")
    for key in ("cert", "key"):
        if entry.get(key):
            raise InvalidSpec(
                f"{where}: `{key}` names a file; client certificates are not supported"
            )
    auth_type = _text(entry, "auth_type", where) or _implied_auth_type(auth)
    if auth_type not in AUTH_TYPES:
        raise InvalidSpec(
            f"{where}: auth_type {auth_type!r} is not supported; use one of {', '.join(AUTH_TYPES)}"
        )
    interface = (_text(entry, "interface", where) or "public").removesuffix("URL")
    if interface not in INTERFACES:
        raise InvalidSpec(f"{where}: interface {interface!r} is none of {', '.join(INTERFACES)}")
    return Cloud(
        name=name,
        auth_type=auth_type,
        auth_url=_auth_url(auth, entry, where),
        auth=auth,
        region_name=_region_name(entry, where),
        interface=interface,
        verify=_verify(entry, where),
        names_cacert=bool(entry.get("cacert")),
        endpoint_overrides={
            service: _http_url(_text(entry, key, where) or "", f"{where}: {key}")
            for key, service in OVERRIDES.items()
            if entry.get(key)
        },
    )


def _implied_auth_type(auth: Mapping[str, str]) -> str:
    """Files made by hand often leave it out; the SDK takes password then, and fails obscurely."""
    if "application_credential_id" in auth or "application_credential_name" in auth:
        return "v3applicationcredential"
    return "token" if "token" in auth and "password" not in auth else "password"


def _auth_url(auth: Mapping[str, str], entry: Mapping[str, object], where: str) -> str:
    url = auth.get("auth_url", "")
    if not url and entry.get("profile"):
        raise InvalidSpec(
            f"{where}: auth.auth_url is missing; `profile` is not looked up, write the URL here"
        )
    if not url:
        raise InvalidSpec(f"{where}: auth.auth_url is missing")
    return _http_url(url, f"{where}: auth.auth_url")


def _http_url(url: str, where: str) -> str:
    try:
        parts = urlsplit(url)
        # A `?` or `#` would swallow the path that is put behind it.
        plain = not (parts.username or {"?", "#"} & set(url))
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and plain
        _ = parts.port
    except ValueError:
        good = False
    if not good or not url.isprintable():
        raise InvalidSpec(f"{where} is not a URL https://host[:port][/path] without user and query")
    return url


def _region_name(entry: Mapping[str, object], where: str) -> str | None:
    if entry.get("region_name"):
        return _text(entry, "region_name", where)
    regions = entry.get("regions")
    if not isinstance(regions, list) or not regions:
        return None
    names = [region.get("name") if isinstance(region, dict) else region for region in regions]
    if len(names) == 1 and isinstance(names[0], str):
        return names[0]
    raise InvalidSpec(f"{where}: `regions` has {len(names)} entries; name one by `region_name`")


def _verify(entry: Mapping[str, object], where: str) -> bool:
    text = (_text(entry, "verify", where) or "true").lower()
    insecure = (_text(entry, "insecure", where) or "false").lower()
    for key, value in (("verify", text), ("insecure", insecure)):
        if value not in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            raise InvalidSpec(f"{where}: {key} {value[:60]!r} is neither true nor false")
    return text in ("true", "yes", "on", "1") and insecure in ("false", "no", "off", "0")


def _text(entry: Mapping[str, object], key: str, where: str) -> str | None:
    value = entry.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 1000:
        raise InvalidSpec(f"{where}: `{key}` is not a (short) text")
    return value


def auth_plugin(cloud: Cloud) -> BaseAuthPlugin:
    """The keystoneauth plugin of the entry; nothing is sent. Raises InvalidSpec for missing keys."""
    loader: BaseLoader[BaseAuthPlugin] = loading.get_plugin_loader(cloud.auth_type)
    values: dict[str, str] = {}
    for option in loader.get_options():
        for name in (option, *option.deprecated):
            if cloud.auth.get(name.dest):
                values.setdefault(option.dest, cloud.auth[name.dest])
    for key in _needed(cloud):
        if not any(values.get(name) for name in key.split("|")):
            raise InvalidSpec(
                f"clouds.yaml, cloud {cloud.name!r}: auth.{key.replace('|', ' or auth.')} is missing"
            )
    try:
        plugin: BaseAuthPlugin = loader.load_from_options(**values)
    except (ClientException, TypeError, ValueError) as exc:
        raise InvalidSpec(f"clouds.yaml, cloud {cloud.name!r}: {exc}") from None
    return plugin


def _needed(cloud: Cloud) -> tuple[str, ...]:
    """What Keystone would refuse, or what would give a token that no volume service takes."""
    if cloud.auth_type == "v3applicationcredential":
        return (
            "application_credential_id|application_credential_name",
            "application_credential_secret",
        )
    project = ("project_id|project_name|trust_id",)
    if cloud.auth_type in ("token", "v3token"):
        return ("token",)
    return ("username|user_id", "password", *project)
