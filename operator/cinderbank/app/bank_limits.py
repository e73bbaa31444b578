"""BackupBank.spec.limits: what each transfer gets of a bank's bandwidth, and whether that can work."""

from __future__ import annotations

from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec, Limits
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.record import Timeouts
from cinderbank.transfer.pipeline import limits_for

MIB = 1 << 20
WITHIN = 0.5
"""Of timeouts.noProgress: half of it for the network's own bad moments. Where nothing moves for longer than
that field says, a transfer is ended, and the next one is no faster."""


def bandwidth_share(limits: Limits, slots: int) -> int | None:
    """What each transfer may use of the bank's bandwidth, in bytes per second: an equal share, also
    while fewer run, because nobody tells a transfer that runs how many others do."""
    if limits.bandwidth_mib_per_second is None:
        return None
    return limits.bandwidth_mib_per_second * MIB // at_once(limits, slots)


def at_once(limits: Limits, slots: int) -> int:
    """How many transfers share it; `slots` run at once on this operator."""
    return min(limits.concurrent_transfers or slots, slots)


def require_enough(spec: BackupBankSpec, slots: int) -> None:
    """Raise InvalidSpec (LimitsTooLow) when a transfer at its share would end in NoProgress, for ever.

    All chunks that one has on their way share its bandwidth, so in the worst case none is stored before
    all are. Judged by the default of timeouts.noProgress: which backups will come is not known.
    """
    limits = spec.limits
    share = bandwidth_share(limits, slots)
    chunk_bytes = spec.chunk_size_mib * MIB
    in_flight_bytes = limits_for(chunk_bytes).in_flight * chunk_bytes
    patience_seconds = Timeouts().no_progress.total_seconds()
    least = int(in_flight_bytes / (patience_seconds * WITHIN)) + 1
    if share is None or share >= least:
        return
    given, sharers = limits.bandwidth_mib_per_second or 0, at_once(limits, slots)
    raise InvalidSpec(
        f"spec.limits.bandwidthMiBPerSecond is {given}, shared by {sharers} transfers (concurrentTransfers,"
        f" and what the operator runs at once): {share // 1024} KiB/s each. The {in_flight_bytes // MIB} MiB"
        f" that a transfer has on its way take {in_flight_bytes / share:.0f} s then, and after"
        f" {patience_seconds:.0f} s in which nothing was stored it is ended (timeouts.noProgress). Give at"
        f" least {-(-least * sharers // MIB)} MiB per second, or set concurrentTransfers to"
        f" {given * MIB // least} at most",
        reason="LimitsTooLow",
    )
