"""A piece of a volume: what the sources of a backup hand to the pipeline."""

from __future__ import annotations

from typing import NamedTuple

from cinderbank.bank.store import Buffer


class Extent(NamedTuple):
    """`data` lies at byte `offset` of the volume.

    A source yields them in ascending order, never overlapping; what lies between two of them, before
    the first and behind the last is zeros that nobody had to move.
    """

    offset: int
    data: Buffer
