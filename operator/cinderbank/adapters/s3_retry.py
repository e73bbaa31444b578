"""How often a request to the bank is tried: counted here and nowhere else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cinderbank.adapters.s3_errors import S3Problem
from cinderbank.domain.errors import CinderbankError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """Full jitter between 0 and base * 2^n seconds, at least `base`, at most `cap`."""

    tries: int = 5
    base_seconds: float = 0.2
    cap_seconds: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float, float], float] = random.uniform

    def run(
        self,
        call: Callable[[], T],
        problem_of: Callable[[Exception], S3Problem | None],
        to_domain: Callable[[S3Problem], CinderbankError],
    ) -> T:
        """The call's answer; the last problem as a domain error. `call` MUST be safe to repeat."""
        for attempt in range(1, self.tries + 1):
            try:
                return call()
            except CinderbankError:
                raise
            except Exception as error:
                problem = problem_of(error)
                if problem is None:
                    raise
                if not problem.try_again or attempt == self.tries:
                    # No `from`: an exception of the HTTP client has the presigned URL in its text.
                    raise to_domain(problem) from None
            self.sleep(self._pause(attempt))
        raise AssertionError("tries is at least 1")

    def _pause(self, attempt: int) -> float:
        highest = min(self.cap_seconds, self.base_seconds * 2.0 ** (attempt + 1))
        return self.jitter(self.base_seconds, highest)
