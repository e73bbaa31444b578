"""Sends one call to Cinder or Glance through the SDK's proxy and checks the answer.

The SDK's resource layer is passed by: it chooses microversions by itself, adds properties, and takes
whatever the service sends. Its proxy gives what is wanted: token, endpoint, pool, time-outs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import requests
from openstack.proxy import Proxy

from cinderbank.adapters.openstack.errors import (
    EXCEPTIONS,
    UNEXPECTED_ANSWER,
    Call,
    refusal,
    translated,
)
from cinderbank.domain.errors import InvalidSpec, OutcomeUnknown, Unavailable

Facts = TypeVar("Facts")

READ_RETRIES = 1
RETRY_DELAY_SECONDS = 0.2
PAGES_LIMIT = 500
OCTETS = "application/octet-stream"
LISTING_LIMIT_BYTES = 96 << 20
"""All pages of a list together; some 30000 volumes."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    """Every id of Cinder and Glance is one; anything else would become a piece of a URL's path."""
    return _UUID.fullmatch(text) is not None


def uuid(text: str, what: str) -> str:
    """The id itself. Raises InvalidSpec when it is none."""
    if not is_uuid(text):
        raise InvalidSpec(f"{what} id {text[:80]!r} is not a UUID")
    return text


def read(
    proxy: Proxy,
    path: str,
    call: Call,
    *,
    params: Mapping[str, str] | None = None,
    microversion: str | None = None,
) -> dict[str, Any]:
    """GET; tried once more when the connection fails.

    Not on 503: keystoneauth would sleep for as long as Retry-After says, and the caller knows better
    what to do with that time.
    """
    return _body(_got(proxy, path, call, params=params, microversion=microversion), call)


def _got(
    proxy: Proxy,
    path: str,
    call: Call,
    *,
    params: Mapping[str, str] | None,
    microversion: str | None,
) -> requests.Response:
    response = _get(proxy, path, call, params=dict(params or {}), microversion=microversion)
    if response.status_code != 200:
        raise refusal(response, call)
    return response


def _get(proxy: Proxy, path: str, call: Call, **options: Any) -> requests.Response:
    return _request(
        proxy,
        "GET",
        path,
        call,
        connect_retries=READ_RETRIES,
        connect_retry_delay=RETRY_DELAY_SECONDS,
        status_code_retries=0,
        **options,
    )


def pages(
    proxy: Proxy,
    path: str,
    call: Call,
    *,
    key: str,
    params: Mapping[str, str],
    microversion: str | None = None,
) -> Iterator[Mapping[str, Any]]:
    """All items of a list, page by page.

    The links to the next page are not followed, only believed to mean that there is one: behind a
    proxy they often name a host or a scheme that cannot be reached from outside (Cinder's
    public_endpoint, Glance's oslo_middleware.enable_proxy_headers_parsing).
    """
    marker: str | None = None
    seen: set[str] = set()
    left_bytes = LISTING_LIMIT_BYTES
    for _ in range(PAGES_LIMIT):
        asked = dict(params) | ({"marker": marker} if marker else {})
        response = _got(proxy, path, call, params=asked, microversion=microversion)
        left_bytes -= len(response.content)
        if left_bytes < 0:
            raise unexpected(call, f"the list is longer than {LISTING_LIMIT_BYTES} bytes")
        body = _body(response, call)
        items = body.get(key)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise unexpected(call, f"`{key}` is not a list of objects")
        yield from items
        if not items or not (body.get(f"{key}_links") or body.get("next")):
            return
        marker = items[-1].get("id")
        if not isinstance(marker, str) or marker in seen:
            raise unexpected(call, "the next page does not go on after this one")
        seen.add(marker)
    raise unexpected(call, f"there are more than {PAGES_LIMIT} pages")


def read_bytes(proxy: Proxy, path: str, call: Call, *, limit: int) -> bytes:
    """GET of bytes, as `read`; never repeated in an error, and never more than `limit` in memory."""
    headers = {"Accept": OCTETS, "Accept-Encoding": "identity"}
    response = _get(proxy, path, call, headers=headers, stream=True)
    body = bytearray()
    try:
        for block in response.iter_content(limit + 1):
            body += block
            if len(body) > limit:
                break
    except EXCEPTIONS as exc:
        raise translated(exc, call) from exc
    finally:
        response.close()
    if response.status_code != 200:
        response._content = bytes(body)  # or reading its refusal would know no bound
        raise refusal(response, call)
    if len(body) > limit:
        raise unexpected(call, f"it is longer than {limit} bytes")
    return bytes(body)


def write(
    proxy: Proxy,
    method: str,
    path: str,
    call: Call,
    *,
    expected: tuple[int, ...],
    json: Mapping[str, Any] | None = None,
    microversion: str | None = None,
    quotes_us: bool = False,
) -> requests.Response:
    """POST or DELETE, sent once. The answer has one of the expected statuses. With `quotes_us` nothing of
    a refusal is repeated but its status: `json` holds a secret."""
    if call.makes:
        _have_token(proxy, call)
    response = _request(
        proxy,
        method,
        path,
        call,
        json=json,
        microversion=microversion,
        # connect_retries would also send again what was reset after it had arrived.
        connect_retries=0,
        status_code_retries=0,
    )
    if response.status_code not in expected:
        raise refusal(response, call, quotes_us=quotes_us)
    return response


def made(response: requests.Response, call: Call, parse: Callable[[Any], Facts]) -> Facts:
    """What a create answered. An answer that makes no sense does not undo it: OutcomeUnknown."""
    try:
        return parse(_body(response, call))
    except Unavailable as exc:
        raise OutcomeUnknown(exc.message, status_code=response.status_code) from exc


def unexpected(call: Call, what: str) -> Unavailable:
    """For an answer that is well-formed HTTP and not what the API reference says."""
    return Unavailable(f"{call}: unexpected answer: {what}", reason=UNEXPECTED_ANSWER)


def _have_token(proxy: Proxy, call: Call) -> None:
    """A Keystone that does not answer must not look like a create whose answer got lost."""
    try:
        proxy.session.get_token()
    except EXCEPTIONS as exc:
        raise translated(
            exc, Call("log in to", f"the cloud to {call.verb} {call.resource}")
        ) from exc


def _request(proxy: Proxy, method: str, path: str, call: Call, **kwargs: Any) -> requests.Response:
    try:
        return proxy.request(path, method, raise_exc=False, **kwargs)
    except EXCEPTIONS as exc:
        raise translated(exc, call) from exc


def _body(response: requests.Response, call: Call) -> dict[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError) as exc:
        raise unexpected(call, "it is not JSON") from exc
    if not isinstance(body, dict):
        raise unexpected(call, "it is not a JSON object")
    return body
