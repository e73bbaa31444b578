"""Cinder's user messages become words that say the way out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cinderbank.domain import messages
from cinderbank.domain.facts import UserMessage

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def said(event_id: str, resource_id: str = "v1", text: str = "its words") -> UserMessage:
    return UserMessage(event_id, text, resource_id, NOW, "req-1")


@pytest.mark.parametrize(
    ("event_id", "action", "words"),
    [
        ("VOLUME_VOLUME_003_004", messages.UPLOAD_TO_IMAGE, "image_size_cap"),
        # What Cinder 29 files when Glance 33 answers 413 because of image_size_cap.
        ("VOLUME_VOLUME_003_006", messages.UPLOAD_TO_IMAGE, "image_size_cap"),
        ("VOLUME_VOLUME_001_003", messages.SCHEDULE, "capacity"),
        ("VOLUME_VOLUME_001_006", messages.SCHEDULE, "quota"),
        ("VOLUME_VOLUME_005_007", messages.COPY_FROM_IMAGE, "conversion directory"),
        ("nonsense", messages.SCHEDULE, "its words"),
    ],
)
def test_the_way_out(event_id: str, action: str, words: str) -> None:
    error = messages.failure("it failed", "Why", "v1", [said(event_id)], [action])
    assert words in error.message and "its words" in error.message
    assert (error.reason, error.request_id) == ("Why", "req-1")


def test_another_resource_says_nothing_of_this_one() -> None:
    error = messages.failure("it failed", "Why", "v1", [said("A_003_004", "v2")], ["003"])
    assert error.message == "it failed; Cinder gave no reason"


def test_the_action_that_fits_comes_first() -> None:
    found = [said("V_001_003", text="of something else"), said("V_003_004", text="of the upload")]
    assert "of the upload" in messages.failure("x", "Why", "v1", found, ["003"]).message
