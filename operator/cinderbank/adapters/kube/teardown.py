"""Whether a namespace or a CRD is being torn down: whoever does that did not ask for bank data to go.

Kubernetes deletes the objects then as if somebody had deleted each, and nothing in the object tells the
difference. Source of the facts: the namespace and CRD finalizer controllers mark theirs first and delete
objects after that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import GROUP_VERSION_PATH, PLURALS, crd_path, namespace_path
from cinderbank.domain.errors import Conflict, Forbidden

SETTLED_SECONDS = 15.0
"""So old is a deletion before discovery is believed about its CRD: far more than informers lag behind,
and with it what two clocks differ by."""


def is_torn_down(api: KubeApi, kind: str, namespace: str, deleting_for: timedelta) -> bool:
    """Whether the namespace or the kind's CRD is leaving, or gone; `deleting_for` is since when an
    object of it is being deleted.

    Fails closed: raises what `KubeApi.get` raises, Forbidden when the namespace may not be read, and
    Conflict with `retry_after_seconds` while it is too early to know.
    """
    if _is_leaving(api.get(namespace_path(namespace))):
        return True
    try:
        return _is_leaving(api.get(crd_path(kind)))
    except Forbidden:  # an operator of single namespaces can not be given that right
        left_seconds = SETTLED_SECONDS - deleting_for.total_seconds()
        if left_seconds > 0:
            raise Conflict(
                f"it is known in {left_seconds:.0f} s whether the CRD of {kind} is being deleted",
                retry_after_seconds=min(left_seconds, SETTLED_SECONDS),
            ) from None
        return not _can_be_created(api, kind)


def _is_leaving(raw: dict[str, Any] | None) -> bool:
    return raw is None or "deletionTimestamp" in raw["metadata"]


def _can_be_created(api: KubeApi, kind: str) -> bool:
    """By discovery, which everybody may read: of a CRD that terminates it leaves out create, update and
    patch (apiextensions-apiserver, customresource_discovery_controller.go). It follows the CRD's condition
    Terminating, after which the first object is deleted, by an informer: in milliseconds, but not at once, see SETTLED_SECONDS."""
    found = api.get(GROUP_VERSION_PATH) or {}
    return any(
        each.get("name") == PLURALS[kind] and "create" in (each.get("verbs") or ())
        for each in found.get("resources") or ()
    )
