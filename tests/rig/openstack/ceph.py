"""One small Ceph on a sparse file, for sites whose volumes lie on RBD and for radosgw's S3."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig import namespace
from tests.rig.commands import CommandFailed, run
from tests.rig.openstack.databases import answers
from tests.rig.openstack.template import render
from tests.rig.part import Part
from tests.rig.service import Service, ServiceFailed

if TYPE_CHECKING:
    from tests.rig.rig import Rig

OSD_BYTES = 40 * 1024**3
RADOSGW = "ceph-radosgw"
RADOSGW_USER = "bank"


def wanted(rig: Rig) -> bool:
    """Whether a site of this rig has its volumes on Ceph."""
    return "rbd" in [rig.backend(site) for site in ("a", "b")]


def folder(rig: Rig) -> Path:
    return rig.state / "ceph"


def settings(rig: Rig) -> Path:
    """The ceph.conf that every client names: there is none in the machine's /etc/ceph."""
    return folder(rig) / "ceph.conf"


def pool(site: str) -> str:
    return f"volumes-{site}"


def services(rig: Rig) -> list[Service]:
    if not wanted(rig):
        return []
    return [_monitor(rig), _daemon(rig, "mgr", "a"), _daemon(rig, "osd", "0")]


def ceph(rig: Rig, *words: object) -> str:
    """Runs `ceph WORDS`; needs the monitor up, else it ends after the connect timeout."""
    return run(
        "ceph", "--conf", settings(rig), "--connect-timeout", 60, *map(str, words),
        timeout_seconds=180,
    )  # fmt: skip


def before_start(rig: Rig) -> None:
    if not wanted(rig):
        return
    for name in ("run", "log", "rgw"):
        (folder(rig) / name).mkdir(parents=True, exist_ok=True)
    render(
        "ceph.conf", settings(rig), FOLDER=folder(rig), FSID=_kept_uuid(rig, "fsid"),
        OSD_BYTES=OSD_BYTES,
        MON_V2_PORT=rig.ports["ceph-mon-v2"], MON_V1_PORT=rig.ports["ceph-mon-v1"],
        BIND_FIRST_PORT=rig.ports["ceph-osd-first"], BIND_LAST_PORT=rig.ports["ceph-osd-last"],
        RADOSGW_PORT=rig.ports["ceph-radosgw"],
    )  # fmt: skip
    _fill_etc_ceph(rig)
    _make_monitor(rig)


def start(rig: Rig) -> None:
    """Starts the monitor first: the manager and the OSD are made with its help."""
    if not wanted(rig):
        return
    rig.supervisor.start("ceph-mon")
    rig.wait_ready("ceph-mon")
    _make_manager(rig)
    rig.supervisor.start("ceph-mgr")
    _make_osd(rig)
    rig.supervisor.start("ceph-osd")
    rig.wait_ready("ceph-osd")
    _make_pools(rig)


def _make_pools(rig: Rig) -> None:
    made = folder(rig) / "pools.made"
    if made.exists():
        return
    for site in ("a", "b"):
        make_pool(rig, pool(site))
    made.touch()


def make_pool(rig: Rig, name: str) -> None:
    """A pool for RBD images; no error when it is there."""
    ceph(rig, "osd", "pool", "create", name, 8, 8)
    ceph(rig, "osd", "pool", "application", "enable", name, "rbd")


def rbd_parent(rig: Rig, pool_name: str, image: str) -> str:
    """`pool/image@snapshot`, or nothing. CommandFailed without such an image."""
    said = run(
        "rbd", "--conf", settings(rig), "info", "--format", "json", f"{pool_name}/{image}",
        timeout_seconds=60,
    )  # fmt: skip
    parent = json.loads(said).get("parent")
    return "{pool}/{image}@{snapshot}".format(**parent) if parent else ""


def empty_trash(rig: Rig, pool_name: str) -> None:
    """CommandFailed when an image in it still has clones."""
    run("rbd", "--conf", settings(rig), "trash", "purge", pool_name, timeout_seconds=180)


def start_radosgw(rig: Rig, access_key: str, secret_key: str) -> str:
    """Starts Ceph's S3 beside the rig's own and returns its address. Needs the part `ceph` up."""
    if not wanted(rig):
        raise ServiceFailed("no site of this rig has Ceph, so there is no radosgw")
    rig.supervisor.add(_radosgw(rig))
    rig.supervisor.start(RADOSGW)
    rig.wait_ready(RADOSGW)
    admin = ("radosgw-admin", "--conf", settings(rig))
    try:
        run(*admin, "user", "info", "--uid", RADOSGW_USER, timeout_seconds=240)
    except CommandFailed:
        run(
            *admin, "user", "create", "--uid", RADOSGW_USER, "--display-name", RADOSGW_USER,
            "--access-key", access_key, "--secret-key", secret_key, timeout_seconds=60,
        )  # fmt: skip
    return f"http://127.0.0.1:{rig.ports['ceph-radosgw']}"


