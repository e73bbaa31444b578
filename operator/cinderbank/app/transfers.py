"""Transfer processes of the objects: what a child needs to reach cloud and bank by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cinderbank.app.banks import OpenBank
from cinderbank.app.clouds import Cloud
from cinderbank.domain.errors import Unavailable
from cinderbank.domain.facts import TransferAbsent, TransferFacts
from cinderbank.kube.known import Key
from cinderbank.ports.transfers import Transfer, Transfers


class ChildProcesses:
    def __init__(self, folder: Path, slots: int, on_change: Callable[[Key], None]) -> None:
        pass

    def of(self, key: Key, cloud: Cloud, bank: OpenBank) -> Transfers:
        return _None()

    def forget(self, key: Key) -> None:
        pass

    def close(self) -> None:
        pass


class _None:
    def observe(self) -> TransferFacts:
        return TransferAbsent()

    def start(self, transfer: Transfer) -> None:
        raise Unavailable("no transfers yet")

    def cancel(self) -> None:
        pass
