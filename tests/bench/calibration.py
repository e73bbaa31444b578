"""A fixed piece of work that tells how fast the machine is just now.

Repeated before, between and after the measurements; how far apart the times are is the noise.
"""

from __future__ import annotations

import hashlib
import time
import zlib

import numpy as np

MIB = 1 << 20
ROUNDS = 12


def calibrate() -> float:
    """Seconds for hashing, compressing and copying the same 16 MiB again and again."""
    data = np.random.default_rng(1).bytes(16 * MIB)
    text = data[: 2 * MIB].hex().encode()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        hashlib.sha256(data)
        zlib.compress(text[:MIB], 1)
        target = bytearray(data)
        target[:] = data
    return time.perf_counter() - began
