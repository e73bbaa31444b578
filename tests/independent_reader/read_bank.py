"""Restores one backup from a directory of objects, written from docs/bank-format.md alone.

Nothing of cinderbank is imported: this proves that the document is enough. It trusts nothing, says
what is wrong, and never writes zeros where a chunk is missing.

    read_bank.py DIRECTORY SITE BACKUP OUTPUT [KEY_FILE ...]
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SITE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_JSON = 16 << 20


class Refused(Exception):
    """The backup can not be restored, and why."""


def need(condition: object, why: str) -> None:
    if not condition:
        raise Refused(why)


def derive(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, b"cinderbank/1 " + purpose.encode() + b"\x01", "sha256")


class Bank:
    """A directory whose files are the objects; `keks` are the 32 byte keys that we hold."""

    def __init__(self, directory: Path, keks: list[bytes]) -> None:
        self.directory = directory
        self.volume_key: bytes | None = None
        self.keks = {derive(kek, "key id")[:8].hex(): kek for kek in keks}
        self.data_keys: dict[str, bytes] = {}
        header = self.mark(self.get("bank.json", 65536), "bank.json", "cinderbank")
        need(UUID.fullmatch(header["bank_id"]), "bank.json: no bank id")
        self.bank_id: str = header["bank_id"]

    def get(self, key: str, most: int) -> bytes:
        path = self.directory / key
        need(path.is_file(), f"{key} is missing")
        need(path.stat().st_size <= most, f"{key} is larger than {most} bytes")
        return path.read_bytes()

    @staticmethod
    def mark(body: bytes, key: str, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(body)
        stamp = document["format"]
        need(stamp["name"] == name and stamp["major"] == 1, f"{key} is no {name} of format 1")
        unknown = set(stamp["required"]) - {"encryption", "volume-encryption"}
        need(not unknown, f"{key} needs {unknown}")
        return document

    def data_key(self, name: str) -> bytes:
        if name in self.data_keys:
            return self.data_keys[name]
        for kek_id, kek in self.keks.items():
            key = f"keys/{name}/{kek_id}"
            if not (self.directory / key).is_file():
                continue
            found = self.mark(self.get(key, 65536), key, "cinderbank-key")
            nonce, wrapped = bytes.fromhex(found["nonce"]), bytes.fromhex(found["wrapped"])
            try:
                aad = f"{self.bank_id} {key}".encode()
                secret = AESGCM(derive(kek, "wrap")).decrypt(nonce, wrapped, aad)
            except InvalidTag:
                raise Refused(f"{key} does not unwrap") from None
            commitment = derive(secret, f"commitment {self.bank_id} {name}")
            need(hmac.compare_digest(commitment.hex(), found["commitment"]), f"{key}: commitment")
            self.data_keys[name] = secret
            return secret
        raise Refused(f"no key of ours opens data key {name}")

    def open_envelope(self, key: str, body: bytes, length: int | None, encrypted: bool) -> bytes:
        """The plain bytes; `length` is how many there must be (None: the header may say)."""
        need(len(body) >= 40, f"{key} is too short")
        magic, version, packing, encryption, reserved, name, plain, nonce = struct.unpack(
            "<4sBBBB16sI12s", body[:40]
        )
        need(magic == b"OSBK" and version == 1 and reserved == 0, f"{key} is no envelope")
        need(packing in (0, 1) and encryption in (0, 1), f"{key} is of a newer writer")
        need(encryption == encrypted, f"{key}: encrypted is {encryption}")
        need(plain == length if length is not None else plain <= MAX_JSON, f"{key}: plain length")
        payload = body[40:]
        if encryption:
            place = f"{self.bank_id} {key}"
            cipher = AESGCM(derive(self.data_key(name.hex()), f"object {place}"))
            try:
                payload = cipher.decrypt(nonce, payload, body[:40] + place.encode())
            except InvalidTag:
                raise Refused(f"{key} does not decrypt") from None
        else:
            need(not any(name) and not any(nonce), f"{key}: key or nonce without encryption")
        if packing == 1:
            claimed = zstandard.get_frame_parameters(payload).content_size
            need(claimed == plain, f"{key}: zstd frame claims {claimed} bytes")
            decompressor = zstandard.ZstdDecompressor(max_window_size=16 << 20)
            payload = decompressor.decompress(payload, allow_extra_data=False)
        need(len(payload) == plain, f"{key} holds {len(payload)} bytes, not {plain}")
        return payload

    def manifest(self, site: str, backup: str) -> tuple[dict[str, Any], bool]:
        need(SITE.fullmatch(site) and ULID.fullmatch(backup), "no such site or backup")
        base = f"sites/{site}"
        seals = list((self.directory / base / "seals").glob(f"{backup}.*"))
        need(len(seals) == 1, f"{backup} has {len(seals)} seals")
        need(not (self.directory / base / "tombs" / backup).exists(), f"{backup} is deleted")
        volume = seals[0].name.partition(".")[2]
        need(UUID.fullmatch(volume), f"{seals[0].name} is no seal")
        key = f"{base}/seals/{backup}.{volume}"
        seal = self.mark(self.get(key, 65536), key, "cinderbank-seal")
        need(seal["state"] == "OK", f"{backup} is {seal['state']}")
        key = f"{base}/backups/{volume}/{backup}/manifest"
        body = self.get(key, MAX_JSON)
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        need(digest == seal["manifest"], f"{key} is not the one that was sealed")
        encrypted = body.startswith(b"OSBK")
        if encrypted:
            body = self.open_envelope(key, body, None, True)
        found = self.mark(body, key, "cinderbank-manifest")
        about = found["backup"]
        named = (about["site"], about["volume_id"], about["backup_id"])
        need(named == (site, volume, backup), f"{key} is of another backup")
        if "volume-encryption" in found["format"]["required"]:
            need(encrypted, f"{key} holds the key of a volume in the clear")
            self.volume_key = base64.b64decode(
                found["volume_encryption"]["key"]["payload"], validate=True
            )
        return found, encrypted

    def read(self, site: str, backup: str) -> Iterator[bytes]:
        """The volume's bytes, chunk by chunk, each compared with its hash, then the hash over all of them."""
        found, encrypted = self.manifest(site, backup)
        content, index, whole = found["content"], found["index"], hashlib.sha256()
        size, step, per_part = content["size_bytes"], content["chunk_bytes"], index["part_entries"]
        hash_key = None
        algorithm = "blake3-256-keyed" if encrypted else "blake3-256"
        need(content["chunk_hash"] == algorithm, f"hash is {content['chunk_hash']}")
        if encrypted:
            hash_key = derive(self.data_key(content["hash_key"]), f"chunk hash {self.bank_id}")
        count, data = -(-size // step), 0
        need(len(index["parts"]) == -(-count // per_part), "too many or too few index parts")
        base = f"sites/{site}/backups/{found['backup']['volume_id']}/{backup}"
        for number, part in enumerate(index["parts"]):
            first = number * per_part
            length = 64 * min(per_part, count - first)
            key = f"{base}/index/{part['attempt']:04x}/{number:08x}"
            body = self.open_envelope(key, self.get(key, length + 56), length, encrypted)
            need(blake3(body, key=hash_key).hexdigest() == part["hash"], f"{key}: hash")
            for position in range(length // 64):
                at = first + position
                entry = struct.unpack_from("<32sQIIHHHHII", body, position * 64)
                whole.update(entry[0])
                data += self.data_bytes(entry[1], at * step, step // 64, size)
                yield self.chunk(found, entry, at, min(step, size - at * step), hash_key)
        need(whole.hexdigest() == content["content_hash"], "the hash over all chunks differs")
        need(
            data == content["data_bytes"], f"{data} bytes of data, {content['data_bytes']} expected"
        )

    @staticmethod
    def data_bytes(allocation: int, first: int, piece: int, size: int) -> int:
        starts = (first + bit * piece for bit in range(64) if allocation >> bit & 1)
        return sum(min(piece, size - start) for start in starts)

    def chunk(
        self, found: dict[str, Any], entry: Any, at: int, length: int, hash_key: bytes | None
    ) -> bytes:
        digest, _, own, _, session, attempt, reserved, flags, offset, reserved2 = entry
        need(own == at, f"entry {at} says it is {own}")
        need(not (reserved or offset or reserved2 or flags & ~1), f"entry {at}: newer writer")
        if flags & 1:
            need(not any(digest), f"entry {at} is a hole with a hash")
            return bytes(length)
        need(session < len(found["sessions"]) and attempt, f"entry {at}: no such session")
        owner = found["sessions"][session]
        need(SITE.fullmatch(owner["site"]) and ULID.fullmatch(owner["id"]), "bad session")
        key = f"sites/{owner['site']}/chunks/{owner['id']}/{attempt:04x}/{at:08x}"
        body = self.get(key, length + 56)
        plain = self.open_envelope(key, body, length, hash_key is not None)
        need(blake3(plain, key=hash_key).digest() == digest, f"{key}: hash")
        return plain


def read_key(path: Path) -> bytes:
    content = path.read_bytes()
    return content if len(content) == 32 else base64.b64decode(content.strip(), validate=True)


def main(arguments: list[str]) -> int:
    directory, site, backup, output, *key_files = arguments
    try:
        bank = Bank(Path(directory), [read_key(Path(name)) for name in key_files])
        with Path(output).open("wb") as file:
            for plain in bank.read(site, backup):
                file.write(plain)
        if bank.volume_key is not None:
            # For `cryptsetup open` or qemu: what is in OUTPUT is a LUKS container, and this opens it.
            Path(f"{output}.passphrase").write_text(bank.volume_key.hex())
    except (Refused, ValueError, KeyError, TypeError, struct.error, zstandard.ZstdError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
