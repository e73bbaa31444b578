"""One cluster: its addresses, its certificates, and how a test talks to its API server."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig import loopback, pki
from tests.rig.ports import Ports

SERVICE_ACCOUNT_TOKEN_S = 24 * 3600


class ApiError(Exception):
    """The API server refused; `status` is the HTTP status, `reason` Kubernetes' word for it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Cluster:
    """One site's control plane: what it is made of, and how to talk to it."""

    site: str
    state: Path
    """The rig's state folder; the cluster's own is `folder`."""
    ports: Ports

    @property
    def name(self) -> str:
        return f"cluster-{self.site}"

    @property
    def folder(self) -> Path:
        return self.state / self.name

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port('kube-apiserver')}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's (group system:masters, which no RBAC rule limits)."""
        return self.folder / "admin.kubeconfig"

    @property
    def kubectl(self) -> Path:
        return self.state / "bin" / "kubectl"

    def prepare(self) -> None:
        """Make the PKI and the kubeconfigs of the cluster's own clients; cheap when they exist."""
        pki.make_authority(
            self.pki_folder,
            [
                pki.Certificate("apiserver", "/CN=kube-apiserver", "IP:127.0.0.1,DNS:localhost"),
                pki.Certificate("admin", "/O=system:masters/CN=admin"),
                pki.Certificate("kube-controller-manager", "/CN=system:kube-controller-manager"),
            ],
            signing_keys=["service-accounts"],
        )
        self._write_kubeconfig(self.kubeconfig, self._certificate_user("admin"))
        self._write_kubeconfig(
            self.folder / "kube-controller-manager.kubeconfig",
            self._certificate_user("kube-controller-manager"),
        )

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout_s: float = 120
    ) -> Any:
        """The API's answer to the administrator as parsed JSON; ApiError when it refuses.

        A PATCH is a merge patch.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = loopback.request(
            method,
            self.server + path,
            {"Content-Type": kind, "Accept": "application/json"},
            None if body is None else json.dumps(body).encode(),
            context=self.admin_context(),
            timeout_s=timeout_s,
        )
        text = answer.body.decode(errors="replace")
        try:
            content = json.loads(text)
        except ValueError:
            content = {"message": text}
        if answer.status >= 400:
            raise ApiError(answer.status, content.get("reason", ""), content.get("message", text))
        return content

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a fresh token of that ServiceAccount, and so with its RBAC alone.

        The account must exist. The token lives a day; ask again for a new one.
        """
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": SERVICE_ACCOUNT_TOKEN_S},
            },
        )
        target = self.folder / "service-accounts" / f"{namespace}.{name}.kubeconfig"
        self._write_kubeconfig(target, {"token": answer["status"]["token"]}, namespace)
        return target

    def run_kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl printed, as administrator; CalledProcessError with its words if it fails."""
        return subprocess.run(
            [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def port(self, name: str) -> int:
        return self.ports[f"{self.name}.{name}"]

    @property
    def pki_folder(self) -> Path:
        return self.folder / "pki"

    def admin_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki_folder / "ca.crt"))
        context.load_cert_chain(
            str(self.pki_folder / "admin.crt"), str(self.pki_folder / "admin.key")
        )
        return context

    def has_default_service_account(self) -> bool:
        try:
            self.request("GET", "/api/v1/namespaces/default/serviceaccounts/default", timeout_s=10)
        except (ApiError, OSError):
            return False
        return True

    def _certificate_user(self, name: str) -> dict[str, str]:
        return {
            "client-certificate-data": _base64(self.pki_folder / f"{name}.crt"),
            "client-key-data": _base64(self.pki_folder / f"{name}.key"),
        }

    def _write_kubeconfig(
        self, target: Path, user: Mapping[str, str], namespace: str = "default"
    ) -> None:
        """Everything inside the file, so that it may be copied or mounted anywhere."""
        authority = {
            "server": self.server,
            "certificate-authority-data": _base64(self.pki_folder / "ca.crt"),
        }
        context = {"cluster": self.name, "user": target.stem, "namespace": namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": authority}],
            "users": [{"name": target.stem, "user": dict(user)}],
            "contexts": [{"name": self.name, "context": context}],
            "current-context": self.name,
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{target.name}.{os.getpid()}")
        # kubectl and clients read JSON: it is YAML. 0600, for they warn about anything wider.
        with open(aside, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(content, file, indent=1)
        aside.replace(target)


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
