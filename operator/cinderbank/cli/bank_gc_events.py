"""`cinderbank bank gc --events`: a collection as the operator's child, told in JSON lines on stdout.

{"event":"result","freedObjects":...,"freedBytes":...,"refusedDeletes":...,"complete":...}
{"event":"error","reason":...,"message":...,"retryable":...}

One line, the last one. It ends at once when stdin closes: the operator died, and a collection may end
anywhere.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from cinderbank.bank.collect import CollectReport, CollectRules, collect
from cinderbank.bank.health import require_fit
from cinderbank.cli.bank import INTERRUPTED, OK, REFUSED, TRY_AGAIN, exit_code
from cinderbank.cli.bank_file import open_bank
from cinderbank.domain.errors import CinderbankError, Retryable

MAX_MESSAGE_CHARACTERS = 2000


def run_for_operator(bank_file: Path, rules: CollectRules) -> int:
    """See the module's docstring; exit codes as for a person."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))
    threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    try:
        report = _collect(bank_file, rules)
    except CinderbankError as error:
        _error(error.reason, error.message, isinstance(error, Retryable))
        return exit_code(error)
    except MemoryError:
        _error("OutOfMemory", "the collection has too little memory", retryable=True)
        return TRY_AGAIN
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator must read an error line
        # Its text may hold a URL; the class is enough.
        _error("TransientError", f"unexpected {type(error).__name__}", retryable=True)
        return TRY_AGAIN
    refusal = report.refusal
    if refusal is not None:
        _error(refusal.reason, refusal.message, refusal.retryable)
        return TRY_AGAIN if refusal.retryable else REFUSED
    _write(
        "result",
        freedObjects=report.freed_objects,
        freedBytes=report.freed_bytes,
        refusedDeletes=sum(report.refused_deletes.values()),
        complete=report.complete,
    )
    return OK


def _collect(bank_file: Path, rules: CollectRules) -> CollectReport:
    with open_bank(bank_file, writes=not rules.dry_run) as bank:
        bank.open()
        bank.require_writable()
        require_fit(bank)
        return collect(bank.store, bank.site, bank.keys, rules)


def _error(reason: str, message: str, retryable: bool) -> None:
    _write("error", reason=reason, message=message[:MAX_MESSAGE_CHARACTERS], retryable=retryable)


def _write(event: str, **fields: Any) -> None:
    line = json.dumps({"event": event, **fields}, separators=(",", ":"))
    os.write(sys.stdout.fileno(), line.encode("ascii") + b"\n")


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(INTERRUPTED)
