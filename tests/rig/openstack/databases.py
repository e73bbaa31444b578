"""MariaDB and RabbitMQ, shared by the two sites: a database and a virtual host for each."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.commands import run, succeeds
from tests.rig.openstack.template import render
from tests.rig.part import Part
from tests.rig.service import Service

if TYPE_CHECKING:
    from tests.rig.rig import Rig

RABBITMQ_USER = "rig"
RABBITMQ_PASSWORD = "rig"
LOOPBACK = "127.0.0.1"


def services(rig: Rig) -> list[Service]:
    return [_mariadb(rig), _epmd(rig), _rabbitmq(rig)]


def database_url(rig: Rig, database: str) -> str:
    """How a service of OpenStack reaches a database."""
    port = rig.ports["mariadb"]
    return f"mysql+pymysql://root@{LOOPBACK}:{port}/{database}?charset=utf8mb4"


def transport_url(rig: Rig, site: str) -> str:
    """How a site's Cinder services reach each other."""
    port = rig.ports["rabbitmq"]
    return f"rabbit://{RABBITMQ_USER}:{RABBITMQ_PASSWORD}@{LOOPBACK}:{port}/{site}"


def sql(rig: Rig, statement: str) -> str:
    """Runs a statement as the database's root."""
    return run("mariadb", *_client(rig), "--execute", statement)


def load(rig: Rig, database: str, dump: Path) -> None:
    """Makes the database anew from a dump."""
    make_empty(rig, database)
    run("mariadb", *_client(rig), database, stdin=dump)


def make_empty(rig: Rig, database: str) -> None:
    sql(
        rig,
        f"drop database if exists {database};create database {database} character set utf8mb4",
    )


def dump(rig: Rig, database: str, path: Path) -> None:
    """Writes the database's dump to a new file."""
    # --skip-lock-tables: nothing else writes, and locking costs a second.
    run("mariadb-dump", *_client(rig), "--skip-lock-tables", f"--result-file={path}", database)


def before_start(rig: Rig) -> None:
    _make_mariadb(rig)
    _write_rabbitmq_settings(rig)


def _client(rig: Rig) -> list[str]:
    return ["--no-defaults", "--user=root", f"--socket={_mariadb_folder(rig) / 'socket'}"]


def _mariadb_folder(rig: Rig) -> Path:
    return rig.state / "mariadb"


def _make_mariadb(rig: Rig) -> None:
    data = _mariadb_folder(rig) / "data"
    if data.exists():
        return
    # A killed `up` may leave the script's server at work, so never in the same folder again.
    aside = data.with_name(f"data.{os.getpid()}")
    aside.parent.mkdir(parents=True, exist_ok=True)
    run(
        "mariadb-install-db", "--no-defaults", f"--datadir={aside}", "--user=root",
        "--skip-test-db", "--auth-root-authentication-method=normal", "--skip-name-resolve",
    )  # fmt: skip
    aside.rename(data)


def _mariadb(rig: Rig) -> Service:
    folder = _mariadb_folder(rig)
    # The rig's data is worth nothing after a power cut, so no write waits for the disk.
    unsafe_but_quick = (
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        "--innodb-doublewrite=0",
        "--sync-binlog=0",
    )
    return Service(
        name="mariadb",
        argv=(
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={folder / 'data'}",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            f"--bind-address={LOOPBACK}",
            f"--port={rig.ports['mariadb']}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=128M",
            "--max-connections=500",
            "--character-set-server=utf8mb4",
            "--transaction-isolation=REPEATABLE-READ",
            *unsafe_but_quick,
        ),
        cwd=folder,
        log=rig.log("mariadb"),
        ports=(rig.ports["mariadb"],),
        ready=lambda: succeeds("mariadb", *_client(rig), "--execute", "select 1"),
        stop_timeout_seconds=15,
    )


def _rabbitmq_folder(rig: Rig) -> Path:
    return rig.state / "rabbitmq"


def _epmd(rig: Rig) -> Service:
    """Erlang's port mapper. RabbitMQ would start one itself, which then belongs to nobody."""
    port = rig.ports["rabbitmq-epmd"]
    return Service(
        name="rabbitmq-epmd",
        argv=("epmd", "-address", LOOPBACK, "-port", str(port)),
        cwd=_rabbitmq_folder(rig),
        log=rig.log("rabbitmq-epmd"),
        ports=(port,),
        ready=lambda: answers(port) is not None,
        ready_timeout_seconds=120,
    )


def _write_rabbitmq_settings(rig: Rig) -> None:
    folder = _rabbitmq_folder(rig)
    folder.mkdir(parents=True, exist_ok=True)
    render("rabbitmq.conf", folder / "rabbitmq.conf", PORT=rig.ports["rabbitmq"], FOLDER=folder)
    (folder / "plugins").write_text("[].")
    user = {"name": RABBITMQ_USER, "password": RABBITMQ_PASSWORD, "tags": "administrator"}
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        "users": [user],
        "vhosts": [{"name": site} for site in ("a", "b")],
        "permissions": [{"user": RABBITMQ_USER, "vhost": s, **everything} for s in ("a", "b")],
    }
    (folder / "definitions.json").write_text(json.dumps(definitions))


def _rabbitmq(rig: Rig) -> Service:
    folder = _rabbitmq_folder(rig)
    port = rig.ports["rabbitmq"]
    return Service(
        name="rabbitmq",
        # Debian's wrapper in /usr/sbin changes to the user rabbitmq; this one runs as we do.
        argv=("/usr/lib/rabbitmq/bin/rabbitmq-server",),
        cwd=folder,
        log=rig.log("rabbitmq"),
        env={
            "HOME": str(folder),
            "RABBITMQ_NODENAME": "rig@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_DIST_PORT": str(rig.ports["rabbitmq-distribution"]),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(rig.ports["rabbitmq-epmd"]),
            # One scheduler that does not spin: an idle Erlang otherwise takes a tenth of a core.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        },
        ports=(port, rig.ports["rabbitmq-distribution"]),
        ready=lambda: bool(answers(port, b"AMQP\x00\x00\x09\x01")),
        stop_signal=signal.SIGTERM,
        stop_timeout_seconds=10,
    )


def answers(port: int, request: bytes = b"") -> bytes | None:
    """What a loopback port says to `request`; b"" when nothing was asked; None when it is shut."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
            if not request:
                return b""
            connection.sendall(request)
            return connection.recv(64)
    except OSError:
        return None


def part() -> Part:
    return Part("databases", needs=("packages",), services=services, before_start=before_start)
