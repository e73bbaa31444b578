"""kill -9 of a transfer process in the middle, while its operator lives: the next one goes on from there."""

from __future__ import annotations

import os
import signal

import pytest

from cinderbank.bank import index
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.journal import HEADER_BYTES, JOURNAL_BYTES, MAX_ENTRIES
from tests.e2e.conftest import Running, Scene
from tests.stage.cloud import GIB, MIB, Content, until
from tests.stage.gate import LIMIT_SECONDS, Gate, Hold
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import Site, backup, restore

pytestmark = pytest.mark.timeout(2400)

CONTENT = Content(size_gib=2, used_mib=1300, seed=23)
STORED_BEFORE_THE_KILL = 1100
"""More than a journal object holds; each MiB of data is a chunk."""


def kill_the_transfer(operator: OperatorProcess) -> int:
    """SIGKILL, with the operator alive; its pid."""
    (pid,) = operator.transfers()
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in operator.transfers(), LIMIT_SECONDS, "the transfer's end")
    return pid


def gated(site: Site, scene: Scene, gate: Gate) -> dict[str, object]:
    """The bank `main` by way of the gate, with chunks of 1 MiB."""
    bank = site.bank("main", prefix=scene.prefix, endpoint=gate.url)
    bank["spec"]["chunkSizeMiB"] = 1
    return bank


def chunks_stored(gate: Gate, attempt: int) -> list[int]:
    """Which the server has taken from that attempt; one that was sent twice is in it twice."""
    puts = gate.done("PUT", "/chunks/").elements()
    words = (key.split("/")[-2:] for key in puts)
    return [int(chunk, 16) for number, chunk in words if int(number, 16) == attempt]


def chunks_noted(scene: Scene) -> set[int]:
    """What the journal in the bank says."""
    (key,) = [key for key in scene.bucket.keys(scene.prefix) if "/journal/" in key]
    plain = Envelope().decode(scene.bucket.read(f"{scene.prefix}/{key}"), JOURNAL_BYTES, key)
    geometry = Geometry(CONTENT.size_gib * GIB, MIB)
    offsets = range(HEADER_BYTES, JOURNAL_BYTES, index.ENTRY_BYTES)
    return {index.unpack_entry(plain, at, geometry, 1, key).index for at in offsets}


def test_a_killed_transfer_is_gone_on_with(
    scene: Scene, a: Running, b: Running, gate: Gate
) -> None:
    volume_id = a.site.cloud.make_volume("transfer", CONTENT)
    assert a.operator.process is not None and b.operator.process is not None
    operators = (a.operator.process.pid, b.operator.process.pid)
    scene.at_a.apply(gated(a.site, scene, gate))
    with gate.holding(Hold("PUT", "/chunks/", passing=STORED_BEFORE_THE_KILL)) as hold:
        scene.at_a.apply(backup("transfer", source={"volumeID": volume_id}))
        hold.wait()
        until(lambda: gate.done("PUT", "/journal/"), LIMIT_SECONDS, "the journal")
        halfway = scene.at_a.wait(
            "vbk",
            "transfer",
            lambda o: o["status"].get("progress", {}).get("bytesStored", 0) > 0,
            seconds=LIMIT_SECONDS,
        )
        noted = chunks_noted(scene)
        first_pid = kill_the_transfer(a.operator)
    done = scene.at_a.wait_phase("vbk", "transfer", "Completed", seconds=LIMIT_SECONDS)
    assert halfway["status"]["phase"] == "Transferring"
    assert "SIGKILL" in str(scene.at_a.events("transfer")), "and the user is told"
    assert done["status"]["transferAttempt"] == 2

    first, second = chunks_stored(gate, 1), chunks_stored(gate, 2)
    assert len(noted) == MAX_ENTRIES
    assert noted <= set(first)
    assert STORED_BEFORE_THE_KILL <= len(first) < CONTENT.used_mib
    assert len(second) == len(set(second)) == CONTENT.used_mib - MAX_ENTRIES
    assert not noted & set(second), "what the journal knows is not stored again"
    left = [key for key in scene.bucket.keys(scene.prefix) if "/journal/" in key]
    assert left == []
    assert a.site.cloud.temporaries() == []

    scene.at_b.apply(gated(b.site, scene, gate))
    with gate.holding(Hold("GET", "/chunks/", passing=500)) as hold:
        body = restore("transfer", backup_id=done["status"]["backupID"])
        scene.at_b.apply(body)
        hold.wait()
        second_pid = kill_the_transfer(b.operator)
    back = scene.at_b.wait_phase("vrs", "transfer", "Completed", seconds=LIMIT_SECONDS)
    assert "SIGKILL" in str(scene.at_b.events("transfer"))
    restored = back["status"]["volumeID"]
    assert b.site.cloud.temporaries() == []
    named = [v.id for v in b.site.cloud.connection.block_storage.volumes() if v.name == "transfer"]
    assert named == [restored]
    assert b.site.volume_sha256(restored) == a.site.volume_sha256(volume_id)

    assert first_pid != second_pid
    assert operators == (a.operator.process.pid, b.operator.process.pid)
    assert a.operator.process.poll() is b.operator.process.poll() is None
    a.site.cloud.delete_volume(volume_id)
    b.site.cloud.delete_volume(restored)
