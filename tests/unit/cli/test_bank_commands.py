"""`cinderbank bank`: what it refuses, with which exit status, and what never gets out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cinderbank import cli
from cinderbank.bank import layout
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.wrapped_keys import encoded_kek
from cinderbank.domain.errors import (
    AuthRefused,
    BrokenInvariant,
    CinderbankError,
    DataCorrupt,
    Forbidden,
    InvalidSpec,
    SourceGone,
    Unavailable,
    Unsupported,
)
from tests.fakes.backups import BACKUP, CHUNK, OTHER_BACKUP, SITE, VOLUME, back_up, bank_on, sample
from tests.fakes.shell_bank import BANK_FILE, ShellBank
from tests.unit.transfer import test_escrow as escrowed

CONTENT = sample("tzrszz", tail=77)


@pytest.fixture
def bank(shell: ShellBank) -> ShellBank:
    back_up(shell.store, CONTENT)
    return shell


def bank_command(*arguments: str) -> int:
    return cli.main(["bank", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("list",),
        ("ls", "--limit", "0"),
        ("ls", "--since", "yesterday"),
        ("ls", "-o", "yaml"),
        ("show",),
        ("show", "../../etc/passwd"),
        ("check", "--level", "sample=0%"),
        ("check", "--level", "sample=200%"),
        ("check", "--level", "deep"),
        ("check", "--forget-difference"),
        ("export", BACKUP, "-", "--workers", "0"),
        ("gc", "--max-delete-percent", "101"),
    ],
)
def test_a_wrong_command_line_is_64(bank: ShellBank, arguments: tuple[str, ...]) -> None:
    try:
        code = bank_command(*arguments)
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 64
    assert bank.opened == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bucket: b", "endpoint: missing"),
        (f"{BANK_FILE}buket: x", "buket: not known"),
        (f"{BANK_FILE}readOnly: yes please", "readOnly: not true or false"),
        (f"{BANK_FILE}keyFiles: one", "keyFiles: not a list"),
        (f"{BANK_FILE}site: Paris!", "site: not a DNS label"),
        (f"{BANK_FILE}secretAccessKeyFile: nowhere", "nowhere can not be read"),
        ("[1, 2]", "not a mapping"),
        ("a: &a [*a", "not YAML"),
        ("\x00", "not YAML"),
        (BANK_FILE.replace("https://", "ftp://"), "endpoint"),
    ],
)
def test_a_wrong_bank_file_is_64_and_says_which_field(
    bank: ShellBank, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "bank.yaml").write_text(text)
    assert bank_command("ls") == 64
    assert told in capsys.readouterr().err


def test_without_a_bank_file_it_says_how(
    bank: ShellBank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CINDERBANK_BANK_FILE")
    with pytest.raises(SystemExit) as ended:
        bank_command("ls")
    assert ended.value.code == 64
    assert "--bank FILE" in capsys.readouterr().err
    assert bank_command("ls", "--bank", "bank.yaml") == 0


def test_credentials_come_from_files_or_the_environment_and_are_never_told(
    bank: ShellBank,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "id").write_text("file-id\n")
    (tmp_path / "secret").write_text("file-secret\n")
    named = f"{BANK_FILE}accessKeyIDFile: id\nsecretAccessKeyFile: secret\n"
    (tmp_path / "bank.yaml").write_text(named)
    assert bank_command("ls") == 0
    assert bank.opened[0][1].access_key == "file-id"
    assert bank.opened[0][1].secret_key == "file-secret"
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "bank.yaml").write_text(BANK_FILE)
    assert bank_command("ls") == 64
    said = "".join(capsys.readouterr())
    assert "AWS_SECRET_ACCESS_KEY" in said
    assert "file-secret" not in said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthRefused("x", reason="BankCredentialsRefused"), 66),
        (Forbidden("x", reason="BankAccessDenied"), 66),
        (Unavailable("x", reason="BucketNotFound"), 66),
        (InvalidSpec("x", reason="BankIdMismatch"), 66),
        (InvalidSpec("x", reason="BankKeyMissing"), 66),
        (InvalidSpec("x"), 64),
        (DataCorrupt("x"), 65),
        (SourceGone("x", reason="BackupNotFound"), 65),
        (Unsupported("x", reason="BankFormatUnknown"), 65),
        (Unsupported("x", reason="BankNotConsistent"), 69),
        (Unavailable("x", reason="BankUnavailable"), 75),
        (BrokenInvariant("x"), 70),
    ],
)
def test_the_exit_status_of_every_error(
    bank: ShellBank, capsys: pytest.CaptureFixture[str], error: CinderbankError, code: int
) -> None:
    bank.store.fail_next("GET", error)
    assert bank_command("ls") == code
    assert error.reason in capsys.readouterr().err


def test_no_bank_is_ever_made(shell: ShellBank) -> None:
    for verb in ("ls", "stats", "check", "verify-store", "gc"):
        assert bank_command(verb) == 66
    assert shell.store.objects == {}


def test_a_read_only_bank_file_writes_nothing(bank: ShellBank, tmp_path: Path) -> None:
    (tmp_path / "bank.yaml").write_text(f"{BANK_FILE}readOnly: true\n")
    bank.store.flip(layout.chunk(SITE, BACKUP, 1, 2), 500)
    before = dict(bank.store.objects)
    assert bank_command("check", "--level", "full") == 1
    assert bank_command("export", BACKUP, "x.raw", "--salvage") == 1
    assert bank_command("delete", BACKUP, "--yes") == 66
    assert bank_command("gc", "--run") == 66
    assert bank_command("verify-store") == 0
    assert bank.store.objects == before


def test_a_difference_is_taken_back_by_the_site_that_found_it(
    bank: ShellBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank_on(bank.store).note_drill(SITE, BACKUP, is_whole=False)
    assert bank_command("check", BACKUP, "--forget-difference") == 0
    assert "0 differences forgotten that site shell had found" in capsys.readouterr().out
    assert bank_on(bank.store).damaged_backups() == {(SITE, BACKUP)}
    (tmp_path / "bank.yaml").write_text(f"{BANK_FILE}site: {SITE}\n")
    assert bank_command("check", BACKUP, "--forget-difference", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["forgotten"] == 1
    assert bank_on(bank.store).damaged_backups() == frozenset()
    assert bank_command("check", OTHER_BACKUP, "--forget-difference") == 65


def test_one_wrong_id_deletes_nothing(bank: ShellBank) -> None:
    before = dict(bank.store.objects)
    assert bank_command("delete", BACKUP, OTHER_BACKUP, "--yes") == 65
    assert bank.store.objects == before


@pytest.mark.parametrize("lie", ["list", "read"])
def test_nothing_is_deleted_on_a_store_that_lies(bank: ShellBank, lie: str) -> None:
    before = dict(bank.store.objects)
    for arguments in (("delete", BACKUP, "--yes"), ("gc", "--run")):
        if lie == "list":
            bank.store.lag_lists(1)
        else:

            def stale(count: int, verb: str, key: str) -> None:
                if verb == "PUT" and "/probes/" in key:
                    bank.store.stale_reads = 1

            bank.store.after_request = stale
        assert bank_command(*arguments) == 69
        assert bank.store.objects == before


def test_verify_store_tells_a_liar(bank: ShellBank, capsys: pytest.CaptureFixture[str]) -> None:
    bank.store.lag_lists(1)
    assert bank_command("verify-store", "-o", "json") == 69
    told = json.loads(capsys.readouterr().out)
    assert told["capabilities"]["listAfterWrite"] is False
    assert "not listed" in told["problems"][0]


# Export.


def test_an_export_is_sparse_whole_and_leaves_no_pin(bank: ShellBank, tmp_path: Path) -> None:
    assert bank_command("export", BACKUP, "out.raw") == 0
    assert (tmp_path / "out.raw").read_bytes() == CONTENT
    assert not [key for key in bank.store.objects if "/intents/" in key]
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out.raw"]


def test_keys_that_may_only_read_are_enough(
    bank: ShellBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank.store.fail_next("PUT", Forbidden("only reading", reason="BankAccessDenied"))
    assert bank_command("export", BACKUP, "out.raw") == 0
    assert (tmp_path / "out.raw").read_bytes() == CONTENT
    assert "without a read pin" in capsys.readouterr().err


def test_a_file_that_is_there_stays(bank: ShellBank, tmp_path: Path) -> None:
    (tmp_path / "out.raw").write_text("precious")
    assert bank_command("export", BACKUP, "out.raw") == 64
    assert (tmp_path / "out.raw").read_text() == "precious"
    assert bank_command("export", BACKUP, "out.raw", "--overwrite") == 0
    assert (tmp_path / "out.raw").read_bytes() == CONTENT


def test_a_damaged_export_leaves_no_file_and_no_pin(bank: ShellBank, tmp_path: Path) -> None:
    bank.store.flip(layout.chunk(SITE, BACKUP, 1, 2), 500)
    assert bank_command("export", BACKUP, "out.raw") == 65
    assert [path.name for path in tmp_path.iterdir()] == ["bank.yaml"]
    assert not [key for key in bank.store.objects if "/intents/" in key]


def test_a_hash_that_differs_at_the_end_is_refused_salvage_or_not(
    bank: ShellBank, tmp_path: Path
) -> None:
    """Every chunk is right, and yet it is not the volume: the manifest was forged."""
    from cinderbank.bank.manifest import object_digest

    key, seal = layout.manifest(SITE, VOLUME, BACKUP), layout.seal(SITE, BACKUP, VOLUME)
    old = bank.store.objects[key]
    forged = old.replace(b'"content_hash":"', b'"content_hash":"0000')
    at = forged.index(b'"content_hash":"') + 16 + 64
    forged = forged[:at] + forged[at + 4 :]
    bank.store.objects[key] = forged
    bank.store.objects[seal] = bank.store.objects[seal].replace(
        object_digest(old).encode(), object_digest(forged).encode()
    )
    for more in ((), ("--salvage",)):
        assert bank_command("export", BACKUP, "out.raw", *more) == 65
        assert not (tmp_path / "out.raw").exists()


def test_salvage_without_an_index_part_gives_what_is_before_it(
    bank: ShellBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del bank.store.objects[layout.index_part(SITE, VOLUME, BACKUP, 1, 1)]
    assert bank_command("export", BACKUP, "out.raw", "--salvage", "-o", "json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["lost"] == [{"first": 3 * CHUNK, "last": len(CONTENT) - 1}]
    found = (tmp_path / "out.raw").read_bytes()
    assert found == CONTENT[: 3 * CHUNK].ljust(len(CONTENT), b"\0")


def test_a_device_is_written_with_its_zeros(bank: ShellBank, tmp_path: Path) -> None:
    """A FIFO stands for a device: what is no regular file keeps its name and gets every byte."""
    fifo = tmp_path / "device"
    os.mkfifo(fifo)
    reader = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdout.buffer.write(open(sys.argv[1],'rb').read())",
         str(fifo)], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert bank_command("export", BACKUP, str(fifo), "--overwrite") == 0
    assert reader.communicate(timeout=120)[0] == CONTENT


def test_a_full_disk_is_74(bank: ShellBank) -> None:
    assert bank_command("export", BACKUP, "/dev/full", "--overwrite") == 74
    assert bank_command("export", BACKUP, "no/such/folder/x") == 74


def test_an_encrypted_bank_needs_the_files_of_its_keys(
    shell: ShellBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kek = KeyEncryptionKey(bytes(range(32)))
    back_up(shell.store, CONTENT, keks=[kek])
    assert bank_command("ls") == 0, "what there is can be listed without a key"
    assert bank_command("export", BACKUP, "out.raw") == 66
    assert "BankKeyMissing" in capsys.readouterr().err
    (tmp_path / "kek").write_bytes(encoded_kek(kek))
    (tmp_path / "bank.yaml").write_text(f"{BANK_FILE}keyFiles: [kek]\n")
    assert bank_command("export", BACKUP, "out.raw") == 0
    assert (tmp_path / "out.raw").read_bytes() == CONTENT
    capsys.readouterr()
    assert bank_command("show", BACKUP, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["encrypted"] is True


def test_names_of_a_bank_do_not_move_the_cursor(
    shell: ShellBank, capsys: pytest.CaptureFixture[str]
) -> None:
    from cinderbank.cli.bank_table import clean, print_table

    assert clean("a\x1b[2Jb\nc\u202e") == "a?[2Jb?c?"
    print_table(("A", "B"), [("x\x1b", "y")])
    assert "\x1b" not in capsys.readouterr().out


def test_a_long_list_is_printed_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    from cinderbank.cli.bank_table import print_table

    assert print_table(("A",), ([str(n)] for n in range(2500))) == 2500
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A"
    assert lines[2500] == "2499"


def test_help_needs_no_bank() -> None:
    code = "from cinderbank.cli.bank import run; import sys; sys.exit(run(['--help']))"
    child = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert b"usage: cinderbank bank" in child.stdout


def test_an_export_of_an_encrypted_volume_says_that_it_is_ciphertext(
    shell: ShellBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    escrowed.back_up(shell.store)
    (tmp_path / "kek").write_bytes(encoded_kek(escrowed.KEK))
    (tmp_path / "bank.yaml").write_text(f"{BANK_FILE}keyFiles: [kek]\n")
    assert bank_command("show", BACKUP) == 0
    assert bank_command("export", BACKUP, "volume.luks") == 0
    said = capsys.readouterr()
    assert "encrypted: luks, aes-xts-plain64, 256 bits" in said.out
    assert "volume.luks is CIPHERTEXT: a LUKS container" in said.out
    assert (tmp_path / "volume.luks").read_bytes() == escrowed.CONTENT
    for form in escrowed.forms():
        assert form not in (said.out + said.err).encode()
