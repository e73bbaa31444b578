"""Small certificate authorities for the rig: one per cluster, one for the S3 server's TLS.

Promise: a folder made here is complete or absent, so a start that was killed makes it anew. EC keys,
because a whole PKI then takes well under a second; ten years, because nobody renews a test rig.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.rig.locks import exclusive

DAYS = "3650"
NEW_EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """What to ask for: `<name>.crt` and `<name>.key`, valid for clients and servers alike."""

    name: str
    subject: str
    alternative_names: str = ""


def make_authority(
    folder: Path, certificates: Iterable[Certificate], signing_keys: Iterable[str] = ()
) -> Path:
    """A folder with ca.crt, ca.key, the certificates, and plain key pairs `<name>.key/.pub`."""
    with exclusive(folder.with_name(folder.name + ".lock"), f"the keys in {folder}"):
        if not folder.exists():
            _make_authority(folder, certificates, signing_keys)
    return folder


def _make_authority(
    folder: Path, certificates: Iterable[Certificate], signing_keys: Iterable[str]
) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    authority = f"/CN=rig {folder.parent.name} authority"
    _openssl(partial, "req", "-x509", *NEW_EC_KEY, "-keyout", "ca.key", "-out", "ca.crt",
             "-days", DAYS, "-subj", authority)  # fmt: skip
    for certificate in certificates:
        _sign(partial, certificate)
    for name in signing_keys:
        _openssl(partial, "ecparam", "-genkey", "-name", "prime256v1", "-noout",
                 "-out", f"{name}.key")  # fmt: skip
        _openssl(partial, "ec", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub")
    partial.rename(folder)


def _sign(folder: Path, certificate: Certificate) -> None:
    name = certificate.name
    extensions = "extendedKeyUsage=clientAuth,serverAuth\n"
    if certificate.alternative_names:
        extensions += f"subjectAltName={certificate.alternative_names}\n"
    (folder / f"{name}.ext").write_text(extensions)
    _openssl(folder, "req", *NEW_EC_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
             "-subj", certificate.subject)  # fmt: skip
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
             "-CAcreateserial", "-out", f"{name}.crt", "-days", DAYS,
             "-extfile", f"{name}.ext")  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    run = subprocess.run(
        ["openssl", *arguments], cwd=folder, check=False, capture_output=True, text=True
    )
    if run.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {run.stderr.strip()}")
