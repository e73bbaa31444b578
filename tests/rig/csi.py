"""The real Cinder CSI driver and external-provisioner at both sites, for claims that they provision.

An optional part: the tests that need it bring it up (`up(only=("csi",))`), beside a rig that is up.
Per site one driver, with the credentials of that site's first project, and one provisioner, as the
cluster's administrator. There is no Nova, so no Pod ever mounts what they make; the driver only wants
to find a `compute` service in the catalogue (openstack/seed.py puts one there, where nobody listens).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig import gobuild, kubernetes, loopback, wheels
from tests.rig.openstack import seed
from tests.rig.part import Part
from tests.rig.service import Service

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site
    from tests.rig.rig import Rig

NAME = "csi"
PROGRAMS = (gobuild.CINDER_CSI, gobuild.CSI_PROVISIONER)

CLOUD_CONF = """\
[Global]
auth-url = {auth_url}
application-credential-id = {application_credential_id}
application-credential-secret = {application_credential_secret}
region = {region}

[BlockStorage]
bs-version = v3
"""


def announce(rig: Rig) -> list[str]:
    return [
        f"{program.name} from Go modules, into {rig.cache}"
        for program in PROGRAMS
        if not gobuild.is_built(program, rig.cache)
    ]


def before_start(rig: Rig) -> None:
    """Builds unless it is built; each site's settings, with its application credential in them."""
    for program in PROGRAMS:
        built = gobuild.build(program, rig.cache, rig.say)
        for binary in program.packages:
            wheels.link(built / binary, rig.state / "bin")
    for site in rig.sites:
        folder = _folder(site)
        folder.mkdir(exist_ok=True)
        credential = site.projects[seed.PROJECTS[site.letter][0]]
        target = folder / "cloud.conf"
        target.touch(mode=0o600)
        target.write_text(
            CLOUD_CONF.format(auth_url=site.auth_url, region=site.region, **credential)
        )


def services(rig: Rig) -> list[Service]:
    return [service for site in rig.sites for service in (_driver(site), _provisioner(rig, site))]


def start(rig: Rig) -> None:
    """Drivers first: a provisioner that finds no socket gives up."""
    names = [service.name for service in services(rig)]
    for binary in (".cinder-csi-plugin", ".csi-provisioner"):
        step = [name for name in names if name.endswith(binary)]
        for name in step:
            rig.supervisor.start(name)
        for name in step:
            rig.wait_ready(name)


def part() -> Part:
    return Part(
        NAME,
        needs=("packages", "kubernetes", "site-a", "site-b"),
        services=services,
        before_start=before_start,
        start=start,
        announce=announce,
        optional=True,
    )


def _folder(site: Site) -> Path:
    return site.rig.state / f"csi-{site.letter}"


def _driver(site: Site) -> Service:
    address = _folder(site) / "csi.sock"
    return _service(
        site,
        "cinder-csi-plugin",
        f"--endpoint=unix://{address}",
        f"--cloud-config={_folder(site) / 'cloud.conf'}",
        f"--cluster=site-{site.letter}",
        "--provide-node-service=false",
        ready=lambda: _accepts(address),
    )


def _provisioner(rig: Rig, site: Site) -> Service:
    port = rig.ports[f"csi-{site.letter}.provisioner"]
    metrics = f"http://127.0.0.1:{port}/metrics"
    return _service(
        site,
        "csi-provisioner",
        f"--csi-address={_folder(site) / 'csi.sock'}",
        f"--kubeconfig={kubernetes.cluster(rig, site.letter).kubeconfig}",
        # There is no node, and so no topology to choose from.
        "--feature-gates=Topology=false",
        "--extra-create-metadata=true",
        f"--http-endpoint=127.0.0.1:{port}",
        port=port,
        ready=lambda: loopback.answers(metrics),
    )


def _service(
    site: Site,
    binary: str,
    *arguments: str,
    ready: Callable[[], bool],
    port: int | None = None,
) -> Service:
    name = f"csi-{site.letter}.{binary}"
    state = site.rig.state
    return Service(
        name=name,
        argv=(str(state / "bin" / binary), *arguments),
        cwd=_folder(site),
        log=state / "log" / f"{name}.log",
        ready=ready,
        ports=() if port is None else (port,),
    )


def _accepts(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(address))
        except OSError:
            return False
        return True
