"""`cinderbank transfer --job FILE`: move the bytes of one backup, restore or copy, and say so on stdout.

Exit codes: 0 done; 64 the job is wrong; 65 source or data is corrupt, gone or not supported; 66 the
bank refuses; 69 the cloud refuses; 75 worth another try; 130 cancelled. Only 0 comes with a `result`
line, every other one but 130 with an `error` line. Logs go to stderr.

It ends at once when stdin closes: the operator that started it died, and a transfer must not outlive
it. Ending at once is safe at any moment: what is in the bank is no backup without its seal.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from cinderbank.adapters.bandwidth import Bandwidth
from cinderbank.adapters.openstack.errors import Call, mapped, refusal
from cinderbank.adapters.openstack.key_manager import OpenStackKeyManager
from cinderbank.adapters.openstack.session import connect
from cinderbank.adapters.ready_process import PATIENCE_SECONDS
from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.wrapped_keys import parse_kek
from cinderbank.domain.errors import (
    CinderbankError,
    DataCorrupt,
    InvalidSpec,
    Retryable,
    SourceGone,
    Unsupported,
)
from cinderbank.ports.transfers import BackupTransfer, CompareTransfer, CopyTransfer
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.compare import Comparison, run_compare
from cinderbank.transfer.copy import run_copy
from cinderbank.transfer.events import EventWriter, ProgressMeter
from cinderbank.transfer.glance_stream import Glance
from cinderbank.transfer.job import BankJob, Job, load
from cinderbank.transfer.restore import Restored, run_restore
from cinderbank.transfer.upload_limit import UploadSlots

OK, INVALID_JOB, CORRUPT, BANK, CLOUD, TRY_AGAIN, CANCELLED = 0, 64, 65, 66, 69, 75, 130

log = logging.getLogger(__name__)


def run(argv: Sequence[str]) -> NoReturn:
    """Run one transfer, and end the process with its exit code.

    At once: all is closed and said, and to take apart what was imported costs the interpreter 0.2 s.
    """
    code = _run(argv)
    sys.stderr.flush()
    os._exit(code)


def _run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="cinderbank transfer", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="the job file (JSON, no secrets)")
    parser.add_argument(
        "--wait", action="store_true", help="read the job when a line has come on stdin"
    )
    arguments = parser.parse_args(list(argv))
    # INFO of the SDKs would tell every request; DEBUG would tell their headers.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    events = EventWriter(sys.stdout.fileno())
    signal.signal(signal.SIGTERM, lambda *_: os._exit(CANCELLED))
    signal.signal(signal.SIGINT, lambda *_: os._exit(CANCELLED))
    if arguments.wait and not _told_to_begin():
        return CANCELLED
    threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    try:
        job = load(arguments.job)
        meter = ProgressMeter(job.transfer.size_bytes, events.progress)
        done = _run_job(job, meter)
    except CinderbankError as error:
        events.error(error)
        return exit_code(error)
    except MemoryError:
        events.error(Retryable("the transfer has too little memory", reason="OutOfMemory"))
        return TRY_AGAIN
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator must read an error line
        # Its text may hold a URL or a header; the class and the traceback's place are enough.
        log.error("unexpected %s at %s", type(error).__name__, _place(error))
        events.error(Retryable(f"unexpected {type(error).__name__} at {_place(error)}"))
        return TRY_AGAIN
    if isinstance(done, Comparison):
        events.compared(done.content_hash, meter.now(), done.different)
    else:
        events.result(done.content_hash, meter.now(), done.lost)
    return OK


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _told_to_begin() -> bool:
    """False when stdin is closed instead, or nothing comes."""
    readable, _, _ = select.select([0], [], [], PATIENCE_SECONDS)
    return bool(readable) and os.read(0, 1) == b"\n"


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(CANCELLED)


def exit_code(error: CinderbankError) -> int:
    """See the module's docstring; `retryable` of the error line says the same as 75."""
    if isinstance(error, Retryable):
        return TRY_AGAIN
    if error.reason == "InvalidJob":
        return INVALID_JOB
    if error.reason.startswith(("Bank", "Bucket")):
        return BANK
    if isinstance(error, DataCorrupt | SourceGone | Unsupported):
        return CORRUPT
    return CLOUD


