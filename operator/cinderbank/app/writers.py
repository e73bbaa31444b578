"""As whom we sign in a bank: what tells the writers of one site apart (bank.writers)."""

from __future__ import annotations

import threading

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import namespace_path
from cinderbank.domain.errors import Forbidden

CLUSTER = "kube-system"
"""Its uid is the usual id of a cluster: it is there first, and goes last."""


class Writers:
    """Ids of writers; thread-safe.

    Two BackupBanks of one cluster may be of one site: namespaces share clouds. Two clusters are told apart.
    An operator that may not read the cluster's id (deploy/overlays/namespaced) signs as each BackupBank.
    """

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._cluster: str | None = None
        self._asked = False

    def id_of(self, bank_uid: str) -> str:
        """A UUID: the cluster's, else that of the BackupBank. Raises Unavailable, AuthRefused."""
        with self._lock:
            if not self._asked:
                self._cluster = self._ask()
                self._asked = True
            return self._cluster or bank_uid

    def _ask(self) -> str | None:
        try:
            raw = self._api.get(namespace_path(CLUSTER))
        except Forbidden:
            return None
        return None if raw is None else str(raw["metadata"]["uid"])
