"""How a site's processes are started and known to be ready."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.openstack import installation
from tests.rig.service import Service

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site

DRIVERS = Path(__file__).with_name("drivers")
# A busy machine of two cores takes most of a minute for ten Python services at once.
READY_TIMEOUT_SECONDS = 600


def site_services(site: Site) -> list[Service]:
    """In the order in which they are best started."""
    return [
        _web(site, "keystone", f"{site.auth_url}", (200,), 8),
        _web(site, "glance", f"{site.image_url}/versions", (200, 300), 16),
        _cinder(site, "cinder-volume"),
        _cinder(site, "cinder-scheduler"),
        _cinder(site, "cinder-api"),
    ]


def service_environment(site: Site) -> dict[str, str]:
    programs = installation.folder(site.rig) / "bin"
    return {
        "PATH": f"{programs}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
        "PYTHONPATH": str(DRIVERS),
        "PYTHONWARNINGS": "ignore",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _web(site: Site, kind: str, probe: str, good: tuple[int, ...], threads: int) -> Service:
    name = f"{site.name}.{kind}"
    return Service(
        name=name,
        argv=(str(installation.folder(site.rig) / "bin" / "gunicorn"),),
        cwd=site.folder,
        log=site.rig.log(name),
        env={
            **service_environment(site),
            "GUNICORN_CMD_ARGS": f"--config {DRIVERS / 'gunicorn_settings.py'}",
            "RIG_APPLICATION": f"{kind}.wsgi.api:application",
            "RIG_BIND": f"127.0.0.1:{site.port(kind)}",
            "RIG_THREADS": str(threads),
            f"OS_{kind.upper()}_CONFIG_DIR": str(site.folder / "etc"),
        },
        ports=(site.port(kind),),
        ready=lambda: site.answers(probe, *good),
        ready_timeout_seconds=READY_TIMEOUT_SECONDS,
    )


def _cinder(site: Site, binary: str) -> Service:
    name = f"{site.name}.{binary}"
    is_api = binary == "cinder-api"

    def ready() -> bool:
        if is_api:
            return site.answers(f"http://127.0.0.1:{site.port('cinder')}/", 300)
        return site.cinder_service_ready(binary, name)

    return Service(
        name=name,
        argv=(
            str(installation.folder(site.rig) / "bin" / binary),
            "--config-file",
            str(site.settings("cinder")),
            "--log-file",
            str(site.rig.log(f"{name}.app")),
        ),
        cwd=site.folder,
        log=site.rig.log(name),
        env=service_environment(site),
        ports=(site.port("cinder"),) if is_api else (),
        ready=ready,
        ready_timeout_seconds=READY_TIMEOUT_SECONDS,
        # The scheduler ignores SIGTERM for long when RabbitMQ goes at the same time.
        stop_timeout_seconds=5,
        in_namespace=not is_api,
    )
