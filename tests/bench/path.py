"""Part `path`: our data path alone, Glance to S3 and back, against tools that do the same or less."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from tests.bench.bench import Bench, Done
from tests.bench.cost import Watch
from tests.bench.ground import SITE
from tests.bench.measurement import Measurement
from tests.bench.names import HALF_COMPRESSIBLE, RANDOM, READ_BACK, STORE
from tests.bench.own_transfer import OwnTransfer
from tests.bench.tools import PEERS, Source, Target, Tool
from tests.rig import apt
from tests.stage.bucket import Bucket
from tests.stage.cloud import MIB, until
from tests.stage.site import Stage

CASES = (RANDOM, HALF_COMPRESSIBLE)
PACKAGES = ("borgbackup", "curl", "rclone", "restic")
VERSIONS = {
    "borg": ["borg", "--version"],
    "curl": ["curl", "--version"],
    "rclone": ["rclone", "version"],
    "restic": ["restic", "version"],
}
LIMIT_SECONDS = 900
WORDS_PER_MIB = 300_000
"""More than fill it."""

FOREIGN = ("AWS_", "RESTIC_", "RCLONE_", "BORG_")

Make = Callable[[Target], Tool]


def run(bench: Bench, stage: Stage) -> None:
    apt.ensure(stage.rig, PACKAGES)
    for name, command in VERSIONS.items():
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        bench.versions[name] = " ".join(said.split("\n", 1)[0].split()[:3])
    size_mib = 512 if bench.options.quick else 2048
    for case in CASES:
        bench.say(f"making an image, {case}, {size_mib} MiB")
        with image(stage, case, size_mib) as (image_id, source):
            for turn in range(bench.options.rounds):
                tools = _tools(stage, source, image_id)
                for make in tools[turn % len(tools) :] + tools[: turn % len(tools)]:
                    bench.calibrate()
                    _turn(bench, stage, make, case, turn, size_mib)


def _tools(stage: Stage, source: Source, image_id: str) -> list[Make]:
    clouds = Path(stage.environment["OS_CLIENT_CONFIG_FILE"])

    def own(encrypted: bool) -> Make:
        return lambda target: OwnTransfer(source, target, image_id, clouds, encrypted)

    def peer(kind: Callable[[Source, Target], Tool]) -> Make:
        return lambda target: kind(source, target)

    return [own(False), own(True), *(peer(kind) for kind in PEERS)]


def _turn(bench: Bench, stage: Stage, make: Make, case: str, turn: int, size_mib: int) -> None:
    s3 = stage.environment
    keys = {"AWS_ACCESS_KEY_ID": s3["S3_ACCESS_KEY"], "AWS_SECRET_ACCESS_KEY": s3["S3_SECRET_KEY"]}
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="cinderbank-bench-"))
    prefix = f"bench-{os.urandom(4).hex()}"
    tool = make(Target(Bucket(s3), s3["S3_ENDPOINT"], prefix, folder, keys))
    gib = size_mib / 1024
    try:
        with command(tool.setup(), tool.environment(), folder) as running:
            finish(running)
        for action, words in ((STORE, tool.store), (READ_BACK, tool.read_back)):
            about = Measurement(action, tool.name, case, turn, size_gib=gib, used_gib=gib)
            if not _measured(bench, about, words(), tool.environment(), folder):
                break
    finally:
        bench.tidy(tool.clean)
        shutil.rmtree(folder)


def _measured(
    bench: Bench, about: Measurement, words: str, environment: Mapping[str, str], folder: Path
) -> bool:
    """Measures the command with all that it starts."""
    sessions: set[int] = set()

    def act() -> Done:
        with command(words, environment, folder) as running:
            sessions.add(running.pid)
            return finish(running)

    return bench.measure(about, act, Watch(lambda look: look.session in sessions))


@contextmanager
def command(
    words: str, environment: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A shell command in a session of its own, of which nothing is left afterwards."""
    # An S3 setting of the one who calls us would reach the tools: AWS_CA_BUNDLE breaks rclone.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    with subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {words}"],
        env={**kept, **environment, "LC_ALL": "C", "HOME": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def finish(running: subprocess.Popen[bytes]) -> Done:
    """Waits for its end; the CPU time of all that it started, exactly. An error says its last words.

    Its stderr is read at the end: these tools say less than a pipe holds.
    """
    # wait4 itself knows no limit.
    alarm = threading.Timer(LIMIT_SECONDS, os.killpg, (running.pid, signal.SIGKILL))
    alarm.daemon = True
    alarm.start()
    try:
        _, status, usage = os.wait4(running.pid, 0)
    finally:
        alarm.cancel()
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        assert running.stderr is not None
        said = running.stderr.read().decode(errors="replace").strip()[-400:]
        raise subprocess.SubprocessError(f"exit {running.returncode}: {said}")
    return Done(cpu_seconds=usage.ru_utime + usage.ru_stime)


@contextmanager
def image(stage: Stage, case: str, size_mib: int) -> Iterator[tuple[str, Source]]:
    """A raw image in Glance with that content; its id, and how curl reads it."""
    glance = stage.cloud(SITE).connection.image
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="cinderbank-bench-") as folder:
        raw, header = Path(folder, "raw"), Path(folder, "token")
        with open(raw, "wb") as file:
            file.writelines(pieces(case, size_mib))
        body = {"name": f"bench-{case}", "disk_format": "raw", "container_format": "bare"}
        image_id = str(glance.post("/images", json=body).json()["id"])
        try:
            kind = {"Content-Type": "application/octet-stream"}
            with open(raw, "rb") as data:
                answer = glance.put(f"/images/{image_id}/file", data=data, headers=kind)
            assert answer.status_code == 204, answer.text
            until(lambda: glance.get_image(image_id).status == "active", 60, f"image {case}")
            raw.unlink()
            header.touch(mode=0o600)
            header.write_text(f"X-Auth-Token: {glance.session.get_token()}\n")
            url = f"{glance.get_endpoint().rstrip('/')}/images/{image_id}/file"
            yield image_id, Source(url, header, size_mib * MIB)
        finally:
            glance.delete_image(image_id)


def pieces(case: str, size_mib: int) -> Iterator[bytes]:
    """MiB by MiB: noise; or by turns noise and text (words by Zipf's law, some 4 : 1 by zstd).

    No piece comes twice: what is measured is not how well a tool finds duplicates.
    """
    chance = np.random.default_rng(7)
    letters = [bytes(chance.integers(97, 123, int(n), dtype=np.uint8)) for n in
               chance.integers(2, 11, 20_000)]  # fmt: skip
    words = np.array(letters, dtype=object)
    for number in range(size_mib):
        if case == RANDOM or number % 2 == 0:
            yield chance.bytes(MIB)
        else:
            chosen = np.minimum(chance.zipf(1.3, WORDS_PER_MIB), len(words)) - 1
            text = b" ".join(words[chosen])
            assert len(text) >= MIB
            yield text[:MIB]
