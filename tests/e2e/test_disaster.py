"""Site A is gone: the commands of docs/disaster-recovery.md, as they stand there, bring all of it back at B.

Runs last (conftest.py), because it kills site A and starts it anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Running, Scene
from tests.stage.cloud import Content
from tests.stage.operator_process import ROOT
from tests.stage.site import Stage, backup

pytestmark = [pytest.mark.timeout(2400), pytest.mark.disaster]

RUNBOOK = ROOT / "docs" / "disaster-recovery.md"
VOLUMES = 10
OF_SITE_A = ("site-a.", "cluster-a.")


def commands() -> list[str]:
    """The blocks of the runbook that are there to be run."""
    return re.findall(r"^```bash\n(.*?)^```$", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)


@dataclass
class Lost:
    """What site A had: SHA-256 by the volume's id."""

    contents: dict[str, str]
    prefix: str


@pytest.fixture
def lost(stage: Stage, a: Running, b: Running, scene: Scene) -> Iterator[Lost]:
    """Ten volumes with a backup each; then nothing of site A answers any more.

    Site B has a volume of its own in the same bank, which did not burn.
    """
    cloud = a.site.cloud
    ids = [
        cloud.make_volume(f"lost-{number}", Content(size_gib=1, used_mib=number, seed=number))
        for number in range(VOLUMES)
    ]
    scene.at_a.apply(*[backup(f"of-{each}", source={"volumeID": each}) for each in ids])
    for each in ids:
        scene.at_a.wait_phase("vbk", f"of-{each}", "Completed", seconds=900)
    unharmed = b.site.cloud.make_volume("unharmed", Content(size_gib=1, used_mib=1, seed=99))
    scene.at_b.apply(backup("of-b", source={"volumeID": unharmed}))
    scene.at_b.wait_phase("vbk", "of-b", "Completed", seconds=900)
    contents = {each: a.site.volume_sha256(each) for each in ids}
    a.operator.kill()
    supervisor = stage.rig.supervisor
    for name in supervisor.recorded():
        if name.startswith(OF_SITE_A):
            supervisor.kill(name)
    yield Lost(contents, scene.prefix)
    subprocess.run([sys.executable, "-m", "tests.rig", "up"], cwd=ROOT, check=True)
    a.operator.start()
    for each in ids:
        cloud.delete_volume(each)
    b.site.cloud.delete_volume(unharmed)


def test_the_runbook_as_written(
    stage: Stage, b: Running, scene: Scene, lost: Lost, tmp_path: Path
) -> None:
    there = b.site.namespace("recovered")
    there.run("delete", "namespace", "recovered", "--ignore-not-found")
    folder = _beside_the_operator(stage, b, tmp_path)
    kubectl = there.kubectl.parent
    environment = {
        **{name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ},
        "PATH": f"{kubectl}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(there.kubeconfig),
        "S3_ENDPOINT": stage.environment["S3_ENDPOINT"],
        "S3_BUCKET": stage.environment["S3_BUCKET"],
        "S3_PREFIX": lost.prefix,
        "SITE": "site-a",
    }
    said = ""
    for block in commands():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=1500,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        said = done.stdout
    listed = dict(line.split()[:2] for line in said.splitlines()[1:])
    restored = json.loads(there.run("get", "vrs", "-o", "json"))["items"]
    assert listed == {it["metadata"]["name"]: it["status"]["volumeID"] for it in restored}
    assert sorted(listed) == sorted(lost.contents)
    found = {old: b.site.volume_sha256(new) for old, new in listed.items()}
    assert found == lost.contents
    names = {b.site.cloud.volume(new).name for new in listed.values()}
    assert names == {f"lost-{number}" for number in range(VOLUMES)}
    assert b.site.cloud.temporaries() == []
    for new in listed.values():
        b.site.cloud.delete_volume(new)


def _beside_the_operator(stage: Stage, b: Running, folder: Path) -> Path:
    """What the runbook says must lie in the folder."""
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    shutil.copytree(ROOT / "crds", folder / "crds")
    for name, text in {
        "clouds.yaml": b.site.cloud.clouds_yaml,
        "access-key-id": stage.environment["S3_ACCESS_KEY"],
        "secret-access-key": stage.environment["S3_SECRET_KEY"],
    }.items():
        (folder / name).write_text(text)
    return folder
