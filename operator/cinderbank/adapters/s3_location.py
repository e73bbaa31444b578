"""Where a bank is and who may use it: checked values, no SDK."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cinderbank.domain.errors import InvalidSpec

ADDRESSINGS = ("auto", "path", "virtual")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """Never printed: the repr hides what is secret."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class S3Location:
    """Where a bank is. `prefix` without slashes at its ends; `addressing` is auto, path or virtual
    (auto: virtual at AWS, path elsewhere). `ca_file` replaces the system's CAs."""

    endpoint_url: str
    bucket: str
    prefix: str = ""
    region: str = ""
    addressing: str = "auto"
    ca_file: str | None = None
    insecure_skip_tls_verify: bool = False

    def check(self) -> None:
        """Raise InvalidSpec, naming the field that is wrong."""
        url = urlsplit(self.endpoint_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/"):
            raise _invalid("endpoint", self.endpoint_url, "https://host or https://host:port")
        if url.username or url.query or url.fragment:
            raise InvalidSpec(
                "bank endpoint: holds credentials or a query; it must be https://host or "
                "https://host:port, credentials belong in the Secret"
            )
        if not _BUCKET.fullmatch(self.bucket):
            raise _invalid("bucket", self.bucket, "a bucket name of S3")
        if self.prefix and not _PREFIX.fullmatch(self.prefix):
            raise _invalid(
                "prefix", self.prefix, "names of A-Z a-z 0-9 . _ - between single slashes"
            )
        if {".", ".."} & set(self.prefix.split("/")):
            raise _invalid("prefix", self.prefix, "names other than . and ..")
        if self.addressing not in ADDRESSINGS:
            raise _invalid("addressing", self.addressing, "one of " + ", ".join(ADDRESSINGS))


def _invalid(name: str, value: str, wanted: str) -> InvalidSpec:
    return InvalidSpec(f"bank {name} {value[:200]!r}: it must be {wanted}")
