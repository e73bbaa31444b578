"""Backs a volume up at site A and restores it at site B, which has only the bank to go by."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.demo.screen import Screen, mib, table
from tests.rig.rig import Rig
from tests.stage.cloud import Content
from tests.stage.namespace import TERMINAL, Namespace, Object, phase_of
from tests.stage.operator_process import ROOT
from tests.stage.site import Site, Stage

SAMPLES = ROOT / "deploy" / "samples"
CONTENT = Content(size_gib=3, used_mib=600, seed=20)
NAMESPACE = "demo"
RUN = os.urandom(3).hex()
PREFIX = f"demo-{RUN}"
NAME = f"db-{RUN}"


class DemoFailed(Exception):
    """It did not do what it is to show; the message says what."""


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # so that the operators end, too
    screen = Screen(steps=6)
    screen.title("Two OpenStack sites, two Kubernetes clusters, one S3 server")
    if subprocess.run([sys.executable, "-m", "tests.rig", "up"], cwd=ROOT).returncode:
        return 1
    stage = Stage(Rig.open())
    a, b = stage.site("a"), stage.site("b")
    operators = []
    try:
        screen.title("The operator in each cluster")
        for site in (a, b):
            screen.command(
                f"kubectl --kubeconfig $KUBECONFIG_{site.letter.upper()} apply -k deploy/"
            )
            site.install()
            operators.append(site.operator())
            operators[-1].start()
        screen.say(
            "These clusters have no nodes, so each operator runs as a process beside its cluster,"
        )
        screen.say("with a token of the ServiceAccount that deploy/ made, and no other right.")
        play(screen, a, b)
        invite(screen)
    except DemoFailed as error:
        print(f"\nThe demo failed: {error}\nLogs: {stage.rig.state / 'log'}", file=sys.stderr)
        return 1
    finally:
        for operator in operators:
            operator.stop()
    return 0


def play(screen: Screen, a: Site, b: Site) -> None:
    at_a, at_b = a.namespace(NAMESPACE), b.namespace(NAMESPACE)

    screen.title(f"Site A: a volume of {CONTENT.size_gib} GiB, {CONTENT.used_mib} MiB of it used")
    volume_id = a.cloud.make_volume(NAME, CONTENT)
    screen.say(f"Cinder volume {volume_id} on {a.stage.rig.backend('a')}")
    furnish(screen, a, at_a)

    screen.title("Site A: kubectl create -f deploy/samples/backup.yaml, for that volume")
    create(at_a, "backup.yaml", {"source": {"volumeID": volume_id}})
    done = follow(screen, at_a, "volumebackup")
    backup_id = done["status"]["backupID"]
    screen.say(
        f"The bank now has backup {backup_id}. Site B gets this id and the bank, nothing else."
    )

    screen.title("Site B: kubectl create -f deploy/samples/restore.yaml, by that id")
    furnish(screen, b, at_b)
    source = {"backupRef": None, "bank": {"bankRef": {"name": "main"}, "backupID": backup_id}}
    create(at_b, "restore.yaml", {"source": source, "target": {"name": NAME}})
    back = follow(screen, at_b, "volumerestore")
    restored_id = back["status"]["volumeID"]
    screen.say(f"Cinder volume {restored_id} on {b.stage.rig.backend('b')}")

    screen.title("The same bytes? As the back ends hold them, without Cinder or Glance")
    compare(screen, a.volume_sha256(volume_id), b.volume_sha256(restored_id))
    left = a.cloud.temporaries() + b.cloud.temporaries()
    if left:
        raise DemoFailed(f"left behind: {left}")
    screen.say("Nothing temporary is left at either site: no snapshot, no volume, no image.")
    print("\n" + table(figures(done, back)))


def furnish(screen: Screen, site: Site, namespace: Namespace) -> None:
    """Secrets by kubectl, the BackupBank from its sample."""
    s3 = site.stage.environment
    namespace.create()
    screen.command("kubectl create secret generic openstack --from-file=clouds.yaml")
    namespace.secret("openstack", {"clouds.yaml": site.cloud.clouds_yaml})
    screen.command("kubectl create secret generic bank --from-file=access-key-id ...")
    keys = {"access-key-id": s3["S3_ACCESS_KEY"], "secret-access-key": s3["S3_SECRET_KEY"]}
    namespace.secret("bank", keys)
    where = {"endpoint": s3["S3_ENDPOINT"], "bucket": s3["S3_BUCKET"], "prefix": PREFIX}
    namespace.delete("bank", "main")
    namespace.wait_gone("bank", "main", seconds=30)
    create(namespace, "bank.yaml", {"site": f"site-{site.letter}", "s3": where}, name="main")
    screen.command("kubectl create -f deploy/samples/bank.yaml")


def create(namespace: Namespace, sample: str, spec: Mapping[str, Any], name: str = NAME) -> None:
    """A sample with the demo's own values, as its first lines say how."""
    change = json.dumps({"metadata": {"name": name}, "spec": spec})
    path = str(SAMPLES / sample)
    body = namespace.run("patch", "--local", "-f", path, "--type=merge", "-p", change, "-o", "json")
    namespace.run("create", "-f", "-", stdin=body)


