"""One bank, as the engine sees it: `ports.bank.Bank` over an object store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime

from cinderbank.bank import (
    base,
    chunk_look,
    commit,
    deletion,
    key_layout,
    layout,
    one_site,
    proofs,
    removal,
    session_look,
    state,
)
from cinderbank.bank.beats import Beats
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.keyring import BackupKeys, Keyring
from cinderbank.bank.marks import BankHeader, BaseRef, Intent
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.selection import Search
from cinderbank.bank.store import MAX_CONTROL_BYTES, ObjectStore
from cinderbank.bank.timed_store import TimedStore
from cinderbank.bank.wrapped_keys import key_missing
from cinderbank.domain.errors import (
    DataCorrupt,
    Forbidden,
    InvalidSpec,
    SourceGone,
    Unsupported,
)
from cinderbank.domain.facts import BackupId, BankFacts, ChunkLook, VolumeId
from cinderbank.domain.proofs import Backup, Standing
from cinderbank.domain.selection import BackupSelector, Selection
from cinderbank.ports.bank import BackupDescription
from cinderbank.ports.key_manager import Secret

LOOK_SECONDS = 60.0
"""For one look at much of a bank; a tick may take 900 s before the operator counts as stuck."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class StoredBank:
    """A bank in an object store, opened at the first use; thread-safe as far as the store is.

    `site` is ours: the only one that is written below, also by read pins. With `read_only` every verb
    that would write raises Forbidden (BankReadOnly), but for `pin`, `beat` and `unpin`, which do nothing.
    """

    def __init__(
        self,
        store: ObjectStore,
        site: str,
        read_only: bool = False,
        expected_bank_id: str | None = None,
        now: Callable[[], datetime] = _utc_now,
        *,
        keks: Sequence[KeyEncryptionKey] = (),
        accepts_plain: bool = False,
    ) -> None:
        self.store = store
        self.site = site
        self.read_only = read_only
        self._beats = Beats(store)
        self._expected_bank_id = expected_bank_id
        self.now = now
        self._header: BankHeader | None = None
        self._keks = tuple(keks)
        self._accepts_plain = accepts_plain
        self._keys: Keyring | None = None

    def open(self) -> BankHeader:
        """Read bank.json, or create it in a bank that has none; checked once, then remembered.

        Raises InvalidSpec: BankIdMismatch when it is another bank than before (or an empty place),
        BankFormatUnknown when it is none of ours or too new.
        """
        if self._header is None:
            header = self._read_header() or self._create_header()
            expected = self._expected_bank_id
            if expected is not None and header.bank_id != expected:
                raise InvalidSpec(
                    f"{self.store.where()} holds bank {header.bank_id}, but {expected} was there "
                    "before; mend endpoint, bucket and prefix, or make a new BackupBank for it",
                    reason="BankIdMismatch",
                )
            self._header = header
        return self._header

    @property
    def keys(self) -> Keyring | None:
        """What opens the encrypted backups; None when no key was given. Opens the bank."""
        header = self.open()
        if self._keys is None and self._keks:
            self._keys = Keyring(
                self.store,
                header.bank_id,
                self._keks,
                accepts_plain=self._accepts_plain,
                now_seconds=lambda: self.now().timestamp(),
            )
        return self._keys

    def writing_keys(self) -> BackupKeys | None:
        """What a new backup is encrypted with; None in a bank without encryption.

        May make a data key. Idempotent. Raises InvalidSpec: BankKeyMissing when the bank is encrypted
        and no key was given (nothing plain is ever added to it), BankKeyWrong, BankKeyRetired.
        """
        keys = self.keys
        if keys is not None:
            return keys.writing()
        if next(iter(self.store.list_keys(key_layout.KEYS)), None) is not None:
            raise key_missing(self.store, "this bank")
        return None

    def _read_header(self) -> BankHeader | None:
        body = self.store.get(layout.BANK, MAX_CONTROL_BYTES)
        if body is None:
            return None
        try:
            return BankHeader.parse(body, layout.BANK)
        except (DataCorrupt, Unsupported) as error:
            raise InvalidSpec(
                f"{self.store.where()} is no bank that this cinderbank can use: {error.message}; "
                "use an empty prefix, or a newer cinderbank",
                reason="BankFormatUnknown",
            ) from error

    def _create_header(self) -> BankHeader:
        if self._expected_bank_id is not None:
            raise InvalidSpec(
                f"{self.store.where()} holds no bank, but {self._expected_bank_id} was there before; "
                "mend endpoint, bucket and prefix, or bring bank.json back",
                reason="BankIdMismatch",
            )
        if self.read_only:
            raise InvalidSpec(
                f"{self.store.where()} holds no bank, and a ReadOnly one is not created; "
                "mend endpoint, bucket and prefix",
                reason="BankFormatUnknown",
            )
        self.store.put(layout.BANK, BankHeader.new(self.now()).dump(), if_absent=True)
        # Another site may have been first: what is there counts, not what we sent.
        header = self._read_header()
        if header is None:
            raise DataCorrupt(f"{self.store.where()}: bank.json was written and is not there")
        return header

    def require_own(self, site: str) -> None:
        """Raise Forbidden for another site's part of the bank, which is ours to read only.

        Which site an object is of comes out of its status, and more people than we may write that.
        """
        if site != self.site:
            raise Forbidden(
                f"the bank at {self.store.where()}: site {self.site} never changes what site {site} has"
                f" written; use a BackupBank that writes as {site}",
                reason="BankReadOnly",
            )

    def _writable(self, site: str) -> None:
        self.require_own(site)
        self.require_writable()

    def require_writable(self) -> None:
        """Raises Forbidden (BankReadOnly), and what `open` raises."""
        self.open()
        if self.read_only:
            raise Forbidden(
                f"the bank at {self.store.where()} is ReadOnly here; use its ReadWrite BackupBank",
                reason="BankReadOnly",
            )

    # What ports.bank.Bank promises, in its order.

    def observe(self, site: str, backup_id: BackupId) -> BankFacts:
        self.open()
        return session_look.look(self.store, site, backup_id, self.keys)

    def previous(self, site: str, volume_id: VolumeId) -> BackupDescription | None:
        self.open()
        return base.previous(self.store, site, volume_id, self.keys)

    def keeps_secrets(self) -> bool:
        return self.keys is not None

    def escrowed_key(self, site: str, backup_id: BackupId) -> Secret:
        self.open()
        return BackupReader.open(self.store, site, backup_id, self.keys).escrowed_key()

    def open_session(
        self, site: str, backup_id: BackupId, volume_id: VolumeId, *, incremental: bool = True
    ) -> None:
        self._writable(site)
        # Now, and not in the transfer: a key that is missing is told before any work is done.
        self.writing_keys()

        def choose() -> tuple[BaseRef, ...]:
            return base.choose(self.store, site, volume_id) if incremental else ()

        commit.open_session(self.store, site, backup_id, volume_id, choose)

    def seal(self, site: str, backup_id: BackupId, volume_id: VolumeId) -> str:
        self._writable(site)
        return commit.seal(self.store, site, backup_id, volume_id, self.keys)

    def discard(self, site: str, backup_id: BackupId) -> bool:
        self._writable(site)
        return removal.discard(self.store, site, backup_id)

    def delete(self, site: str, backup_id: BackupId) -> bool:
        self._writable(site)
        finished = deletion.delete(self.store, site, backup_id, self.keys)
        if finished:
            proofs.forget(self.store, self.site, site, backup_id)
        return finished

    def find(
        self, backup_id: BackupId, site: str | None = None, volume_id: VolumeId | None = None
    ) -> BackupDescription | None:
        self.open()
        site = site or one_site.holding(self.within(LOOK_SECONDS), backup_id)
        found = None if site is None else self._find_at(site, backup_id)
        return found if found is None or volume_id in (None, found.volume_id) else None

    def within(self, seconds: float) -> TimedStore:
        """The store, for one look that begins now and takes no longer."""
        return TimedStore(self.store, self.now, seconds)

    def _find_at(self, site: str, backup_id: BackupId) -> BackupDescription | None:
        sealed = one_site.committed(self.store, site, backup_id)
        if sealed is None:
            return None
        try:
            return state.sealed_manifest(self.store, sealed, self.keys).description
        except DataCorrupt:
            # What is missing may have gone since its seal was read: a tomb is put before anything goes.
            if state.read_tomb(self.store, site, backup_id) is not None:
                return None
            raise

    def select(self, selector: BackupSelector) -> Selection:
        self.open()
        store = self.within(LOOK_SECONDS)
        damage = chunk_look.told_damage(store)

        def look(key: layout.SealKey) -> ChunkLook:
            return chunk_look.look_for_chunks(store, key.site, key.backup_id, self.keys, damage)

        return Search(store, self.site, selector, self.keys, damage, look, self.now()).run()

    def damaged_backups(self) -> frozenset[tuple[str, BackupId]]:
        """Site and id of those that a check found not whole, and nobody mended since, or a drill to come
        back otherwise, as far as that counts at our site. Raises what stopped a report from being read: then nobody knows."""
        self.open()
        return proofs.bad(self.within(LOOK_SECONDS), self.site, self.now())

    def look_for_chunks(self, site: str, backup_id: BackupId) -> ChunkLook:
        self.open()
        store = self.within(LOOK_SECONDS)
        damage = chunk_look.told_damage(store)
        return chunk_look.look_for_chunks(store, site, backup_id, self.keys, damage)

    def note_drill(self, site: str, backup_id: BackupId, *, is_whole: bool) -> bool:
        self.open()
        return not self.read_only and proofs.note_drill(
            self.store, self.site, site, backup_id, is_whole, self.now()
        )

    def forget_difference(self, site: str, backup_id: BackupId) -> int:
        """Take back that drills of our site got other bytes back; how often that was noted. Idempotent."""
        self._writable(self.site)
        return proofs.forget_difference(self.store, self.site, site, backup_id)

    def standings(self, among: Set[Backup]) -> Mapping[Backup, Standing]:
        """What drills and checks of every site know of these; raises as `damaged_backups`."""
        self.open()
        return proofs.known(self.within(LOOK_SECONDS), self.site, among, self.now())

    def pin(self, site: str, backup_id: BackupId, reader: str) -> None:
        """Raises SourceGone (BackupNotFound) when the backup went away meanwhile."""
        self.open()
        if self.read_only:
            return
        sealed = state.read_seal(self.store, site, backup_id)
        volume_id = None if sealed is None else sealed.key.volume_id
        pin = Intent(None, (BaseRef(site, backup_id, volume_id),))
        self.store.put(layout.read_pin(self.site, reader), pin.dump())
        # W2: only a pin that was there before the tomb is seen by whoever frees.
        if self._find_at(site, backup_id) is None:
            self.unpin(backup_id, reader)
            raise SourceGone(
                f"backup {backup_id} of site {site} was deleted", reason="BackupNotFound"
            )

    def unpin(self, backup_id: BackupId, reader: str) -> None:
        if not self.read_only:
            pin, beat = layout.read_pin(self.site, reader), layout.beat(self.site, reader)
            removal.delete_or_raise(self.store, [pin, beat])

    def beat(self, session: str, site: str | None = None) -> None:
        if not self.read_only:
            self._beats.beat(site or self.site, session)

    def seals(self) -> Iterator[layout.SealKey | None]:
        """The keys of all seals of all sites, tombed ones too, sorted by time within a site; None
        for a foreign key. Streams; one LIST request per 1000."""
        for site in state.sites(self.store):
            for row in self.store.list_keys(layout.seals_prefix(site)):
                yield layout.parse_seal(row.key)
