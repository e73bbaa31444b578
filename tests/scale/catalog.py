"""What the catalogue of a large bank costs: `python -m tests.scale.catalog`, with the rig's s3 and kubernetes up.

Puts backups (manifest and seal) into MinIO, then runs the catalogue itself, in this process, on the real
S3 client and the real API server, and counts: requests, seconds, memory. Prints a table for
docs/catalogue.md. Whatever it made is removed at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cinderbank.adapters.kube.client import KubeApi, connect
from cinderbank.adapters.kube.recovery_points import KubeRecoveryPoints
from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.system import SystemClock
from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.api.v1alpha1.bank_status import BackupBankStatus
from cinderbank.bank import layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.marks import Tomb
from cinderbank.bank.store import Listed
from cinderbank.bank.stored_catalog import StoredCatalog
from cinderbank.kube.catalog import Catalogue, CatalogWorld
from cinderbank.kube.known import BACKUP_BANK, Key
from tests.fakes.many_backups import numbered, seal_one
from tests.rig.rig import Rig
from tests.stage.namespace import Namespace
from tests.stage.site import Stage

PAGE = 1000
"""Rows of one LIST of S3."""


class CountedStore(S3Store):
    counts: Counter[str]

    def get(self, key: str, max_bytes: int) -> bytes | None:
        self.counts["S3 GET"] += 1
        return super().get(key, max_bytes)

    def list_keys(
        self, prefix: str, delimiter: str = "", start_after: str = ""
    ) -> Iterator[Listed]:
        rows = 0
        for row in super().list_keys(prefix, delimiter, start_after):
            rows += 1
            yield row
        self.counts["S3 LIST"] += 1 + max(0, rows - 1) // PAGE


def counted(api: KubeApi, counts: Counter[str]) -> KubeApi:
    real = api._request

    def request(method: str, path: str, **options: Any) -> dict[str, Any]:
        counts[f"Kubernetes {method}"] += 1
        return real(method, path, **options)

    api._request = request  # type: ignore[method-assign]
    return api


def fill(store: S3Store, backups: int, sites: int) -> None:
    def one(number: int) -> None:
        seal_one(store, numbered(number, f"site-{number % sites}"), tags={"app": "db"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(backups)))


class Run:
    """One BackupBank whose catalogue is driven by hand."""

    def __init__(self, store: CountedStore, api: KubeApi, raw: dict[str, Any]) -> None:
        self.raw, self.status = raw, BackupBankStatus()
        metadata = raw["metadata"]
        self.key = Key(BACKUP_BANK, metadata["namespace"], metadata["name"], metadata["uid"])
        self.spec = BackupBankSpec.read(raw["spec"], "spec")
        bank = StoredBank(store, "site-z", read_only=True)
        clock = SystemClock()
        points = KubeRecoveryPoints(api, self.key.namespace, self.key.name, self.key.uid, clock.now)
        self.catalogue = Catalogue(
            lambda key: CatalogWorld(StoredCatalog(bank), points),
            self.write,
            lambda *said: print("Event:", *said[1:]),
            clock,
            lambda reason: None,
        )

    def write(self, raw: dict[str, Any], status: dict[str, Any]) -> None:
        self.status = BackupBankStatus.read(status, "status")

    def sync(self) -> int:
        """Slices until it is whole; how many."""
        for slices in range(1, 10_000):
            self.catalogue.run(self.key, self.raw, self.spec, self.status)
            told = self.status.catalog
            assert told is not None and told.reason is None, told
            if not told.pending:
                return slices
        raise AssertionError("it has no end")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backups", type=int, default=10_000)
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--entries", type=int, nargs="+", default=[1000, 10_000])
    options = parser.parse_args()
    site = Stage(Rig.open()).site("a")
    site.install()
    home = site.namespace(f"scale-{os.urandom(3).hex()}")
    home.create()
    s3 = site.stage.environment
    location = S3Location(s3["S3_ENDPOINT"], s3["S3_BUCKET"], home.name, s3["S3_REGION"], "path")
    store = CountedStore(location, S3Credentials(s3["S3_ACCESS_KEY"], s3["S3_SECRET_KEY"]))
    store.counts = Counter()
    os.environ["KUBECONFIG"] = str(site.cluster.kubeconfig)
    api = counted(connect(10, 60, 4), store.counts)
    StoredBank(store, "site-0").open()
    fill(store, options.backups, options.sites)
    try:
        measure(site.bank("main", prefix=home.name), home, store, api, options)
    finally:
        home.delete("namespace", home.name)
        keys = [row.key for row in store.list_keys("")]
        for first in range(0, len(keys), PAGE):
            store.delete_many(keys[first : first + PAGE])
        store.close()


def measure(
    body: dict[str, Any],
    home: Namespace,
    store: CountedStore,
    api: KubeApi,
    options: argparse.Namespace,
) -> None:
    print(f"{options.backups} backups of {options.sites} sites")
    for entries in options.entries:
        # suspended for an operator beside us
        body["spec"] |= {"catalog": {"maxEntries": entries, "suspend": True}}
        home.apply(body)
        raw = home.get("bank", "main")
        assert raw is not None
        run = Run(store, api, raw)
        told("first sync", entries, run, store)
        told("sync, nothing new", entries, run, store)
        newest = numbered(options.backups - 1, f"site-{(options.backups - 1) % options.sites}")
        store.put(layout.tomb(newest.site, newest.backup_id), Tomb(newest.volume_id).dump())
        told("sync, one deleted", entries, run, store)
        store.delete_many([layout.tomb(newest.site, newest.backup_id)])
        started = time.monotonic()
        rows = len(home.run("get", "rp").splitlines()) - 1
        print(f"  kubectl get rp: {rows} rows, {time.monotonic() - started:.1f} s")
        size = len(home.run("get", "rp", "-o", "json", "--chunk-size=500"))
        print(f"  {size / max(rows, 1) / 1024:.1f} KiB of JSON each")


def told(what: str, entries: int, run: Run, store: CountedStore) -> None:
    store.counts.clear()
    before, cpu, started = rss_mib(), time.process_time(), time.monotonic()
    slices = run.sync()
    counts = ", ".join(f"{count} {name}" for name, count in sorted(store.counts.items()))
    print(
        f"  maxEntries {entries}, {what}: {time.monotonic() - started:.1f} s,"
        f" {time.process_time() - cpu:.1f} s CPU, {slices} slices, {counts};"
        f" RSS {before:.0f} -> {rss_mib():.0f} MiB, peak"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}",
        flush=True,
    )


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
