"""The fuzz targets for a moment each; `make nightly` gives them ten minutes."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, Target

EXAMPLES = 300


@pytest.mark.parametrize("name", TARGETS)
def test_every_sample_is_taken(name: str) -> None:
    """A target whose samples are refused would fuzz nothing but its first check."""
    target = TARGETS[name]
    assert target.samples
    assert all(target(body) for body in target.samples)


@pytest.mark.parametrize("name", TARGETS)
def test_nearly_right_inputs(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.integers(0, 2**64))
    def one(seed: int) -> None:
        target(mutated(target.samples, Random(seed)))

    one()


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.binary(max_size=400))
    def one(body: bytes) -> None:
        target(body)

    one()


@pytest.mark.parametrize("name", TARGETS)
def test_memory_follows_the_declared_sizes(name: str) -> None:
    target = TARGETS[name]
    for seed in range(60):
        body = mutated(target.samples, Random(seed))
        assert peak_bytes(target, body) <= target.allowed(body), seed


def peak_bytes(target: Target, body: bytes) -> int:
    tracemalloc.start()
    try:
        target(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_zstd_bomb_costs_no_more_than_the_chunk() -> None:
    """A frame that claims 1 GiB where 4 KiB must be, and one that lies about its size."""
    import zstandard

    target = TARGETS["envelope"]
    head = target.samples[0][:44]
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 24))
    for payload in (bomb, unsized):
        body = head[:9] + b"\x01" + head[10:] + payload
        assert target(body) is False
        assert peak_bytes(target, body) <= target.allowed(body)
