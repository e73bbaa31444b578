"""Going on as another image where one does not work; the decisions are domain.transport's."""

from __future__ import annotations

from cinderbank.domain import transport
from cinderbank.domain.errors import Unsupported
from cinderbank.domain.record import Memory, Transport, TransportChoice
from cinderbank.ports.records import Records
from cinderbank.ports.transfers import Transfers


def fall_back(
    transfers: Transfers, records: Records, memory: Memory, choice: TransportChoice
) -> Memory:
    """End what moves data of the old image, tell it, and return the memory that goes on."""
    transfers.cancel()
    records.event(choice.reason, choice.message, warning=True)
    return transport.fallen_back(memory, choice)


def told_way_out(error: Unsupported, asked: Transport) -> Unsupported:
    """The same error with what the user can do about it."""
    return Unsupported(
        transport.with_way_out(error.message, asked),
        reason=error.reason,
        status_code=error.status_code,
        request_id=error.request_id,
    )
