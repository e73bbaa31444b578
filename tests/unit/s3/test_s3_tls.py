"""TLS of the bank: trusted by its CA file, refused without, and told in words."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.s3_retry import Retries
from cinderbank.domain.errors import Unavailable

CREDENTIALS = S3Credentials("user", "very-secret-key-0123456789")


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = folder / "ca.pem", folder / "key.pem"
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return ca_file, key_file


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """A handshake that a client breaks off is what is tested here."""


@dataclass
class Trust:
    location: S3Location
    ca_file: str
    pauses: list[float]

    def get(self, **change: Any) -> bytes | None:
        store = S3Store(
            replace(self.location, **change), CREDENTIALS, Retries(sleep=self.pauses.append)
        )
        try:
            return store.get("k", 10)
        finally:
            store.close()


@pytest.fixture
def trust(tmp_path: Path) -> Iterator[Trust]:
    ca_file, key_file = write_certificate(tmp_path)
    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    location = S3Location(f"https://127.0.0.1:{server.server_port}", "bucket")
    yield Trust(location, str(ca_file), [])
    server.shutdown()
    server.server_close()


def test_trusted_by_its_ca_file(trust: Trust) -> None:
    assert trust.get(ca_file=trust.ca_file) == b"ok"


def test_not_trusted_is_told_at_once_with_the_way_out(trust: Trust) -> None:
    with pytest.raises(Unavailable, match=r"certificate is not trusted .* caSecretRef") as caught:
        trust.get()
    assert caught.value.reason == "BankUnavailable"
    assert trust.pauses == []


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_verification_can_be_switched_off(trust: Trust) -> None:
    assert trust.get(insecure_skip_tls_verify=True) == b"ok"


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_a_ca_file_that_is_none(trust: Trust, tmp_path: Path, content: str) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text(content)
    with pytest.raises(Unavailable):
        trust.get(ca_file=str(bad))
