"""The S3 door against a server that answers what a test tells it: retries, bounds, no secrets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.s3_pool import ANSWER_BYTES
from cinderbank.adapters.s3_retry import Retries
from cinderbank.domain.errors import (
    AuthRefused,
    CinderbankError,
    DataCorrupt,
    Forbidden,
    InvalidSpec,
    Unavailable,
)

SECRET = "very-secret-key-0123456789"


class Server(ThreadingHTTPServer):
    """Answers `script` one by one, then 200; remembers requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, str, bytes, dict[str, str]]] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def say(self, status: int, code: str = "", body: bytes = b"", **headers: str) -> None:
        self.script.append((status, code, body, headers))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), sent))
        status, code, body, headers = (
            self.server.script.pop(0) if self.server.script else (200, "", b"", {})
        )
        if code == "hang up":
            self.close_connection = True
            return
        if code:
            body = f"<Error><Code>{code}</Code><Message>m {escape(self.path)}</Message></Error>".encode()
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = _answer  # noqa: N815 - http.server's names

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def store(server: Server, pauses: list[float]) -> Iterator[S3Store]:
    location = S3Location(f"http://127.0.0.1:{server.server_port}", "bucket", "banks/one")
    store = S3Store(location, S3Credentials("the-user", SECRET), Retries(sleep=pauses.append))
    yield store
    store.close()


def test_a_put_is_presigned_with_its_length_and_condition(store: S3Store, server: Server) -> None:
    assert store.put("a/b", memoryview(b"body"), if_absent=True)
    method, path, headers, sent = server.seen[0]
    assert (method, sent) == ("PUT", b"body")
    assert path.startswith("/bucket/banks/one/a/b?X-Amz-")
    assert headers["If-None-Match"] == "*"
    assert headers["Content-Length"] == "4"
    assert "Transfer-Encoding" not in headers


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests"), (502, ""),
        (409, "ConditionalRequestConflict"), (408, "RequestTimeout"), (400, "BadDigest"),
        (200, "hang up"),
    ],
)  # fmt: skip
def test_what_passes_is_tried_again_five_times_in_all(
    store: S3Store, server: Server, pauses: list[float], status: int, code: str
) -> None:
    for _ in range(4):
        server.say(status, code)
    assert store.put("k", b"x")
    assert len(server.seen) == 5
    assert len(pauses) == 4
    assert all(0.2 <= pause <= 20 for pause in pauses)
    server.seen.clear()
    for _ in range(9):
        server.say(status, code)
    with pytest.raises(Unavailable) as caught:
        store.put("k", b"x")
    assert caught.value.reason == "BankUnavailable"
    assert len(server.seen) == 5


@pytest.mark.parametrize(
    ("status", "code", "error", "reason"),
    [
        (403, "AccessDenied", Forbidden, "BankAccessDenied"),
        (403, "SignatureDoesNotMatch", AuthRefused, "BankCredentialsRefused"),
        (403, "InvalidAccessKeyId", AuthRefused, "BankCredentialsRefused"),
        (400, "ExpiredToken", AuthRefused, "BankCredentialsRefused"),
        (404, "NoSuchBucket", Unavailable, "BucketNotFound"),
        (301, "PermanentRedirect", InvalidSpec, "BankUnavailable"),
        (400, "AuthorizationHeaderMalformed", InvalidSpec, "BankUnavailable"),
        (501, "NotImplemented", Unavailable, "BankUnavailable"),
        (403, "RequestTimeTooSkewed", Unavailable, "BankUnavailable"),
    ],
)
def test_what_does_not_pass_is_told_at_once(
    store: S3Store, server: Server, status: int, code: str, error: type[Exception], reason: str
) -> None:
    for verb in (
        lambda: store.put("k", b"x"),
        lambda: store.get("k", 5),
        lambda: list(store.list_keys("k")),
    ):
        server.seen.clear()
        server.say(status, code)
        with pytest.raises(error) as caught:
            verb()
        assert isinstance(caught.value, CinderbankError)
        assert caught.value.reason == reason
        assert len(server.seen) == 1
        assert_no_secret(caught.value)


def test_a_wrong_clock_has_a_message_of_its_own(store: S3Store, server: Server) -> None:
    server.say(403, "RequestTimeTooSkewed")
    with pytest.raises(Unavailable, match=r"clocks .* NTP"):
        store.get("k", 5)
    body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    server.say(403, "", body)
    with pytest.raises(Unavailable, match=r"clocks .* NTP"):
        store.put("k", b"x")


def assert_no_secret(error: BaseException) -> None:
    """Neither in the message nor in what is printed with it."""
    assert isinstance(error, CinderbankError)
    assert error.__cause__ is None
    assert error.__suppress_context__
    for text in (error.message, repr(error)):
        for secret in (SECRET, "X-Amz", "Signature=", "?"):
            assert secret not in text


def test_no_message_holds_a_presigned_query(store: S3Store, server: Server) -> None:
    for status, code in ((200, "hang up"), (500, "InternalError"), (403, "AccessDenied")):
        for _ in range(5):
            server.say(status, code)
        with pytest.raises(CinderbankError) as caught:
            store.put("k", b"x")
        assert_no_secret(caught.value)
        server.script.clear()


