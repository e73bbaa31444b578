"""Where our kinds live in the Kubernetes API; nothing here talks."""

from __future__ import annotations

from urllib.parse import quote

from cinderbank.api.v1alpha1 import RESOURCES
from cinderbank.api.v1alpha1.resource import API_VERSION, GROUP

PLURALS = {resource.kind: resource.plural for resource in RESOURCES}


def collection_path(kind: str, namespace: str | None) -> str:
    base = f"/apis/{API_VERSION}"
    if namespace is None:
        return f"{base}/{PLURALS[kind]}"
    return f"{base}/namespaces/{quote(namespace, safe='')}/{PLURALS[kind]}"


def object_path(kind: str, namespace: str, name: str) -> str:
    return f"{collection_path(kind, namespace)}/{quote(name, safe='')}"


def secret_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"


def events_path(namespace: str) -> str:
    return f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, safe='')}/events"


def namespace_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}"


def crd_path(kind: str) -> str:
    return f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURALS[kind]}.{GROUP}"


def claims_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/persistentvolumeclaims"


def persistent_volume_path(name: str) -> str:
    return f"/api/v1/persistentvolumes/{quote(name, safe='')}"
