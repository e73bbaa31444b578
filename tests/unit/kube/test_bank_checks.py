"""What a look at a bank makes of its BackupBank: status and Events, from one look to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.app.writers import Writers
from cinderbank.domain.errors import CinderbankError, Forbidden, Unavailable
from cinderbank.domain.facts import BackupCount, BackupId
from cinderbank.engine.bank_validation import BankFound
from cinderbank.kube.banks import BankChecks
from cinderbank.kube.known import BACKUP_BANK, Key
from cinderbank.kube.maintenance import Maintenance
from tests.fakes.backups import BACKUP
from tests.fakes.clock import FakeClock

KEY = Key(BACKUP_BANK, "team", "main", "5a1f0000-0000-4000-8000-000000000001")
OTHER = "7b1c0f7e-0000-4000-8000-000000000001"
TAKEN = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
FOUND = BankFound("one", 1, BackupCount(2, 3 << 20, BackupId(BACKUP), TAKEN), BackupCount(0, 0))


@dataclass
class House:
    """A BackupBank that is never collected, and the bank that its looks find."""

    found: BankFound | CinderbankError = FOUND
    clock: FakeClock = field(default_factory=FakeClock)
    status: dict[str, Any] = field(default_factory=dict)
    said: list[tuple[str, bool]] = field(default_factory=list)
    looks: list[str | None] = field(default_factory=list)

    def look(self) -> dict[str, Any]:
        """The status after a look that is due."""
        checks = BankChecks(
            self._look,
            lambda raw, status: self.status.update(status) or self._drop(status),
            lambda raw, reason, message, warning: self.said.append((reason, warning)),
            self.clock,
            lambda reason: None,
            60.0,
            Maintenance(None, None, None, self.clock, None),  # type: ignore[arg-type]  # suspended
        )
        raw = {
            "metadata": {"generation": 1},
            "spec": {
                "s3": {
                    "endpoint": "https://s3.example.org",
                    "bucket": "backups",
                    "credentialsSecretRef": {"name": "keys"},
                },
                "site": "site-a",
                "maintenance": {"suspend": True},
            },
            "status": dict(self.status),
        }
        checks.run(KEY, raw)
        self.clock.advance(300)
        return self.status

    def _drop(self, status: dict[str, Any]) -> None:
        for gone in self.status.keys() - status.keys():
            del self.status[gone]

    def _look(self, key: Key, spec: BackupBankSpec, bank_id: str | None) -> BankFound:
        self.looks.append(bank_id)
        if isinstance(self.found, CinderbankError):
            raise self.found
        return self.found

    def condition(self, type_: str) -> dict[str, Any] | None:
        return next((c for c in self.status["conditions"] if c["type"] == type_), None)


def test_what_is_in_the_bank_is_told_of_all_sites_and_of_ours() -> None:
    house = House()
    status = house.look()
    assert status["counts"] == {
        "backups": 2,
        "storedBytes": 3 << 20,
        "stored": "3.0 MiB",
        "newestBackupID": BACKUP,
        "newestSnapshotTime": "2026-11-22T19:00:00Z",
    }
    assert status["siteCounts"] == {"backups": 0, "storedBytes": 0, "stored": "0 B"}
    house.look()
    assert house.looks == [None, "one"], "the id is remembered"


def test_figures_that_are_not_there_yet_stay_as_they_were() -> None:
    house = House()
    house.look()
    house.found = replace(FOUND, counts=BackupCount(5, None, BackupId(BACKUP)))
    counts = house.look()["counts"]
    assert (counts["backups"], counts["storedBytes"]) == (5, 3 << 20)
    assert "newestSnapshotTime" not in counts
    house.found = Unavailable("gone", reason="BankUnavailable")
    assert house.look()["counts"] == counts


def test_a_site_name_that_two_have_is_told_once_and_outlives_an_outage() -> None:
    house = House()
    house.look()
    assert house.condition("SiteShared") is None
    two = replace(FOUND, writers_beside_us=(OTHER,), writers_lately=(OTHER,))
    for looked in (two, replace(two, writers_beside_us=())):
        house.found = looked
        house.look()
        told = house.condition("SiteShared")
        assert told is not None
        assert (told["status"], told["reason"]) == ("True", "SiteNameShared")
        assert OTHER in told["message"]
    house.found = Unavailable("gone", reason="BankUnavailable")
    house.look()
    assert house.condition("SiteShared") == told
    assert house.said.count(("SiteNameShared", True)) == 1
    house.found = FOUND
    house.look()
    assert house.condition("SiteShared") is None


@pytest.mark.parametrize("answers", [[{"metadata": {"uid": OTHER}}], [Forbidden("no"), None]])
def test_we_sign_as_our_cluster_or_as_the_backup_bank(answers: list[Any]) -> None:
    """Asked once: neither the cluster's id nor the right to read it changes under an operator."""

    class Api:
        def get(self, path: str) -> dict[str, Any] | None:
            assert path == "/api/v1/namespaces/kube-system"
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]

    writers = Writers(Api())  # type: ignore[arg-type]  # only its get is used
    expected = KEY.uid if isinstance(answers[0], Exception) else OTHER
    assert [writers.id_of(KEY.uid) for _ in range(2)] == [expected] * 2


def test_the_api_server_is_asked_again_when_it_did_not_answer() -> None:
    answers: list[Any] = [Unavailable("away"), {"metadata": {"uid": OTHER}}]

    class Api:
        def get(self, path: str) -> dict[str, Any]:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return dict(answer)

    writers = Writers(Api())  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        writers.id_of(KEY.uid)
    assert writers.id_of(KEY.uid) == OTHER