def _run_job(job: Job, meter: ProgressMeter) -> Restored | Comparison:
    uploads = UploadSlots()
    with ExitStack() as opened:
        if isinstance(job.transfer, CopyTransfer):
            if job.target is None:
                raise InvalidSpec("transfer job: target: missing", reason="InvalidJob")
            source = _open_bank(job.bank, "bank", opened)
            target = _open_bank(job.target, "target", opened, uploads.slow_down)
            copy = run_copy(job.transfer, source, target, meter, uploads=uploads)
            return Restored(copy.description.content_hash)
        bank = _open_bank(job.bank, "bank", opened, uploads.slow_down)
        if job.cloud is None:
            raise InvalidSpec("transfer job: cloud: missing", reason="InvalidJob")
        ca_file = Path(job.cloud.ca_file) if job.cloud.ca_file else None
        connection = connect(Path(job.cloud.clouds_file), job.cloud.cloud_name, cacert=ca_file)
        opened.callback(connection.close)
        glance = Glance(connection, mapped, _refused)
        if isinstance(job.transfer, BackupTransfer):
            geometry = Geometry(job.transfer.size_bytes, job.bank.chunk_bytes)
            digest = run_backup(
                job.transfer,
                bank,
                glance,
                meter,
                geometry,
                uploads=uploads,
                key_manager=OpenStackKeyManager(connection),
            )
            return Restored(digest)
        if isinstance(job.transfer, CompareTransfer):
            return run_compare(job.transfer, bank, glance, meter)
        return run_restore(job.transfer, bank, glance, meter)


def _open_bank(
    bank: BankJob,
    field: str,
    opened: ExitStack,
    slow_down: Callable[[], None] = lambda: None,
) -> StoredBank:
    """Closed with `opened`; `slow_down` is told when its store asks for less."""
    store = S3Store(
        _location(bank),
        _credentials(bank, field),
        slow_down=slow_down,
        bandwidth=_bandwidth(bank),
    )
    opened.callback(store.close)
    return StoredBank(
        store,
        bank.site,
        bank.read_only,
        bank.bank_id,
        keks=_keks(bank, field),
        accepts_plain=bank.accepts_plain,
    )


def _bandwidth(bank: BankJob) -> Bandwidth | None:
    limit = bank.bandwidth_bytes_per_second
    return None if limit is None else Bandwidth(limit)


def _refused(answer: Any, verb: str, resource: str) -> CinderbankError:
    return refusal(answer, Call(verb, resource))


def _location(bank: BankJob) -> S3Location:
    return S3Location(
        bank.endpoint_url,
        bank.bucket,
        bank.prefix,
        bank.region,
        bank.addressing,
        bank.ca_file,
        bank.insecure_skip_tls_verify,
    )


def _credentials(bank: BankJob, field: str) -> S3Credentials:
    try:
        fields = json.loads(Path(bank.credentials_file).read_text("utf-8"))
        return S3Credentials(
            str(fields["access_key"]), str(fields["secret_key"]), fields.get("session_token")
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # Never its text: that may quote the file.
        raise InvalidSpec(
            f"transfer job: {field}.credentials_file is not readable ({type(error).__name__})",
            reason="InvalidJob",
        ) from None


def _keks(bank: BankJob, field: str) -> tuple[KeyEncryptionKey, ...]:
    if bank.keys_file is None:
        return ()
    try:
        encoded = json.loads(Path(bank.keys_file).read_text("utf-8"))
        return tuple(
            parse_kek(str(kek).encode(), f"transfer job: {field}.keys_file") for kek in encoded
        )
    except (OSError, ValueError, TypeError) as error:
        # Never its text: that may quote the file.
        raise InvalidSpec(
            f"transfer job: {field}.keys_file is not readable ({type(error).__name__})",
            reason="InvalidJob",
        ) from None
