"""What a look at a bank means for its BackupBank: pure.

A bank that was good and can not be reached right now stays usable (running transfers meet the outage
themselves); a bank that is wrong stops: nothing may be written to, or deleted from, the wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass

from cinderbank.domain.errors import (
    CinderbankError,
    InvalidSpec,
    Retryable,
    Unavailable,
    Unsupported,
)
from cinderbank.domain.facts import BackupCount, StoreCapabilities
from cinderbank.domain.record import Condition

SITE_SHARED = "SiteShared"
"""Condition, there only when it is True: somebody else writes as our site. Nothing stops for it."""

NONE = BackupCount()


@dataclass(frozen=True, slots=True)
class BankFound:
    """A bank that answered its self-test; whether the store is fit stands in its capabilities."""

    bank_id: str
    format_version: int
    counts: BackupCount = NONE
    """Of all sites."""
    site_counts: BackupCount = NONE
    """Of ours."""
    capabilities: StoreCapabilities | None = None
    """None when nothing was written, so that nothing was proven."""
    problems: tuple[str, ...] = ()
    encrypted: bool = False
    key_ids: tuple[str, ...] = ()
    """Ids of the keys that open the bank."""
    writers_beside_us: tuple[str, ...] = ()
    """Who wrote as our site since we did; see bank.writers."""
    writers_lately: tuple[str, ...] = ()
    """Who did within a day."""


@dataclass(frozen=True, slots=True)
class BankVerdict:
    conditions: tuple[Condition, ...]
    found: BankFound | None
    """None: keep telling what the last good look found."""
    ready: bool


def judge_bank(
    looked: BankFound | CinderbankError, remembered_id: str | None, told_shared: bool = False
) -> BankVerdict:
    """The conditions of a BackupBank, Ready first. `remembered_id` is the bankID in its status,
    `told_shared` whether its condition SiteShared is True."""
    if isinstance(looked, CinderbankError):
        return _not_ready(looked)
    if remembered_id is not None and looked.bank_id != remembered_id:
        return _not_ready(
            InvalidSpec(
                f"the bucket holds bank {looked.bank_id}, but {remembered_id} was there before; mend"
                " endpoint, bucket and prefix, or make a new BackupBank for it",
                reason="BankIdMismatch",
            )
        )
    if looked.capabilities is not None and not looked.capabilities.fit:
        # Stalled, and not retried in silence: a backup that begins now would not be safe.
        unfit = Unsupported("; ".join(looked.problems), reason="BankNotConsistent")
        return BankVerdict(_not_ready(unfit).conditions, looked, False)
    shared = _site_shared(looked, told_shared)
    told = "; ".join(("The bank can be used", *looked.problems, *(each.message for each in shared)))
    return BankVerdict((Condition("Ready", "True", "Validated", told), *shared), looked, True)


def _site_shared(looked: BankFound, told: bool) -> tuple[Condition, ...]:
    """Begins when both were seen to write in turn, ends when the other one has been silent for a day."""
    others = looked.writers_lately if told else looked.writers_beside_us
    if not others:
        return ()
    message = (
        "somebody else writes to this bank as the same site, so that each can delete what the other has,"
        f" and figures of the site are of both: {', '.join(others[:5])} (the uid of that cluster's"
        " namespace kube-system, or of its BackupBank). Nothing is lost by it. Give one of them a new"
        " BackupBank with a site name of its own (docs/banks.md); this goes a day after the last sign of it"
    )
    return (Condition(SITE_SHARED, "True", "SiteNameShared", message),)


def _not_ready(error: CinderbankError) -> BankVerdict:
    """kstatus: Stalled is for a human; Reconciling says that we try again by ourselves."""
    more = (
        Condition("Reconciling", "True", "Retrying", "The bank is looked at again by itself")
        if isinstance(error, Retryable)
        else Condition("Stalled", "True", error.reason, error.message)
    )
    return BankVerdict(
        (Condition("Ready", "False", error.reason, error.message), more), None, False
    )


def refusal(
    name: str,
    *,
    bank_id: str | None,
    not_ready: tuple[str, str] | None,
    stalled: bool,
    deleting: bool,
) -> CinderbankError | None:
    """Why a backup or restore may not use this BackupBank now; None when it may.

    `not_ready` is reason and message of its condition Ready when that is False: whoever looks at the
    backup is told them there, and not sent on to another object.
    """
    if deleting:
        return InvalidSpec(f"BackupBank {name} is being deleted", reason="BankNotReady")
    if not_ready is None:
        if bank_id is not None:
            return None
        return Unavailable(f"BackupBank {name} was not looked at yet", reason="BankNotReady")
    reason, message = not_ready
    told = f"BackupBank {name}: {message}"
    if stalled:
        return InvalidSpec(told, reason=reason)
    # A bank that was good once is tried: it may be back before it is looked at again.
    return Unavailable(told, reason=reason) if bank_id is None else None
