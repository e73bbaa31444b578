"""docs/bank-cli.md: every example is run, in the order of the page, and its output is what stands there.

CINDERBANK_WRITE_EXAMPLES=1 writes what came out into the page, to be read before it is committed.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from cinderbank import cli
from cinderbank.bank import layout
from cinderbank.bank.marks import BankHeader
from tests.fakes.backups import CHUNK, READER, SITE, sample
from tests.fakes.shell_bank import ShellBank
from tests.fakes.volumes import BACKUPS, Volume

PAGE = Path(__file__).parents[3] / "docs" / "bank-cli.md"
BLOCK = re.compile(r"```console\n\$ (?P<command>[^\n]*)\n(?P<output>.*?)```", re.DOTALL)


def example_bank(shell: ShellBank) -> Volume:
    """Three backups of one volume; the second one changed two chunks, the third one of these."""
    shell.store.objects[layout.BANK] = BankHeader(READER, "2026-11-22T20:00:00+00:00").dump()
    volume = Volume(sample("tzrsrtrttzz" * 3, tail=500), store=shell.store, part_entries=65_536)
    volume.back_up(0)
    volume.write(4 * CHUNK, b"changed")
    volume.write(9 * CHUNK, b"changed, too")
    volume.back_up(1)
    volume.write(4 * CHUNK, b"once more")
    volume.back_up(2)
    return volume


def test_every_example_of_the_page(
    shell: ShellBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = example_bank(shell)
    text, told = PAGE.read_text(), []

    def answer(found: re.Match[str]) -> str:
        if "--level full" in found["command"]:
            shell.store.flip(layout.chunk(SITE, BACKUPS[1], 1, 4), 999)
        program, *arguments = shlex.split(found["command"])
        assert program == "cinderbank"
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        status = f"(exit status {code})\n" if code else ""
        told.append(found["command"])
        return f"```console\n$ {found['command']}\n{out}{err}{status}```"

    answered = BLOCK.sub(answer, text)
    assert len(told) >= 12
    assert (tmp_path / "db.raw").read_bytes() == volume.contents[0]
    lost = bytearray(volume.contents[1])
    lost[4 * CHUNK : 5 * CHUNK] = bytes(CHUNK)
    assert (tmp_path / "lost.raw").read_bytes() == lost
    assert volume.read(2) == volume.contents[2]
    if os.environ.get("CINDERBANK_WRITE_EXAMPLES") == "1":
        PAGE.write_text(answered)
    assert answered == PAGE.read_text()


def test_the_table_of_exit_codes_is_whole() -> None:
    from cinderbank.cli import bank

    codes = {bank.OK, bank.DAMAGED, bank.USAGE, bank.DATA, bank.REFUSED, bank.UNFIT}
    codes |= {bank.BUG, bank.LOCAL_FILE, bank.TRY_AGAIN, bank.INTERRUPTED}
    assert {int(row) for row in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.M)} == codes


def test_the_table_of_fields_is_whole() -> None:
    from dataclasses import fields

    from cinderbank.cli.bank_file import BankFile, _camel

    text = PAGE.read_text().partition("## Answers")[0]
    told = set(re.findall(r"`([A-Za-z]+)`", "".join(re.findall(r"^\| (`.*?) \|", text, re.M))))
    assert told == {_camel(each.name) for each in fields(BankFile) if each.name != "folder"}
