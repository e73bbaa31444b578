"""A gate in front of the S3 server: it hands on, counts, and holds what a test tells it to.

The bytes, the Host and with it the signature stay what they were, so the server sees the client's own
requests. What is held is never handed on: to the server it was not sent.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LIMIT_SECONDS = 600.0
"""Only what never comes is given up."""


@dataclass
class Hold:
    """Requests that stand at the gate: all that fit, but for the first `passing` from now on.

    `part` is of the key below the bank's prefix; with a `$` at its end, of the end of it. A DELETE is of
    each key that a multi-object delete names.
    """

    verb: str
    part: str
    passing: int = 0
    _came: threading.Event = field(default_factory=threading.Event, repr=False)
    _over: threading.Event = field(default_factory=threading.Event, repr=False)

    def fits(self, verb: str, key: str) -> bool:
        key = key.rpartition("/sites/")[2]
        return verb == self.verb and self.part.removesuffix("$") in (
            key[-len(self.part) + 1 :] if self.part.endswith("$") else key
        )

    def wait(self) -> None:
        """Until the first one stands here."""
        if not self._came.wait(LIMIT_SECONDS):
            raise TimeoutError(f"no {self.verb} of {self.part} came to the gate")

    def stand(self) -> None:
        self._came.set()
        self._over.wait()

    def end(self) -> None:
        """Who stands here is sent away without an answer."""
        self._over.set()


class Gate:
    """Listens on loopback in front of `upstream`, an http:// endpoint. Close it at the end."""

    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        assert address.scheme == "http" and address.hostname and address.port, upstream
        self.upstream = (address.hostname, address.port)
        self.answered: Counter[tuple[str, str]] = Counter()
        """Verb and key (with the bank's prefix) of what the server has done: status below 300."""
        self._lock = threading.Lock()
        self._holds: list[Hold] = []
        handler = type("Handler", (_Handler,), {"gate": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        for hold in list(self._holds):
            self.end(hold)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def holding(self, hold: Hold) -> Iterator[Hold]:
        """From now on, until `end` or the end of the block."""
        with self._lock:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            self.end(hold)

    def end(self, hold: Hold) -> None:
        """Let pass what comes from now on; who stands there is sent away. Idempotent."""
        with self._lock:
            self._holds = [each for each in self._holds if each is not hold]
        hold.end()

    def done(self, verb: str, part: str) -> Counter[str]:
        """How often the server did this verb, by key, of the keys that `part` is in."""
        with self._lock:
            rows = list(self.answered.items())
        return Counter({key: count for (did, key), count in rows if did == verb and part in key})

    def come(self, verb: str, keys: Sequence[str]) -> Hold | None:
        """The hold that stops this request, if one does."""
        with self._lock:
            for hold in self._holds:
                if any(hold.fits(verb, key) for key in keys):
                    if hold.passing <= 0:
                        return hold
                    hold.passing -= 1
        return None

    def note(self, verb: str, keys: Sequence[str]) -> None:
        with self._lock:
            self.answered.update((verb, key) for key in keys)


def what(method: str, target: str, body: bytes) -> tuple[str, list[str]]:
    """Verb and keys, bucket included; of a multi-object delete each key, without the bucket."""
    address = urlsplit(target)
    if method == "POST" and "delete" in parse_qs(address.query, keep_blank_values=True):
        return "DELETE", [key.decode() for key in re.findall(rb"<Key>([^<]*)</Key>", body)]
    return method, [unquote(address.path)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    gate: Gate
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.upstream = http.client.HTTPConnection(*self.gate.upstream, timeout=LIMIT_SECONDS)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        verb, keys = what(self.command, self.path, body)
        hold = self.gate.come(verb, keys)
        if hold is not None:
            hold.stand()
            self.close_connection = True
            return
        self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            self.upstream.putheader(name, value)
        self.upstream.endheaders(body or None)
        answer = self.upstream.getresponse()
        content = answer.read()
        if answer.status < 300:
            self.gate.note(verb, keys)
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _hand_on  # noqa: N815 - http.server's names

    def log_message(self, *arguments: object) -> None: ...
