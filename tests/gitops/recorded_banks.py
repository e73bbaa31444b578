"""BackupBank: what the look at a bank writes, whatever it finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.domain.errors import (
    AuthRefused,
    CinderbankError,
    Forbidden,
    InvalidSpec,
    Unavailable,
)
from cinderbank.domain.facts import StoreCapabilities
from cinderbank.engine.bank_validation import BankFound
from cinderbank.kube.banks import BankChecks
from cinderbank.kube.catalog import Catalogue
from cinderbank.kube.known import BACKUP_BANK, Key
from cinderbank.kube.maintenance import Maintenance
from cinderbank.kube.reconcile import Raw
from tests.fakes.clock import FakeClock
from tests.gitops.kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING
from tests.gitops.recorded import Recorded, an_object, unseen

KEY = Key(BACKUP_BANK, "shop", "db", "uid-1")
SPEC = {
    "site": "site-a",
    "maintenance": {"suspend": True},
    "catalog": {"suspend": True},
    "s3": {
        "endpoint": "https://s3.example.org",
        "bucket": "backups",
        "credentialsSecretRef": {"name": "bank"},
    },
}
GOOD = BankFound(bank_id="one", format_version=1)
ANOTHER = BankFound(bank_id="two", format_version=1)
LIAR = StoreCapabilities(True, False, True, True, True)

LOOKS: list[tuple[str, BankFound | Exception, str]] = [
    ("good", GOOD, CURRENT),
    ("away", Unavailable("x", reason="BankUnavailable"), IN_PROGRESS),
    ("keys are refused", AuthRefused("x", reason="BankCredentialsRefused"), IN_PROGRESS),
    ("a bug of ours", ZeroDivisionError("oops"), IN_PROGRESS),
    ("rights are missing", Forbidden("x", reason="BankAccessDenied"), FAILED),
    ("no Secret", InvalidSpec("x", reason="SecretNotFound"), FAILED),
    ("shared by mistake", BankFound("one", 1, writers_beside_us=("somebody",)), CURRENT),
    ("another bank", ANOTHER, FAILED),
    (
        "a store that lies",
        BankFound("one", 1, capabilities=LIAR, problems=("not listed",)),
        FAILED,
    ),
]


class Bank:
    """One BackupBank, looked at as often as a test likes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.raw: Raw = an_object(BACKUP_BANK, {}, spec=SPEC)
        self.answer: BankFound | Exception = GOOD

    def look(self, key: Key, spec: BackupBankSpec, bank_id: str | None) -> BankFound:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def run(self, answer: BankFound | Exception) -> dict[str, Any]:
        """The object after a look that finds this."""
        self.answer = answer
        self.clock.advance(3600)
        maintenance = Maintenance(self._none, self._write, self._say, self.clock, self._error)
        catalogue = Catalogue(self._none, self._write, self._say, self.clock, self._error)
        checks = BankChecks(
            self.look, self._write, self._say, self.clock, self._error, 60.0, maintenance, catalogue
        )
        checks.run(KEY, self.raw)
        return {**self.raw}

    def _none(self, key: Key) -> Any:
        raise CinderbankError("maintenance is suspended")

    def _write(self, raw: Raw, status: dict[str, Any]) -> None:
        self.raw = {**self.raw, "status": status}

    def _say(self, raw: Raw, reason: str, message: str, warning: bool) -> None:
        """Events are no part of a status."""

    def _error(self, reason: str) -> None:
        """Nor are counts."""


def record_banks() -> Iterator[Recorded]:
    yield unseen(BACKUP_BANK)
    for situation, answer, expected in LOOKS:
        if answer is not ANOTHER:
            yield Recorded(f"{situation}, at the first look", Bank().run(answer), expected)
        bank = Bank()
        bank.run(GOOD)
        found = bank.run(answer)
        yield Recorded(f"{situation}, after a good look", found, expected)
        edited = {**found, "metadata": {**found["metadata"], "generation": 2}}
        yield Recorded(f"{situation}, and edited since", edited, IN_PROGRESS)
        yield Recorded(f"{situation}, good again", bank.run(GOOD), CURRENT)
        deleted = {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026"}}
        yield Recorded(f"{situation}, being deleted", deleted, TERMINATING)
