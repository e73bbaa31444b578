"""Status, finalizer and Events of one object: the `Records` port on the Kubernetes API.

Status is written by server-side apply on /status, whole each time, always with resourceVersion: a
second operator, or one with an old view, gets a Conflict and not a merge. That also tells a
re-created object of the same name, as versions are revisions of etcd and never come again (the API
server does not compare a uid in an apply on /status). Our finalizer is the only thing ever written
outside status; no label, no annotation, no spec.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.events import KubeEvents, Subject
from cinderbank.adapters.kube.paths import object_path
from cinderbank.adapters.kube.rates import ProgressRule, TokenBucket
from cinderbank.api.v1alpha1.resource import API_VERSION, FINALIZER
from cinderbank.domain.errors import BrokenInvariant, InvalidSpec, SourceGone
from cinderbank.domain.record import Memory, Report

log = logging.getLogger(__name__)

Render = Callable[[Memory, Report, object, int, datetime], dict[str, Any]]
"""(memory, report, status as read, metadata.generation, now) -> status as JSON."""

FIELD_MANAGER = "cinderbank"
STATUS_LIMIT_BYTES = 16 << 10
LONGEST_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Written:
    at: float
    percent: float


class StatusWriter:
    """Writes statuses of all objects within one budget; thread-safe.

    `count` is called with `written`, `unchanged` or `held_back` for each status that was offered.
    """

    def __init__(
        self,
        api: KubeApi,
        bucket: TokenBucket,
        rule: ProgressRule,
        *,
        count: Callable[[str], None] = lambda outcome: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._bucket = bucket
        self._rule = rule
        self._count = count
        self._clock = clock
        self._sleep = sleep
        self._written: dict[str, _Written] = {}
        self._lock = threading.Lock()

    def write_now(self, target: Mapping[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        """Durable when it returns; owes the budget rather than waits for it."""
        self._bucket.reserve()
        return self._apply(target, status)

    def write_if_worth_it(
        self, target: Mapping[str, Any], status: dict[str, Any]
    ) -> dict[str, Any] | None:
        """None when nothing changed, or when progress alone did and it is too early to tell."""
        previous = target.get("status") or {}
        if status == previous:
            self._count("unchanged")
            return None
        if _without_progress(status) != _without_progress(previous):
            self._sleep(min(self._bucket.reserve(), LONGEST_WAIT_SECONDS))
            return self._apply(target, status)
        due = "progress" not in previous or self._progress_is_due(target["metadata"]["uid"], status)
        if not due or not self._bucket.take():
            self._count("held_back")
            return None
        return self._apply(target, status)

    def forget(self, uid: str) -> None:
        with self._lock:
            self._written.pop(uid, None)

    def _progress_is_due(self, uid: str, status: Mapping[str, Any]) -> bool:
        with self._lock:
            last = self._written.get(uid)
        if last is None:
            return True
        return self._rule.is_due(self._clock() - last.at, _percent(status) - last.percent)

    def _apply(self, target: Mapping[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        metadata = target["metadata"]
        path = object_path(target["kind"], metadata["namespace"], metadata["name"])
        size_bytes = len(json.dumps(status))
        if size_bytes > STATUS_LIMIT_BYTES:
            log.warning("status of %s is %d bytes", path, size_bytes)
        body = {
            "apiVersion": API_VERSION,
            "kind": target["kind"],
            "metadata": {
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "status": status,
        }
        try:
            # only ever /status: an apply on the main resource would create an object that is gone
            answer = self._api.apply(f"{path}/status", body, FIELD_MANAGER)
        except InvalidSpec as error:
            raise BrokenInvariant(
                f"the API server refuses our status: {error.message}", status_code=422
            ) from error
        with self._lock:
            self._written[metadata["uid"]] = _Written(self._clock(), _percent(status))
        self._count("written")
        return answer


class KubeRecords:
    """The `Records` port for one object as it was read at the start of one tick."""

    def __init__(
        self,
        target: Mapping[str, Any],
        *,
        api: KubeApi,
        writer: StatusWriter,
        events: KubeEvents,
        render: Render,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._target = dict(target)
        self._api = api
        self._writer = writer
        self._events = events
        self._render = render
        self._now = now

    def remember(self, memory: Memory, report: Report) -> None:
        self._target = self._writer.write_now(self._target, self._status(memory, report))

    def publish(self, memory: Memory, report: Report) -> None:
        answer = self._writer.write_if_worth_it(self._target, self._status(memory, report))
        if answer is not None:
            self._target = answer

    def add_finalizer(self) -> None:
        present = self._finalizers()
        if FINALIZER in present:
            return
        where = "/metadata/finalizers/-" if present else "/metadata/finalizers"
        value: object = FINALIZER if present else [FINALIZER]
        self._patch({"op": "add", "path": where, "value": value})

    def remove_finalizer(self) -> None:
        present = self._finalizers()
        if FINALIZER not in present:
            return
        where = f"/metadata/finalizers/{present.index(FINALIZER)}"
        try:
            self._patch(
                {"op": "test", "path": where, "value": FINALIZER}, {"op": "remove", "path": where}
            )
        except SourceGone:
            return

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        metadata = self._target["metadata"]
        subject = Subject(
            self._target["kind"], metadata["namespace"], metadata["name"], metadata["uid"]
        )
        self._events.say(subject, reason, message, warning=warning)

    def _status(self, memory: Memory, report: Report) -> dict[str, Any]:
        generation = self._target["metadata"].get("generation", 0)
        return self._render(memory, report, self._target.get("status"), generation, self._now())

    def _finalizers(self) -> list[str]:
        return list(self._target["metadata"].get("finalizers") or ())

    def _patch(self, *operations: Mapping[str, Any]) -> None:
        """Only on the very object and state that this tick has read; else Conflict."""
        metadata = self._target["metadata"]
        path = object_path(self._target["kind"], metadata["namespace"], metadata["name"])
        tests = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": metadata["resourceVersion"],
            },
        ]
        answer = self._api.json_patch(path, [*tests, *operations], FIELD_MANAGER)
        self._target = answer


def _without_progress(status: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in status.items() if key != "progress"}
    if copies := _copies(status):
        found["copies"] = [_without_progress(each) for each in copies]
    return found


def _percent(status: Mapping[str, Any]) -> float:
    """Of the object and of its copies together: what grows in any of them is progress."""
    progress = status.get("progress")
    own = float(progress.get("percent", 0)) if isinstance(progress, dict) else 0.0
    return own + sum(_percent(each) for each in _copies(status))


def _copies(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    copies = status.get("copies")
    rows = copies if isinstance(copies, list) else []
    return [each for each in rows if isinstance(each, Mapping)]
