"""The one door to S3: minio's SDK signs, lists, stats and deletes; bodies go by presigned URLs.

put_object of the SDK hashes every body (five times the CPU of all the rest) and can not send
If-None-Match (given as metadata it silently becomes x-amz-meta-if-none-match, and overwrites). A
presigned PUT does both, but needs a Content-Length (411 for a chunked body).

A presigned URL is a secret for as long as it is valid: no message holds a query string.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar, cast
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error

from cinderbank.adapters.bandwidth import PIECE_BYTES, Bandwidth
from cinderbank.adapters.s3_errors import S3Problem, problem_of_answer, problem_of_exception
from cinderbank.adapters.s3_location import S3Credentials, S3Location
from cinderbank.adapters.s3_pool import bounded_pool
from cinderbank.adapters.s3_retry import Retries
from cinderbank.bank.store import Body, Buffer, DeleteFailure, Listed, body_bytes
from cinderbank.domain.errors import DataCorrupt, Unavailable, Unsupported

__all__ = ["S3Credentials", "S3Location", "S3Store"]

DEFAULT_REGION = "us-east-1"
PRESIGNED_FOR = timedelta(minutes=15)
ERROR_BODY_BYTES = 16 * 1024

T = TypeVar("T")


class S3Store:
    """`bank.store.ObjectStore` on one bucket and prefix; thread-safe. Close it when done."""

    def __init__(
        self,
        location: S3Location,
        credentials: S3Credentials,
        retries: Retries | None = None,
        slow_down: Callable[[], None] = lambda: None,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        """No request is sent. Raises InvalidSpec for a location that can not be.

        `slow_down` is called for each answer that asks for fewer requests; objects go in and out no
        faster than `bandwidth` (listings and answers of a few bytes are not counted).
        """
        location.check()
        self._location = location
        self._bucket = location.bucket
        self._prefix = f"{location.prefix}/" if location.prefix else ""
        self._retries = retries or Retries()
        self._slow_down = slow_down
        self._bandwidth = bandwidth
        self._pool = bounded_pool(location)
        url = urlsplit(location.endpoint_url)
        self._client = Minio(
            url.netloc,
            credentials.access_key,
            credentials.secret_key,
            credentials.session_token,
            secure=url.scheme == "https",
            # Never empty: the SDK would ask for the bucket's location before it signs.
            region=location.region or DEFAULT_REGION,
            http_client=self._pool,
        )
        if location.addressing == "path":
            self._client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        elif location.addressing == "virtual":
            self._client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._pool.clear()

    def where(self) -> str:
        return f"{self._location.endpoint_url}/{self._bucket}/{self._prefix}".rstrip("/")

    def get(self, key: str, max_bytes: int) -> bytes | None:
        return self._try("GET", key, lambda: self._get(key, max_bytes))

    def _get(self, key: str, max_bytes: int) -> bytes | None:
        answer = self._send("GET", key)
        try:
            if answer.status == 404:
                self._absent_or_raise(answer)
                return None
            if answer.status != 200:
                raise problem_of_answer(answer.status, answer.read(ERROR_BODY_BYTES))
            length = int(answer.headers.get("Content-Length") or -1)
            if length > max_bytes:
                raise DataCorrupt(f"{key} has {length} bytes, at most {max_bytes} were expected")
            # The length is the store's word only: never read more than the bound.
            body = self._read(answer, max_bytes + 1)
            if len(body) > max_bytes:
                raise DataCorrupt(f"{key} has more than the {max_bytes} bytes that were expected")
            if length >= 0 and len(body) != length:
                raise S3Problem.retryable(f"the body ended after {len(body)} of {length} bytes")
            return body
        finally:
            # A body that was read to its end has given its connection back; any other one is closed.
            answer.close()

    def _read(self, answer: urllib3.BaseHTTPResponse, most_bytes: int) -> bytes:
        if self._bandwidth is None:
            return answer.read(most_bytes)
        pieces: list[bytes] = []
        while most_bytes > 0 and (piece := answer.read(min(PIECE_BYTES, most_bytes))):
            # Paid for when it has come: a store's word for its length is none to wait for.
            self._bandwidth.take(len(piece))
            pieces.append(piece)
            most_bytes -= len(piece)
        return b"".join(pieces)

    @staticmethod
    def _absent_or_raise(answer: urllib3.BaseHTTPResponse) -> None:
        problem = problem_of_answer(404, answer.read(ERROR_BODY_BYTES))
        if problem.code != "NoSuchKey":
            raise problem

    def get_range(self, key: str, first: int, count: int) -> bytes | None:
        return self._try("GET", key, lambda: self._get_range(key, first, count))

    def _get_range(self, key: str, first: int, count: int) -> bytes | None:
        answer = self._send("GET", key, headers={"Range": f"bytes={first}-{first + count - 1}"})
        try:
            if answer.status == 404:
                self._absent_or_raise(answer)
                return None
            told = answer.headers.get("Content-Range", "")
            if answer.status == 200 or (
                answer.status == 206 and not told.startswith(f"bytes {first}-")
            ):
                raise Unsupported(
                    f"the store at {self.where()} sends other bytes than the range that was asked for",
                    reason="StoreWithoutRanges",
                )
            if answer.status != 206:
                raise problem_of_answer(answer.status, answer.read(ERROR_BODY_BYTES))
            body = self._read(answer, count + 1)
            if len(body) > count:
                raise DataCorrupt(f"{key}: more than the {count} bytes that were asked for")
            return body
        finally:
            answer.close()

    def head(self, key: str) -> int | None:
        def stat() -> int | None:
            try:
                return int(self._client.stat_object(self._bucket, self._prefix + key).size or 0)
            except S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                raise

        return self._try("HEAD", key, stat)

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        return self._try("PUT", key, lambda: self._put(key, body, if_absent))

    def _put(self, key: str, body: Body, if_absent: bool) -> bool:
        headers = {"Content-Type": "application/octet-stream"}
        if if_absent:
            headers["If-None-Match"] = "*"
        answer = self._send("PUT", key, body, headers)
        try:
            text = answer.read(ERROR_BODY_BYTES)
            if answer.status == 412 and if_absent:
                return False
            if answer.status != 200:
                raise problem_of_answer(answer.status, text)
            return True
        finally:
            answer.close()

    def _send(
        self,
        method: str,
        key: str,
        body: Body | None = None,
        headers: dict[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        url = self._client.get_presigned_url(
            method, self._bucket, self._prefix + key, expires=PRESIGNED_FOR
        )
        headers = headers or {}
        sent: Iterable[Buffer] | None = None
        if body is not None:
            # In pieces and never joined; without a length they would be sent chunked: S3 answers 411.
            headers = {**headers, "Content-Length": str(body_bytes(body))}
            sent = body if isinstance(body, tuple) else (body,)
            if self._bandwidth is not None:
                sent = self._bandwidth.pieces(sent)
        # urllib3 hands each piece to the socket as it is, whatever its annotation says.
        pieces = cast("Iterable[bytes] | None", sent)
        return self._pool.request(
            method, url, body=pieces, headers=headers, preload_content=False, redirect=False
        )

    def delete_many(self, keys: Sequence[str]) -> list[DeleteFailure]:
        if not keys:
            return []
        objects = [DeleteObject(self._prefix + key) for key in keys]

        def delete() -> list[DeleteFailure]:
            with _parsing():
                errors = list(self._client.remove_objects(self._bucket, objects))
            # The store's word for both: only a key that was asked for gets into a message.
            return [
                DeleteFailure(
                    name if (name := (e.name or "").removeprefix(self._prefix)) in keys else "?",
                    S3Problem.of_code(str(e.code), 0).code,
                )
                for e in errors
                if e.code != "NoSuchKey"
            ]

        return self._try("DELETE", f"{len(keys)} objects from {keys[0]}", delete)

    def list_keys(
        self, prefix: str, delimiter: str = "", start_after: str = ""
    ) -> Iterator[Listed]:
        if delimiter not in ("", "/"):
            raise ValueError("S3 is listed flat or by '/'")
        rows = _Rows(self._client, self._bucket, self._prefix, prefix, not delimiter, start_after)
        while True:
            row = self._try("LIST", prefix, rows.next)
            if row is None:
                return
            yield row

    def _try(self, verb: str, key: str, call: Callable[[], T]) -> T:
        def looked_at(error: Exception) -> S3Problem | None:
            problem = problem_of(error)
            if problem is not None and problem.asks_for_less:
                self._slow_down()
            return problem

        return self._retries.run(
            call, looked_at, lambda problem: problem.to_domain(verb, key, self.where())
        )


def problem_of(error: Exception) -> S3Problem | None:
    """What an exception of SDK or HTTP client is; None when it is neither's."""
    if isinstance(error, S3Problem):
        return error
    if isinstance(error, S3Error):
        return S3Problem.of_code(error.code or "", _status(error))
    if isinstance(error, MinioException):
        # InvalidResponseError: not XML at all, e.g. a proxy's page; its text may be anything.
        return S3Problem.retryable(f"the answer is not S3's ({type(error).__name__})")
    return problem_of_exception(error)


