"""`kube.policy_proofs.ProofWorlds` on the real adapters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import collection_path, object_path
from cinderbank.domain.errors import Conflict, InvalidSpec, SourceGone
from cinderbank.domain.policy.children import POLICY_LABEL, RUN_LABEL
from cinderbank.kube.known_proofs import PolicyProofs
from cinderbank.kube.reconcile import Raw


class AppProofWorlds:
    """Makes and deletes the drills and checks of policies."""

    def __init__(
        self, api: KubeApi, known: PolicyProofs, say: Callable[[Raw, str, str, bool], None]
    ) -> None:
        self._api = api
        self.drills = known.drills
        self.checks = known.checks
        self.say = say

    def make(self, namespace: str, body: Raw) -> None:
        kind, metadata = body["kind"], body["metadata"]
        there: Raw | None
        try:
            there = self._api.create(collection_path(kind, namespace), body)
        except Conflict:
            there = self._api.get(object_path(kind, namespace, metadata["name"]))
            labels = {} if there is None else there["metadata"].get("labels") or {}
            wanted = metadata["labels"]
            if there is not None and any(
                labels.get(name) != wanted[name] for name in (POLICY_LABEL, RUN_LABEL)
            ):
                raise InvalidSpec(
                    f"{kind} {namespace}/{metadata['name']} is there and is not of this policy;"
                    " rename or delete it",
                    reason="ChildNameTaken",
                ) from None
        if there is not None:
            self._require_drill(body, there)

    def _require_drill(self, asked: Raw, made: Raw) -> None:
        """A CustomResourceDefinition that does not know spec.drill prunes it: a real restore is left."""
        if "drill" not in asked["spec"] or (made.get("spec") or {}).get("drill") is True:
            return
        kind, metadata = asked["kind"], made["metadata"]
        namespace, name = asked["metadata"]["namespace"], metadata["name"]
        if "deletionTimestamp" not in metadata:
            self.give_up(kind, namespace, name, metadata["uid"])
        raise InvalidSpec(
            f"the CustomResourceDefinition volumerestores.cinderbank.io of this cluster does not know"
            f" spec.drill, so {kind} {namespace}/{name} would have been a restore that keeps its volume;"
            " it was deleted. Install the CustomResourceDefinitions of this release",
            reason="CRDOutdated",
        )

    def give_up(self, kind: str, namespace: str, name: str, uid: str) -> None:
        with suppress(Conflict, SourceGone):
            self._api.delete(object_path(kind, namespace, name), uid)
