"""`cinderbank bank key`: a bank's keys from a shell; no key ever gets out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cinderbank import cli
from cinderbank.bank.keys import read_key_file
from cinderbank.domain.errors import InvalidSpec
from tests.fakes.backups import BACKUP, SITE, back_up, bank_on, sample
from tests.fakes.shell_bank import BANK_FILE, ShellBank
from tests.unit.bank.test_round_trip import read_all

CONTENT = sample("tzrs", tail=7)


def key_command(*arguments: str) -> int:
    return cli.main(["bank", "key", *arguments])


def use(*names: str) -> None:
    files = "".join(f"  - {name}\n" for name in names)
    Path("bank.yaml").write_text(f"{BANK_FILE}\nkeyFiles:\n{files}")


def key_id(name: str) -> str:
    return read_key_file(Path(name)).id


@pytest.fixture
def encrypted(shell: ShellBank, capsys: pytest.CaptureFixture[str]) -> ShellBank:
    """A bank that a.key opens, and b.key, which it does not know."""
    for name in ("a.key", "b.key"):
        assert key_command("generate", name) == 0
    back_up(shell.store, CONTENT, keks=[read_key_file(Path("a.key"))])
    use("a.key")
    capsys.readouterr()
    return shell


def test_generate_needs_no_bank_and_never_overwrites(
    shell: ShellBank, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CINDERBANK_BANK_FILE")
    assert key_command("generate", "new.key") == 0
    assert key_id("new.key") in capsys.readouterr().out
    before = Path("new.key").read_bytes()
    assert key_command("generate", "new.key") == 66
    assert "BankKeyFile" in capsys.readouterr().err
    assert Path("new.key").read_bytes() == before


def test_a_rotation_from_the_first_command_to_the_last(
    encrypted: ShellBank, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = key_id("a.key"), key_id("b.key")
    assert key_command("add", "b.key") == 0
    assert key_command("ls", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert [row["keys"] for row in told["dataKeys"]] == [sorted((a, b))]
    assert told["ours"] == [a]
    use("b.key")
    assert key_command("remove", a) == 0
    assert key_command("ls", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert [row["keys"] for row in told["dataKeys"]] == [[b], [b]]
    assert [row["current"] for row in told["dataKeys"]] == [False, True]
    assert all(row["opened"] for row in told["dataKeys"])
    assert told["retired"] == [a]
    keks = [read_key_file(Path("b.key"))]
    assert read_all(encrypted.store, bank_on(encrypted.store, keks=keks).keys) == CONTENT


def test_rotate_does_both(encrypted: ShellBank, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = key_id("a.key"), key_id("b.key")
    assert key_command("rotate", a, "b.key") == 0
    assert f"key {b} opens all 1 data keys, key {a} none any more" in capsys.readouterr().out
    assert cli.main(["bank", "show", BACKUP]) == 66
    assert "BankKeyWrong" in capsys.readouterr().err
    use("b.key")
    assert cli.main(["bank", "show", BACKUP]) == 0
    assert "nightly" in capsys.readouterr().out


def test_remove_is_refused_when_it_would_lose_backups(
    encrypted: ShellBank, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict(encrypted.store.objects)
    assert key_command("remove", key_id("a.key")) == 66
    assert "BankKeyInUse" in capsys.readouterr().err
    Path("bank.yaml").write_text(BANK_FILE)
    assert key_command("remove", key_id("a.key")) == 66
    assert "BankKeyMissing" in capsys.readouterr().err
    assert encrypted.store.objects == before


def test_ls_needs_no_key_and_writes_nothing(
    encrypted: ShellBank, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bank.yaml").write_text(BANK_FILE)
    before = dict(encrypted.store.objects)
    assert key_command("ls") == 0
    out = capsys.readouterr().out
    assert key_id("a.key") in out
    assert encrypted.store.objects == before


def test_add_begins_the_encryption_of_a_plain_bank(
    shell: ShellBank, capsys: pytest.CaptureFixture[str]
) -> None:
    back_up(shell.store, CONTENT)
    key_command("generate", "a.key")
    assert key_command("add", "a.key") == 0
    with pytest.raises(InvalidSpec) as raised:
        bank_on(shell.store).open_session(SITE, "01KAPZ5J3VQ6Z0C4M8T2R7W9XF", "x")
    assert raised.value.reason == "BankKeyMissing"


@pytest.mark.parametrize(
    "arguments", [(), ("turn",), ("remove",), ("remove", "x"), ("rotate", "0" * 16), ("add",)]
)
def test_a_wrong_command_line_is_64(encrypted: ShellBank, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as raised:
        key_command(*arguments)
    assert raised.value.code == 64


def test_no_key_is_ever_shown(encrypted: ShellBank, capsys: pytest.CaptureFixture[str]) -> None:
    a = key_id("a.key")
    for arguments in (("ls",), ("add", "b.key"), ("rotate", a, "b.key"), ("remove", a), ("ls",)):
        key_command(*arguments)
    shown = "".join(capsys.readouterr())
    for name in ("a.key", "b.key"):
        content = Path(name).read_text().strip()
        assert content not in shown
        assert read_key_file(Path(name)).secret.hex() not in shown
        assert content.encode() not in b"".join(encrypted.store.objects.values())
