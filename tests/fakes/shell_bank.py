"""A bank for `cinderbank bank` in this process: a bank file, credentials, and a store in memory."""

from __future__ import annotations

from cinderbank.adapters.s3_location import S3Credentials, S3Location
from tests.fakes.object_store import MemoryStore

WHERE = "https://s3.example.org:9000/cinderbank/backups"
BANK_FILE = """\
endpoint: https://s3.example.org:9000
bucket: cinderbank
prefix: backups
"""


class ShellStore(MemoryStore):
    """Behind the S3 door of the command line."""

    def where(self) -> str:
        return WHERE

    def close(self) -> None:
        """Nothing is held."""


class ShellBank:
    def __init__(self) -> None:
        self.store = ShellStore()
        self.opened: list[tuple[S3Location, S3Credentials]] = []

    def open(self, location: S3Location, credentials: S3Credentials) -> ShellStore:
        location.check()
        self.opened.append((location, credentials))
        return self.store
