"""A shell: its folder, its environment, and a bank file in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.shell_bank import BANK_FILE, ShellBank


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShellBank:
    """The store in memory stands where the S3 SDK's door is; all else is the real command."""
    bank = ShellBank()
    (tmp_path / "bank.yaml").write_text(BANK_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CINDERBANK_BANK_FILE", "bank.yaml")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-test")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setattr("cinderbank.cli.bank_file.S3Store", bank.open)
    return bank
