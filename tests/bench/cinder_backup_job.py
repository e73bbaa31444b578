"""The whole job as Cinder's own backup service does it, with its S3 driver."""

from __future__ import annotations

import time
from typing import Any

from tests.bench.bench import Done
from tests.bench.cost import Watch
from tests.rig.openstack.cinder_backup import service_name
from tests.stage.cloud import Cloud, until
from tests.stage.site import Site

LIMIT_SECONDS = 1800
POLL_SECONDS = 0.25
# Availability zones of backups.
MICROVERSION = "3.51"


class PeerFailed(Exception):
    """Cinder refused, or what it did ended in error."""


class CinderBackupJob:
    """Backups and restores of one volume by the service with that compression."""

    def __init__(self, site: Site, compression: str) -> None:
        self.tool = f"cinder-backup {compression}"
        self._zone = compression
        self._site = site
        self._volume_id = ""
        self._backups: list[str] = []
        self._restored: list[str] = []

    @property
    def _cloud(self) -> Cloud:
        return self._site.cloud

    def begin(self, volume_id: str) -> None:
        self._volume_id = volume_id

    def full(self) -> Done:
        return self._backup(incremental=False)

    def incremental(self) -> Done:
        return self._backup(incremental=True)

    def restore(self) -> Done:
        """Of the full backup, into a new volume."""
        body = {"restore": {"name": "bench-peer-back"}}
        answer = self._call("POST", f"/backups/{self._backups[0]}/restore", body)
        volume_id = str(answer["restore"]["volume_id"])
        self._restored.append(volume_id)

        def is_there() -> bool:
            status = self._cloud.volume(volume_id).status
            if status.startswith("error"):
                raise PeerFailed(f"the restored volume is in {status}")
            return bool(status == "available")

        poll(is_there, f"restored volume {volume_id}")
        self._await_backup(self._backups[0])
        return Done()

    @property
    def restored_volume(self) -> str:
        return self._restored[-1]

    def end(self) -> None:
        """Newest first: Cinder keeps a backup that others build upon."""
        delete_volumes(self._cloud, self._restored)
        while self._backups:
            self._delete(self._backups.pop())

    def watch(self) -> Watch:
        """The service with its children."""
        pid = self._site.stage.rig.supervisor.pid(service_name(self._zone))
        return Watch(lambda look: look.session == pid)

    def warm_up(self, volume_id: str) -> None:
        """Until Cinder's scheduler has heard of the service; a backup ends in error before that."""
        self.begin(volume_id)

        def works() -> bool:
            try:
                self.full()
                return True
            except PeerFailed:
                return False
            finally:
                self.end()

        until(works, 120, f"{self.tool} known to the scheduler")

    def _backup(self, incremental: bool) -> Done:
        wanted = {
            "volume_id": self._volume_id,
            "name": "bench",
            "incremental": incremental,
            "availability_zone": self._zone,
        }
        backup_id = str(self._call("POST", "/backups", {"backup": wanted})["backup"]["id"])
        self._backups.append(backup_id)
        self._await_backup(backup_id)
        return Done()

    def _await_backup(self, backup_id: str) -> None:
        def is_there() -> bool:
            found = self._call("GET", f"/backups/{backup_id}")["backup"]
            if found["status"] == "error":
                raise PeerFailed(f"backup {backup_id}: {found['fail_reason']}")
            return bool(found["status"] == "available")

        poll(is_there, f"backup {backup_id}")

    def _delete(self, backup_id: str) -> None:
        self._call("DELETE", f"/backups/{backup_id}")

        def is_gone() -> bool:
            answer = self._cloud.connection.block_storage.get(f"/backups/{backup_id}")
            return bool(answer.status_code == 404)

        poll(is_gone, f"deletion of backup {backup_id}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        cinder = self._cloud.connection.block_storage
        answer = cinder.request(path, method, json=body, microversion=MICROVERSION)
        if answer.status_code >= 300:
            raise PeerFailed(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else None


def delete_volumes(cloud: Cloud, volume_ids: list[str]) -> None:
    """Returns when all of them are gone, and empties the list: the next tool is not to pay for it."""
    for volume_id in volume_ids:
        cloud.delete_volume(volume_id)

    def is_gone(volume_id: str) -> bool:
        found = cloud.connection.block_storage.find_volume(volume_id)
        if found is not None and found.status.startswith("error"):
            raise PeerFailed(f"volume {volume_id} is in {found.status}")
        return found is None

    while volume_ids:
        poll(lambda: is_gone(volume_ids[0]), f"deletion of volume {volume_ids[0]}")
        volume_ids.pop(0)


def poll(awaited: Any, what: str) -> None:
    """As `until`, at a pace that is neither seen in the result nor felt by the cloud."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not awaited():
        if time.monotonic() > deadline:
            raise PeerFailed(f"{what}: not after {LIMIT_SECONDS} s")
        time.sleep(POLL_SECONDS)
