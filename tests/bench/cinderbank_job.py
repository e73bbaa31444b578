"""Our side of the whole job: custom resources in, `Completed` out."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from typing import Any

from tests.bench.bench import Done
from tests.bench.cinder_backup_job import delete_volumes
from tests.bench.cost import Watch
from tests.bench.names import OWN
from tests.stage.bucket import Bucket
from tests.stage.cloud import until
from tests.stage.namespace import TERMINAL, Namespace, condition
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import Site, backup, restore

LIMIT_SECONDS = 1800


class JobFailed(Exception):
    """The custom resource came to another end than `Completed`; says its status."""


class CinderbankJob:
    """Backups and restores of one volume in a namespace and on a bank prefix of their own."""

    def __init__(
        self,
        site: Site,
        operator: OperatorProcess,
        tool: str = OWN,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`around`: what holds from `begin` to `end`."""
        self.tool = tool
        self._around = around
        self._held = ExitStack()
        self._site = site
        self._operator = operator
        self._namespace: Namespace | None = None
        self._volume_id = ""
        self._backup_id = ""
        self._restored: list[str] = []

    def warm_up(self, volume_id: str) -> None:
        """A backup and a restore that are not measured: what comes first pays for Ceph's first writes to its
        disk and for cold caches, whoever it is."""
        self.begin(volume_id)
        try:
            self.full()
            self.restore()
        finally:
            self.end()

    def begin(self, volume_id: str) -> None:
        """A fresh bank, ready for use."""
        with ExitStack() as held:
            held.enter_context(self._around())
            self._make_bank(volume_id)
            self._held = held.pop_all()

    def _make_bank(self, volume_id: str) -> None:
        name = f"bench-{os.urandom(4).hex()}"
        self._volume_id = volume_id
        self._namespace = self._site.namespace(name)
        self._site.furnish(self._namespace, prefix=name)

        def is_ready(found: dict[str, Any]) -> bool:
            return condition(found, "Ready").get("status") == "True"

        self._namespace.wait("bank", "main", is_ready, seconds=120)

    def full(self) -> Done:
        done = self._backup("full", {"incremental": "Full"})
        found = self._here.get("vbk", "full")
        assert found is not None
        self._backup_id = found["status"]["backupID"]
        return done

    def incremental(self) -> Done:
        return self._backup("incremental", {})

    def restore(self) -> Done:
        """Of the full backup, into a new volume at the same site."""
        began = time.monotonic()
        self._here.apply(restore("back", backup_id=self._backup_id, target={"name": "bench-back"}))
        done = follow(self._here, "vrs", "back", began)
        found = self._here.get("vrs", "back")
        assert found is not None
        self._restored.append(found["status"]["volumeID"])
        return done

    @property
    def restored_volume(self) -> str:
        return self._restored[-1]

    def end(self) -> None:
        """Remove what was made: objects, restored volumes, the bank's prefix."""
        with self._held:
            delete_volumes(self._site.cloud, self._restored)
            here = self._here
            for kind in ("vrs", "vbk", "bank"):
                here.run("delete", kind, "--all", "--wait=true", "--timeout=50s")
            bucket = Bucket(self._site.stage.environment)
            remove_all(bucket, f"{here.name}/")
            self._namespace = None
            until(lambda: not self._site.cloud.temporaries(), 240, "our temporaries gone")

    def watch(self) -> Watch:
        """The transfer processes, which are children of the operator's."""
        process = self._operator.process
        assert process is not None
        return Watch(lambda look: look.parent == process.pid and is_transfer(look.pid))

    @property
    def _here(self) -> Namespace:
        assert self._namespace is not None, "begin() comes first"
        return self._namespace

    def _backup(self, name: str, spec: Mapping[str, Any]) -> Done:
        began = time.monotonic()
        self._here.apply(backup(name, source={"volumeID": self._volume_id}, **spec))
        return follow(self._here, "vbk", name, began)


def is_transfer(pid: int) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"--job" in file.read().split(b"\0")
    return False


def remove_all(bucket: Bucket, prefix: str) -> None:
    for item in bucket.client.list_objects(bucket.name, prefix=prefix, recursive=True):
        bucket.client.remove_object(bucket.name, item.object_name or "")


def follow(namespace: Namespace, kind: str, name: str, began: float) -> Done:
    """Watches the phases until `Completed`; JobFailed at any other end, or after LIMIT_SECONDS.

    One `kubectl get --watch`: a poll every half second would cost a tenth of the machine.
    """
    command = [
        str(namespace.kubectl), "--kubeconfig", str(namespace.kubeconfig), "-n", namespace.name,
        "get", kind, name, "--watch", "-o", 'jsonpath={.status.phase}{"\\n"}',
    ]  # fmt: skip
    stages: dict[str, float] = {}
    deadline = began + LIMIT_SECONDS
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as watching,
        selectors.DefaultSelector() as selector,
    ):
        assert watching.stdout is not None
        try:
            selector.register(watching.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                line = watching.stdout.readline()
                phase = line.strip()
                if phase:
                    stages.setdefault(phase, time.monotonic() - began)
                if phase in TERMINAL or not line:
                    break
        finally:
            watching.kill()
    if "Completed" not in stages:
        status = (namespace.get(kind, name) or {}).get("status")
        raise JobFailed(f"{kind} {name}: phases {list(stages)}; {status}")
    return Done(stages)
