"""Tell everything of one backup that its manifest says."""

from __future__ import annotations

import argparse
from typing import Any

from cinderbank.bank import catalog
from cinderbank.bank.manifest import Manifest
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank_backup import add_site_argument, open_backup
from cinderbank.cli.bank_file import open_bank
from cinderbank.cli.bank_ls import told_damage
from cinderbank.domain import encryption


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", type=table.backup_id, metavar="BACKUP_ID")
    add_site_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    with open_bank(arguments.bank) as bank:
        manifest = open_backup(bank, arguments.backup, arguments.site).manifest
        about = manifest.description
        degraded = told_damage(bank).has_backup(about.site, about.backup_id)
        if arguments.output == "json":
            table.print_json(_document(manifest, degraded))
        else:
            table.print_fields(_fields(manifest, degraded))
    return 0


def _document(manifest: Manifest, degraded: bool) -> dict[str, Any]:
    about, source = manifest.description, manifest.source_hash
    return {
        "backupID": about.backup_id,
        "backupName": about.backup_name,
        "description": about.description,
        "state": "Degraded" if degraded else "OK",
        "site": about.site,
        "begun": table.json_time(catalog.begun_at(about.backup_id)),
        "snapshotTime": table.json_time(about.snapshot_at),
        "tags": about.tags,
        "volume": {
            "id": about.volume_id,
            "name": about.volume_name,
            "description": about.volume_description,
            "type": about.volume_type,
            "availabilityZone": about.availability_zone,
            "bootable": about.bootable,
            "metadata": about.volume_metadata,
            "imageMetadata": about.image_metadata,
        },
        "content": {
            "sizeBytes": about.size_bytes,
            "storedBytes": about.stored_bytes,
            "reusedBytes": about.reused_bytes,
            "zeroBytes": manifest.zero_bytes,
            "dataBytes": about.data_bytes,
            "contentHash": about.content_hash,
            "contentFormat": about.content_format,
            "transport": about.transport,
            "chunkBytes": manifest.geometry.chunk_bytes,
            "chunks": manifest.geometry.chunk_count,
            "sourceHash": None
            if source.value is None
            else {"algo": source.algo, "value": source.value, "verified": source.verified},
        },
        "encrypted": manifest.hash_key is not None,
        "volumeEncryption": None if about.encryption is None else encryption.told(about.encryption),
        "borrowsFrom": [
            {"site": ref.site, "backupID": ref.backup_id} for ref in manifest.sessions[1:]
        ],
    }


def _fields(manifest: Manifest, degraded: bool) -> list[tuple[str, str]]:
    about = manifest.description
    told = [
        ("Backup", about.backup_id),
        ("State", "Degraded: `cinderbank bank check` tells what is lost" if degraded else "OK"),
        ("Name", about.backup_name),
        ("Description", about.description),
        ("Site", about.site),
        ("Moment", table.shown_time(about.snapshot_at)),
        ("Volume", f"{about.volume_id} {about.volume_name}".strip()),
        ("Volume type", about.volume_type),
        ("Zone", about.availability_zone),
        ("Bootable", "yes" if about.bootable else "no"),
        ("Size", f"{table.shown_bytes(about.size_bytes)} ({about.size_bytes} bytes)"),
        ("Data", "" if about.data_bytes is None else table.shown_bytes(about.data_bytes)),
        ("Stored", table.shown_bytes(about.stored_bytes)),
        ("Borrowed", table.shown_bytes(about.reused_bytes)),
        ("Zeros", table.shown_bytes(manifest.zero_bytes)),
        (
            "Chunks",
            f"{manifest.geometry.chunk_count} of {table.shown_bytes(manifest.geometry.chunk_bytes)}",
        ),
        ("Encrypted", "no" if manifest.hash_key is None else "yes"),
        (
            "Volume is",
            ""
            if about.encryption is None
            else f"encrypted: {encryption.told(about.encryption)}; its key is here",
        ),
        ("Content hash", about.content_hash),
        ("Looks like", about.content_format or ""),
        ("Transport", about.transport or ""),
    ]
    told += [("Borrows from", f"{ref.backup_id} of {ref.site}") for ref in manifest.sessions[1:]]
    for name, pairs in (
        ("Tag", about.tags),
        ("Metadata", about.volume_metadata),
        ("Image metadata", about.image_metadata),
    ):
        told += [(name, f"{key}={value}") for key, value in sorted(pairs.items())]
    return [(name, value) for name, value in told if value]
