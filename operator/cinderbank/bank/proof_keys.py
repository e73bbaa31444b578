"""Keys of proofs: all that a proof says is in its key. As bank.layout, of which this is a part."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cinderbank.bank.layout import is_backup_id, is_site, site_prefix
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import BackupId
from cinderbank.domain.proofs import Found, Proof

_TIME = "%Y%m%d%H%M%S"
_PROOF = re.compile(
    r"sites/([^/]+)/proofs/([^/]+)/([^/]+)/(drill|full|sample|different)-([0-9]{14})", re.ASCII
)


def proofs_prefix(by: str) -> str:
    """What the site `by` has found out about backups of any site."""
    return f"{site_prefix(by)}proofs/"


def proof_prefix(by: str, site: str, backup_id: str) -> str:
    if not (is_site(site) and is_backup_id(backup_id)):
        raise InvalidSpec(
            f"no backup {backup_id[:80]!r} of {site[:80]!r}", reason="InvalidIdentifier"
        )
    return f"{proofs_prefix(by)}{site}/{backup_id}/"


def proof(by: str, of: Proof) -> str:
    prefix = proof_prefix(by, of.site, of.backup_id)
    return f"{prefix}{of.found}-{of.at.astimezone(UTC):{_TIME}}"


def parse_proof(key: str) -> Proof | None:
    """A listed proof; None when it is foreign."""
    read = _PROOF.fullmatch(key)
    if read is None or not (is_site(read[1]) and is_site(read[2]) and is_backup_id(read[3])):
        return None
    try:
        at = datetime.strptime(read[5], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Proof(read[2], BackupId(read[3]), Found(read[4]), at)
