"""Inputs that are nearly right: valid samples, edited byte by byte, field by field, or spliced."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

NASTY = (
    b"\0", b"\xff" * 8, b'"', b"{", b"[" * 2000, b"NaN", b"1e999", b"-1", b"9" * 5000,
    b'{"a":1,"a":1}', b"\\ud800", b"\xed\xa0\x80", b"../../", b"OSBK", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1 << 63, 1 << 200, 1.5, "", "x" * 5000, "\x00", [], {}, [[]], [{}],
    {"first": 0, "last": 0}, "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
)  # fmt: skip
MOST_BYTES = 200_000


def mutated(samples: Sequence[bytes], random: Random) -> bytes:
    """One input; the same for the same state of `random`."""
    body = random.choice(samples)
    if random.random() < 0.05:
        return random.randbytes(random.randrange(200))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        edit = random.choice((_flip, _cut, _insert, _splice, _double, _field, _field, _field))
        body = edit(body, samples, random)
    return body[:MOST_BYTES]


def _flip(body: bytes, samples: Sequence[bytes], random: Random) -> bytes:
    changed = bytearray(body or b"\0")
    for _ in range(random.randrange(1, 8)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(body: bytes, samples: Sequence[bytes], random: Random) -> bytes:
    first, last = sorted(random.randrange(len(body) + 1) for _ in range(2))
    return body[:first] + body[last:] if random.random() < 0.7 else body[first:last]


def _insert(body: bytes, samples: Sequence[bytes], random: Random) -> bytes:
    at = random.randrange(len(body) + 1)
    return body[:at] + random.choice(NASTY) + body[at:]


def _splice(body: bytes, samples: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(samples)
    return body[: random.randrange(len(body) + 1)] + other[random.randrange(len(other) + 1) :]


def _double(body: bytes, samples: Sequence[bytes], random: Random) -> bytes:
    return body + body[: random.randrange(len(body) + 1)]


def _field(body: bytes, samples: Sequence[bytes], random: Random) -> bytes:
    """Another value in one place of a JSON document; other bodies stay as they are."""
    start = body.find(b"{")
    if start not in (0, 1):
        return _flip(body, samples, random)
    try:
        document = json.loads(body[start:])
    except (ValueError, RecursionError):
        return body
    _change(document, random)
    return body[:start] + json.dumps(document).encode()


def _change(document: Any, random: Random) -> None:
    while isinstance(document, dict | list) and document:
        key = random.choice(list(document) if isinstance(document, dict) else range(len(document)))
        inner = document[key]
        if not isinstance(inner, dict | list) or not inner or random.random() < 0.3:
            document[key] = random.choice(VALUES)
            return
        document = inner
