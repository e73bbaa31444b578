"""Back-off, intents, failures: the arithmetic."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from cinderbank.domain import errors, failure, intents
from cinderbank.domain.backoff import again_seconds, delay_seconds, jittered, poll_seconds
from cinderbank.domain.record import Memory, Outcome, Phase
from tests.fakes.clock import START

LATER = START + timedelta(seconds=31)


@pytest.mark.parametrize(
    ("error", "first", "cap"),
    [
        (errors.Conflict("x"), 2, 60),
        (errors.OverQuota("x"), 60, 600),
        (errors.AuthRefused("x"), 30, 300),
        (errors.Unavailable("x"), 5, 300),
        (errors.OutcomeUnknown("x"), 5, 300),
        (errors.Forbidden("x"), 300, 300),
        (errors.BrokenInvariant("x"), 600, 600),
        (ValueError("unknown counts as retryable"), 5, 300),
    ],
)
def test_delay(error: Exception, first: float, cap: float) -> None:
    assert first <= delay_seconds(error, 1, "uid") <= first * 1.2
    assert cap <= delay_seconds(error, 999, "uid") <= cap * 1.2
    delays = [delay_seconds(error, n, "uid") / 1.2 for n in range(1, 12)]
    assert all(b >= a / 1.2 for a, b in pairwise(delays))


def test_retry_after_is_honoured_up_to_ten_minutes() -> None:
    assert delay_seconds(errors.Unavailable("x", retry_after_seconds=120), 1, "u") >= 120
    assert delay_seconds(errors.Unavailable("x", retry_after_seconds=99999), 1, "u") <= 720


def test_jitter_is_a_function_of_its_seed() -> None:
    assert jittered(10, "a") == jittered(10, "a") != jittered(10, "b")


def test_polls_get_rarer() -> None:
    assert [poll_seconds(age) for age in (0, 60, 9999)] == [0.25, 3, 30]
    assert again_seconds(1, "u") < again_seconds(9, "u") <= 720


def test_an_intent_settles() -> None:
    memory = intents.begun(Memory(), "volume", START, creates=True)
    assert intents.unsettled_seconds(memory, "volume", START) == 30
    assert intents.unsettled_seconds(memory, "volume", LATER) == 0
    assert intents.unsettled_seconds(memory, "volume", START - timedelta(days=1)) == 30
    answered = intents.answered(memory, "volume", "v1")
    assert intents.unsettled_seconds(answered, "volume", START) == 30, "a listing may lag"
    sighted = intents.sighted(answered, "volume", ["v1"])
    assert intents.unsettled_seconds(sighted, "volume", START) == 0


def test_an_older_one_does_not_settle_the_newer() -> None:
    memory = intents.begun(Memory(), "volume", START, creates=True)
    memory = intents.answered(memory, "volume", "v2")
    assert intents.sighted(memory, "volume", ["v1"]) == memory
    assert intents.sighted(memory, "image", ["v1"]) == memory


def test_only_what_made_something_counts_as_a_try() -> None:
    memory = intents.begun(Memory(), "volume", START, creates=True)
    memory = intents.begun(memory, "volume", LATER, creates=True)
    assert intents.tries(memory, "volume") == 1, "the first never arrived"
    memory = intents.begun(intents.answered(memory, "volume", "v"), "volume", LATER, creates=True)
    assert intents.tries(memory, "volume") == 2


def test_repeated_deletes_of_one_resource_are_counted() -> None:
    memory = intents.delete_begun(Memory(), "delete-volume", "a", START)
    memory = intents.delete_begun(memory, "delete-volume", "a", START)
    assert intents.tries(memory, "delete-volume") == 2
    memory = intents.delete_begun(memory, "delete-volume", "b", START)
    assert intents.tries(memory, "delete-volume") == 1


OUTCOME = Outcome(Phase.COMPLETED, "Committed", "", START)


@pytest.mark.parametrize(
    ("error", "performing", "ends"),
    [
        (errors.Unavailable("x"), True, False),
        (errors.Forbidden("x"), True, False),
        (errors.InvalidSpec("x"), False, False),
        (errors.InvalidSpec("x"), True, True),
        (errors.SourceGone("x"), True, True),
        (errors.Unsupported("x"), False, True),
        (errors.ResourceFailed("x"), True, True),
        (errors.DataCorrupt("x"), False, True),
        (errors.BrokenInvariant("x"), True, False),
    ],
)
def test_what_ends_it(error: errors.CinderbankError, performing: bool, ends: bool) -> None:
    noted = failure.noted(Memory(), error, now=START, seed="u", performing=performing)
    assert (noted.outcome is not None) == ends
    assert noted.last_error is not None and noted.last_error.reason == error.reason
    assert (noted.next_try_at is None) == ends
    settled = replace(Memory(), outcome=OUTCOME)
    assert failure.noted(settled, error, now=START, seed="u", performing=True).outcome == OUTCOME
    around = failure.noted(
        Memory(), error, now=START, seed="u", performing=performing, may_end=False
    )
    assert around.outcome is None


def test_the_same_trouble_again_too_early_changes_nothing() -> None:
    error = errors.Unavailable("x")
    noted = failure.noted(Memory(), error, now=START, seed="u", performing=False)
    assert failure.noted(noted, error, now=START, seed="u", performing=False) is noted
    assert failure.recovered(noted, START) is noted
    assert failure.recovered(noted, LATER).failures == 0


def test_the_back_off_after_an_outage_grows_until_a_transfer_ran_long() -> None:
    memory = Memory()
    for _ in range(5):
        memory = intents.begun(memory, intents.TRANSFER, START, creates=True)
        memory = failure.transfer_ended(
            memory, errors.Unavailable("x"), counts=False, now=START, seed="u"
        )
    assert memory.failures == 5
    much_later = START + timedelta(hours=1)
    memory = failure.transfer_ended(
        memory, errors.Unavailable("x"), counts=False, now=much_later, seed="u"
    )
    assert memory.failures == 1
