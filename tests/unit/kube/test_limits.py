"""BackupBank.spec.limits: what each transfer may use of a bank."""

from __future__ import annotations

import pytest

from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec, Limits
from cinderbank.app.bank_limits import bandwidth_share, require_enough
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


def spec(limits: dict[str, int], chunk_size_mib: int = 4) -> BackupBankSpec:
    s3 = {
        "endpoint": "https://s3.example.org",
        "bucket": "backups",
        "credentialsSecretRef": {"name": "keys"},
    }
    body = {"s3": s3, "site": "site-a", "limits": limits, "chunkSizeMiB": chunk_size_mib}
    return BackupBankSpec.read(body, "spec")


def test_a_share_at_which_no_transfer_could_end_is_refused_with_figures() -> None:
    with pytest.raises(InvalidSpec) as caught:
        require_enough(spec({"bandwidthMiBPerSecond": 1}), slots=64)
    assert caught.value.reason == "LimitsTooLow"
    message = caught.value.message
    for told in (
        "spec.limits.bandwidthMiBPerSecond is 1, shared by 64 transfers",
        "16 KiB/s each",
        "The 24 MiB that a transfer has on its way take 1536 s",
        "after 900 s",
        "at least 4 MiB per second",
        "concurrentTransfers to 18 at most",
    ):
        assert told in message, message


@pytest.mark.parametrize(
    ("limits", "chunk_size_mib", "slots"),
    [
        ({}, 4, 64),
        ({"concurrentTransfers": 64}, 4, 64),
        ({"bandwidthMiBPerSecond": 4}, 4, 64),
        ({"bandwidthMiBPerSecond": 1, "concurrentTransfers": 18}, 4, 64),
        ({"bandwidthMiBPerSecond": 1}, 4, 18),
        # Small chunks are fewer bytes on their way, large ones more.
        ({"bandwidthMiBPerSecond": 1, "concurrentTransfers": 28}, 1, 64),
        ({"bandwidthMiBPerSecond": 1, "concurrentTransfers": 14}, 16, 64),
    ],
)
def test_what_the_message_names_is_enough(
    limits: dict[str, int], chunk_size_mib: int, slots: int
) -> None:
    require_enough(spec(limits, chunk_size_mib), slots)


@pytest.mark.parametrize(("chunk_size_mib", "most"), [(1, 28), (4, 18), (16, 14)])
def test_one_more_is_too_many(chunk_size_mib: int, most: int) -> None:
    limits = {"bandwidthMiBPerSecond": 1, "concurrentTransfers": most + 1}
    with pytest.raises(InvalidSpec):
        require_enough(spec(limits, chunk_size_mib), slots=64)
