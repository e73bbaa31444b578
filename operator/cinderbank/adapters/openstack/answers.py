"""What an HTTP answer of OpenStack says in words: bounded, without mark-up and without secrets."""

from __future__ import annotations

import html
import re

import requests

TEXT_LIMIT = 400
"""Characters of a foreign text that a message of ours repeats."""

_SCANNED = 16_384
_HEADING = re.compile(r"(?is)<(title|h1)[^>]{0,200}>.{0,200}?</\1>")
"""Glance answers in HTML whatever was asked for, and says the status twice before the reason."""

_MARKUP = re.compile(r"<[^>]{0,200}>")
_BLANKS = re.compile(r"\s+")
_SECRETS = (
    (re.compile(r"gAAAA[\w=-]{20,}"), "<token>"),
    (re.compile(r"(?i)(x-(?:auth|subject|service)-token['\"]?\s*[:=]\s*)\S+"), r"\1<token>"),
    (
        re.compile(
            r"(?i)((?:password|secret|passcode)['\"]?\s*[:=]\s*)('[^']*'|\"[^\"]*\"|[^\s,'\"}]+)"
        ),
        r"\1<secret>",
    ),
    (re.compile(r"(?i)([?&](?:token|signature|x-amz-[\w-]+)=)[^&\s]+"), r"\1<secret>"),
    (re.compile(r"(://)[^/\s@]{1,300}@"), r"\1<secret>@"),
)


def tidy(text: str) -> str:
    """One line of at most TEXT_LIMIT characters, without mark-up, tokens and passwords."""
    text = _MARKUP.sub(" ", _HEADING.sub(" ", text[:_SCANNED]))
    text = _BLANKS.sub(" ", html.unescape(text)).strip()
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    text = "".join(char for char in text if char.isprintable())
    return text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 3]}..."


def said(response: requests.Response) -> str:
    """The service's own words: Cinder's {"badRequest": {"message"}}, Keystone's {"error": ...},
    Glance's {"message"} or HTML, and the list of the API guidelines; else the body's start.

    Only the reason phrase of what is no OpenStack service: a project names the host, and the body of
    whatever else answers in the operator's network is not for it to read.
    """
    if request_id(response) is None:
        return tidy(response.reason or "")
    try:
        content = response.content
    except (requests.exceptions.RequestException, RuntimeError):
        return response.reason or ""  # a streamed body that broke off or was read by somebody else
    if "json" in response.headers.get("Content-Type", ""):
        try:
            return tidy(_message_in(response.json()))
        except (ValueError, RecursionError):
            pass
    return tidy(content[:_SCANNED].decode("utf-8", "replace")) or tidy(response.reason or "")


def _message_in(body: object) -> str:
    if isinstance(body, dict):
        if isinstance(body.get("message"), str):
            return str(body["message"])
        errors = body.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            return " ".join(str(errors[0].get(key, "")) for key in ("title", "detail"))
        for value in body.values():
            if isinstance(value, dict) and isinstance(value.get("message"), str):
                return str(value["message"])
    return str(body)[:_SCANNED]


def request_id(response: requests.Response) -> str | None:
    """The id under which the cloud's logs hold this call; every OpenStack service sends one."""
    for header in ("x-openstack-request-id", "x-compute-request-id"):
        value = response.headers.get(header)
        if value:
            return tidy(value)[:100]
    return None


def retry_after_seconds(response: requests.Response) -> float | None:
    """Retry-After in seconds; None for a date, and for the 0 that Cinder sends with every quota error."""
    value = response.headers.get("Retry-After", "")
    if not re.fullmatch(r"\d{1,6}", value):
        return None
    return float(value) or None
