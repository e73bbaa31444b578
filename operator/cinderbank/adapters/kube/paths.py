"""Where our kinds live in the Kubernetes API; nothing here talks."""

from __future__ import annotations

from urllib.parse import quote

from cinderbank.api.v1alpha1 import RESOURCES
from cinderbank.api.v1alpha1.resource import API_VERSION, GROUP

PLURALS = {resource.kind: resource.plural for resource in RESOURCES}
GROUP_VERSION_PATH = f"/apis/{API_VERSION}"


def collection_path(kind: str, namespace: str | None) -> str:
    if namespace is None:
        return f"{GROUP_VERSION_PATH}/{PLURALS[kind]}"
    return f"{GROUP_VERSION_PATH}/namespaces/{quote(namespace, safe='')}/{PLURALS[kind]}"


def object_path(kind: str, namespace: str, name: str) -> str:
    return f"{collection_path(kind, namespace)}/{quote(name, safe='')}"


def recovery_point_path(namespace: str, name: str) -> str:
    base = f"/apis/{API_VERSION}/namespaces/{quote(namespace, safe='')}"
    return f"{base}/recoverypoints/{quote(name, safe='')}"


def secret_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"


def events_path(namespace: str) -> str:
    return f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, safe='')}/events"


def namespace_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}"


def crd_path(kind: str) -> str:
    return f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURALS[kind]}.{GROUP}"


def claim_path(namespace: str, name: str = "") -> str:
    """Of a PersistentVolumeClaim; of all of the namespace without a name."""
    base = f"{namespace_path(namespace)}/persistentvolumeclaims"
    return f"{base}/{quote(name, safe='')}" if name else base


def persistent_volume_path(name: str = "") -> str:
    """Of a PersistentVolume; of all without a name."""
    base = "/api/v1/persistentvolumes"
    return f"{base}/{quote(name, safe='')}" if name else base
