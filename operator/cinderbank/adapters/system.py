"""The machine's clock and chance, behind ports.clock."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from cinderbank.domain.facts import BackupId

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class UlidMint:
    """ULIDs: 48 bits of milliseconds, 80 bits of chance; two of one millisecond are in no order."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock

    def mint_backup_id(self) -> BackupId:
        milliseconds = int(self._clock.now().timestamp() * 1000)
        number = (milliseconds << 80) | secrets.randbits(80)
        digits = [_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5)]
        return BackupId("".join(digits))
