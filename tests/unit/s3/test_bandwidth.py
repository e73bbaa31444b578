"""An allowance of bytes, on a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cinderbank.adapters.bandwidth import BURST_SECONDS, PIECE_BYTES, Bandwidth
from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.s3_retry import Retries

RATE = 1_000_000


class Time:
    """Only sleeping moves it; what threads sleep side by side passes once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def limited(rate: int = RATE) -> tuple[Bandwidth, Time]:
    time = Time()
    return Bandwidth(rate, time.clock, time.sleep), time


def test_bytes_take_their_time() -> None:
    bandwidth, time = limited()
    for _ in range(100):
        bandwidth.take(50_000)
    assert time.now == pytest.approx(5.0)


def test_what_was_not_used_is_given_later_but_not_more_than_a_burst() -> None:
    bandwidth, time = limited()
    time.now += 3600
    began = time.now
    bandwidth.take(int(RATE * BURST_SECONDS))
    assert time.slept == []
    bandwidth.take(RATE)
    assert time.now - began == pytest.approx(1.0)


def test_all_who_ask_at_once_share_it() -> None:
    """Nobody's sleep has passed yet when the next one asks: each waits behind all before."""
    waits: list[float] = []
    bandwidth = Bandwidth(RATE, lambda: 0.0, waits.append)
    for _ in range(4):
        bandwidth.take(RATE)
    assert waits == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_a_body_goes_in_pieces_and_stays_the_same() -> None:
    bandwidth, time = limited()
    body = (b"header", bytes(range(256)) * 1000, memoryview(b"tail"), b"")
    pieces = list(bandwidth.pieces(body))
    assert b"".join(pieces) == b"".join(body)
    assert max(map(len, pieces)) == PIECE_BYTES
    assert time.now == pytest.approx(256_010 / RATE)


@pytest.mark.parametrize("rate", [0, -1])
def test_a_bandwidth_that_moves_nothing_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="moves nothing"):
        Bandwidth(rate)


class OneObject(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes] = {}  # noqa: RUF012

    def do_PUT(self) -> None:
        assert "Transfer-Encoding" not in self.headers
        self.objects[self.path.partition("?")[0]] = self.rfile.read(
            int(self.headers["Content-Length"])
        )
        self._answer(200)

    def do_GET(self) -> None:
        self._answer(200, self.objects[self.path.partition("?")[0]])

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneObject)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("is_limited", [False, True])
def test_a_store_sends_and_reads_no_faster(endpoint: str, is_limited: bool) -> None:
    bandwidth, time = limited()
    store = S3Store(
        S3Location(endpoint, "bucket", addressing="path"),
        S3Credentials("a", "s"),
        Retries(tries=1),
        bandwidth=bandwidth if is_limited else None,
    )
    body = bytes(range(256)) * 2000
    try:
        assert store.put("key", (body[:40], memoryview(body)[40:]))
        assert time.now == pytest.approx(0.512 if is_limited else 0.0)
        assert store.get("key", len(body)) == body
        assert time.now == pytest.approx(1.024 if is_limited else 0.0)
    finally:
        store.close()
