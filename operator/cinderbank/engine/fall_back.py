"""Going on as another image where one does not work; the decisions are domain.transport's."""

from __future__ import annotations

from cinderbank.domain import transport
from cinderbank.domain.errors import Unsupported
from cinderbank.domain.record import Memory, Transport, TransportChoice
from cinderbank.ports.records import Records
from cinderbank.ports.transfers import Transfers


def refused_format(
    error: Unsupported,
    asked: Transport,
    transfers: Transfers,
    records: Records,
    memory: Memory,
) -> Memory:
    """The memory that goes on as another image when this cloud does not take the format of one.

    Raises the error when it is about something else, or with the user's way out when he asked for it.
    """
    if error.reason != transport.IMAGE_FORMAT_REFUSED:
        raise error
    choice = transport.fallback(asked, memory, error.reason, error.message)
    if choice is None:
        raise _told_way_out(error, asked) from error
    return fall_back(transfers, records, memory, choice)


def fall_back(
    transfers: Transfers, records: Records, memory: Memory, choice: TransportChoice
) -> Memory:
    """End what moves data of the old image, tell it, and return the memory that goes on."""
    transfers.cancel()
    records.event(choice.reason, choice.message, warning=True)
    return transport.fallen_back(memory, choice)


def _told_way_out(error: Unsupported, asked: Transport) -> Unsupported:
    """The same error with what the user can do about it."""
    return Unsupported(
        transport.with_way_out(error.message, asked),
        reason=error.reason,
        status_code=error.status_code,
        request_id=error.request_id,
    )
