"""A cloud on loopback that answers as it is told: Keystone, and scripts for Cinder and Glance.

A real HTTP server, so that token, discovery, time-outs, resets and retries are those of the SDK.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PROJECT = "0123456789abcdef0123456789abcdef"
PASSWORD = "pass-word-of-the-member"
REQUEST_ID = "req-11111111-2222-4333-8444-555555555555"


@dataclass
class Answer:
    """What to send for one request."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    from_service: bool = True
    promised_bytes: int | None = None
    """A Content-Length that is not kept."""


class Reset:
    """The connection is reset after the request has been read."""


class Silence:
    """No answer until the cloud closes."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Cloud:
    """Scripts are consumed in order, the last one stays. What has none is a 404 of the service."""

    def __init__(self) -> None:
        self._scripts: dict[tuple[str, str], deque[Answer | Reset | Silence]] = defaultdict(deque)
        self.requests: list[Request] = []
        self.tokens = 0
        self.login: Answer | Reset | Silence | None = None
        self.regions = {"volumev3": ["One"], "image": ["One"]}
        self.project: str | None = PROJECT
        self.ending = threading.Event()
        self.heard_in_silence = threading.Event()
        """A request has come that gets no answer."""
        handler = type("Handler", (_Handler,), {"cloud": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Cloud:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()

    def cinder(self, method: str, path: str, *answers: Answer | Reset | Silence) -> None:
        self._scripts[method, f"/volume/v3/{PROJECT}{path}"].extend(answers)

    def glance(self, method: str, path: str, *answers: Answer | Reset | Silence) -> None:
        self._scripts[method, f"/image/v2{path}"].extend(answers)

    def key_manager(self, method: str, path: str, *answers: Answer | Reset | Silence) -> None:
        self._scripts[method, f"/key-manager/v1{path}"].extend(answers)

    def asked(self, method: str, ending: str) -> list[Request]:
        return [it for it in self.requests if it.method == method and it.path.endswith(ending)]

    def clouds_yaml(self, **changes: object) -> dict[str, Any]:
        """The content of a good clouds.yaml, with the cloud `here`."""
        auth = {
            "auth_url": f"{self.url}/identity/v3",
            "username": "member",
            "password": PASSWORD,
            "project_id": PROJECT,
            "user_domain_name": "Default",
        }
        return {"clouds": {"here": {"auth": auth, "region_name": "One"} | changes}}

    def answer_to(self, request: Request) -> Answer | Reset | Silence:
        self.requests.append(request)
        built_in = self._built_in(request)
        if built_in is not None:
            return built_in
        script = self._scripts.get((request.method, request.path))
        if not script:
            return Answer(404, {"itemNotFound": {"code": 404, "message": "nothing here"}})
        return script.popleft() if len(script) > 1 else script[0]

    def _built_in(self, request: Request) -> Answer | Reset | Silence | None:
        if request.path == "/identity/v3/auth/tokens":
            if self.login is not None:
                return self.login
            self.tokens += 1
            return Answer(201, self._token(), {"X-Subject-Token": f"gAAAAA{self.tokens:040}"})
        root = request.path.rstrip("/")
        if root == "/identity/v3":
            return Answer(200, {"version": self._version("v3.14", "/identity/v3/")})
        if root in ("/volume/v3", "/volume"):
            version = self._version("v3.0", "/volume/v3/") | {
                "min_version": "3.0",
                "version": "3.71",
            }
            return Answer(200, {"versions": [version]})
        if root == "/image":
            return Answer(200, {"versions": [self._version("v2.17", "/image/v2/")]})
        return None

    def _version(self, name: str, path: str) -> dict[str, Any]:
        links = [{"rel": "self", "href": f"{self.url}{path}"}]
        return {"id": name, "status": "CURRENT", "links": links}

    def _token(self) -> dict[str, Any]:
        paths = {
            "volumev3": f"/volume/v3/{PROJECT}",
            "image": "/image",
            "key-manager": "/key-manager",
        }
        token: dict[str, Any] = {
            "methods": ["password"],
            "expires_at": "2999-01-01T00:00:00.000000Z",
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "member", "domain": {"id": "default", "name": "Default"}},
            "catalog": [
                {
                    "type": kind,
                    "name": kind,
                    "endpoints": [
                        {
                            "interface": "public",
                            "region": it,
                            "region_id": it,
                            "url": self.url + paths[kind],
                        }
                        for it in regions
                    ],
                }
                for kind, regions in self.regions.items()
            ],
        }
        if self.project:
            domain = {"id": "default", "name": "Default"}
            token["project"] = {"id": self.project, "name": "alpha", "domain": domain}
        return {"token": token}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    cloud: Cloud
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment, or delayed ACKs cost 40 ms a call

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(
            self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers.items()), body
        )
        match self.cloud.answer_to(request):
            case Answer() as answer:
                self._send(answer)
            case Reset():
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
            case Silence():
                self.cloud.heard_in_silence.set()
                self.cloud.ending.wait()
                self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _send(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.body is None:
            body = b""
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json"} | answer.headers
        if answer.from_service:
            headers = {"x-openstack-request-id": REQUEST_ID} | headers
        for name, value in headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(answer.promised_bytes or len(body)))
        self.end_headers()
        self.wfile.write(body)
        if answer.promised_bytes:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
