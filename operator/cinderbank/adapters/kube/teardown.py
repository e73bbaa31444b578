"""Whether a namespace or a CRD is being torn down: whoever does that did not ask for bank data to go.

Kubernetes deletes the objects then as if somebody had deleted each, and nothing in the object tells the
difference. Source of the facts: the namespace and CRD finalizer controllers mark theirs first and delete
objects after that.
"""

from __future__ import annotations

from typing import Any

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import GROUP_VERSION_PATH, PLURALS, crd_path, namespace_path
from cinderbank.domain.errors import Forbidden


def is_torn_down(api: KubeApi, kind: str, namespace: str) -> bool:
    """Whether the namespace or the kind's CRD is leaving, or gone.

    Fails closed: raises what `KubeApi.get` raises, Forbidden when the namespace may not be read.
    """
    if _is_leaving(api.get(namespace_path(namespace))):
        return True
    try:
        return _is_leaving(api.get(crd_path(kind)))
    except Forbidden:  # an operator of single namespaces can not be given that right
        return not _can_be_created(api, kind)


def _is_leaving(raw: dict[str, Any] | None) -> bool:
    return raw is None or "deletionTimestamp" in raw["metadata"]


def _can_be_created(api: KubeApi, kind: str) -> bool:
    """By discovery, which everybody may read: of a CRD that terminates it leaves out create, update and
    patch (apiextensions-apiserver, customresource_discovery_controller.go). It follows the CRD's condition
    Terminating, after which the first object is deleted, by an informer: in milliseconds, but not at once."""
    found = api.get(GROUP_VERSION_PATH) or {}
    return any(
        each.get("name") == PLURALS[kind] and "create" in (each.get("verbs") or ())
        for each in found.get("resources") or ()
    )
