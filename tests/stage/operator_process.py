"""The operator as a process of its own, with the rights that deploy/ gives it and no more."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.rig.processes import Process
from tests.stage.cloud import until

ROOT = Path(__file__).resolve().parents[2]


class OperatorProcess:
    """`python -m cinderbank operator` for one cluster; start, stop, kill -9, start again."""

    def __init__(self, kubeconfig: Path, log: Path, settings: Mapping[str, str] = {}) -> None:
        self.kubeconfig = kubeconfig
        self.log = log
        self.settings = dict(settings)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "CINDERBANK_"))}
        env = {
            **kept,
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(self.kubeconfig),
            "CINDERBANK_LISTEN_ADDRESS": "127.0.0.1",
            "CINDERBANK_LISTEN_PORT": str(self.port),
            **self.settings,
        }
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cinderbank", "operator"],
                env=env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        until(self._is_ready, 240, f"operator (its log: {self.log})")

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the operator ended with {self.process.returncode}\n{tail}")
        try:
            return self.fetch("/readyz") is not None
        except OSError:
            return False

    def fetch(self, path: str) -> str:
        """The body of a page of its HTTP server; OSError when it does not answer with 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def kill(self) -> None:
        """SIGKILL the operator alone: its children must notice by themselves."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def transfers(self) -> list[int]:
        """The pids of its transfer processes."""
        found = []
        for process in Process.all():
            try:
                stat = Path(f"/proc/{process.pid}/stat").read_text()
                words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended while it was looked at
            parent = int(stat.rsplit(")", 1)[1].split()[1])
            if self.process is not None and parent == self.process.pid and b"transfer" in words:
                found.append(process.pid)
        return found

    def kill_and_wait_for_its_children(self) -> None:
        """SIGKILL; back when what it left behind has noticed and is gone."""
        left = [process for pid in self.transfers() if (process := Process.read(pid)) is not None]
        self.kill()
        until(lambda: not any(each.again() for each in left), 240, "its transfers' end")

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(240)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def free_port() -> int:
    """Of those that Linux gives to nobody by itself: it must still be free at the next start, and no
    connection of somebody else may have it as its own end. Rigs have theirs from 15000 on."""
    for port in random.sample(range(10_000, 15_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("of 100 ports from 10000 to 14999 none is free")
