"""What one site does in a soak: each of its works is a thread that goes on until it is told to stop."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from typing import Any

from tests.rig.openstack.volumes import nfs_file
from tests.soak.ledger import Entry, Ledger, State
from tests.stage.bank_shell import BankShell
from tests.stage.cloud import GIB, MIB, until
from tests.stage.namespace import GROUP, TERMINAL, Namespace, Object, condition, phase_of
from tests.stage.site import Site, backup, restore

LIMIT_SECONDS = 900.0
"""Only what never comes is given up."""
LEAVE = 1
COLLECT_SECONDS = 10.0
"""Rest between two collections: the machine has other work, too."""


class SiteWork:
    """The works of one site, on volumes of 1 GiB of its own; S3 by way of `endpoint`."""

    def __init__(
        self,
        site: Site,
        namespace: Namespace,
        shell: BankShell,
        ledger: Ledger,
        chance: random.Random,
        stop: threading.Event,
    ) -> None:
        self.site = site
        self.letter = site.letter
        self._namespace = namespace
        self._shell = shell
        self._ledger = ledger
        self._chance = chance
        self._stop = stop
        self._numbers = iter(range(1_000_000))

    def works(self, volume_ids: list[str]) -> list[Callable[[], None]]:
        backups = [lambda v=volume: self._back_up(v) for volume in volume_ids]
        return [*backups, self._restore, self._delete, self._collect]

    def _name(self, what: str) -> str:
        return f"{what}-{next(self._numbers)}"

    def _back_up(self, volume_id: str) -> None:
        while not self._stop.is_set():
            self._change(volume_id)
            sha256 = self.site.volume_sha256(volume_id)
            name = self._name(f"of-{volume_id[:4]}")
            spec = {"deletionPolicy": "Delete"}
            if self._chance.random() < 0.2:
                spec["incremental"] = "Full"
            self._namespace.apply(backup(name, source={"volumeID": volume_id}, **spec))
            ended = self._ended("volumebackups", name)
            assert phase_of(ended) == "Completed", json.dumps(ended["status"], indent=1)
            self._ledger.add(Entry(self.letter, name, ended["status"]["backupID"], sha256))
            self._ledger.count(f"{self.letter} backup")
            if ended["status"].get("baseBackupID"):
                self._ledger.count(f"{self.letter} backup that borrows")

    def _change(self, volume_id: str) -> None:
        """One MiB of it, as a server would; where volumes are files (an RBD volume stays as it is)."""
        if self.site.stage.rig.backend(self.letter) != "nfs":
            return
        with open(nfs_file(self.site.stage.rig.site(self.letter), volume_id), "r+b") as disk:
            disk.seek(self._chance.randrange(GIB // MIB) * MIB)
            disk.write(self._chance.randbytes(MIB))

    def _restore(self) -> None:
        while not self._stop.is_set():
            entry = self._ledger.any_there()
            if entry is None:
                self._stop.wait(1)
                continue
            name = self._name("back")
            self._namespace.apply(restore(name, backup_id=entry.backup_id))
            ended = self._ended("volumerestores", name)
            if phase_of(ended) == "Completed":
                volume_id = ended["status"]["volumeID"]
                assert self.site.volume_sha256(volume_id) == entry.sha256, (entry, ended)
                self.site.cloud.delete_volume(volume_id)
                across = "own" if entry.site == self.letter else "the other's"
                self._ledger.count(f"{self.letter} restore of {across}")
            else:
                # Only what its user deleted may be missing, and only in these words.
                assert condition(ended, "Stalled")["reason"] == "BackupNotFound", ended["status"]
                assert entry.state is not State.THERE, ended["status"]
                self._ledger.count(f"{self.letter} restore that came too late")
            self._namespace.delete("volumerestore", name)

    def _delete(self) -> None:
        while not self._stop.is_set():
            entry = self._ledger.take_for_deletion(self.letter, LEAVE)
            if entry is None:
                self._stop.wait(1)
                continue
            self._namespace.delete("volumebackup", entry.name)
            until(
                lambda name=entry.name: self._look("volumebackups", name) is None,  # type: ignore[misc]
                LIMIT_SECONDS,
                f"the end of {entry.name}",
            )
            entry.state = State.GONE
            self._ledger.count(f"{self.letter} deletion")

    def _collect(self) -> None:
        while not self._stop.is_set():
            self.collect()
            self._stop.wait(COLLECT_SECONDS)

    def collect(self) -> dict[str, Any]:
        """A collection from a shell, beside those of the operators; its report."""
        report = self._shell.collect()
        overtaken = "" if report["refusal"] is None else " that was overtaken"
        self._ledger.count(f"{self.letter} collection{overtaken}")
        return report

    def _look(self, plural: str, name: str) -> Object | None:
        """By the API itself: a kubectl for each look would be most of the work."""
        path = f"/apis/{GROUP}/namespaces/{self._namespace.name}/{plural}"
        query = f"?fieldSelector=metadata.name%3D{name}"
        found = self.site.cluster.request("GET", path + query)["items"]
        return found[0] if found else None

    def _ended(self, plural: str, name: str) -> Object:
        found: list[Object] = []

        def is_over() -> bool:
            found[:] = [look] if (look := self._look(plural, name)) is not None else []
            return bool(found) and phase_of(found[0]) in TERMINAL

        until(is_over, LIMIT_SECONDS, f"{plural} {name} (now {found and found[0].get('status')})")
        return found[0]
