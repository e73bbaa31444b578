"""One site of the rig as its admin sees it: cloud, cluster, bank, operator."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from cinderbank.adapters.kube.client import KubeApi, connect
from tests.rig.kubernetes import cluster
from tests.rig.rig import Rig
from tests.stage.cloud import Cloud, until
from tests.stage.namespace import GROUP, Namespace, Object, Refused
from tests.stage.operator_process import ROOT, OperatorProcess

OPERATOR_NAMESPACE = "cinderbank-system"
OPERATOR_ACCOUNT = "cinderbank-operator"


class Stage:
    """The rig that is up, with what .rig/env tells of it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.environment = {
            name: value
            for part in rig.parts
            for name, (value, _remark) in part.environment(rig).items()
        }
        if "OS_CLIENT_CONFIG_FILE" in self.environment:  # not in a rig without OpenStack
            os.environ["OS_CLIENT_CONFIG_FILE"] = self.environment["OS_CLIENT_CONFIG_FILE"]

    def cloud(self, name: str) -> Cloud:
        """Cloud a, b, a-admin or b-admin of the rig's clouds.yaml."""
        return Cloud(Path(self.environment["OS_CLIENT_CONFIG_FILE"]), name)

    def site(self, letter: str) -> Site:
        return Site(self, letter)


class Site:
    """Site "a" or "b"."""

    def __init__(self, stage: Stage, letter: str) -> None:
        self.stage = stage
        self.letter = letter
        self.cluster = cluster(stage.rig, letter)

    @cached_property
    def cloud(self) -> Cloud:
        """The first who asks needs the OpenStack part of the rig."""
        return self.stage.cloud(self.letter)

    def namespace(self, name: str) -> Namespace:
        return Namespace(self.cluster.kubectl, self.cluster.kubeconfig, name)

    def install(self) -> str:
        """`kubectl apply -k deploy/`, waiting until its kinds are known; what kubectl said."""
        return install(self.namespace(OPERATOR_NAMESPACE))

    def install_persistent_volumes(self) -> None:
        """`kubectl apply -k deploy/persistent-volumes`: the right to them."""
        folder = ROOT / "deploy" / "persistent-volumes"
        self.namespace(OPERATOR_NAMESPACE).run("apply", "--server-side", "-k", str(folder))

    def operator(self, settings: Mapping[str, str] = {}) -> OperatorProcess:
        """An operator with the ServiceAccount's rights; not started yet."""
        kubeconfig = self.cluster.kubeconfig_for_service_account(
            OPERATOR_NAMESPACE, OPERATOR_ACCOUNT
        )
        log = self.stage.rig.log(f"operator-{self.letter}")
        text = {"CINDERBANK_LOG_FORMAT": "text"}
        return OperatorProcess(kubeconfig, log, {**text, **settings})

    @contextmanager
    def operator_api(self) -> Iterator[KubeApi]:
        """The API server with the rights of the operator's ServiceAccount, and no more."""
        kubeconfig = self.cluster.kubeconfig_for_service_account(
            OPERATOR_NAMESPACE, OPERATOR_ACCOUNT
        )
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(kubeconfig)
        try:
            yield connect(5, 30, pool_size=4)
        finally:
            os.environ.pop("KUBECONFIG")
            if before is not None:
                os.environ["KUBECONFIG"] = before

    def volume_sha256(self, volume_id: str) -> str:
        """Of the volume's bytes as the back end holds them, without Cinder or Glance."""
        return str(self.stage.rig.site(self.letter).volume_sha256(volume_id))

    def furnish(self, namespace: Namespace, *, prefix: str, bank: str = "main") -> None:
        """The namespace with the two Secrets and a BackupBank on `prefix`."""
        namespace.create()
        s3 = self.stage.environment
        namespace.secret("openstack", {"clouds.yaml": self.cloud.clouds_yaml})
        keys = {"access-key-id": s3["S3_ACCESS_KEY"], "secret-access-key": s3["S3_SECRET_KEY"]}
        namespace.secret("bank", keys)
        namespace.apply(self.bank(bank, prefix=prefix))

    def bank(self, name: str, *, prefix: str, **changes: Any) -> Object:
        s3 = {
            "endpoint": self.stage.environment["S3_ENDPOINT"],
            "bucket": self.stage.environment["S3_BUCKET"],
            "prefix": prefix,
            "credentialsSecretRef": {"name": "bank"},
            **changes,
        }
        spec = {"s3": s3, "site": f"site-{self.letter}"}
        return {"apiVersion": GROUP, "kind": "BackupBank", "metadata": {"name": name}, "spec": spec}


def install(namespace: Namespace) -> str:
    """Into the cluster of that namespace. A CRD is Established before kubectl can find its kind."""
    said = namespace.run("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "deploy"))
    namespace.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=240s")

    def all_are_known() -> bool:
        try:
            namespace.run("get", "vbk,vrs,vbp,bank")
        except Refused:
            return False
        return True

    until(all_are_known, 240, "the API server's discovery of our kinds")
    return said


CREDENTIALS = {"secretName": "openstack", "cloudName": "openstack"}


def backup(name: str, *, source: Mapping[str, Any], **spec: Any) -> Object:
    """A VolumeBackup into bank `main`."""
    body = {"source": source, "cloudCredentialsRef": CREDENTIALS, "bankRef": {"name": "main"}}
    return _object("VolumeBackup", name, {**body, **spec})


def restore(name: str, *, backup_id: str, target: Mapping[str, Any] = {}, **spec: Any) -> Object:
    """A VolumeRestore by backup id from bank `main`, as at a site that never saw the backup."""
    source = {"bank": {"bankRef": {"name": "main"}, "backupID": backup_id}}
    body = {"source": source, "cloudCredentialsRef": CREDENTIALS, "target": dict(target)}
    return _object("VolumeRestore", name, {**body, **spec})


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> Object:
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
