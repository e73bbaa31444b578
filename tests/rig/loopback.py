"""One HTTP request to a server of the rig, without the proxies that a machine may have set.

urllib would send even 127.0.0.1 to $http_proxy unless $no_proxy says otherwise.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def request(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    *,
    context: ssl.SSLContext | None = None,
    timeout_s: float = 120,
) -> Answer:
    """The whole answer, whatever its status; OSError when there was none."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target or "/", body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    except http.client.HTTPException as error:
        # A server that is just starting or dying may answer half a line: as good as no answer.
        raise ConnectionError(f"{url}: {error!r}") from error
    finally:
        connection.close()


def answers(url: str, context: ssl.SSLContext | None = None, *, with_text: bytes = b"") -> bool:
    """Whether a GET gives 200 and the text within ten seconds; never raises for a dead server."""
    try:
        answer = request("GET", url, context=context, timeout_s=10)
    except OSError:
        return False
    return answer.status == 200 and with_text in answer.body


def unverified() -> ssl.SSLContext:
    """For a server that signs its own certificate, in memory, at every start."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
