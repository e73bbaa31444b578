"""The codec against qemu-img, which is what Cinder and Glance call. The rig installs it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

from cinderbank.bank.geometry import allocation_map
from cinderbank.domain.errors import Unsupported
from cinderbank.transfer import vdi
from cinderbank.transfer.qcow2.decode import decode
from cinderbank.transfer.qcow2.encode import Layout
from tests.fakes.qcow2_images import Rereads, cut, joined
from tests.stage.required import missing

MIB = 1 << 20
SIZE = 20 * MIB + 512


def qemu_img(*arguments: object) -> str:
    """Its output; a failure shows its words."""
    tool = shutil.which("qemu-img")
    if tool is None:
        missing("qemu-img is missing: python3 -m tests.rig up installs it")
    command = [tool, *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, half of it easy to compress, with holes of many lengths between, and at the very end."""
    random, volume, at = Random(1), bytearray(SIZE), 0
    while at < SIZE:
        length = random.choice((512, 4096, 65536, 300_000))
        length = min(length, SIZE - at)
        volume[at : at + length] = random.choice(
            (random.randbytes(length), b"text" * (length // 4))
        )
        at += length + random.choice((0, 512, 4096, 100_000, 1_000_000))
    volume[-512:] = b"z" * 512
    path = tmp_path_factory.mktemp("raw") / "volume"
    path.write_bytes(volume)
    return path


OPTIONS: dict[str, list[str]] = {
    "as Cinder": [],
    "compat 0.10": ["-o", "compat=0.10"],
    **{f"cluster {n}": ["-o", f"cluster_size={n}"] for n in (512, 4096, 32768, 2 * MIB)},
    **{f"refcount {n}": ["-o", f"refcount_bits={n}"] for n in (1, 64)},
    "lazy refcounts": ["-o", "lazy_refcounts=on"],
    "sparse at 512 bytes": ["-S", "512"],
    "not sparse": ["-S", "0"],
    **{f"preallocation {n}": ["-o", f"preallocation={n}"] for n in ("metadata", "falloc", "full")},
    "metadata for 512": ["-o", "preallocation=metadata,cluster_size=512"],
    "compressed": ["-c"],
    "compressed, compat 0.10": ["-c", "-o", "compat=0.10"],
    "compressed zstd": ["-c", "-o", "compression_type=zstd"],
    "compressed, 2 MiB": ["-c", "-o", "cluster_size=2M"],
    "compressed zstd, 4 KiB": ["-c", "-o", "compression_type=zstd,cluster_size=4k"],
    "any order": ["-W", "-m", "16"],
}

ANY_ORDER = ("compressed", "any order", "preallocation falloc", "preallocation full")
"""Compressed data may lie before its L2 table, in the rest of a cluster; -W promises nothing; room that
is allocated as a whole has its tables behind it."""


@pytest.mark.parametrize("name", OPTIONS)
def test_an_image_of_qemu_img(name: str, raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *OPTIONS[name], raw, image)
    body = image.read_bytes()
    rereads = Rereads(body)
    found = joined(decode(cut(body, MIB), len(body), SIZE, rereads), SIZE)
    assert found == raw.read_bytes()
    if not name.startswith(ANY_ORDER):
        assert rereads.count == 0


@pytest.mark.parametrize("options", [[], ["-S", "512"], ["-S", "0"], ["-o", "static=on"]])
def test_a_vdi_image_of_qemu_img(options: list[str], raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("convert", "-f", "raw", "-O", "vdi", *options, raw, image)
    body = image.read_bytes()
    rereads = Rereads(body)
    found = joined(vdi.decode(cut(body, MIB), len(body), SIZE, rereads), SIZE)
    assert found == raw.read_bytes()
    assert rereads.count == 0


def test_a_vdi_image_in_any_order(raw: Path, tmp_path: Path) -> None:
    image, plain = tmp_path / "image", tmp_path / "plain"
    qemu_img("create", "-f", "vdi", image, SIZE)
    qemu_io = shutil.which("qemu-io")
    assert qemu_io is not None, "qemu-io comes with qemu-img"
    commands = ["write -P 7 15M 1M", "write -P 8 3M 100k", f"write -P 9 {SIZE - 512} 512"]
    commands += ["write -z 8M 1M", "write -P 4 64k 3M"]
    arguments = [word for command in commands for word in ("-c", command)]
    subprocess.run([qemu_io, *arguments, str(image)], check=True, stdout=subprocess.DEVNULL)
    qemu_img("convert", "-f", "vdi", "-O", "raw", image, plain)
    body = image.read_bytes()
    rereads = Rereads(body)
    found = joined(vdi.decode(cut(body, MIB), len(body), SIZE, rereads), SIZE)
    assert found == plain.read_bytes()
    assert rereads.count == 1


def test_several_gib_with_data_everywhere_are_in_order(tmp_path: Path) -> None:
    """Twelve L2 tables, allocated while the data comes; the places are far apart."""
    size, random = 6 << 30, Random(2)
    volume, image = tmp_path / "volume", tmp_path / "image"
    places = sorted(random.sample(range(size // 65536), 200))
    with volume.open("wb") as file:
        for place in places:
            file.seek(place * 65536)
            file.write(place.to_bytes(4, "big") * 16384)
        file.truncate(size)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", volume, image)
    body = image.read_bytes()
    rereads = Rereads(body)
    held = b"".join(bytes(e.data) for e in decode(cut(body, MIB), len(body), size, rereads))
    assert held == b"".join(place.to_bytes(4, "big") * 16384 for place in places)
    assert rereads.count == 0


def test_a_volume_that_was_written_by_a_machine(raw: Path, tmp_path: Path) -> None:
    """Discarded and overwritten clusters, in no order, as the image of a running machine has."""
    image = tmp_path / "image"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, image)
    qemu_img("resize", image, "40M")
    qemu_io = shutil.which("qemu-io")
    assert qemu_io is not None, "qemu-io comes with qemu-img"
    commands = ["write -P 7 30M 1M", "write -P 8 3M 100k", "discard 5M 2M", "write -z 8M 1M"]
    commands += ["write -z -u 10M 1M", "write -P 9 64k 64k", "write -c -P 3 25M 64k"]
    arguments = [word for command in commands for word in ("-c", command)]
    subprocess.run([qemu_io, *arguments, str(image)], check=True, stdout=subprocess.DEVNULL)
    plain = tmp_path / "plain"
    qemu_img("convert", "-O", "raw", image, plain)
    body = image.read_bytes()
    found = joined(decode(cut(body, MIB), len(body), 40 * MIB, Rereads(body)), 40 * MIB)
    assert found == plain.read_bytes()


def _create(*arguments: object) -> Callable[[Path, Path], object]:
    return lambda base, image: qemu_img("create", "-f", "qcow2", *arguments, image, SIZE)


def _with_snapshot(base: Path, image: Path) -> None:
    qemu_img("create", "-f", "qcow2", image, SIZE)
    qemu_img("snapshot", "-c", "moment", image)


def _with_backing(base: Path, image: Path) -> None:
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "raw", image)


def _with_data_file(base: Path, image: Path) -> None:
    data = image.with_suffix(".data")
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={data}", image, SIZE)


REFUSED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "extended L2": (_create("-o", "extended_l2=on"), "extended L2"),
    "data file": (_with_data_file, "external data file"),
    "backing file": (_with_backing, "backing file"),
    "AES": (
        _create(
            "--object", "secret,id=s,data=passphrase", "-o", "encryption=on,encrypt.key-secret=s"
        ),
        "encryption",
    ),
    "snapshot": (_with_snapshot, "snapshots"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_images_that_are_not_read(name: str, raw: Path, tmp_path: Path) -> None:
    make, word = REFUSED[name]
    image = tmp_path / "image"
    make(raw, image)
    body = image.read_bytes()
    with pytest.raises(Unsupported, match=word) as raised:
        list(decode(cut(body, MIB), len(body), SIZE, Rereads(body)))
    assert raised.value.reason == "ImageUnsupported"


def encode(volume: bytes, chunk_bytes: int, image: Path) -> None:
    """As a restore sends it."""
    chunks = list(cut(volume, chunk_bytes))
    maps = [allocation_map(chunk.ljust(chunk_bytes, b"\0")) for chunk in chunks]
    layout = Layout(len(volume), chunk_bytes, np.array(maps, np.uint64))
    with image.open("wb") as file:
        file.writelines(layout.metadata())
        for index, chunk in enumerate(chunks):
            file.writelines(chunk[start:stop] for start, stop in layout.runs(index))
        file.write(bytes(layout.padding_bytes))
    assert image.stat().st_size == layout.length_bytes


@pytest.mark.parametrize("chunk_bytes", [4096, 65536, MIB, 4 * MIB, 16 * MIB])
def test_qemu_img_reads_what_we_write(chunk_bytes: int, raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    encode(raw.read_bytes(), chunk_bytes, image)
    assert "No errors were found" in qemu_img("check", "-f", "qcow2", image)
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, image)


@pytest.mark.parametrize("size", [512, 4096, 4608, 2 * MIB, 2 * MIB + 512])
@pytest.mark.parametrize("chunk_bytes", [4096, 4 * MIB])
@pytest.mark.parametrize("held", ["nothing", "the first byte", "the last byte"])
def test_small_and_empty_volumes(size: int, chunk_bytes: int, held: str, tmp_path: Path) -> None:
    """With chunks of 4 KiB an L2 table ends at 2 MiB."""
    volume = bytearray(size)
    if held != "nothing":
        volume[0 if held == "the first byte" else -1] = 1
    image, plain = tmp_path / "image", tmp_path / "plain"
    plain.write_bytes(volume)
    encode(bytes(volume), chunk_bytes, image)
    assert "No errors were found" in qemu_img("check", "-f", "qcow2", image)
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", plain, image)


def test_a_sparse_tebibyte_is_checked(tmp_path: Path) -> None:
    """Refcounts and tables of a large image: the data is left a hole of the file."""
    size, chunk = 1 << 40, 4 * MIB
    maps = np.zeros(size // chunk, np.uint64)
    maps[::500] = 0b11
    maps[-1] = 1 << 63
    layout = Layout(size, chunk, maps)
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.writelines(layout.metadata())
        file.truncate(layout.length_bytes)
    assert "No errors were found" in qemu_img("check", "-f", "qcow2", image)