@contextmanager
def _parsing() -> Iterator[None]:
    """Around the SDK's calls that read XML: of what is no XML it raises builtin errors."""
    try:
        yield
    except (ValueError, ParseError) as error:
        raise S3Problem.retryable(f"the answer is not S3's ({type(error).__name__})") from None


def _status(error: S3Error) -> int:
    response = getattr(error, "response", None) or getattr(error, "_response", None)
    return int(getattr(response, "status", 0) or 0)


class _Rows:
    """A listing that goes on where it was when a page failed."""

    def __init__(
        self, client: Minio, bucket: str, root: str, prefix: str, flat: bool, start_after: str
    ) -> None:
        self._client, self._bucket, self._root, self._flat = client, bucket, root, flat
        self._prefix = prefix
        self._after = start_after
        self._seen: set[str] = set()
        self._rows: Iterator[object] | None = None

    def next(self) -> Listed | None:
        if self._rows is None:
            self._rows = iter(
                self._client.list_objects(
                    self._bucket,
                    prefix=self._root + self._prefix,
                    recursive=self._flat,
                    start_after=self._root + self._after if self._after else None,
                )
            )
        try:
            with _parsing():
                while (row := next(self._rows, None)) is not None:
                    listed = self._listed(row)
                    if listed.key not in self._seen:
                        self._remember(listed)
                        return listed
        except Exception:
            self._rows = None  # a generator that raised is over
            raise
        return None

    def _listed(self, row: object) -> Listed:
        name = getattr(row, "object_name", None) or ""
        if not name.startswith(self._root + self._prefix):
            raise Unavailable(f"the listing of {self._prefix!r} shows a foreign key")
        return Listed(
            name.removeprefix(self._root),
            int(getattr(row, "size", 0) or 0),
            bool(getattr(row, "is_dir", False)),
            getattr(row, "last_modified", None),
        )

    def _remember(self, listed: Listed) -> None:
        if self._flat:
            self._after = listed.key
        else:
            # Prefixes come after a page's objects, so there is no place to go on from: begin again
            # and pass over what was told. Only sites are listed like this, and they are few.
            self._seen.add(listed.key)
