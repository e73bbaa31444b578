"""The operator as a process: starts, watches over itself, ends in order."""

from __future__ import annotations

import logging
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from cinderbank.adapters.check_process import CheckProcesses
from cinderbank.adapters.collect_process import CollectProcesses
from cinderbank.adapters.kube.client import KubeApi, connect
from cinderbank.adapters.kube.events import KubeEvents
from cinderbank.adapters.kube.paths import collection_path
from cinderbank.adapters.kube.rates import ProgressRule, TokenBucket
from cinderbank.adapters.kube.records import StatusWriter
from cinderbank.adapters.kube.secrets import KubeSecrets
from cinderbank.adapters.logs import configure_logs, logging_about, redact
from cinderbank.adapters.prometheus import Metrics
from cinderbank.adapters.secret_files import private_folder
from cinderbank.adapters.system import SystemClock, UlidMint
from cinderbank.adapters.transfer_process import TransferProcesses
from cinderbank.app.banks import Banks
from cinderbank.app.clouds import Clouds
from cinderbank.app.policies import AppPolicyWorlds
from cinderbank.app.policy_proofs import AppProofWorlds
from cinderbank.app.worlds import AppWorlds, KubeObjects
from cinderbank.config import LogFormat, Settings, installed_version
from cinderbank.domain.errors import CinderbankError
from cinderbank.kube.banks import BankChecks
from cinderbank.kube.catalog import Catalogue
from cinderbank.kube.checks import CheckRuns
from cinderbank.kube.copies import CopyRuns
from cinderbank.kube.coverage import Coverage
from cinderbank.kube.informer import Informer
from cinderbank.kube.known import (
    BACKUP_BANK,
    BANK_CHECK,
    VOLUME_BACKUP,
    VOLUME_BACKUP_POLICY,
    VOLUME_RESTORE,
    CopyKey,
    Key,
    KnownObjects,
    key_of,
    object_of,
)
from cinderbank.kube.known_proofs import PolicyProofs
from cinderbank.kube.maintenance import Maintenance
from cinderbank.kube.policies import PolicyRuns
from cinderbank.kube.policy_children import PolicyChildren
from cinderbank.kube.policy_proofs import PolicyProofRuns
from cinderbank.kube.probes import ProbeServer
from cinderbank.kube.queue import Workers, WorkQueue
from cinderbank.kube.reconcile import Raw, Reconciler, TickMeter
from cinderbank.kube.resync import Resync
from cinderbank.kube.runs import BackupRuns, RestoreRuns
from cinderbank.kube.verified import VerifiedRuns

log = logging.getLogger(__name__)

LOOP_LAG_LIMIT_SECONDS = 30.0
STUCK_TICK_SECONDS = 900.0
"""Longer than any step of a tick may take by its own timeouts."""
CHECKS_AT_ONCE = 1
"""A check reads as fast as it can: beside backups, never beside another check."""
TRANSFER_WAKE_SECONDS = 2.0
"""A transfer tells its progress twice a second; its object is looked at this often, and at its end."""
POLICY_WAKE_SECONDS = 20.0
"""A policy of many volumes hears of each backup that begins or ends; it is looked at this often."""


