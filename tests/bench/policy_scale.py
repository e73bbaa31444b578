"""What policies cost the operator itself: their own code, an API server and a cloud in memory.

CPU is theirs (what the stand-ins take is measured apart and taken off), and every call of the API server
is counted. No S3, no Keystone, no threads. Part `policies` of the bench has the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cinderbank.kube.known import key_of
from tests.fakes.kube import Object
from tests.unit.kube.test_policies import BACKUPS, House
from tests.unit.policy.children import volume, volume_id

DAY_SECONDS = 86_400.0
READS = ("get", "list_all")
WRITES = ("create", "apply", "merge_patch", "delete")


@dataclass(frozen=True, slots=True)
class Cost:
    ticks: int
    cpu_seconds: float
    calls: dict[str, int]
    """Of the API server, by verb."""
    bank_questions: int
    """Backups that the bank was asked for."""

    @property
    def writes(self) -> dict[str, int]:
        return {verb: count for verb, count in self.calls.items() if verb in WRITES}


class Scale(House):
    def __init__(self, policies: int, volumes_each: int) -> None:
        super().__init__()
        self.kube.objects.clear()
        self.clouds.found = [volume(number) for number in range(policies * volumes_each)]
        self.api_calls: Counter[str] = Counter()
        self.stand_in_seconds = 0.0
        for verb in (*READS, *WRITES):
            setattr(self.kube, verb, self._counted(verb, getattr(self.kube, verb)))
        self.names = [f"p{number:03d}" for number in range(policies)]
        for number, name in enumerate(self.names):
            first = number * volumes_each
            ids = [volume_id(first + each) for each in range(volumes_each)]
            self.put(
                name,
                selector={"volumeIDs": ids} if policies > 1 else {"volumeNames": ["v*"]},
                maxVolumes=volumes_each,
                schedule="0 3 * * *",
                rpo="26h",
                retention={"keepLast": 2},
            )
            self.known.see(self.policy(name))

    def _counted(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            found = call(*arguments, **named)
            if verb == "list_all":
                found = list(found)
            if self._measuring:
                self.stand_in_seconds += time.process_time() - began
                self.api_calls[verb] += 1
            return found

        return counted

    _measuring = False

    def round(self) -> Cost:
        """Every policy is ticked until it rests; then the watches tell what was made."""
        self.api_calls.clear()
        self.asked.clear()
        self.stand_in_seconds = 0.0
        ticks, began = 0, time.process_time()
        watched = 0.0
        for name in self.names:
            after: float | None = 0.0
            while after is not None and after < 1:
                raw = self.policy(name)
                self._measuring = True
                after = self.runs.run(key_of(raw), raw)
                self._measuring = False
                ticks += 1
                told = time.process_time()
                if after is not None and after < 1:
                    self._watch()
                watched += time.process_time() - told
        cpu_seconds = time.process_time() - began - self.stand_in_seconds - watched
        self._watch()
        return Cost(ticks, cpu_seconds, dict(self.api_calls), len(self.asked))

    def _watch(self) -> None:
        for raw in self.children():
            self.known.see(raw)

    def children(self) -> list[Object]:
        return [each for path, each in self.kube.objects.items() if path.startswith(BACKUPS + "/")]


def days(policies: int, volumes_each: int) -> Iterator[tuple[str, Cost]]:
    """Three days; on the third, what the second run replaces goes."""
    scale = Scale(policies, volumes_each)
    yield "first look", scale.round()
    scale.clock.advance(600)
    yield "resting", scale.round()
    for day in range(1, 4):
        scale.clock.advance(DAY_SECONDS)
        ran = scale.round()
        scale.end()
        scale._watch()
        ended = scale.round()
        if day == 3:
            yield "a run", ran
            yield "its backups are Completed, old ones are given up", ended


def main() -> None:
    for policies, each in ((500, 4), (1, 2000)):
        print(f"{policies} policies, {policies * each} volumes")
        for what, cost in days(policies, each):
            calls = ", ".join(f"{verb} {count}" for verb, count in sorted(cost.calls.items()))
            print(
                f"{what:<50} {cost.ticks:>5} ticks {cost.cpu_seconds:7.2f} s CPU"
                f"  {calls or 'no call'}; {cost.bank_questions} questions to the bank",
                flush=True,
            )


if __name__ == "__main__":
    main()
