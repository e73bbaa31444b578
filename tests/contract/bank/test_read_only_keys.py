"""S3 keys that can not write, on a real server: enough to read, and told by name when more is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Store
from cinderbank.bank.health import validate
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import Forbidden
from tests.contract.bank.conftest import credentials_of, emptied, location_of, ready
from tests.fakes.backups import BACKUP, SITE, back_up, bank_on, sample
from tests.rig import s3 as rig_s3

CONTENT = sample("trz", tail=10)


@pytest.mark.parametrize("allowed", [(), ("s3:PutObject",)])
def test_keys_that_can_not_write(allowed: tuple[str, ...]) -> None:
    """Nothing of ours may write; or may put, and not delete."""
    server = ready(rig_s3.MINIO)
    location = location_of(server)
    bucket = f"arn:aws:s3:::{server.bucket}"
    statements = [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket]},
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", *allowed],
            "Resource": [f"{bucket}/{location.prefix}/*"],
        },
    ]
    keys = rig_s3.restricted_keys(server, {"Version": "2012-10-17", "Statement": statements})
    with emptied(location, credentials_of(server)) as store:
        bank_id = back_up(store, CONTENT).open().bank_id
        found = S3Store(location, S3Credentials(keys.access_key, keys.secret_key))
        health = validate(bank_on(found, read_only=True))
        assert (health.bank_id, health.writable, health.problems) == (bank_id, False, ())
        reader = BackupReader.open(found, SITE, BACKUP)
        for entry in reader.entries():
            if not entry.is_hole:
                reader.read_chunk(entry, reader.envelope())
        with pytest.raises(Forbidden) as caught:
            validate(bank_on(found))
        found.close()
        assert caught.value.reason == "BankNotWritable"
        assert "accessMode: ReadOnly" in caught.value.message
        assert keys.secret_key not in caught.value.message
        # An empty place is told in the same words, by who would have to begin the bank there.
        nowhere = replace(location, prefix=f"{location.prefix}/sub")
        begins = S3Store(nowhere, S3Credentials(keys.access_key, keys.secret_key))
        if not allowed:
            with pytest.raises(Forbidden) as refused:
                validate(bank_on(begins))
            assert refused.value.reason == "BankNotWritable"
        begins.close()
