"""What a tick works with, built for one object from what its namespace holds right now."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from cinderbank.adapters.check_process import CheckAccess, CheckProcesses
from cinderbank.adapters.collect_process import CollectProcesses
from cinderbank.adapters.kube.claims import KubeClaims
from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.events import KubeEvents, Subject
from cinderbank.adapters.kube.paths import object_path, recovery_point_path
from cinderbank.adapters.kube.records import KubeRecords, Render, StatusWriter
from cinderbank.adapters.kube.recovery_points import KubeRecoveryPoints
from cinderbank.adapters.kube.teardown import is_torn_down
from cinderbank.adapters.transfer_process import TransferAccess, TransferProcesses
from cinderbank.api.v1alpha1 import backup_status, restore_status
from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.api.v1alpha1.copies import read_copies
from cinderbank.app import sources
from cinderbank.app.bank_limits import bandwidth_share, require_enough
from cinderbank.app.banks import Banks, OpenBank
from cinderbank.app.clouds import CACERT, CLOUDS_YAML, Cloud, Clouds, claims_refusal
from cinderbank.app.writers import Writers
from cinderbank.bank.stored_catalog import StoredCatalog
from cinderbank.domain.copies import Copy, CopyPhase
from cinderbank.domain.errors import InvalidSpec, SourceGone
from cinderbank.domain.facts import NOT_ENCRYPTED, BackupId, TransferFacts
from cinderbank.domain.proofs import Backup, Standing
from cinderbank.domain.selection import Named
from cinderbank.engine.bank_validation import BankFound, refusal
from cinderbank.engine.tick import BackupWorld, RestoreWorld
from cinderbank.kube.banks import is_stalled, not_ready, read_bank_status
from cinderbank.kube.catalog import CatalogWorld
from cinderbank.kube.known import BACKUP_BANK, VOLUME_BACKUP, VOLUME_RESTORE, CopyKey, Key
from cinderbank.kube.reconcile import Raw
from cinderbank.kube.runs import Needs
from cinderbank.ports.checks import Checks
from cinderbank.ports.clock import Clock, Identities
from cinderbank.ports.collections import Collections
from cinderbank.ports.records import Records
from cinderbank.ports.transfers import CopyTransfer


class KubeObjects:
    """Our objects, read anew each time."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    def find(self, kind: str, namespace: str, name: str) -> Raw | None:
        return self._api.get(object_path(kind, namespace, name))


