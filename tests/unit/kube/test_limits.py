"""BackupBank.spec.limits: what each transfer may use of a bank."""

from __future__ import annotations

import pytest

from cinderbank.api.v1alpha1.backup_bank import Limits
from cinderbank.app.worlds import bandwidth_share
from cinderbank.domain.errors import InvalidSpec

MIB = 1 << 20


@pytest.mark.parametrize(
    ("limits", "slots", "share"),
    [
        ({}, 4, None),
        ({"concurrentTransfers": 2}, 4, None),
        ({"bandwidthMiBPerSecond": 100}, 4, 25 * MIB),
        ({"bandwidthMiBPerSecond": 100, "concurrentTransfers": 2}, 4, 50 * MIB),
        ({"bandwidthMiBPerSecond": 100, "concurrentTransfers": 9}, 4, 25 * MIB),
        ({"bandwidthMiBPerSecond": 1}, 4, MIB // 4),
    ],
)
def test_all_transfers_together_stay_below_the_banks_bandwidth(
    limits: dict[str, int], slots: int, share: int | None
) -> None:
    assert bandwidth_share(Limits.read(limits, "spec.limits"), slots) == share


@pytest.mark.parametrize("field", ["bandwidthMiBPerSecond", "concurrentTransfers"])
def test_nothing_is_no_limit(field: str) -> None:
    with pytest.raises(InvalidSpec, match=f"spec.limits.{field} is 0"):
        Limits.read({field: 0}, "spec.limits")
