"""Two operators of two sites back up, delete, collect and restore in one bank at once.

Site a has all rights in the bucket, so that its collections may free what b has deleted; site b has the S3
keys that docs/security.md asks for, so that the store itself refuses what is not b's.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.rig import s3 as rig_s3
from tests.rig.sigv4 import Keys
from tests.soak.audit import audit_bank, audit_trace
from tests.soak.ledger import Ledger
from tests.soak.site_work import LIMIT_SECONDS, SiteWork
from tests.stage.bank_shell import BankShell
from tests.stage.bucket import Bucket
from tests.stage.cloud import Content, until
from tests.stage.gate import Gate
from tests.stage.namespace import Namespace
from tests.stage.site import Site, Stage

OTHER = {"a": "b", "b": "a"}
KINDS = ("backup", "restore of the other's", "deletion", "collection")
COLLECTIONS_AT_MOST = 10
SAY_SECONDS = 60.0


def site_policy(bucket: str, prefix: str, site: str) -> dict[str, Any]:
    """The rights of docs/security.md, "Buckets, prefixes and keys", in AWS's words."""
    objects = f"arn:aws:s3:::{bucket}/{prefix}"
    rows: list[tuple[list[str], list[str]]] = [
        (["s3:ListBucket"], [f"arn:aws:s3:::{bucket}"]),
        (["s3:GetObject"], [f"{objects}/*"]),
        (
            ["s3:PutObject", "s3:DeleteObject"],
            [f"{objects}/bank.json", f"{objects}/sites/{site}/*", f"{objects}/scrub/{site}/*"],
        ),
    ]
    statements = [{"Effect": "Allow", "Action": a, "Resource": r} for a, r in rows]
    return {"Version": "2012-10-17", "Statement": statements}


def soak(
    stage: Stage,
    sites: Mapping[str, tuple[Site, Namespace]],
    prefix: str,
    folder: Path,
    *,
    seconds: float,
    seed: int,
    say: Callable[[str], None] = print,
) -> Ledger:
    """Run for `seconds`, and until each site has done each kind of work; then audit what is left.

    `sites` by their letters, with operators that run and namespaces that are furnished with the bank
    `main` on `prefix`. Raises what any of the works raised, and AssertionError for what the audit finds.
    """
    ledger, stop = Ledger(random.Random(seed)), threading.Event()
    with ExitStack() as ended:
        gates = {}
        works: dict[str, SiteWork] = {}
        for letter, (site, namespace) in sites.items():
            gate = gates[letter] = Gate(stage.environment["S3_ENDPOINT"])
            ended.callback(gate.close)
            keys = _keys(stage, prefix, letter)
            secret = {"access-key-id": keys.access_key, "secret-access-key": keys.secret_key}
            namespace.secret("bank", secret)
            bank = site.bank("main", prefix=prefix, endpoint=gate.url)
            bank["spec"]["maintenance"] = {"interval": "30s", "maxDeletePercent": 100}
            bank["spec"]["validation"] = {"interval": "30s"}
            namespace.apply(bank)
            shell = BankShell(
                folder / f"shell-{letter}",
                stage.environment,
                prefix,
                f"site-{letter}",
                endpoint=gate.url,
                keys=keys,
            )
            chance = random.Random(f"{seed} {letter}")
            works[letter] = SiteWork(site, namespace, shell, ledger, chance, stop)
        volumes = {letter: _volumes(work.site) for letter, work in works.items()}
        _run(ledger, works, volumes, stop, seconds, say)
        for what, times in sorted(ledger.done.items()):
            say(f"{what}: {times}")
        _collect_all(works)
        for letter, work in works.items():
            until(
                lambda w=work: w.site.cloud.temporaries() == [],  # type: ignore[misc]
                LIMIT_SECONDS,
                f"the end of what is temporary at site {letter}",
            )
        whole = audit_bank(Bucket(stage.environment), prefix, ledger, folder / "bank")
        say(f"{whole} backups whole")
        for letter, gate in gates.items():
            freed = audit_trace(gate, letter, OTHER[letter], ledger)
            say(f"site {letter} freed {freed} objects of what {OTHER[letter]} had deleted")
        for letter, found in volumes.items():
            for volume_id in found:
                works[letter].site.cloud.delete_volume(volume_id)
    return ledger


def _keys(stage: Stage, prefix: str, letter: str) -> Keys:
    store = rig_s3.store(stage.rig, rig_s3.chosen())
    if letter == "a" or store.server != rig_s3.MINIO:
        return store.keys
    policy = site_policy(stage.environment["S3_BUCKET"], prefix, f"site-{letter}")
    return rig_s3.restricted_keys(store, policy)


def _volumes(site: Site) -> list[str]:
    """Two, small and mostly empty: what counts here is how often, not how much."""
    return [
        site.cloud.make_volume(f"soak-{number}", Content(size_gib=1, used_mib=10, seed=number))
        for number in range(2)
    ]


def _run(
    ledger: Ledger,
    works: Mapping[str, SiteWork],
    volumes: Mapping[str, list[str]],
    stop: threading.Event,
    seconds: float,
    say: Callable[[str], None],
) -> None:
    """All works of all sites at once; the first failure of any ends all."""
    all_works = [each for letter, work in works.items() for each in work.works(volumes[letter])]
    wanted = [f"{letter} {kind}" for letter in works for kind in KINDS]
    with ThreadPoolExecutor(len(all_works), thread_name_prefix="soak") as pool:
        running = [pool.submit(each) for each in all_works]
        deadline = time.monotonic() + seconds
        told = time.monotonic()
        last = deadline + LIMIT_SECONDS
        try:
            while time.monotonic() < deadline or not all(ledger.done[each] for each in wanted):
                assert time.monotonic() < last, f"not each of {wanted} was done: {ledger.done}"
                if any(each.done() for each in running):
                    break
                if time.monotonic() - told > SAY_SECONDS:
                    told = time.monotonic()
                    say(f"{deadline - told:.0f} s to go: {dict(sorted(ledger.done.items()))}")
                stop.wait(0.5)
        finally:
            stop.set()
        for each in running:
            each.result()


def _collect_all(works: Mapping[str, SiteWork]) -> None:
    """Until there is nothing more to free. Each site sweeps: b may not delete what was a's."""
    for _ in range(COLLECTIONS_AT_MOST):
        reports = [work.collect() for work in works.values()]
        if all(r["refusal"] is None and r["complete"] and not r["sessions"] for r in reports):
            return
    raise AssertionError(
        f"after {COLLECTIONS_AT_MOST} collections there is more to free: {reports}"
    )
