"""`cinderbank bank copy`: two bank files, and what a person at 3 a.m. may get wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cinderbank import cli
from cinderbank.adapters.s3_location import S3Credentials, S3Location
from cinderbank.bank import layout
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.wrapped_keys import encoded_kek
from tests.fakes.backups import BACKUP, OTHER_BACKUP, SITE, VOLUME, back_up, bank_on, sample
from tests.fakes.copies import read_all
from tests.fakes.shell_bank import BANK_FILE, ShellBank, ShellStore

CONTENT = sample("tzrszz", tail=77)
CHANGED = sample("tzrtzz", tail=77)
KEK = KeyEncryptionKey(os.urandom(32))


@pytest.fixture
def offsite(shell: ShellBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShellStore:
    """Bank `backups` is the shell's own and has two backups; bank `offsite` is an empty place."""
    back_up(shell.store, CONTENT)
    back_up(shell.store, CHANGED, backup_id=OTHER_BACKUP)
    other = ShellStore()

    def open_store(location: S3Location, credentials: S3Credentials) -> ShellStore:
        found = shell.open(location, credentials)
        return other if location.prefix == "offsite" else found

    monkeypatch.setattr("cinderbank.cli.bank_file.S3Store", open_store)
    text = BANK_FILE.replace("backups", "offsite")
    (tmp_path / "offsite.yaml").write_text(f"{text}site: {SITE}\n")
    return other


def copy(*arguments: str) -> int:
    return cli.main(["bank", "copy", "--from", "bank.yaml", "--to", "offsite.yaml", *arguments])


def test_backups_are_copied_and_told(
    shell: ShellBank, offsite: ShellStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy("--create", BACKUP, OTHER_BACKUP) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split()[0] for line in out.splitlines()] == ["BACKUP", BACKUP, OTHER_BACKUP]
    shell.store.objects.clear()
    assert read_all(bank_on(offsite), BACKUP) == CONTENT
    assert read_all(bank_on(offsite), OTHER_BACKUP) == CHANGED


def test_the_answer_for_programs(offsite: ShellStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert copy("--create", "-o", "json", BACKUP) == 0
    (told,) = json.loads(capsys.readouterr().out)["backups"]
    about = bank_on(offsite).find(BACKUP)
    assert about is not None
    assert told == {
        "backupID": BACKUP,
        "copyID": BACKUP,
        "bankID": bank_on(offsite).open().bank_id,
        "site": SITE,
        "volumeID": VOLUME,
        "sizeBytes": len(CONTENT),
        "storedBytes": about.stored_bytes,
        "sharedBytes": 0,
        "encrypted": False,
        "contentHash": about.content_hash,
    }


def test_again_is_no_harm(offsite: ShellStore) -> None:
    assert copy("--create", BACKUP) == 0
    before = {key: body for key, body in offsite.objects.items() if "/probes/" not in key}
    assert copy(BACKUP) == 0
    assert {k: v for k, v in offsite.objects.items() if "/probes/" not in k} == before


def test_a_bank_is_made_only_when_asked(
    offsite: ShellStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy(BACKUP) == 66
    assert "BankNotFound" in capsys.readouterr().err
    assert offsite.objects == {}


def test_one_wrong_id_copies_nothing(
    offsite: ShellStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy("--create", BACKUP, BACKUP[:-1] + "Z") == 65
    assert "BackupNotFound" in capsys.readouterr().err
    assert [key for key in offsite.objects if key.startswith("sites/")] == []


def test_another_site_is_refused(
    offsite: ShellStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "offsite.yaml").write_text(BANK_FILE.replace("backups", "offsite"))
    assert copy("--create", BACKUP) == 64
    assert "CopySiteMismatch" in capsys.readouterr().err


def test_the_same_bank_is_refused(
    offsite: ShellStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "offsite.yaml").write_text(f"{BANK_FILE}site: {SITE}\n")
    assert copy(BACKUP) == 64
    assert "CopyToItself" in capsys.readouterr().err


def test_plain_to_encrypted_and_back_only_when_allowed(
    offsite: ShellStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kek").write_bytes(encoded_kek(KEK))
    text = (tmp_path / "offsite.yaml").read_text()
    (tmp_path / "offsite.yaml").write_text(f"{text}keyFiles: [kek]\n")
    assert copy("--create", BACKUP) == 0
    assert read_all(bank_on(offsite, keks=[KEK]), BACKUP) == CONTENT
    third = ShellStore()
    text = BANK_FILE.replace("backups", "third")
    (tmp_path / "third.yaml").write_text(f"{text}site: {SITE}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "cinderbank.cli.bank_file.S3Store",
            lambda location, _: third if location.prefix == "third" else offsite,
        )
        back = ["bank", "copy", "--from", "offsite.yaml", "--to", "third.yaml", "--create", BACKUP]
        assert cli.main(back) == 64
        assert "CopyWouldBePlain" in capsys.readouterr().err
        assert cli.main([*back, "--allow-plain"]) == 0
    assert read_all(bank_on(third), BACKUP) == CONTENT


def test_a_deleted_copy_comes_back_under_another_id(
    offsite: ShellStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy("--create", BACKUP) == 0
    bank_on(offsite).delete(SITE, BACKUP)
    assert copy(BACKUP) == 65
    assert "SessionBroken" in capsys.readouterr().err
    assert copy("--new-id", "-o", "json", BACKUP) == 0
    (told,) = json.loads(capsys.readouterr().out)["backups"]
    assert layout.is_backup_id(told["copyID"])
    assert told["copyID"] != BACKUP
    assert read_all(bank_on(offsite), told["copyID"]) == CONTENT