class AppWorlds:
    """`kube.runs.Worlds` on the real adapters."""

    def __init__(
        self,
        *,
        api: KubeApi,
        writer: StatusWriter,
        events: KubeEvents,
        clouds: Clouds,
        banks: Banks,
        transfers: TransferProcesses[Key | CopyKey],
        checks: CheckProcesses[Key],
        collections: CollectProcesses[Key],
        clock: Clock,
        identities: Identities,
        transfer_slots: int,
        csi_auth_urls: tuple[str, ...] = (),
    ) -> None:
        self._api = api
        self._objects = KubeObjects(api)
        self._writer = writer
        self._events = events
        self._clouds = clouds
        self._banks = banks
        self._transfers = transfers
        self._checks = checks
        self._collections = collections
        self._clock = clock
        self._identities = identities
        self._transfer_slots = transfer_slots
        self._writers = Writers(api)
        self._csi_auth_urls = csi_auth_urls

    def records(self, key: Key, raw: Raw) -> Records:
        return KubeRecords(
            raw,
            api=self._api,
            writer=self._writer,
            events=self._events,
            render=RENDERS[key.kind],
            now=self._clock.now,
        )

    def for_backup(self, key: Key, needs: Needs, records: Records) -> BackupWorld:
        cloud = self._clouds.open(key.namespace, needs.secret_name, needs.cloud_name)
        bank = self._open_bank(key.namespace, needs.bank_name)
        return BackupWorld(
            cinder=cloud.cinder,
            glance=cloud.glance,
            bank=bank.bank,
            transfers=self._transfers.of(key, transfer_access(cloud, bank, self._transfer_slots)),
            records=records,
            clock=self._clock,
            identities=self._identities,
            site=bank.spec.site,
            claims=KubeClaims(self._api, key.namespace, refusal="a backup makes none"),
            key_manager=cloud.key_manager,
        )

    def for_restore(self, key: Key, needs: Needs, records: Records) -> RestoreWorld:
        cloud = self._clouds.open(key.namespace, needs.secret_name, needs.cloud_name)
        bank = self._open_bank(key.namespace, needs.bank_name)
        return RestoreWorld(
            cinder=cloud.cinder,
            glance=cloud.glance,
            bank=bank.bank,
            transfers=self._transfers.of(key, transfer_access(cloud, bank, self._transfer_slots)),
            records=records,
            clock=self._clock,
            claims=KubeClaims(self._api, key.namespace, claims_refusal(cloud, self._csi_auth_urls)),
            key_manager=cloud.key_manager,
        )

    def resolve_backup(self, namespace: str, name: str) -> Named:
        raw = self._objects.find(VOLUME_BACKUP, namespace, name)
        if raw is None:
            raise SourceGone(
                f"VolumeBackup {namespace}/{name} is not there; name another one, or restore by"
                " source.bank with the backup's id",
                reason="BackupNotFound",
            )
        return sources.of_volume_backup(raw, f"{namespace}/{name}")

    def copies_of(
        self, namespace: str, name: str, backup_id: BackupId
    ) -> tuple[tuple[str, BackupId], ...]:
        status = (self._objects.find(VOLUME_BACKUP, namespace, name) or {}).get("status") or {}
        if status.get("backupID") != backup_id:
            return ()
        whole = (each for each in read_copies(status) if each.phase == CopyPhase.COMPLETED.value)
        return tuple((each.bank, BackupId(each.backup_id)) for each in whole)

    def resolve_recovery_point(self, namespace: str, name: str) -> Named:
        """What it says is checked here: whoever may write one has written it."""
        raw = self._api.get(recovery_point_path(namespace, name))
        if raw is None:
            raise SourceGone(
                f"RecoveryPoint {namespace}/{name} is not there: the catalogue of its bank has not seen"
                " that backup yet, keeps only newer ones, or the backup was deleted. Name another one,"
                " or restore by source.bank",
                reason="RecoveryPointNotFound",
            )
        return sources.of_recovery_point(raw, f"{namespace}/{name}")

    def is_torn_down(self, key: Key, raw: Raw) -> bool:
        since = datetime.fromisoformat(raw["metadata"]["deletionTimestamp"])
        return is_torn_down(self._api, key.kind, key.namespace, self._clock.now() - since)

    def _open_bank(self, namespace: str, name: str) -> OpenBank:
        raw = self._objects.find(BACKUP_BANK, namespace, name)
        if raw is None:
            raise InvalidSpec(
                f"BackupBank {namespace}/{name} is not there; create it, the object then goes on by"
                " itself",
                reason="BankNotFound",
            )
        spec = BackupBankSpec.read(raw.get("spec"), "spec")
        status = read_bank_status(raw)
        refused = refusal(
            f"{namespace}/{name}",
            bank_id=status.bank_id,
            not_ready=not_ready(status),
            stalled=is_stalled(status),
            deleting="deletionTimestamp" in raw["metadata"],
        )
        if refused is not None:
            raise refused
        return self._banks.open(namespace, spec, status.bank_id)

    def holds_backup(self, namespace: str, bank: str, site: str, backup_id: BackupId) -> bool:
        """Whether the bank has that backup, committed, ours and not deleted, with the manifest that was
        sealed; raises as `for_backup` does, and why its manifest can not be read here."""
        opened = self._open_bank(namespace, bank)
        facts = opened.bank.observe(site, backup_id)
        if facts.unreadable is not None and not facts.tombed:
            raise facts.unreadable
        # Where it is asked for, a restore takes those from before the bank got its key.
        is_older = opened.accepts_plain and facts.not_ours_reason == NOT_ENCRYPTED
        is_ours = not facts.not_ours or is_older
        return facts.sealed and facts.manifest and not facts.tombed and is_ours

    def damaged_backups(self, namespace: str, bank: str) -> frozenset[tuple[str, BackupId]]:
        """Site and id of what checks found not whole; raises as `for_backup` does."""
        return self._open_bank(namespace, bank).bank.damaged_backups()

    def standings(self, namespace: str, bank: str, among: Set[Backup]) -> Mapping[Backup, Standing]:
        """What is known of these backups of a bank; raises as `for_backup` does."""
        return self._open_bank(namespace, bank).bank.standings(among)

    def find(self, kind: str, namespace: str, name: str) -> Raw | None:
        return self._objects.find(kind, namespace, name)

    # For copies.

    def observe_copy(self, key: Key, bank_name: str) -> TransferFacts:
        return self._transfers.observe(CopyKey(key, bank_name))

    def start_copy(self, key: Key, source: str, target: str, transfer: CopyTransfer) -> None:
        slots = self._transfer_slots
        opened = self._open_bank(key.namespace, source), self._open_bank(key.namespace, target)
        from_, to = (bank_access(each, slots) for each in opened)
        self._transfers.start(CopyKey(key, target), replace(from_, target=to), transfer)

    def forget_copy(self, key: Key, bank_name: str) -> None:
        self._transfers.forget(CopyKey(key, bank_name))

    def delete_copy(self, namespace: str, bank_name: str, site: str, copy: Copy) -> bool:
        bank = self._open_bank(namespace, bank_name).bank
        if bank.observe(site, copy.backup_id).sealed:
            return bank.delete(site, copy.backup_id)
        return bank.discard(site, copy.backup_id)

    # For BackupBanks.

    def look_at_bank(self, key: Key, spec: BackupBankSpec, bank_id: str | None) -> BankFound:
        """The self-test on a client of its own, so that nothing remembered hides what changed."""
        require_enough(spec, self._transfer_slots)
        return self._banks.look(key.namespace, spec, bank_id, self._writers.id_of(key.uid))

    def checks(self, key: Key, bank_name: str) -> Checks:
        """What a BankCheck works with; raises as `for_backup` does."""
        return self._checks.of(key, check_access(self._open_bank(key.namespace, bank_name)))

    def collections(self, key: Key) -> Collections:
        """What the maintenance of a BackupBank works with; raises as `for_backup` does."""
        return self._collections.of(key, check_access(self._open_bank(key.namespace, key.name)))

    def catalog(self, key: Key) -> CatalogWorld:
        """What the catalogue of a BackupBank works with; raises as `for_backup` does."""
        bank = self._open_bank(key.namespace, key.name).bank
        points = KubeRecoveryPoints(self._api, key.namespace, key.name, key.uid, self._clock.now)
        return CatalogWorld(StoredCatalog(bank), points)

    def write_status(self, raw: Raw, status: dict[str, Any]) -> None:
        self._writer.write_if_worth_it(raw, status)

    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None:
        metadata = raw["metadata"]
        subject = Subject(raw["kind"], metadata["namespace"], metadata["name"], metadata["uid"])
        self._events.say(subject, reason, message, warning=warning)