def follow(screen: Screen, namespace: Namespace, kind: str) -> Object:
    """Shows phase, percent, rate and ETA until it is over."""
    phases: list[str] = []

    def show(found: Object) -> None:
        status = found.get("status", {})
        phase = phase_of(found)
        if phase and phase not in phases:
            phases.append(phase)
            screen.landed(phase)
        summary = status.get("progress", {}).get("summary", "") if phase == "Transferring" else ""
        if phase and phase not in TERMINAL:
            screen.live(f"{phase}  {summary}".rstrip())

    found = namespace.wait(kind, NAME, lambda o: phase_of(o) in TERMINAL, seconds=900, each=show)
    if phase_of(found) != "Completed":
        raise DemoFailed(json.dumps(found["status"], indent=1))
    return found


def compare(screen: Screen, at_a: str, at_b: str) -> None:
    screen.say(f"A  sha256 {at_a}")
    screen.say(f"B  sha256 {at_b}")
    if at_a != at_b:
        raise DemoFailed("the two volumes differ")
    screen.say("Equal.")


def figures(done: Object, back: Object) -> list[tuple[str, str]]:
    progress = done["status"]["progress"]
    return [
        ("volume", mib(progress["bytesTotal"])),
        ("of it zeros, not stored", mib(progress["bytesZero"])),
        ("in the bank", mib(progress["bytesStored"])),
        ("backup took", duration(done)),
        ("restore took", duration(back)),
    ]


def duration(found: Object) -> str:
    status = found["status"]
    times = [datetime.fromisoformat(status[key]) for key in ("startTime", "completionTime")]
    return f"{(times[1] - times[0]).total_seconds():.0f} s"


def invite(screen: Screen) -> None:
    print(
        f"""
Go on by hand. The rig stays up; the operators have ended with the demo.

  set -a; . .rig/env; set +a
  $KUBECTL --kubeconfig $KUBECONFIG_A -n {NAMESPACE} get vbk,bank -o wide
  $KUBECTL --kubeconfig $KUBECONFIG_B -n {NAMESPACE} describe vrs {NAME}
  $KUBECTL --kubeconfig $KUBECONFIG_A explain vbk.spec
  KUBECONFIG=$KUBECONFIG_A CINDERBANK_LISTEN_PORT=0 CINDERBANK_LOG_FORMAT=text \\
      .venv/bin/python -m cinderbank operator        # an operator for cluster A, until Ctrl-C

`make demo-down` ends the rig. All of it took {screen.clock().strip()} minutes."""
    )


if __name__ == "__main__":
    sys.exit(main())
