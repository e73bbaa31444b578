"""Durations as Go and Kubernetes write them (`90s`, `1h30m`); ours are 1 second to 30 days."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import Field, WithJsonSchema

from cinderbank.api.v1alpha1.model import RULES, Matching, rule, shown
from cinderbank.domain.errors import InvalidSpec

_SECONDS = {"h": 3600, "m": 60, "s": 1}
_SHAPE = "^([0-9]{1,7}[hms])+$"
_MESSAGE = "must be a duration from 1s to 720h in hours, minutes and seconds, such as 15m or 1h30m"
_LONGEST = timedelta(days=30)

Duration = Annotated[
    str,
    Field(max_length=24),
    Matching(_SHAPE, _MESSAGE),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 24,
            # One rule, not two: duration() of another shape is an evaluation error, which hides our message.
            RULES: [
                rule(
                    f"self.matches('{_SHAPE}') && duration(self) >= duration('1s')"
                    " && duration(self) <= duration('720h')",
                    _MESSAGE,
                )
            ],
        }
    ),
]


def parse_duration(text: str, field: str) -> timedelta:
    """`1h30m` -> 1:30:00. Raises InvalidSpec naming `field` and the value."""
    parts = re.findall(r"([0-9]{1,7})([hms])", text)
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    whole = "".join(number + unit for number, unit in parts) == text
    if not whole or not 1 <= seconds <= _LONGEST.total_seconds():
        raise InvalidSpec(f"{field} is {shown(text)}: {_MESSAGE}")
    return timedelta(seconds=seconds)
