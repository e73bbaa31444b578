"""`cinderbank bank check --events`: a check as the operator's child, told in JSON lines on stdout.

{"event":"progress","percent":...,"backups":...,...}     at most two a second
{"event":"damaged","backupID":...,...}                   the first 20 that are damaged or unchecked
{"event":"result","level":...,"ok":...,...}              the last line of a good end, damage or not
{"event":"error","reason":...,"message":...,"retryable":...}   the last line of a bad one

It ends at once when stdin closes: the operator died, and nothing of a check is lost but time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cinderbank.bank.check_plan import Outcome, Plan, Tally, Verdict
from cinderbank.cli.bank import DAMAGED, INTERRUPTED, OK, TRY_AGAIN, exit_code
from cinderbank.cli.bank_check import checker, tally_document, verdict_document
from cinderbank.cli.bank_file import open_bank
from cinderbank.domain.errors import CinderbankError, Retryable

MAX_TOLD = 20
PROGRESS_SECONDS = 0.5
MAX_MESSAGE_CHARACTERS = 2000


def run_for_operator(bank_file: Path, plan: Plan) -> int:
    """See the module's docstring; exit codes as for a person."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))
    threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    told = _Told(plan)
    try:
        with open_bank(bank_file, writes=True) as bank:
            tally = checker(bank, plan, told.verdict, told.progress).run()
    except CinderbankError as error:
        _write("error", told.error(error))
        return exit_code(error)
    except MemoryError:
        _write("error", told.error(Retryable("too little memory", reason="OutOfMemory")))
        return TRY_AGAIN
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator must read an error line
        # Its text may hold a URL; the class is enough.
        _write("error", told.error(Retryable(f"unexpected {type(error).__name__}")))
        return TRY_AGAIN
    _write("result", tally_document(tally, plan))
    return DAMAGED if tally.damaged else OK


def _write(event: str, fields: dict[str, Any]) -> None:
    line = json.dumps({"event": event, **fields}, separators=(",", ":"))
    os.write(sys.stdout.fileno(), line.encode("ascii") + b"\n")


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(INTERRUPTED)


class _Told:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._count = 0
        self._at = time.monotonic() - PROGRESS_SECONDS

    def verdict(self, verdict: Verdict) -> None:
        if verdict.outcome is Outcome.OK or self._count == MAX_TOLD:
            return
        self._count += 1
        document = verdict_document(verdict)
        document["problem"] = document["problem"][:MAX_MESSAGE_CHARACTERS]
        _write("damaged", {**document, "lost": document["lost"][:10]})

    def progress(self, tally: Tally) -> None:
        now = time.monotonic()
        if now - self._at < PROGRESS_SECONDS:
            return
        self._at = now
        document = tally_document(tally, self._plan)
        _write("progress", {"percent": tally.percent, "total": tally.backups_total, **document})

    @staticmethod
    def error(error: CinderbankError) -> dict[str, Any]:
        return {
            "reason": error.reason,
            "message": error.message[:MAX_MESSAGE_CHARACTERS],
            "retryable": isinstance(error, Retryable),
        }
