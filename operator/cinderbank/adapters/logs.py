"""Log lines: JSON or text on stderr, with what the tick is about, and never a secret.

Code does not log secrets; the redaction here is the last net, for texts of SDKs and of clouds.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

REDACTED = "***"

_context: ContextVar[Mapping[str, str]] = ContextVar("cinderbank_log_context", default={})  # noqa: B039

NOISY = {
    "urllib3": logging.WARNING,
    "openstack": logging.WARNING,
    "keystoneauth": logging.WARNING,
    "kubernetes": logging.WARNING,
    "asyncio": logging.WARNING,
    "kopf": logging.WARNING,
    # says at WARNING that it does not take the signal handlers, which is what we want
    "kopf._core.reactor.running": logging.ERROR,
    # each 404 of a look-up is a line there
    "keystoneauth.session": logging.ERROR,
}

_TELLING_KEYS = (
    r"password|passwd|passphrase|secret|secret[-_]?access[-_]?key|secret[-_]?key|"
    r"access[-_]?key[-_]?id|access[-_]?key|private[-_]?key|api[-_]?key|client[-_]?secret|"
    r"application[-_]credential[-_]secret|(?:auth[-_]?|subject[-_]?)?token|authorization"
)
_PATTERNS = (
    # key: value, key=value, "key": "value", 'aws_secret_access_key': ... Nothing of any length stands in
    # front: a text of many words would be searched anew from each, while all other threads wait.
    re.compile(
        rf"""(?ix)((?:{_TELLING_KEYS})["']?\s*[:=]\s*)"""
        r"""(?:"[^"]*"|'[^']*'|(?:bearer|basic|aws4-hmac-sha256)\s+[^\s,;]+|[^\s,;&}\]]+)"""
    ),
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}"),
    # presigned URLs
    re.compile(r"(?i)(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"']+"),
    # user:password@host
    re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)"),
    # Keystone's Fernet tokens
    re.compile(r"()\bgAAAA[A-Za-z0-9_-]{40,}={0,2}"),
)
_PEM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
)


def redact(text: str) -> str:
    """`text` with everything that looks like a secret put out of sight."""
    text = _PEM.sub(REDACTED, text)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{REDACTED}", text)
    return text


@contextmanager
def logging_about(**fields: str) -> Iterator[None]:
    """Every line logged inside, by whatever library, carries these fields."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class _Formatter(logging.Formatter):
    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        found = {key: str(value) for key, value in _context.get().items() if value}
        extra = getattr(record, "fields", None)
        if isinstance(extra, Mapping):
            found.update({str(key): str(value) for key, value in extra.items()})
        return found

    def _message(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        return redact(message)

    def _time(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(_Formatter):
    """One object a line: time, level, logger, message, then what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {key: redact(value) for key, value in self._fields(record).items()}
        line = {
            "time": self._time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        return json.dumps({**fields, **line, **{k: v for k, v in fields.items() if k not in line}})


class TextFormatter(_Formatter):
    """For people. Lines that go on, such as those of a traceback, are indented: what a bank or a cloud
    says must not look like a line of ours, nor move a terminal's cursor."""

    def format(self, record: logging.LogRecord) -> str:
        about = " ".join(f"{key}={redact(value)}" for key, value in self._fields(record).items())
        message = "\n    ".join(map(_printable, self._message(record).split("\n")))
        line = f"{self._time(record)} {record.levelname:7} {message}"
        return f"{line}  [{_printable(about)}]" if about else line


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def configure_logs(*, as_json: bool, level: str) -> None:
    """Take the root logger over; what is noisy is heard from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(least, root.level))