def _fill_etc_ceph(rig: Rig) -> None:
    """os-brick takes settings and keyring from /etc/ceph when an image is uploaded.

    Without authentication any key does, but the file must be there.
    """
    etc = namespace.etc_ceph(rig)
    etc.mkdir(parents=True, exist_ok=True)
    shutil.copy(settings(rig), etc / "ceph.conf")
    keyring = etc / "ceph.client.admin.keyring"
    if not keyring.exists():
        _new_keyring(keyring, "client.admin")


def _new_keyring(path: Path, name: str, *words: str) -> None:
    aside = path.with_name(f"{path.name}.new")
    run("ceph-authtool", "--create-keyring", aside, "--gen-key", "--name", name, *words)
    aside.rename(path)


def _kept_uuid(rig: Rig, name: str) -> str:
    """An id that stays the same when an interrupted `up` is run again."""
    path = folder(rig) / name
    if not path.exists() or not path.read_text():
        path.write_text(str(uuid.uuid4()))
    return path.read_text()


def _make_monitor(rig: Rig) -> None:
    data = folder(rig) / "mon"
    made = folder(rig) / "mon.made"
    if made.exists():
        return
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    keyring = folder(rig) / "mon.keyring"
    _new_keyring(keyring, "mon.", "--cap", "mon", "allow *")
    addresses = "[v2:127.0.0.1:{},v1:127.0.0.1:{}]".format(
        rig.ports["ceph-mon-v2"], rig.ports["ceph-mon-v1"]
    )
    monmap = folder(rig) / "monmap"
    run(
        "monmaptool", "--create", "--clobber", "--addv", "a", addresses,
        "--fsid", _kept_uuid(rig, "fsid"), monmap,
    )  # fmt: skip
    run(
        "ceph-mon", "--conf", settings(rig), "--mkfs", "--id", "a",
        "--monmap", monmap, "--keyring", keyring,
    )  # fmt: skip
    made.touch()


def _make_manager(rig: Rig) -> None:
    keyring = folder(rig) / "mgr" / "keyring"
    if keyring.exists():
        return
    said = ceph(rig, "auth", "get-or-create", "mgr.a", "mon", "allow *", "osd", "allow *")
    keyring.parent.mkdir(exist_ok=True)
    aside = keyring.with_name("keyring.new")
    aside.write_text(said)
    aside.rename(keyring)


def _make_osd(rig: Rig) -> None:
    data = folder(rig) / "osd"
    made = folder(rig) / "osd.made"
    if made.exists():
        return
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    osd_uuid = _kept_uuid(rig, "osd.uuid")
    ceph(rig, "osd", "new", osd_uuid, 0)  # the same id again is no error
    run("ceph-osd", "--conf", settings(rig), "--id", 0, "--mkfs", "--osd-uuid", osd_uuid)
    made.touch()


def _monitor(rig: Rig) -> Service:
    port = rig.ports["ceph-mon-v2"]

    def in_quorum() -> bool:
        # Asking no monitor takes `ceph` its whole timeout: look at the port first.
        if answers(port) is None:
            return False
        try:
            ceph(rig, "mon", "stat")
            return True
        except CommandFailed:
            return False

    return Service(
        name="ceph-mon",
        argv=("ceph-mon", "--conf", str(settings(rig)), "-f", "--id", "a"),
        cwd=folder(rig),
        log=rig.log("ceph-mon"),
        ports=(port, rig.ports["ceph-mon-v1"]),
        ready=in_quorum,
    )


def _daemon(rig: Rig, kind: str, name: str) -> Service:
    def up() -> bool:
        if kind != "osd":
            return True
        if answers(rig.ports["ceph-mon-v2"]) is None:
            return False
        try:
            return "1 up" in ceph(rig, "osd", "stat") and _osd_asked(rig)
        except CommandFailed:
            return False

    return Service(
        name=f"ceph-{kind}",
        argv=(f"ceph-{kind}", "--conf", str(settings(rig)), "-f", "--id", name),
        cwd=folder(rig),
        log=rig.log(f"ceph-{kind}"),
        ready=up,
        stop_timeout_seconds=20,  # an OSD writes out what it holds: up to 15 s
    )


def _osd_asked(rig: Rig) -> bool:
    """Whether the OSD process answers: the monitor calls a killed one up for some time more."""
    try:
        said = run(
            "ceph", "--admin-daemon", folder(rig) / "run" / "osd.0.asok", "status",
            timeout_seconds=60,
        )  # fmt: skip
    except CommandFailed:
        return False
    return '"active"' in said


def _radosgw(rig: Rig) -> Service:
    port = rig.ports["ceph-radosgw"]
    return Service(
        name=RADOSGW,
        argv=("radosgw", "--conf", str(settings(rig)), "--name", "client.rgw.a", "-f"),
        cwd=folder(rig),
        log=rig.log(RADOSGW),
        ports=(port,),
        ready=lambda: answers(port) is not None,
        ready_timeout_seconds=600,  # the first start makes its pools
    )


def part() -> Part:
    return Part(
        "ceph", needs=("packages", "namespace"), services=services, before_start=before_start,
        start=start,
    )  # fmt: skip
