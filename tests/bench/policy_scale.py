"""What 500 policies over 2,000 volumes cost one operator: `python -m tests.bench.policy_scale`.

The policies' own code with an API server and a cloud in memory: CPU is theirs (what the stand-ins take is
measured apart and taken off), and every write to the API server is counted. No S3, no Keystone, no threads.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from cinderbank.kube.known import key_of
from tests.fakes.kube import Object
from tests.unit.kube.test_policies import BACKUPS, House
from tests.unit.policy.children import volume, volume_id

POLICIES = 500
VOLUMES_EACH = 4
DAY_SECONDS = 86_400.0


class Scale(House):
    def __init__(self) -> None:
        super().__init__()
        self.kube.objects.clear()
        self.clouds.found = [volume(number) for number in range(POLICIES * VOLUMES_EACH)]
        self.api_calls: Counter[str] = Counter()
        self.stand_in_seconds = 0.0
        for verb in ("get", "list_all", "create", "apply", "merge_patch", "delete"):
            setattr(self.kube, verb, self._counted(verb, getattr(self.kube, verb)))
        self.names = [f"p{number:03d}" for number in range(POLICIES)]
        for number, name in enumerate(self.names):
            first = number * VOLUMES_EACH
            ids = [volume_id(first + each) for each in range(VOLUMES_EACH)]
            self.put(
                name,
                selector={"volumeIDs": ids},
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

    def round(self, what: str) -> None:
        """Every policy is ticked until it rests; what it cost is printed."""
        self.api_calls.clear()
        self.stand_in_seconds = 0.0
        ticks = 0
        objects = [self.policy(name) for name in self.names]
        self._measuring = True
        began = time.process_time()
        for raw in objects:
            after: float | None = 0.0
            while after is not None and after < 1:
                after = self.runs.run(key_of(raw), raw)
                ticks += 1
                if after is not None and after < 1:
                    raw = self.policy(raw["metadata"]["name"])
        cpu = time.process_time() - began - self.stand_in_seconds
        self._measuring = False
        calls = ", ".join(f"{verb} {count}" for verb, count in sorted(self.api_calls.items()))
        print(f"{what:<28} {ticks:>5} ticks {cpu:7.2f} s CPU  {calls or 'no call'}", flush=True)
        for raw in self.children():
            self.known.see(raw)

    def children(self) -> list[Object]:
        return [each for path, each in self.kube.objects.items() if path.startswith(BACKUPS + "/")]


def main() -> None:
    scale = Scale()
    print(f"{POLICIES} policies, {POLICIES * VOLUMES_EACH} volumes")
    scale.round("first look")
    scale.clock.advance(600)
    scale.round("resting")
    for day in range(1, 4):
        scale.clock.advance(DAY_SECONDS)
        scale.round(f"run {day}")
        scale.end()
        for raw in scale.children():
            scale.known.see(raw)
        scale.round("  its backups are Completed")
    scale.clock.advance(600)
    scale.round("resting")


if __name__ == "__main__":
    main()
