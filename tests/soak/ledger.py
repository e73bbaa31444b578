"""What must be in the bank, written down beside it; shared by all threads of a soak."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    THERE = "there"
    GOING = "going"
    """Its user has asked for its deletion."""
    GONE = "gone"


@dataclass
class Entry:
    """One backup that was Completed."""

    site: str
    """Letter of the site that made it."""
    name: str
    backup_id: str
    sha256: str
    """Of the whole volume as it was, read from the back end."""
    state: State = State.THERE


class Ledger:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self.done: Counter[str] = Counter()
        """What was done, by site and kind, such as `a backup`."""

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def count(self, what: str) -> None:
        with self._lock:
            self.done[what] += 1

    def entries(self, *states: State) -> list[Entry]:
        with self._lock:
            return [entry for entry in self._entries if entry.state in states]

    def any_there(self) -> Entry | None:
        """Of either site, for a restore; it may be deleted while that runs."""
        there = self.entries(State.THERE)
        return self._chance.choice(there) if there else None

    def take_for_deletion(self, site: str, leave: int) -> Entry | None:
        """Any of this site's, unless no more than `leave` are there."""
        with self._lock:
            there = [e for e in self._entries if e.site == site and e.state is State.THERE]
            if len(there) <= leave:
                return None
            taken = self._chance.choice(there)
            taken.state = State.GOING
            return taken
