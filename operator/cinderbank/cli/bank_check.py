"""Look whether backups are whole.

LEVEL is one of
  manifest   seal, manifest and index of each backup, hashes compared
  existence  also that every chunk is there (one LIST per 1000 chunks)
  sample=N%  also that N percent of the chunks hold what they must
  full       also that all of them do: reads every stored byte once
What is damaged is noted in the bank, unless it is read-only: it shows as Degraded, no later backup
borrows it, and the next backup of the volume stores it anew. A check that finds it whole lifts that.

--forget-difference checks nothing: it takes back that a restore drill of this site (site in the bank
file) got other bytes back of BACKUP_ID. What other sites found is theirs to take back.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cinderbank.adapters.system import SystemClock, UlidMint
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.check import Checker
from cinderbank.bank.check_plan import Level, Outcome, Plan, Tally, Verdict
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank import DAMAGED, OK, USAGE
from cinderbank.cli.bank_backup import find_seal
from cinderbank.cli.bank_file import open_bank
from cinderbank.cli.bank_ls import add_filter, filter_of

MAX_TOLD_RANGES = 100
HEAD = ("BACKUP", "SITE", "VOLUME", "FOUND", "PROBLEM")
ROW = "{:<26}  {:<12}  {:<36}  {:<9}  {}"


@dataclass(frozen=True, slots=True)
class LevelAsked:
    level: Level
    percent: float = 100.0


def level(text: str) -> LevelAsked:
    name, _, percent = text.partition("=")
    try:
        if name == Level.SAMPLE:
            share = float(percent.removesuffix("%"))
            if 0 < share <= 100:
                return LevelAsked(Level.SAMPLE, share)
        elif not percent:
            return LevelAsked(Level(name))
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not manifest, existence, full or sample=N%")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filter(parser)
    parser.add_argument(
        "backup", type=table.backup_id, metavar="BACKUP_ID", nargs="?", help="only this one"
    )
    parser.add_argument(
        "--level", type=level, default=LevelAsked(Level.EXISTENCE), help="default: existence"
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="of a sample: the same seed reads the same chunks (default: chance)",
    )
    parser.add_argument(
        "--workers", type=table.workers, default=table.default_workers(), metavar="1..64",
        help="chunks that are read at once",
    )  # fmt: skip
    parser.add_argument(
        "--forget-difference", action="store_true",
        help="only take back that a drill of this site found BACKUP_ID different",
    )  # fmt: skip
    parser.add_argument("--ok", action="store_true", help="also list the backups that are whole")
    # For the operator, which runs this as its child: JSON lines, and an end when it ends.
    parser.add_argument("--events", action="store_true", help=argparse.SUPPRESS)


def plan_of(arguments: argparse.Namespace) -> Plan:
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    return Plan(
        arguments.level.level,
        filter_of(arguments),
        arguments.backup,
        arguments.level.percent,
        seed,
        arguments.workers,
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.forget_difference:
        return _forget_difference(arguments)
    plan = plan_of(arguments)
    if arguments.events:
        # Only the operator wants it: its JSON lines are no business of a person's start-up time.
        from cinderbank.cli.bank_check_events import run_for_operator

        return run_for_operator(arguments.bank, plan)
    bar = table.Bar()
    told = _JsonAnswer(plan) if arguments.output == "json" else _TableAnswer(plan)

    def on_verdict(verdict: Verdict) -> None:
        if verdict.outcome is not Outcome.OK or arguments.ok:
            bar.clear()
            told.verdict(verdict)

    with open_bank(arguments.bank, writes=True) as bank:
        tally = checker(
            bank, plan, on_verdict, lambda t: bar.tell(t.percent, _progress_text(t))
        ).run()
    bar.clear()
    told.end(tally)
    return DAMAGED if tally.damaged else OK


def _forget_difference(arguments: argparse.Namespace) -> int:
    if arguments.backup is None:
        print("--forget-difference needs a BACKUP_ID", file=sys.stderr)
        return USAGE
    with open_bank(arguments.bank, writes=True) as bank:
        site = find_seal(bank, arguments.backup, arguments.site).key.site
        count = bank.forget_difference(site, arguments.backup)
    if arguments.output == "json":
        found = {"backupID": arguments.backup, "site": site, "by": bank.site, "forgotten": count}
        table.print_json(found)
    else:
        print(
            f"{count} differences forgotten that site {bank.site} had found in {arguments.backup}"
        )
    return OK


def checker(
    bank: StoredBank,
    plan: Plan,
    on_verdict: Callable[[Verdict], None],
    on_progress: Callable[[Tally], None],
) -> Checker:
    clock = SystemClock()
    return Checker(
        bank,
        plan,
        on_verdict=on_verdict,
        on_progress=on_progress,
        new_run=UlidMint(clock).mint_backup_id,
        now=clock.now,
    )


def _progress_text(tally: Tally) -> str:
    done = tally.ok + tally.damaged + tally.unchecked
    return (
        f"{done}/{tally.backups_total} backups, {tally.damaged} damaged, "
        f"{table.shown_bytes(tally.bytes_read)} read"
    )


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    lost = list(zip(range(MAX_TOLD_RANGES), verdict.lost(), strict=False))
    return {
        "backupID": verdict.backup_id,
        "site": verdict.site,
        "volumeID": verdict.volume_id,
        "outcome": verdict.outcome.value,
        "problem": verdict.problem,
        "missingChunks": verdict.missing.count(),
        "badChunks": verdict.bad.count(),
        "lostBytes": verdict.lost_bytes(),
        "lost": [{"first": first, "last": last} for _, (first, last) in lost],
    }


def tally_document(tally: Tally, plan: Plan) -> dict[str, Any]:
    return {
        "level": plan.level.value,
        "samplePercent": plan.sample_percent if plan.level is Level.SAMPLE else None,
        "seed": plan.seed if plan.level is Level.SAMPLE else None,
        "backups": tally.ok + tally.damaged + tally.unchecked,
        "ok": tally.ok,
        "damaged": tally.damaged,
        "unchecked": tally.unchecked,
        "chunks": tally.chunks,
        "chunksRead": tally.chunks_read,
        "bytesRead": tally.bytes_read,
        "problems": problems(tally),
    }


def problems(tally: Tally) -> list[str]:
    """What went wrong beside the backups themselves."""
    kept = "tells of damage that is mended, and the store refused to delete it"
    return [*tally.unreadable_reports, *(f"{key} {kept}" for key in tally.reports_kept)]


class _TableAnswer:
    """Rows as they come, the sum at the end."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._head = True

    def verdict(self, verdict: Verdict) -> None:
        if self._head:
            print(ROW.format(*HEAD).rstrip())
            self._head = False
        ids = (verdict.backup_id, verdict.site, verdict.volume_id)
        print(ROW.format(*ids, verdict.outcome.value, table.clean(verdict.problem)).rstrip())
        for number, (first, last) in enumerate(verdict.lost()):
            if number == MAX_TOLD_RANGES:
                print(f"  and more; {table.shown_bytes(verdict.lost_bytes())} are lost in all")
                break
            print(f"  lost: bytes {first}-{last} of the volume")

    def end(self, tally: Tally) -> None:
        if not self._head:
            print()
        level = self._plan.level.value
        if self._plan.level is Level.SAMPLE:
            level = f"sample={self._plan.sample_percent:g}% --seed {self._plan.seed}"
        print(
            f"{tally.ok} whole, {tally.damaged} damaged, {tally.unchecked} could not be checked "
            f"(level {level}; {tally.chunks} chunks looked at, {tally.chunks_read} read, "
            f"{table.shown_bytes(tally.bytes_read)})"
        )
        for problem in problems(tally):
            print(problem, file=sys.stderr)


class _JsonAnswer:
    """One document, written as the verdicts come."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._separator = f'{{"version": {table.JSON_VERSION}, "backups": ['

    def verdict(self, verdict: Verdict) -> None:
        print(f"{self._separator}\n {json.dumps(verdict_document(verdict))}", end="")
        self._separator = ","

    def end(self, tally: Tally) -> None:
        head = "" if self._separator == "," else self._separator
        print(f'{head}\n], "summary": {json.dumps(tally_document(tally, self._plan))}}}')
