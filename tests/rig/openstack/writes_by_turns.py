"""Writes 1 into the first image, 1 into the second, 2 into the first, ... until it is killed.

Run by the Python that has Ceph's modules: CEPH_CONF POOL IMAGE IMAGE. Each number is 8 bytes, big endian,
at offset 0, and is written only when the one before it was. So in a snapshot of both of one moment the
first number is the second one or one more. "writing" on stdout says that it has begun.
"""

import itertools
import struct
import sys

import rados
import rbd


def main(settings: str, pool: str, names: list[str]) -> None:
    with rados.Rados(conffile=settings) as cluster, cluster.open_ioctx(pool) as ioctx:
        images = [rbd.Image(ioctx, name) for name in names]
        for number in itertools.count(1):
            for image in images:
                write(image, struct.pack(">Q", number))
            if number == 20:
                print("writing", flush=True)


def write(image: rbd.Image, data: bytes) -> None:
    while True:
        try:
            image.write(data, 0)
            image.flush()
            return
        except rbd.ReadOnlyImage:  # somebody else has the image's exclusive lock: for a moment
            continue


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
