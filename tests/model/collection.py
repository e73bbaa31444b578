"""The collection of the model, G1 to G8, step by step as cinderbank.bank.collect does it."""

from __future__ import annotations

from collections.abc import Generator

from tests.model.actors import Actor, World, is_void
from tests.model.store import OK, VOID, Intent, Key, Request


class Collection:
    """One run. `breaks_percent`: which share of the open sessions is taken for dead (any moment may
    be the wrong one); `page_rows`: how many keys a page of a LIST holds."""

    def __init__(self, world: World, breaks_percent: int = 20, page_rows: int = 3) -> None:
        self.world = world
        self.store = world.store
        self.rules = world.protocol
        self._breaks_percent = breaks_percent
        self._page_rows = page_rows

    def _listed(self, kind: str) -> Generator[Request, None, list[Key]]:
        rows: list[Key] = []
        while True:
            yield Request("LIST", kind)
            page = self.store.page(kind, rows[-1] if rows else None, self._page_rows)
            rows += page
            if len(page) < self._page_rows:
                return rows

    def run(self) -> Actor:
        sessions: set[int] = set()
        if self.rules.sessions_are_listed_first:
            sessions = yield from self._sessions()
        yield from self._break()
        tombs = {key.session for key in (yield from self._listed("tomb"))}
        if self.rules.intents_are_read_before_manifests:
            intents = yield from self._intents()
            sealed = yield from self._listed("seal")
            manifests = {key.session for key in (yield from self._listed("manifest"))}
        else:
            manifests = {key.session for key in (yield from self._listed("manifest"))}
            intents = yield from self._intents()
            sealed = yield from self._listed("seal")
        if self.rules.tombs_are_listed_again:
            again = {key.session for key in (yield from self._listed("tomb"))}
            if again - tombs:
                return  # G5b: begin again, at the next run
        if not self.rules.sessions_are_listed_first:
            sessions = yield from self._sessions()
        live = yield from self._mark(tombs, intents, manifests)
        if live is None:
            return
        yield from self._sweep(sessions, intents, live)
        yield from self._bury(tombs - self._pinned(intents))
        yield from self._void_dead(manifests, tombs, intents, {key.session for key in sealed})

    def _sessions(self) -> Generator[Request, None, set[int]]:
        """G1: which sessions have chunks; the chunks themselves are listed when they are swept."""
        return {key.session for key in (yield from self._listed("chunk"))}

    def _break(self) -> Actor:
        """G2."""
        for key in (yield from self._listed("intent")):
            if self.store.chance.randrange(100) >= self._breaks_percent:
                continue
            yield Request("GET", "intent", key.session)
            intent = self.store.objects.get(key)
            over = intent is None or intent.reads_only or (yield from self._void(key.session))
            if not over and self.rules.intent_stays_until_its_session_is_over:
                continue
            yield Request("DELETE", "intent", key.session)
            self.store.delete(key)

    def _void(self, session: int) -> Generator[Request, None, bool]:
        """VOID first, so that only one of writer and collection wins; then the tomb. True when the
        session is over, by that or because it was sealed."""
        seal = Key("seal", session)
        if self.rules.session_is_voided_before_it_is_tombed:
            yield Request("PUT", "seal", session)
            if self.rules.void_is_create_only:
                self.store.answered(lambda: self.store.create(seal, VOID))
            elif seal not in self.store.objects:
                yield Request("PUT", "seal", session)
                self.store.put(seal, VOID)
            yield Request("GET", "seal", session)
            if not is_void(self.store.objects.get(seal)):
                return seal in self.store.objects
        else:
            yield Request("GET", "seal", session)
            if seal in self.store.objects:
                return True
        if self.rules.session_is_tombed_before_its_intent_goes:
            yield Request("PUT", "tomb", session)
            self.store.put(Key("tomb", session), 1)
        return True

    def _intents(self) -> Generator[Request, None, dict[int, Intent]]:
        """G4."""
        found = {}
        for key in (yield from self._listed("intent")):
            yield Request("GET", "intent", key.session)
            if key in self.store.objects:
                found[key.session] = self.store.objects[key]
        return found

    def _pinned(self, intents: dict[int, Intent]) -> set[int]:
        if not self.rules.pins_keep_tombed_bases:
            return set()
        return {base for intent in intents.values() for base in intent.bases}

    def _mark(
        self, tombs: set[int], intents: dict[int, Intent], manifests: set[int]
    ) -> Generator[Request, None, set[Key] | None]:
        """G6: the live chunks; None aborts the run."""
        pinned = self._pinned(intents)
        read = {session for session in manifests if session not in tombs or session in pinned}
        if self.rules.unreadable_base_aborts:
            read |= {b for i in intents.values() if not i.reads_only for b in i.bases}
        live: set[Key] = set()
        for session in sorted(read):
            if not self.rules.unsealed_manifests_are_live:
                yield Request("GET", "seal", session)
                if self.store.get("seal", session) != OK:
                    continue
            yield Request("GET", "manifest", session)
            manifest = self.store.get("manifest", session)
            if manifest is not None:
                live |= manifest
            elif self.rules.vanished_manifest_aborts:
                return None
        return live

    def _sweep(self, sessions: set[int], intents: dict[int, Intent], live: set[Key]) -> Actor:
        """G7: chunks of sessions that were there at G1 and are not open."""
        for key in (yield from self._listed("chunk")):
            spared = key.session in intents and self.rules.open_sessions_are_spared
            if key.session not in sessions or spared or key in live:
                continue
            yield Request("DELETE", "chunk", key.session)
            self.store.answered(lambda key=key: self.store.delete(key))  # type: ignore[misc]

    def _bury(self, sessions: set[int]) -> Actor:
        """G8: the tomb again, so that it is as young as the end of the data; seal; manifest."""
        for session in sorted(sessions):
            yield Request("PUT", "tomb", session)
            self.store.put(Key("tomb", session), 1)
            yield Request("GET", "seal", session)
            void = is_void(self.store.get("seal", session))
            if not (void and self.rules.void_seals_stay):
                yield Request("DELETE", "seal", session)
                self.store.delete(Key("seal", session))
            yield Request("DELETE", "manifest", session)
            self.store.delete(Key("manifest", session))
            if not self.rules.tombs_stay:
                yield Request("DELETE", "tomb", session)
                self.store.delete(Key("tomb", session))

    def _void_dead(
        self, manifests: set[int], tombs: set[int], intents: dict[int, Intent], sealed: set[int]
    ) -> Actor:
        """G6b: manifests that nobody will seal any more."""
        for session in sorted(manifests - tombs - set(intents) - sealed):
            yield Request("GET", "intent", session)
            if self.store.get("intent", session) is None:
                yield from self._void(session)
