"""The HTTP client below the S3 SDK: bounded in time and in memory, and never led elsewhere."""

from __future__ import annotations

from typing import Any

import urllib3

from cinderbank.adapters.s3_errors import S3Problem
from cinderbank.adapters.s3_location import S3Location

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
POOL_CONNECTIONS = 32
ANSWER_BYTES = 8 << 20
"""No answer that the SDK reads whole is longer: a page of 1000 keys of 1 KiB takes some 4 MiB."""


class _BoundedPool(urllib3.PoolManager):
    """Reads what the SDK wants in memory up to ANSWER_BYTES; follows no redirect.

    The SDK takes a listing or an error however long it is, and the endpoint is whatever a project
    names: one without an end would take the memory of all.
    """

    def urlopen(  # type: ignore[override]  # as PoolManager's own
        self, method: str, url: str, redirect: bool = False, **kw: Any
    ) -> urllib3.BaseHTTPResponse:
        whole = kw.pop("preload_content", True)
        answer = super().urlopen(method, url, redirect=False, preload_content=False, **kw)
        if not whole:
            return answer
        try:
            body = answer.read(ANSWER_BYTES + 1)
        finally:
            answer.close()
        if len(body) > ANSWER_BYTES:
            raise S3Problem("TooLong", 0, False, f"the answer is longer than {ANSWER_BYTES} bytes")
        headers = answer.headers.copy()
        headers.discard("Content-Encoding")  # it is decoded already
        return urllib3.HTTPResponse(
            body, headers, answer.status, reason=answer.reason, request_method=method
        )


def bounded_pool(location: S3Location) -> urllib3.PoolManager:
    """Connections as the location says; nothing is sent again by itself."""
    tls: dict[str, object] = {"cert_reqs": "CERT_REQUIRED"}
    if location.ca_file:
        tls["ca_certs"] = location.ca_file
    if location.insecure_skip_tls_verify:
        tls = {"cert_reqs": "CERT_NONE", "assert_hostname": False}
    if location.endpoint_url.startswith("http://"):
        tls = {}
    return _BoundedPool(
        num_pools=4,
        maxsize=POOL_CONNECTIONS,
        # Ours are counted once; the SDK's default would send every PUT up to six times by itself.
        retries=False,
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        **tls,  # type: ignore[arg-type]
    )
