"""/healthz, /readyz and /metrics, from a thread that no event loop and no tick can hold up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

log = logging.getLogger(__name__)

Check = Callable[[], list[str]]
"""What is wrong right now, in words; empty when nothing is."""


class ProbeServer:
    """Answers until `close`; a check that raises counts as wrong."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        healthz: Check,
        readyz: Check,
        metrics: Callable[[], tuple[bytes, str]],
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # a peer that sends nothing must not keep a thread

            def do_GET(self) -> None:
                match self.path.split("?", 1)[0]:
                    case "/healthz":
                        self._answer(*_verdict(healthz))
                    case "/readyz":
                        self._answer(*_verdict(readyz))
                    case "/metrics":
                        body, content_type = metrics()
                        self._answer(200, body, content_type)
                    case _:
                        self._answer(404, b"not found: try /healthz, /readyz or /metrics\n")

            def _answer(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                log.debug(format, *args)

        self._server = ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="probes", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on (of use when 0 was asked for)."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _verdict(check: Check) -> tuple[int, bytes]:
    try:
        wrong = check()
    except Exception:
        log.exception("a probe's check failed")
        wrong = ["the check itself failed; see the log"]
    if wrong:
        return 503, ("\n".join(wrong) + "\n").encode()
    return 200, b"ok\n"
