"""Part `policies`: what many policies cost one operator, at work and at rest.

The operator is a process of its own and its API server a real one; its cloud is an HTTP server on
loopback that knows Keystone's token and a list of volumes. There is no bank, so the backups that a run
makes get no farther than to say so; the bench itself says that they are Completed. What deletes cost is
measured in memory (tests/bench/policy_scale.py), as it needs a bank with these backups in it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from cinderbank.adapters.kube.client import KubeApi, connect
from cinderbank.adapters.kube.paths import collection_path, object_path
from cinderbank.kube.known import VOLUME_BACKUP, VOLUME_BACKUP_POLICY
from tests.bench import policy_scale
from tests.bench.bench import Bench, Done
from tests.bench.cost import Watch
from tests.bench.ground import SITE
from tests.bench.measurement import Measurement
from tests.bench.names import (
    ALL_COMPLETED,
    AT_REST,
    FIRST_LOOK,
    IN_MEMORY,
    ONE_RUN,
    OWN,
)
from tests.stage.namespace import GROUP, Namespace, Object, condition
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import Site, Stage
from tests.unit.openstack.cloud import PROJECT, Answer, Cloud
from tests.unit.policy.children import volume_id

VOLUMES_EACH = 4
LIMIT_SECONDS = 1800.0
LOOK_SECONDS = 2.0
THREADS = 8
UNPACED = {
    "CINDERBANK_STATUS_WRITES_PER_SECOND": "1000",
    "CINDERBANK_STATUS_WRITE_BURST": "1000",
}
"""Its own limit (5 a second) would be what is measured."""

WRITES = re.compile(
    r'^apiserver_request_total\{(?=[^}]*group="(?:cinderbank|events\.k8s)\.io")'
    r'(?=[^}]*[{,]resource="(?P<resource>[^"]*)")(?=[^}]*,subresource="(?P<sub>[^"]*)")'
    r'[^}]*verb="(?P<verb>APPLY|DELETE|PATCH|POST|PUT)"[^}]*\} (?P<count>\S+)$'
)


def run(bench: Bench, stage: Stage) -> None:
    """Once each, whatever `rounds` says: a rest takes ten minutes."""
    policies, rest_seconds = (50, 60.0) if bench.options.quick else (500, 620.0)
    _in_memory(bench, policies)
    case = named(policies, policies * VOLUMES_EACH)
    site = stage.site(SITE)
    site.install()
    with Cloud() as cloud, _admin(site) as api:
        volumes = [volume_body(number) for number in range(policies * VOLUMES_EACH)]
        cloud.cinder("GET", "/volumes/detail", Answer(body={"volumes": volumes}))
        home = site.namespace(f"bench-{os.urandom(3).hex()}")
        home.create()
        home.secret("openstack", {"clouds.yaml": json.dumps(cloud.clouds_yaml())})
        home.apply(*(policy(number) for number in range(policies)))
        operator = site.operator({"CINDERBANK_NAMESPACES": home.name, **UNPACED})
        job = PoliciesJob(api, home, operator, policies, rest_seconds)
        bench.calibrate()
        try:
            for action, act in (
                (FIRST_LOOK, job.first_look),
                (ONE_RUN, job.one_run),
                (ALL_COMPLETED, job.complete_all),
                (AT_REST, job.rest),
            ):
                if not bench.measure(Measurement(action, OWN, case), job.counted(act), job.watch()):
                    break
        finally:
            bench.tidy(operator.stop)
            bench.tidy(lambda: home.delete("namespace", home.name))


def _in_memory(bench: Bench, policies: int) -> None:
    for many, each in ((policies, VOLUMES_EACH), (1, policies * VOLUMES_EACH)):
        case = f"{IN_MEMORY}: {named(many, many * each)}"
        for what, cost in policy_scale.days(many, each):
            row = Measurement(
                what,
                OWN,
                case,
                seconds=round(cost.cpu_seconds, 2),
                mover_cpu_seconds=round(cost.cpu_seconds, 2),
                api_writes=cost.writes,
            )
            bench.note(row)


def named(policies: int, volumes: int) -> str:
    return f"{policies} {'policy' if policies == 1 else 'policies'}, {volumes} volumes"


def volume_body(number: int) -> Object:
    """As Cinder lists it."""
    return {
        "id": volume_id(number),
        "name": f"v{number}",
        "status": "in-use",
        "size": 1,
        "volume_type": "ceph",
        "availability_zone": "nova",
        "bootable": "false",
        "encrypted": False,
        "snapshot_id": None,
        "description": "",
        "metadata": {},
        "created_at": "2026-11-01T12:00:00.000000",
        "os-vol-tenant-attr:tenant_id": PROJECT,
    }


def policy(number: int) -> Object:
    """Its schedule is far away: a trigger runs it."""
    first = number * VOLUMES_EACH
    spec = {
        "schedule": "0 0 1 1 *",
        "rpo": "26h",
        "selector": {"volumeIDs": [volume_id(first + each) for each in range(VOLUMES_EACH)]},
        "retention": {"keepLast": 2},
        "template": {
            "spec": {
                "cloudCredentialsRef": {"secretName": "openstack", "cloudName": "here"},
                "bankRef": {"name": "main"},
            }
        },
    }
    metadata = {"name": f"p{number:03d}"}
    return {"apiVersion": GROUP, "kind": VOLUME_BACKUP_POLICY, "metadata": metadata, "spec": spec}


class PoliciesJob:
    """The steps, each until all policies say that it is done."""

    def __init__(
        self,
        api: KubeApi,
        home: Namespace,
        operator: OperatorProcess,
        policies: int,
        rest_seconds: float,
    ) -> None:
        self._api = api
        self._home = home
        self._operator = operator
        self._policies = policies
        self._rest_seconds = rest_seconds

    def watch(self) -> Watch:
        """The operator, which is started within the first step."""

        def is_operator(look: Any) -> bool:
            process = self._operator.process
            return process is not None and look.pid == process.pid

        return Watch(is_operator)

    def counted(self, act: Callable[[], None]) -> Callable[[], Done]:
        """With the writes that the API server has counted meanwhile; those of the bench taken off."""

        def step() -> Done:
            self._own: Counter[str] = Counter()
            before = self._writes()
            act()
            return Done(api_writes=dict(self._writes() - before - self._own))

        return step

    def first_look(self) -> None:
        self._operator.start()
        self._until(lambda each: condition(each, "Ready").get("status") == "True")

    def one_run(self) -> None:
        patch = {"spec": {"trigger": "bench"}}
        self._each_of(VOLUME_BACKUP_POLICY, lambda path, _: self._api.merge_patch(path, patch))
        self._own["volumebackuppolicies PATCH"] = self._policies
        self._until(lambda each: each["status"].get("lastTrigger") == "bench")
        made = sum(1 for _ in self._list(VOLUME_BACKUP))
        if made != self._policies * VOLUMES_EACH:
            raise RuntimeError(f"{made} backups were made")

    def complete_all(self) -> None:
        self._each_of(VOLUME_BACKUP, self._complete)
        self._own["volumebackups/status PATCH"] = self._policies * VOLUMES_EACH
        self._until(
            lambda each: (
                each["status"].get("volumesCovered") == VOLUMES_EACH
                and condition(each, "RPOMet").get("status") == "True"
            )
        )

    def rest(self) -> None:
        """Every policy is looked at once, and everything is listed once."""
        time.sleep(self._rest_seconds)

    def _complete(self, path: str, number: int) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        outcome = {"phase": "Completed", "reason": "Committed", "message": "", "time": now}
        status = {
            "phase": "Completed",
            "outcome": {**outcome, "final": True},
            "snapshotTime": now,
            "completionTime": now,
            "backupID": f"01JD{number:022d}",
            "site": "site-a",
        }
        self._api.merge_patch(f"{path}/status", {"status": status})

    def _until(self, done: Callable[[Object], bool]) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not all(done({"status": {}, **each}) for each in self._list(VOLUME_BACKUP_POLICY)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all policies are done after {LIMIT_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)

    def _list(self, kind: str) -> Iterator[Object]:
        return self._api.list_all(collection_path(kind, self._home.name))

    def _each_of(self, kind: str, act: Callable[[str, int], object]) -> None:
        names = [each["metadata"]["name"] for each in self._list(kind)]
        paths = [object_path(kind, self._home.name, name) for name in names]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(act, paths, range(len(paths))))

    def _writes(self) -> Counter[str]:
        return writes_of(self._home.run("get", "--raw", "/metrics"))


def writes_of(metrics: str) -> Counter[str]:
    """By resource and verb: what an API server has counted of our kinds and of Events."""
    found: Counter[str] = Counter()
    for line in metrics.splitlines():
        if (match := WRITES.match(line)) is not None:
            resource = "/".join(filter(None, (match["resource"], match["sub"])))
            found[f"{resource} {match['verb']}"] += int(float(match["count"]))
    return found


@contextmanager
def _admin(site: Site) -> Iterator[KubeApi]:
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = str(site.cluster.kubeconfig)
    try:
        yield connect(5, 30, pool_size=THREADS)
    finally:
        os.environ.pop("KUBECONFIG")
        if before is not None:
            os.environ["KUBECONFIG"] = before
