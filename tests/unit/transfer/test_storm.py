"""P21: a bank that answers 503 to everything is asked a bounded number of times, and left at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.s3_retry import Retries
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.writer import BackupWriter
from cinderbank.domain.errors import Unavailable
from cinderbank.transfer.extent import Extent
from cinderbank.transfer.job import BankJob, CloudJob, Job, dump
from cinderbank.transfer.pipeline import Limits, Pipeline
from cinderbank.transfer.upload_limit import UploadSlots
from tests.fakes.backups import BACKUP, CHUNK, SITE, VOLUME, backup_transfer, sample

BODY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>m</Message></Error>"
CANCELLED = "of-the-cancelled-transfer"
"""Not `bucket`: a client of an earlier server on this port may be left."""

CLOUDS = """clouds:
  a:
    auth: {auth_url: "URL/v3", username: u, password: p, project_name: p, user_domain_id: default,
           project_domain_id: default}
"""


class Storm(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.requests = 0
        self.at_once = self.most_at_once = 0
        self.asked = threading.Semaphore(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Storm

    def _refuse(self) -> None:
        if self.path.startswith("/v3"):
            self._keystone()
            return
        with self.server.lock:
            self.server.requests += 1
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(503)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        with self.server.lock:
            # Before the last of the answer is sent: the client may ask again while this thread sleeps.
            self.server.at_once -= 1
        self.wfile.write(BODY)
        if not self.path.startswith("/bucket"):
            self.server.asked.release()

    def _keystone(self) -> None:
        """Discovery and a token, so that the transfer gets as far as its bank."""
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": "URL/v3"}]}
        services = [
            {"type": kind, "name": kind, "endpoints": [
                {"interface": "public", "region": "r", "region_id": "r", "url": "URL", "id": kind}
            ]}
            for kind in ("image", "volumev3", "block-storage")
        ]  # fmt: skip
        token = {
            "methods": ["password"], "expires_at": "2099-01-01T00:00:00.000000Z",
            "project": {"id": "p", "name": "p"}, "user": {"id": "u", "name": "u"},
            "catalog": services,
        }  # fmt: skip
        posted = self.command == "POST"
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = json.dumps({"token": token} if posted else {"version": version})
        body = said.replace("URL", self.server.url).encode()
        self.send_response(201 if posted else 200)
        self.send_header("X-Subject-Token", "token")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = _refuse  # noqa: N815

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def storm() -> Iterator[Storm]:
    server = Storm()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("most", [1, 2, 16])
def test_p21_each_upload_gives_up_after_its_tries_and_nothing_queues_up(
    storm: Storm, most: int
) -> None:
    pauses: list[float] = []
    retries = Retries(sleep=pauses.append)
    uploads = UploadSlots(most)
    at_first = uploads.limit
    store = S3Store(
        S3Location(storm.url, "bucket"), S3Credentials("a", "s"), retries, uploads.slow_down
    )
    content = sample("r" * 200)
    writer = BackupWriter(store, SessionRef(SITE, BACKUP), VOLUME, 1, Geometry(len(content), CHUNK))
    pipeline = Pipeline(writer, lambda *counts: None, Limits(2, most), uploads)
    read = 0

    def extents() -> Iterator[Extent]:
        nonlocal read
        for at in range(0, len(content), CHUNK):
            read += 1
            yield Extent(at, content[at : at + CHUNK])

    with pytest.raises(Unavailable):
        pipeline.run(extents())
    store.close()
    assert not [t for t in threading.enumerate() if t.name.startswith(("chunk-", "image-hash"))]
    # One request at a time for each that may run, and one chunk each is tried to the end.
    assert storm.requests <= at_first * retries.tries
    assert storm.most_at_once <= at_first
    assert len(pauses) <= at_first * (retries.tries - 1)
    assert min(pauses) >= retries.base_seconds
    assert read <= 2 * most + 2, "a bank that takes nothing stops the reader"
    assert uploads.limit == min(most, 2), "and it was asked for less and less"


def test_p21_a_transfer_in_a_storm_is_cancelled_and_tells_nothing(
    storm: Storm, tmp_path: Path
) -> None:
    (tmp_path / "s3.json").write_text('{"access_key": "a", "secret_key": "s"}')
    (tmp_path / "clouds.yaml").write_text(CLOUDS.replace("URL", storm.url))
    job = Job(
        BankJob(storm.url, CANCELLED, "p", "r", "path", str(tmp_path / "s3.json"), SITE),
        CloudJob(str(tmp_path / "clouds.yaml"), "a"),
        backup_transfer(b"1234"),
    )
    (tmp_path / "job.json").write_text(dump(job))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-m", "cinderbank", "transfer", "--job", str(tmp_path / "job.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as child:
        try:
            assert storm.asked.acquire(timeout=120)
            child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=120)
        finally:
            child.kill()
    assert child.returncode == 130
    assert [json.loads(line)["event"] for line in out.splitlines()] == []
