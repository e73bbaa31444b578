"""An id that several sites have: `cinderbank bank` names them, and guesses nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cinderbank import cli
from cinderbank.bank import layout
from tests.fakes.backups import BACKUP, SITE, back_up, sample
from tests.fakes.shell_bank import BANK_FILE, ShellBank

CONTENT, PLANTED = sample("tzrszz", tail=77), sample("ssssss", tail=77)
EVIL = "a-site-before-all-others"
"""Who looks through the sites by name meets it first."""


@pytest.fixture
def bank(shell: ShellBank) -> ShellBank:
    back_up(shell.store, CONTENT)
    back_up(shell.store, PLANTED, site=EVIL)
    return shell


def bank_command(*arguments: str) -> int:
    return cli.main(["bank", *arguments])


@pytest.mark.parametrize(
    "arguments", [("show", BACKUP), ("export", BACKUP, "out.raw"), ("delete", BACKUP, "--yes")]
)
def test_it_is_refused_and_the_sites_are_told(
    bank: ShellBank,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    before = dict(bank.store.objects)
    assert bank_command(*arguments) == 65
    said = capsys.readouterr().err
    assert "BackupAmbiguous" in said
    assert SITE in said and EVIL in said
    assert "--site" in said
    assert bank.store.objects == before
    assert not (tmp_path / "out.raw").exists()


@pytest.mark.parametrize(("site", "content"), [(SITE, CONTENT), (EVIL, PLANTED)])
def test_with_its_site_it_is_that_sites(
    bank: ShellBank,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    site: str,
    content: bytes,
) -> None:
    assert bank_command("show", BACKUP, "--site", site, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["site"] == site
    assert bank_command("export", BACKUP, "out.raw", "--site", site) == 0
    assert (tmp_path / "out.raw").read_bytes() == content
    (tmp_path / "bank.yaml").write_text(f"{BANK_FILE}site: {site}\n")
    assert bank_command("delete", BACKUP, "--site", site, "--yes") == 0
    assert bank.store.objects.keys() & {layout.tomb(each, BACKUP) for each in (SITE, EVIL)} == {
        layout.tomb(site, BACKUP)
    }
    # One is left: it needs no site any more.
    assert bank_command("show", BACKUP) == 0


@pytest.mark.parametrize("verb", ["show", "delete"])
def test_a_site_that_has_none_is_told(
    bank: ShellBank, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert bank_command(verb, BACKUP, "--site", "site-c") == 65
    assert "of site site-c" in capsys.readouterr().err