def test_credentials_do_not_print() -> None:
    assert SECRET not in repr(S3Credentials("user", SECRET, SECRET))


def test_a_body_that_is_longer_than_it_may_be(store: S3Store, server: Server) -> None:
    server.say(200, "", b"x" * 100)
    with pytest.raises(DataCorrupt, match="at most 10"):
        store.get("k", 10)
    server.say(200, "", b"", Content_Length=str(1 << 40))
    with pytest.raises(DataCorrupt, match="at most 10"):
        store.get("k", 10)


def test_a_body_that_ends_early_is_read_again(store: S3Store, server: Server) -> None:
    server.say(200, "", b"abc", Content_Length="8", Connection="close")
    server.say(200, "", b"abcdefgh")
    assert store.get("k", 10) == b"abcdefgh"


def test_absent_and_the_own_retry_of_a_create(store: S3Store, server: Server) -> None:
    server.say(404, "NoSuchKey")
    assert store.get("k", 10) is None
    server.say(200, "hang up")
    server.say(412, "PreconditionFailed")
    assert store.put("k", b"x", if_absent=True) is False


def test_a_page_that_is_no_xml_and_a_listing_that_goes_on(store: S3Store, server: Server) -> None:
    def page(more: str, *keys: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>banks/one/{key}</Key><Size>1</Size>"
            "<LastModified>2026-11-22T00:00:00.000Z</LastModified></Contents>"
            for key in keys
        )
        token = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
        flag = "true" if more else "false"
        return (
            f"<ListBucketResult><Name>bucket</Name><IsTruncated>{flag}</IsTruncated>{token}{rows}</ListBucketResult>"
        ).encode()

    server.say(200, "", page("t", "p/1", "p/2"))
    server.say(200, "", b"<html>proxy</html")
    server.say(503, "SlowDown")
    server.say(200, "", page("", "p/3"))
    assert [row.key for row in store.list_keys("p/")] == ["p/1", "p/2", "p/3"]
    assert "start-after=banks%2Fone%2Fp%2F2" in server.seen[-1][1]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"endpoint_url": "s3.example.org"}, "endpoint"),
        ({"endpoint_url": "ftp://x"}, "endpoint"),
        ({"endpoint_url": "https://x/path"}, "endpoint"),
        ({"endpoint_url": f"https://user:{SECRET}@x"}, "endpoint"),
        ({"bucket": "a/b"}, "bucket"),
        ({"bucket": "UPPER"}, "bucket"),
        ({"prefix": "/a"}, "prefix"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"prefix": "a//b"}, "prefix"),
        ({"addressing": "dns"}, "addressing"),
    ],
)
def test_locations_that_can_not_be(change: dict[str, str], name: str) -> None:
    with pytest.raises(InvalidSpec, match=f"bank {name}") as caught:
        S3Store(
            S3Location(**{"endpoint_url": "https://x", "bucket": "bucket", **change}),
            S3Credentials("u", SECRET),
        )
    assert SECRET not in caught.value.message


def test_addressing(server: Server) -> None:
    for addressing, url in (
        ("path", "https://s3.example.org/bucket/p/k?"),
        ("virtual", "https://bucket.s3.example.org/p/k?"),
    ):
        location = S3Location("https://s3.example.org", "bucket", "p", addressing=addressing)
        store = S3Store(location, S3Credentials("u", SECRET))
        made = store._client.get_presigned_url("GET", "bucket", "p/k")
        assert made.startswith(url)


def test_no_answer_is_read_without_end(store: S3Store, server: Server) -> None:
    """A listing and an error are read whole by the SDK: whoever serves them must not fill our memory."""
    endless = b"<ListBucketResult>" + b" " * (ANSWER_BYTES + 1) + b"</ListBucketResult>"
    server.say(200, body=endless)
    with pytest.raises(Unavailable, match="longer than"):
        list(store.list_keys("sites/"))
    server.say(403, body=endless)
    with pytest.raises(Unavailable, match="longer than"):
        store.delete_many(["sites/a"])
    assert len(server.seen) == 2


def test_no_redirect_is_followed(store: S3Store, server: Server) -> None:
    elsewhere = f"http://127.0.0.1:{server.server_address[1]}/elsewhere"
    for use in (lambda: store.get("bank.json", 10), lambda: list(store.list_keys("sites/"))):
        server.say(307, "TemporaryRedirect", Location=elsewhere)
        with pytest.raises(InvalidSpec, match="served elsewhere"):
            use()
    assert not [path for _, path, _, _ in server.seen if path.startswith("/elsewhere")]


def test_what_a_store_makes_up_gets_into_no_message(store: S3Store, server: Server) -> None:
    server.say(403, "Access\n2026 ERROR forged " + "x" * 5000)
    with pytest.raises(Forbidden) as refused:
        list(store.list_keys("sites/"))
    assert "forged" not in refused.value.message
    error = "<Error><Key>forged&#10;key</Key><Code>Access&#10;forged</Code></Error>"
    server.say(200, body=f"<DeleteResult>{error}</DeleteResult>".encode())
    (failure,) = store.delete_many(["sites/a"])
    assert (failure.key, failure.code) == ("?", "NoCode")
