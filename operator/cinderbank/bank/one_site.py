"""Which site has a backup, when nobody said: one of them, or it is nobody's guess.

Ids are random, so two sites have the same one only when somebody copied or planted it. What is planted may
be readable, damaged or plain: no such difference decides, as the one who plants it chooses it.
"""

from __future__ import annotations

from cinderbank.bank import state
from cinderbank.bank.state import Sealed
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import CinderbankError, Retryable, SourceGone
from cinderbank.domain.facts import BackupId

MAX_TOLD = 5
"""Sites that a message names."""


def committed(store: ObjectStore, site: str, backup_id: BackupId) -> Sealed | None:
    """The seal of a backup that is neither VOID nor deleted; None when there is none."""
    sealed = state.read_seal(store, site, backup_id)
    if sealed is None or not sealed.is_ok:
        return None
    return None if state.read_tomb(store, site, backup_id) is not None else sealed


IN_A_RESTORE = "Say which one is meant in spec.source.bank.site of a new VolumeRestore"


def holding(store: ObjectStore, backup_id: BackupId, *, way_out: str = IN_A_RESTORE) -> str | None:
    """The only site that has this backup; None when no site has it. Two requests for each site at least.

    Raises SourceGone (BackupAmbiguous, with the way out) when more than one has it.
    """
    found = [site for site in state.sites(store) if _may_have(store, site, backup_id)]
    if len(found) > 1:
        more = f" and {len(found) - MAX_TOLD} more" if len(found) > MAX_TOLD else ""
        raise SourceGone(
            f"{len(found)} sites have a backup {backup_id} in the bank at {store.where()}:"
            f" {', '.join(found[:MAX_TOLD])}{more}. {way_out}",
            reason="BackupAmbiguous",
        )
    return found[0] if found else None


def _may_have(store: ObjectStore, site: str, backup_id: BackupId) -> bool:
    """Also when it can not be read: whoever asks for it learns why."""
    try:
        return committed(store, site, backup_id) is not None
    except CinderbankError as error:
        if isinstance(error, Retryable) or error.reason.startswith("BankAccess"):
            raise
        return True
