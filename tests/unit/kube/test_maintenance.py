"""When a bank is collected, and what is told of it; and the child process that does it."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cinderbank.adapters.check_process import CheckAccess
from cinderbank.adapters.collect_process import CollectProcesses, collect_command
from cinderbank.adapters.s3_location import S3Credentials, S3Location
from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.api.v1alpha1.bank_status import BackupBankStatus
from cinderbank.domain.errors import Conflict, Unavailable
from cinderbank.kube.known import BACKUP_BANK, Key
from cinderbank.kube.maintenance import Maintenance
from cinderbank.ports.collections import (
    CollectionAbsent,
    CollectionEnded,
    CollectionFacts,
    CollectionRefused,
    CollectionRequest,
    CollectionRunning,
)
from tests.fakes.clock import FakeClock

KEY = Key(BACKUP_BANK, "team", "main", "uid-1")
ENDED = CollectionEnded(12, 3400, 1, complete=True)
REFUSED = CollectionRefused("DeleteShareExceeded", "too much", retryable=False)


@dataclass
class FakeCollections:
    facts: CollectionFacts = field(default_factory=CollectionAbsent)
    started: list[CollectionRequest] = field(default_factory=list)
    error: Exception | None = None

    def observe(self) -> CollectionFacts:
        return self.facts

    def start(self, request: CollectionRequest) -> None:
        if self.error is not None:
            raise self.error
        self.started.append(request)
        self.facts = CollectionRunning()

    def forget(self) -> None:
        self.facts = CollectionAbsent()


class House:
    def __init__(self, **maintenance: object) -> None:
        self.collections = FakeCollections()
        self.clock = FakeClock()
        self.status: dict[str, Any] = {}
        self.said: list[str] = []
        self.spec = spec(maintenance)
        self.maintenance = Maintenance(
            lambda key: self.collections,
            lambda raw, status: self.status.update(status),
            lambda raw, reason, message, warning: self.said.append(reason),
            self.clock,
            lambda reason: None,
        )

    def run(self) -> float | None:
        return self.maintenance.run(KEY, {}, self.spec, self.before())

    def before(self) -> BackupBankStatus:
        return BackupBankStatus.read(self.status, "status")


def spec(maintenance: dict[str, object], access: str = "ReadWrite") -> BackupBankSpec:
    return BackupBankSpec.read(
        {
            "s3": {
                "endpoint": "https://s3.example.org",
                "bucket": "backups",
                "credentialsSecretRef": {"name": "keys"},
            },
            "site": "site-a",
            "accessMode": access,
            "maintenance": maintenance,
        },
        "spec",
    )


def test_a_new_bank_is_collected_and_then_once_in_an_interval() -> None:
    house = House(interval="6h", maxDeletePercent=30)
    house.run()
    assert house.collections.started == [CollectionRequest(30)]
    house.run()
    house.collections.facts = ENDED
    house.run()
    told = house.status["maintenance"]
    assert (told["freedObjects"], told["freedBytes"], told["refusedDeletes"]) == (12, 3400, 1)
    assert "refusedReason" not in told
    assert house.run() == pytest.approx(6 * 3600, abs=1)
    assert len(house.collections.started) == 1
    house.clock.advance(6 * 3600)
    house.run()
    assert len(house.collections.started) == 2


def test_a_refusal_is_told_once_and_tried_again_within_the_hour() -> None:
    house = House()
    for _ in range(2):
        house.run()
        house.collections.facts = REFUSED
        house.run()
        assert house.status["maintenance"]["refusedReason"] == "DeleteShareExceeded"
        assert house.status["maintenance"]["refusedMessage"] == "too much"
        assert house.run() == pytest.approx(3600, abs=1)
        house.clock.advance(3600)
    assert house.said == ["DeleteShareExceeded"]
    assert len(house.collections.started) == 2


def test_a_run_that_left_something_goes_on_within_the_hour() -> None:
    house = House()
    house.run()
    house.collections.facts = CollectionEnded(1, 1, 0, complete=False)
    house.run()
    assert house.run() == pytest.approx(3600, abs=1)


@pytest.mark.parametrize("wish", [{"suspend": True}, None])
def test_nothing_runs_when_it_is_suspended_or_the_bank_is_read_only(wish: Any) -> None:
    house = House()
    house.spec = spec({}, "ReadOnly") if wish is None else spec(wish)
    assert house.run() is None
    assert not house.collections.started


def test_a_bank_waits_for_its_turn() -> None:
    house = House()
    house.collections.error = Unavailable("another", reason="NoCollectionSlot")
    assert house.run() == 60.0
    house.collections.error = Unavailable("no process", reason="Unavailable")
    with pytest.raises(Unavailable, match="no process"):
        house.run()


def access() -> CheckAccess:
    return CheckAccess(
        S3Location("http://127.0.0.1:9", "bucket", "p", "r", "path"),
        S3Credentials("access", "very-secret"),
        "site-a",
        False,
        None,
    )


def child_that(says: str, code: int = 0) -> Any:
    script = (
        f"import sys; sys.stdout.write({says!r}); sys.stderr.write('very-secret'); sys.exit({code})"
    )
    return lambda bank_file, request: [sys.executable, "-c", script]


@pytest.mark.parametrize(
    ("says", "code", "facts"),
    [
        (
            '{"event":"result","freedObjects":12,"freedBytes":3400,"refusedDeletes":1,"complete":true}\n',
            0,
            ENDED,
        ),
        (
            '{"event":"error","reason":"X","message":"of very-secret","retryable":true}\n',
            75,
            CollectionRefused("X", "of <secret>", retryable=True),
        ),
    ],
)
def test_a_child_tells_how_it_ended(
    tmp_path: Path, says: str, code: int, facts: CollectionFacts
) -> None:
    ended = threading.Event()
    processes: CollectProcesses[str] = CollectProcesses(
        tmp_path / "c", lambda key: ended.set(), child_that(says, code)
    )
    one = processes.of("one", access())
    one.start(CollectionRequest(50))
    assert ended.wait(120)
    assert one.observe() == facts
    one.forget()
    assert one.observe() == CollectionAbsent()
    assert not list((tmp_path / "c").iterdir())
    processes.close()


def test_a_child_that_dies_is_told_without_its_secrets(tmp_path: Path) -> None:
    ended = threading.Event()
    processes: CollectProcesses[str] = CollectProcesses(
        tmp_path, lambda key: ended.set(), child_that('{"event":', 3)
    )
    processes.of("one", access()).start(CollectionRequest(50))
    assert ended.wait(120)
    facts = processes.observe("one")
    assert isinstance(facts, CollectionRefused)
    assert (facts.reason, facts.retryable) == ("CollectionDied", True)
    assert "very-secret" not in facts.message
    processes.close()


def test_one_bank_at_a_time(tmp_path: Path) -> None:
    processes: CollectProcesses[str] = CollectProcesses(
        tmp_path, lambda key: None, lambda bank_file, request: [sys.executable, "-c", "input()"]
    )
    processes.of("one", access()).start(CollectionRequest(50))
    with pytest.raises(Conflict):
        processes.of("one", access()).start(CollectionRequest(50))
    with pytest.raises(Unavailable) as caught:
        processes.of("two", access()).start(CollectionRequest(50))
    assert caught.value.reason == "NoCollectionSlot"
    processes.close()
    assert processes.observe("one") == CollectionAbsent()


def test_the_command_names_no_secret(tmp_path: Path) -> None:
    command = collect_command(tmp_path / "bank.yaml", CollectionRequest(30))
    assert "very-secret" not in json.dumps(command)
    assert command[-1] == "30"
