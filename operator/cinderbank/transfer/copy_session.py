"""What a copy holds in both banks while it works: a read pin, signs of life, a number of its own."""

from __future__ import annotations

import logging
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cinderbank.bank import layout, state
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.beats import INTERVAL_SECONDS
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import CinderbankError, Forbidden, InvalidSpec
from cinderbank.domain.facts import VolumeId
from cinderbank.ports.transfers import CopyTransfer

log = logging.getLogger(__name__)


def refuse_wrong_pair(site: str, source: StoredBank, target: StoredBank) -> None:
    """Raise unless what `site` has written in `source` may be copied into `target` by us."""
    bank_id = target.open().bank_id
    if source.open().bank_id == bank_id:
        raise InvalidSpec(
            f"{source.store.where()} and {target.store.where()} are the same bank ({bank_id}): a copy in"
            " the same bank is lost with it; name another one",
            reason="CopyToItself",
        )
    target.require_writable()
    if target.site != site:
        raise InvalidSpec(
            f"the backup is of site {site}, and the bank at {target.store.where()} is written as"
            f" {target.site}: a copy stays its site's own; use a BackupBank (or a bank file) with site:"
            f" {site}",
            reason="CopySiteMismatch",
        )


@contextmanager
def pinned(source: StoredBank, transfer: CopyTransfer) -> Iterator[str]:
    """A read pin of this attempt's own; one that a killed attempt leaves goes after a day."""
    reader_uid, held = str(uuid.uuid4()), True
    try:
        source.pin(transfer.site, transfer.backup_id, reader_uid)
    except Forbidden as error:
        # Keys that may only read must not stand between somebody and the last copy.
        log.warning("copying without a read pin: %s", error.message)
        held = False
    try:
        yield reader_uid if held else ""
    finally:
        if held:
            try:
                source.unpin(transfer.backup_id, reader_uid)
            except CinderbankError as error:
                log.warning("a read pin stays until maintenance takes it: %s", error.message)


@contextmanager
def beating(
    source: StoredBank, target: StoredBank, transfer: CopyTransfer, reader_uid: str
) -> Iterator[None]:
    """Signs of life in both banks, so that no collection takes us for dead."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(INTERVAL_SECONDS):
            try:
                target.beat(transfer.copy_id, transfer.site)
                if reader_uid:
                    source.beat(reader_uid)
            except CinderbankError as error:
                log.warning("no sign of life could be given: %s", error.message)

    thread = threading.Thread(target=beat, name="beats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def fresh_attempt(
    store: ObjectStore,
    session: SessionRef,
    volume_id: VolumeId,
    draw: Callable[[int], int] = secrets.randbelow,
) -> int:
    """A number that no object of the session has, by chance: a copy may be made by an operator and from a
    shell at once, and no key may ever be written by two. Never 1, which is for who has no forerunner."""
    site, copy_id = session.site, session.backup_id
    taken = {
        layout.parse_attempt_prefix(row.key)
        for prefix in (
            layout.session_chunks_prefix(site, copy_id),
            layout.journal_prefix(site, copy_id),
            layout.index_prefix(site, volume_id, copy_id),
        )
        for row in state.bounded(store, prefix, layout.MAX_ATTEMPT, delimiter="/")
        if row.is_prefix
    }
    while (number := 2 + draw(layout.MAX_ATTEMPT - 1)) in taken:
        pass
    return number