def transfer_access(cloud: Cloud, bank: OpenBank, slots: int) -> TransferAccess:
    """What a child process needs to reach both by itself; `slots` run at once on this operator."""
    return replace(
        bank_access(bank, slots),
        cloud_name=cloud.name,
        clouds_yaml=cloud.secret.data[CLOUDS_YAML],
        cacert=cloud.secret.data.get(CACERT),
    )


def bank_access(bank: OpenBank, slots: int) -> TransferAccess:
    """As `transfer_access`, of the bank alone."""
    limits = bank.spec.limits
    return TransferAccess(
        location=bank.location,
        credentials=bank.credentials,
        site=bank.spec.site,
        read_only=bank.bank.read_only,
        bank_id=bank.bank_id,
        chunk_bytes=bank.spec.chunk_size_mib << 20,
        keks=bank.keks,
        accepts_plain=bank.accepts_plain,
        bandwidth_bytes_per_second=bandwidth_share(limits, slots),
        concurrent_transfers=limits.concurrent_transfers,
    )


def check_access(bank: OpenBank) -> CheckAccess:
    return CheckAccess(
        location=bank.location,
        credentials=bank.credentials,
        site=bank.spec.site,
        read_only=bank.bank.read_only,
        bank_id=bank.bank_id,
        keks=bank.keks,
        accepts_plain=bank.accepts_plain,
    )


def _render_backup(*args: Any) -> dict[str, Any]:
    return backup_status.status_of(*args).dump()


def _render_restore(*args: Any) -> dict[str, Any]:
    return restore_status.status_of(*args).dump()


RENDERS: dict[str, Render] = {VOLUME_BACKUP: _render_backup, VOLUME_RESTORE: _render_restore}
