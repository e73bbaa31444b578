"""What docs/s3-servers.md says of a server is what the server does.

The table is made here: CINDERBANK_WRITE_MEASUREMENTS=1 writes the rows of the servers that are up, with
the day, to be read before they are committed. Without it the rows must be true, times aside.
"""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3
from minio import Minio

from cinderbank.adapters.s3 import S3Store
from cinderbank.bank.health import probe
from tests.contract.bank.conftest import credentials_of, emptied, location_of
from tests.fakes.backups import SITE
from tests.rig.s3 import CHOICES, Store

PAGE = Path(__file__).parents[3] / "docs" / "s3-servers.md"
pytestmark = pytest.mark.timeout(1200)

EMPTY_MD5 = "1B2M2Y8AsgTpgAmY7PhCfg=="
RACES, RACERS = 20, 16
FRESH, READERS = 200, 8


def yes(ok: bool) -> str:
    return "yes" if ok else "**no**"


def race(store: S3Store) -> str:
    """Of 20 keys that 16 create at once, how many had exactly one winner."""
    with ThreadPoolExecutor(RACERS) as pool:
        good = 0
        for number in range(RACES):
            key = f"race/{number}"
            bodies = [f"{racer}".encode() for racer in range(RACERS)]
            won = list(pool.map(lambda b, k=key: store.put(k, b, if_absent=True), bodies))
            winners = [body for body, first in zip(bodies, won, strict=True) if first]
            good += winners == [store.get(key, 100)]
    return f"{good} of {RACES}"


def fresh(store: S3Store) -> str:
    """Objects written by 8 at once, each read, listed, overwritten, deleted: how many were stale."""

    def one(number: int) -> bool:
        key = f"fresh/{number}"
        store.put(key, b"one")
        good = store.get(key, 10) == b"one"
        good = good and [row.key for row in store.list_keys(key)][:1] == [key]
        store.put(key, b"two")
        good = good and store.get(key, 10) == b"two"
        store.delete_many([key])
        return good and store.get(key, 10) is None and store.head(key) is None

    with ThreadPoolExecutor(READERS) as pool:
        return f"{list(pool.map(one, range(FRESH))).count(False)} of {FRESH}"


def wrong_sum(server: Store, header: str, value: str) -> str:
    """The status of a PUT whose checksum is of other bytes."""
    address = urlsplit(server.endpoint)
    keys = server.keys
    client = Minio(
        address.netloc, keys.access_key, keys.secret_key, secure=False, region=server.region
    )
    url = client.presigned_put_object(
        server.bucket, f"wrong/{header.lower()}", timedelta(minutes=5)
    )
    answer = urllib3.request(
        "PUT", url, body=b"these bytes", headers={header: value}, retries=False
    )
    return f"{answer.status}" + (" (ignored)" if answer.status == 200 else "")


def missing_bucket(server: Store) -> str:
    """What a PUT into a bucket that is not there does."""
    address, name = urlsplit(server.endpoint), f"none-{uuid.uuid4().hex[:12]}"
    keys = server.keys
    client = Minio(
        address.netloc, keys.access_key, keys.secret_key, secure=False, region=server.region
    )
    url = client.presigned_put_object(name, "x", timedelta(minutes=5))
    status = urllib3.request("PUT", url, body=b"x", retries=False).status
    if status != 200:
        return f"{status}"
    client.remove_object(name, "x")
    client.remove_bucket(name)
    return "**makes the bucket**"


def rows_of(server: Store, store: S3Store) -> dict[str, str]:
    """Every row but the day."""
    able = probe(store, SITE)
    return {
        "read after write": yes(able.read_after_write),
        "list after write": yes(able.list_after_write),
        "gone after delete": yes(able.delete_visible),
        "`If-None-Match: *` honoured": yes(able.conditional_put),
        f"one winner, {RACERS} creators at once": race(store),
        "range reads": yes(able.range_reads),
        f"stale answers, {READERS} writers": fresh(store),
        "PUT into a bucket that is not there": missing_bucket(server),
        "PUT with a wrong `Content-MD5`": wrong_sum(server, "Content-MD5", EMPTY_MD5),
    }


def table() -> dict[str, dict[str, str]]:
    """server -> row -> what the page says."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    head, *body = rows
    return {
        server: {row[0]: row[number + 1] for row in body} for number, server in enumerate(head[1:])
    }


def write(server: str, found: dict[str, str]) -> None:
    known = table()
    known[server] = {**known.get(server, {}), **found}
    names = list(dict.fromkeys(name for rows in known.values() for name in rows))
    lines = ["| check | " + " | ".join(known) + " |", "|---" * (len(known) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(rows.get(name, "") for rows in known.values()) + " |"
        for name in names
    ]
    text = PAGE.read_text()
    first, last = text.index("| check |"), text.rindex("|\n") + 2
    PAGE.write_text(text[:first] + "\n".join(lines) + "\n" + text[last:])


def test_the_table_is_true(s3_server: Store) -> None:
    with emptied(location_of(s3_server), credentials_of(s3_server)) as store:
        found = rows_of(s3_server, store)
    if os.environ.get("CINDERBANK_WRITE_MEASUREMENTS") == "1":
        write(s3_server.server, {**found, "measured": f"{datetime.now(UTC):%Y-%m-%d}"})
    told = table()[s3_server.server]
    assert {name: told[name] for name in found} == found


def test_the_table_names_every_server_of_the_suite() -> None:
    assert set(table()) == set(CHOICES)
