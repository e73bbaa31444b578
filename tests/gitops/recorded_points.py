"""RecoveryPoint: what the catalogue writes of a backup that it can read, can not read, or knows as damaged."""

from __future__ import annotations

from collections.abc import Iterator

from cinderbank.api.v1alpha1.recovery_point import status_of
from cinderbank.ports.catalog import Described, Unreadable
from tests.fakes.backups import NOW, describe
from tests.gitops.kstatus import CURRENT, FAILED
from tests.gitops.recorded import Recorded, an_object, unseen

KIND = "RecoveryPoint"
WHOLE = Described(describe(b"x" * 5000), False)

MIRRORED: list[tuple[str, Described | Unreadable, bool, str]] = [
    ("whole", WHOLE, False, CURRENT),
    ("damage was found", WHOLE, True, FAILED),
    ("can not be read", Unreadable("BankKeyMissing", "no key"), False, FAILED),
]


def record_points() -> Iterator[Recorded]:
    yield unseen(KIND)
    for situation, found, degraded, expected in MIRRORED:
        status = status_of(found, degraded, None, 1, NOW)
        yield Recorded(situation, an_object(KIND, status), expected)
