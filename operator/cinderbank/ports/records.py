"""Where memory and report of one custom resource are kept (its `status` and our finalizer)."""

from __future__ import annotations

from typing import Protocol

from cinderbank.domain.record import Memory, Report


class Records(Protocol):
    """The stored state of ONE object, as it was when this tick began.

    `remember` is the intent write: it MUST be durable before it returns, and MUST raise Conflict when
    anybody changed the object since the tick began (resourceVersion), so that two operators, or one
    with an old view, never both go on to a create.
    """

    def remember(self, memory: Memory, report: Report) -> None:
        """Write memory and report now, with the optimistic lock. Raises Conflict, Unavailable, SourceGone (object is gone)."""
        ...

    def publish(self, memory: Memory, report: Report) -> None:
        """Write them at the end of a tick; nothing is written when nothing changed, and progress alone
        is written at a bounded rate. Same errors as `remember`."""
        ...

    def add_finalizer(self) -> None:
        """Put our finalizer on; idempotent; MUST be done before the first side effect."""
        ...

    def remove_finalizer(self) -> None:
        """Take our finalizer off; idempotent; the object may be gone when this returns."""
        ...

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """A Kubernetes Event on the object; best effort, never raises."""
        ...
