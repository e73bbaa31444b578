"""The rules of the protocol, each one a switch: a mutant is the protocol with one rule off."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Protocol:
    """Every rule on is the protocol of docs/bank-format.md and of cinderbank.bank."""

    # Writers.
    base_must_have_no_tomb: bool = True
    """W2: a base that has a tomb lends nothing."""
    intent_must_be_there_before_the_seal: bool = True
    """W5."""
    seal_is_read_back: bool = True
    """W6: Completed is said only when the seal that is there is OK."""
    tomb_is_looked_for_after_the_seal: bool = True
    """W6."""
    sessions_go_on: bool = True
    """W1 may be done again by another process, while there is neither tomb nor seal."""
    # Collections.
    sessions_are_listed_first: bool = True
    """G1 before everything else."""
    session_is_voided_before_it_is_tombed: bool = True
    """G2: a frozen collection must not tomb a session that was sealed meanwhile."""
    intent_stays_until_its_session_is_over: bool = True
    """G2: when the VOID seal is not there after all (its PUT had no answer), the intent must not go."""
    session_is_tombed_before_its_intent_goes: bool = True
    """G2: else another process opens it again, with the same intent a second time."""
    intents_are_read_before_manifests: bool = True
    """G4 before G5."""
    tombs_are_listed_again: bool = True
    """G5b."""
    pins_keep_tombed_bases: bool = True
    """G6."""
    unsealed_manifests_are_live: bool = True
    """G6."""
    vanished_manifest_aborts: bool = True
    """G6."""
    unreadable_base_aborts: bool = True
    """G6: a base that a writer pins and whose manifest was not listed."""
    open_sessions_are_spared: bool = True
    """G7."""
    tombs_stay: bool = True
    """G8."""
    void_seals_stay: bool = True
    """G8."""
    void_is_create_only: bool = True
    """G2 and G6b."""

    def without(self, *rules: str) -> Protocol:
        return replace(self, **dict.fromkeys(rules, False))


PROTOCOL = Protocol()

PLAIN_BREAK = PROTOCOL.without(
    "session_is_voided_before_it_is_tombed",
    "session_is_tombed_before_its_intent_goes",
    "sessions_go_on",
)
"""Sessions are broken by nothing but deleting their intent, and no intent is ever put twice: as safe,
and what W5 alone stands for."""


@dataclass(frozen=True)
class Mutant:
    """Rules that are off together, and a seed whose schedule shows what is lost without them."""

    rules: tuple[str, ...]
    seed: int | None = None
    """None: too rare for random schedules; tests/crash/bank has it as a directed one."""
    of: Protocol = PROTOCOL

    @property
    def protocol(self) -> Protocol:
        return self.of.without(*self.rules)

    @property
    def name(self) -> str:
        return "+".join(self.rules) + ("" if self.of is PROTOCOL else "@plain")


MUTANTS = (
    Mutant(("base_must_have_no_tomb",), 1),
    Mutant(("intent_must_be_there_before_the_seal",), 214, of=PLAIN_BREAK),
    Mutant(("seal_is_read_back",), 65),
    Mutant(("sessions_are_listed_first",), 1),
    Mutant(("session_is_voided_before_it_is_tombed",), 92),
    Mutant(
        ("session_is_voided_before_it_is_tombed", "session_is_tombed_before_its_intent_goes"),
        182,
    ),
    Mutant(("intent_stays_until_its_session_is_over",), 120131),
    Mutant(("intents_are_read_before_manifests",), 926),
    Mutant(("pins_keep_tombed_bases",), 22),
    Mutant(("unsealed_manifests_are_live",), 313, of=PLAIN_BREAK),
    Mutant(("vanished_manifest_aborts",)),
    Mutant(("open_sessions_are_spared",), 1),
    Mutant(("tombs_stay",), 71),
    Mutant(("void_is_create_only",), 92),
    Mutant(("void_seals_stay", "tomb_is_looked_for_after_the_seal"), 346),
    Mutant(("tombs_are_listed_again",)),
    Mutant(("tombs_are_listed_again", "unreadable_base_aborts")),
)
