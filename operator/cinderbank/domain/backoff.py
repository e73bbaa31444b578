"""How long to wait: after failures, and between looks at something that takes its time.

One table for the whole engine, capped, with a jitter that is a function of a seed (an object's uid
and the count), so that a thousand objects do not come back in the same second and a test knows when.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cinderbank.domain import errors


@dataclass(frozen=True, slots=True)
class Curve:
    """first_seconds, doubled by every further failure, up to cap_seconds."""

    first_seconds: float
    cap_seconds: float

    def seconds(self, failures: int) -> float:
        doublings = min(max(failures - 1, 0), 20)  # 2**20: far above every cap, far below overflow
        return min(self.first_seconds * 2.0**doublings, self.cap_seconds)


CURVES: tuple[tuple[type[BaseException], Curve], ...] = (
    (errors.Conflict, Curve(2, 60)),
    (errors.OverQuota, Curve(60, 600)),  # quota is freed by people or by retention, not in seconds
    (errors.AuthRefused, Curve(30, 300)),  # too often locks an account (Keystone's lockout)
    (errors.Retryable, Curve(5, 300)),
    (errors.Permanent, Curve(300, 300)),  # only while a Secret, a role or a bank may be mended
    (errors.BrokenInvariant, Curve(600, 600)),
)
"""First match wins; anything else counts as Retryable."""

AGAIN = Curve(5, 600)
"""Between fresh tries of a step whose resource failed, and between repeated deletes."""

JITTER = 0.2
"""Up to this share is added."""


def jittered(seconds: float, seed: str) -> float:
    """`seconds` and up to JITTER of it more; the same for the same seed."""
    share = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") / 2**32
    return seconds * (1 + JITTER * share)


def delay_seconds(error: BaseException, failures: int, seed: str) -> float:
    """How long to wait after the `failures`-th failure in a row; a Retry-After is honoured up to 10 min."""
    curve = next((curve for kind, curve in CURVES if isinstance(error, kind)), Curve(5, 300))
    seconds = curve.seconds(failures)
    asked = getattr(error, "retry_after_seconds", None)
    if asked:
        seconds = max(seconds, min(float(asked), 600.0))
    return jittered(seconds, f"{seed}:{failures}")


def again_seconds(tries: int, seed: str) -> float:
    """How long after the `tries`-th try the next one may begin."""
    return jittered(AGAIN.seconds(tries), f"{seed}:{tries}")


def poll_seconds(age_seconds: float) -> float:
    """How long until the next look at something that was begun `age_seconds` ago: a twentieth of its
    age, 0.25 s to 30 s. So no step is found done much later than it was, and one of an hour costs 220 looks."""
    return min(max(age_seconds / 20, 0.25), 30.0)
