"""Writers, deleters and readers. Each `yield` tells the request that comes next; anything may happen
to all others before it is carried out, and the actor may never be called again."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from tests.model.protocol import Protocol
from tests.model.store import OK, VOID, Intent, Key, Request, Store

Actor = Generator[Request, None, None]


class Violation(AssertionError):
    """The protocol lost something."""


@dataclass
class World:
    """What all actors share, and what the outside has been told."""

    store: Store
    protocol: Protocol
    started: list[int] = field(default_factory=list)
    """Sessions that somebody may go on with, also while the first process is not quite dead."""
    completed: set[int] = field(default_factory=set)
    deleted_by_user: set[int] = field(default_factory=set)

    def check(self) -> None:
        """A sealed backup without a tomb has every chunk; what was called Completed stays one."""
        objects = self.store.objects
        for key in self.store.page("seal", None, len(objects)):
            if objects[key] != OK or Key("tomb", key.session) in objects:
                continue
            manifest = self.store.get("manifest", key.session)
            if manifest is None:
                raise Violation(f"backup {key.session} has lost its manifest")
            missing = [chunk for chunk in manifest if chunk not in objects]
            if missing:
                raise Violation(f"backup {key.session} has lost {missing}")
        for session in self.completed - self.deleted_by_user:
            if self.store.get("seal", session) != OK or Key("tomb", session) in objects:
                raise Violation(f"backup {session} was Completed, and is none any more")


def sealed(world: World) -> list[int]:
    rows = world.store.page("seal", None, len(world.store.objects))
    return [key.session for key in rows if world.store.objects[key] == OK]


def writer(world: World, session: int, bases: tuple[int, ...], attempt: int = 1) -> Actor:
    """W1 to W7. `bases` were chosen a while ago; an intent that is there already says its own."""
    store, chance = world.store, world.store.chance
    yield Request("GET", "tomb", session)
    if store.get("tomb", session):
        return
    yield Request("GET", "seal", session)
    if store.get("seal", session):
        return
    yield Request("PUT", "intent", session)
    store.create(Key("intent", session), Intent(bases))
    yield Request("GET", "intent", session)
    intent = store.get("intent", session)
    if intent is None:
        return
    borrowed: list[Key] = []
    for base in intent.bases:
        borrowed += yield from _lent(world, base)
    own = [Key("chunk", session, attempt * 100 + i) for i in range(chance.randint(1, 3))]
    for key in own:
        yield Request("PUT", "chunk", session)
        if not store.answered(lambda key=key: store.put(key, 1)):  # type: ignore[misc]
            yield Request("PUT", "chunk", session)
            store.put(key, 1)
    yield Request("PUT", "manifest", session)
    body = frozenset(own + borrowed)
    if not store.answered(lambda: store.create(Key("manifest", session), body)):
        if chance.random() < 0.5:
            return  # gave up: the manifest may land later
        yield Request("PUT", "manifest", session)
        store.create(Key("manifest", session), body)
    yield from _seal(world, session)


def _lent(world: World, base: int) -> Generator[Request, None, list[Key]]:
    """W2: what a base lends."""
    store = world.store
    if world.protocol.base_must_have_no_tomb:
        yield Request("GET", "tomb", base)
        if store.get("tomb", base):
            return []
    yield Request("GET", "seal", base)
    if store.get("seal", base) != OK:
        return []
    yield Request("GET", "manifest", base)
    manifest = store.get("manifest", base)
    return [] if manifest is None else store.chance.sample(sorted(manifest), min(2, len(manifest)))


def _seal(world: World, session: int) -> Actor:
    store, rules = world.store, world.protocol
    if rules.intent_must_be_there_before_the_seal:
        yield Request("GET", "intent", session)
        if store.get("intent", session) is None and store.get("seal", session) is None:
            return
    yield Request("PUT", "seal", session)
    store.create(Key("seal", session), OK)
    if rules.seal_is_read_back:
        yield Request("GET", "seal", session)
        if store.get("seal", session) != OK:
            return
        yield Request("HEAD", "manifest", session)
        if store.get("manifest", session) is None:
            return
    if rules.tomb_is_looked_for_after_the_seal:
        yield Request("GET", "tomb", session)
        if store.get("tomb", session):
            return
    world.completed.add(session)
    yield Request("DELETE", "intent", session)
    store.delete(Key("intent", session))


def deleter(world: World, session: int) -> Actor:
    """A user's wish."""
    yield Request("PUT", "tomb", session)
    world.deleted_by_user.add(session)
    world.store.put(Key("tomb", session), 1)


def reader(world: World, session: int, backup: int) -> Actor:
    """A restore: as long as its pin was never taken away it finds every chunk."""
    store = world.store
    pin = Key("intent", session)
    yield Request("PUT", "intent", session)
    store.put(pin, Intent((backup,), reads_only=True))
    for kind, wanted in (("tomb", None), ("seal", OK)):
        yield Request("GET", kind, backup)
        if store.get(kind, backup) != wanted:
            store.delete(pin)
            return
    yield Request("GET", "manifest", backup)
    manifest = store.get("manifest", backup)
    if manifest is None and pin in store.objects:
        raise Violation(f"reader {session} holds a pin, and manifest {backup} is gone")
    for chunk in sorted(manifest or ()):
        yield Request("GET", "chunk", chunk.session)
        if chunk not in store.objects and pin in store.objects:
            raise Violation(f"reader {session} holds a pin, and {chunk} is gone")
    yield Request("DELETE", "intent", session)
    store.delete(pin)


def is_void(seal: object) -> bool:
    return seal == VOID