def run_operator(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; exit code 0, or 1 when it can not go on."""
    configure_logs(as_json=settings.log_format is LogFormat.JSON, level=settings.log_level)
    try:
        api = connect(
            settings.kube_connect_timeout_seconds,
            settings.kube_read_timeout_seconds,
            pool_size=settings.max_concurrent_ticks + 4,
        )
    except CinderbankError as error:
        log.error("%s", error.message)
        return 1
    with private_folder() as folder:
        tempfile.tempdir = str(folder)  # whatever is temporary goes when we go
        return Operator(settings, api, folder).run()


class Operator:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings, api: KubeApi, folder: Path) -> None:
        self._settings = settings
        self._api = api
        self._folder = folder
        self._stop = threading.Event()
        self._metrics = Metrics()
        self._meter = TickMeter(self._metrics)
        self._known = KnownObjects()
        self._policy_children = PolicyChildren()
        self._policy_proofs = PolicyProofs()
        self._coverage = Coverage()
        self._queue: WorkQueue[Key] = WorkQueue()
        self._events = KubeEvents(api, socket.gethostname(), clean=redact)
        self._writer = self._make_writer()
        self._secrets = KubeSecrets(api)
        self._clouds = Clouds(self._secrets, settings.connection_cache_size, folder / "ca")
        self._banks = Banks(self._secrets, settings.connection_cache_size, folder / "ca")
        self._transfers: TransferProcesses[Key | CopyKey] = TransferProcesses(
            folder / "transfers",
            settings.max_concurrent_transfers,
            on_progress=lambda key: self._queue.wake(object_of(key), TRANSFER_WAKE_SECONDS),
            on_end=lambda key: self._queue.add(object_of(key)),
        )
        self._checks: CheckProcesses[Key] = CheckProcesses(
            folder / "checks",
            CHECKS_AT_ONCE,
            lambda key: self._queue.wake(key, TRANSFER_WAKE_SECONDS),
        )
        self._collections: CollectProcesses[Key] = CollectProcesses(
            folder / "collections", self._queue.wake
        )
        self._workers: Workers[Key] = Workers(
            self._queue, self._make_reconciler().run, settings.max_concurrent_ticks
        )
        self._informer = Informer(self._on_event, settings.namespaces)
        self._resync = Resync(
            self._list,
            self._known,
            on_seen=self._on_listed,
            on_missing=self._queue.add,
            interval_seconds=settings.resync_interval_seconds,
        )
        self._probes = ProbeServer(
            settings.listen_address,
            settings.listen_port,
            healthz=self._what_is_unhealthy,
            readyz=self._what_is_not_ready,
            metrics=self._metrics.render,
        )

    def run(self) -> int:
        """Blocks; call it in the main thread (signals)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        self._register_gauges()
        self._probes.start()
        log.info("cinderbank %s, probes on port %d", installed_version(), self._probes.port)
        try:
            return self._live()
        finally:
            self._end()

    def _live(self) -> int:
        threading.Thread(target=self._stop_waits, daemon=True, name="stop").start()
        if not self._resync.first():
            return 0
        self._events.start()
        self._informer.start()
        self._workers.start()
        self._resync.start()
        while not self._stop.wait(1.0):
            if not self._informer.alive() or not self._workers.alive():
                log.error("a part of the operator has ended; the process ends, to be started again")
                return 1
        log.info("told to stop")
        return 0

    def _stop_waits(self) -> None:
        self._stop.wait()
        self._resync.stop()

    def _end(self) -> None:
        """Watches first, then ticks, then transfers: nothing new begins while something ends."""
        deadline = time.monotonic() + self._settings.shutdown_grace_seconds
        self._stop.set()
        self._queue.close()
        self._informer.stop(max(1.0, deadline - time.monotonic()))
        if not self._workers.join(max(1.0, deadline - time.monotonic())):
            log.warning("ticks are still in flight; the next operator goes on from their intents")
        self._transfers.close()
        self._checks.close()
        self._collections.close()
        self._events.close(1.0)
        self._clouds.close()
        self._probes.close()
        log.info("ended")

    # What wakes the queue.

    def _on_event(self, gone: bool, raw: Raw) -> None:
        if gone:
            self._queue.add(key_of(raw))  # its run finds it gone, off the event loop
        else:
            self._see(raw)

    def _on_listed(self, raw: Raw) -> None:
        key = self._see(raw)
        if not self._known.is_finished(key):
            self._queue.wake(key)  # whatever wish was lost

    def _see(self, raw: Raw) -> Key:
        seen = self._known.see(raw)
        if seen.must_run:
            self._queue.add(seen.key)
        for key in seen.wakes:
            self._queue.wake(key)
        bank = self._verified.see(raw)
        if bank is not None:
            self._queue.wake(bank)
        for policy in (self._policy_children.see(raw), self._policy_proofs.see(raw)):
            if policy is not None:
                self._queue.wake(policy, POLICY_WAKE_SECONDS)
        return seen.key

    def _on_gone(self, key: Key) -> None:
        for dependent in self._known.drop(key):
            self._queue.wake(dependent)
        self._policy_children.drop(key)
        self._policy_proofs.drop(key)
        self._verified.drop(key)
        self._coverage.forget(key)
        self._writer.forget(key.uid)
        self._meter.forget(key)
        for each in {key, *self._transfers.keys()}:
            if object_of(each) == key:
                self._transfers.forget(each)
        self._checks.forget(key)
        self._collections.forget(key)
        self._catalogue.forget(key)

    def _list(self, kind: str) -> Iterator[Raw]:
        for namespace in self._settings.namespaces or (None,):
            yield from self._api.list_all(collection_path(kind, namespace))

    # What is built.

    def _make_writer(self) -> StatusWriter:
        settings = self._settings
        bucket = TokenBucket(
            per_second=settings.status_writes_per_second,
            burst=settings.status_write_burst,
            clock=time.monotonic,
        )
        rule = ProgressRule(interval_seconds=settings.progress_interval_seconds)
        return StatusWriter(self._api, bucket, rule, count=self._metrics.status_write)

    def _make_reconciler(self) -> Reconciler:
        clock = SystemClock()
        mint = UlidMint(clock)
        retry = self._settings.blocked_retry_seconds
        worlds = AppWorlds(
            api=self._api,
            writer=self._writer,
            events=self._events,
            clouds=self._clouds,
            banks=self._banks,
            transfers=self._transfers,
            checks=self._checks,
            collections=self._collections,
            clock=clock,
            identities=mint,
            transfer_slots=self._settings.max_concurrent_transfers,
            csi_auth_urls=self._settings.csi_auth_urls,
        )
        self._catalogue = Catalogue(
            worlds.catalog, worlds.write_status, worlds.say, clock, self._metrics.error
        )
        checks = BankChecks(
            worlds.look_at_bank,
            worlds.write_status,
            worlds.say,
            clock,
            self._metrics.error,
            retry,
            Maintenance(
                worlds.collections, worlds.write_status, worlds.say, clock, self._metrics.error
            ),
            self._catalogue,
        )
        self._verified = VerifiedRuns(checks.run, worlds, clock, self._metrics.error)
        policies = PolicyRuns(
            AppPolicyWorlds(self._api, self._writer, self._clouds, self._policy_children, worlds),
            clock,
            self._coverage,
            self._metrics.error,
            retry,
            PolicyProofRuns(
                AppProofWorlds(self._api, self._policy_proofs, worlds.say), self._metrics.error
            ),
        )
        works = {
            VOLUME_BACKUP_POLICY: policies.run,
            BACKUP_BANK: self._verified.run,
            VOLUME_BACKUP: CopyRuns(
                BackupRuns(worlds, clock, self._meter, retry).run, worlds, clock, mint, retry
            ).run,
            VOLUME_RESTORE: RestoreRuns(worlds, clock, self._meter, retry).run,
            BANK_CHECK: CheckRuns(
                worlds, clock, self._checks.forget, self._metrics.error, retry
            ).run,
        }
        return Reconciler(KubeObjects(self._api), works, on_gone=self._on_gone, about=_about)

    def _register_gauges(self) -> None:
        self._metrics.count_at_scrape(
            backups=lambda: self._known.phases(VOLUME_BACKUP),
            restores=lambda: self._known.phases(VOLUME_RESTORE),
            banks=self._known.banks,
            policies=self._policy_children.figures,
            unprotected=self._coverage.figures,
            queue_depth=self._queue.depth,
            loop_lag_seconds=self._informer.lag_seconds,
            version=installed_version(),
        )

    # How it is.

    def _what_is_unhealthy(self) -> list[str]:
        wrong = []
        lag = self._informer.lag_seconds()
        if self._informer.alive() and lag > LOOP_LAG_LIMIT_SECONDS:
            wrong.append(f"the event loop of the watches is {lag:.0f} s late")
        longest = self._queue.longest_run_seconds()
        if longest > STUCK_TICK_SECONDS:
            wrong.append(f"a tick has been running for {longest:.0f} s")
        return wrong

    def _what_is_not_ready(self) -> list[str]:
        wrong = []
        age = self._resync.age_seconds()
        if age is None:
            wrong.append("the first full list is not done")
        elif age > 3 * self._settings.resync_interval_seconds:
            wrong.append(f"the last full list is {age:.0f} s old")
        if not self._informer.ready():
            wrong.append("the watches are not up")
        return wrong


def _about(key: Key) -> AbstractContextManager[None]:
    return logging_about(kind=key.kind, namespace=key.namespace, name=key.name, uid=key.uid)
