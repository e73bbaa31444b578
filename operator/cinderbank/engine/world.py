"""The doors that one tick goes through."""

from __future__ import annotations

from dataclasses import dataclass

from cinderbank.ports.bank import Bank
from cinderbank.ports.cinder import Cinder
from cinderbank.ports.claims import Claims
from cinderbank.ports.clock import Clock, Identities
from cinderbank.ports.glance import Glance
from cinderbank.ports.key_manager import KeyManager
from cinderbank.ports.records import Records
from cinderbank.ports.transfers import Transfers


@dataclass(frozen=True, slots=True)
class BackupWorld:
    """Everything one backup needs: the doors of one site's cloud, of one bank, of one object."""

    cinder: Cinder
    glance: Glance
    bank: Bank
    transfers: Transfers
    records: Records
    clock: Clock
    identities: Identities
    site: str
    """The name of this site, as BackupBank.spec.site says."""
    claims: Claims
    key_manager: KeyManager


@dataclass(frozen=True, slots=True)
class RestoreWorld:
    """Everything one restore needs."""

    cinder: Cinder
    glance: Glance
    bank: Bank
    transfers: Transfers
    records: Records
    clock: Clock
    claims: Claims
    key_manager: KeyManager
