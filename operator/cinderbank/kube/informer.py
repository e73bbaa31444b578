"""kopf, as informer only: it watches our kinds and tells; it never touches an object.

Why no kopf handler does work: a failed delete handler releases the object, an event handler's error
is dropped, timers and daemons put a finalizer on every object (also finished ones), and its patch is
a merge patch that is sent when the handler returns. So the handlers only enqueue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from cinderbank.api.v1alpha1 import RESOURCES
from cinderbank.api.v1alpha1.resource import GROUP, VERSION

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0

OnEvent = Callable[[bool, dict[str, Any]], None]
"""(gone, object); called on the event loop: MUST return at once."""


class Informer:
    """The watches, in a thread with an event loop of their own.

    Not the main thread: kopf would take the signal handlers there, and how this process ends is
    ours to say.
    """

    def __init__(self, on_event: OnEvent, namespaces: Sequence[str]) -> None:
        self._on_event = on_event
        self._namespaces = tuple(namespaces)
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._beat_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)

    def start(self) -> None:
        self._beat_at = time.monotonic()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        self._stop.set()
        self._thread.join(seconds)

    def alive(self) -> bool:
        """False when kopf gave up: the process should end and be started again."""
        return self._thread.is_alive()

    def ready(self) -> bool:
        return self._ready.is_set() and self.alive()

    def lag_seconds(self) -> float:
        """For how long the event loop has not come round; near 0 when all is well."""
        return max(0.0, time.monotonic() - self._beat_at - BEAT_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            log.exception("the watches ended by an error")

    async def _main(self) -> None:
        beating = asyncio.create_task(self._beat())
        try:
            await kopf.operator(
                registry=build_registry(self._on_event),
                settings=build_settings(),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
                ready_flag=self._ready,
            )
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def _beat(self) -> None:
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)


def build_settings() -> kopf.OperatorSettings:
    """Each line answers a default of kopf that is wrong for us."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # peers freeze one another, and it is no lock anyway
    settings.posting.enabled = False  # Events are ours: aggregated, bounded
    settings.scanning.disabled = True  # else it watches CRDs and namespaces: rights we do not need
    # defaults are 300 s and nine tries, for a 403 too
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (1, 2, 4)
    settings.watching.server_timeout = 600  # an int: a float becomes timeoutSeconds=600.0
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 500
    settings.queueing.worker_limit = 64
    settings.execution.max_workers = 2  # its login only; our handlers are async and do nothing
    settings.process.ultimate_exiting_timeout = 15
    # what should never be seen, under a name that shows where it came from
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=GROUP, key="last", v1=False
    )
    return settings


def build_registry(on_event: OnEvent) -> kopf.OperatorRegistry:
    """A registry of our own: the global one is shared with whatever else imports kopf."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(id="login", registry=registry)
    def login(**kwargs: Any) -> Any:
        return kopf.login_via_client(**kwargs)

    async def seen(event: dict[str, Any], **_: Any) -> None:
        on_event(event.get("type") == "DELETED", dict(event["object"]))

    for plural in (resource.plural for resource in RESOURCES if resource.watched):
        watch = kopf.on.event(GROUP, VERSION, plural, id=f"seen-{plural}", registry=registry)
        watch(seen)  # type: ignore[arg-type]
    return registry
