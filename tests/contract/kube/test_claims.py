"""The claims port, against the fake and a real API server with the rights that deploy/ gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from cinderbank.adapters.kube.claims import KubeClaims
from cinderbank.domain.claim import (
    ClaimedVolume,
    NewClaim,
    NewPersistentVolume,
    ReclaimPolicy,
    VolumeMode,
    is_bound,
)
from cinderbank.domain.errors import Conflict, Forbidden
from cinderbank.domain.facts import VolumeId
from cinderbank.ports.claims import Claims
from tests.fakes.claims import NAMESPACE, FakeClaims
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.faults import Faults
from tests.stage.cloud import until
from tests.stage.namespace import Namespace
from tests.stage.required import required_rig
from tests.stage.site import OPERATOR_NAMESPACE, ROOT, Site, Stage

VOLUME_ID = VolumeId("0f6cb9ac-5f5e-4b63-8c0e-6cbd1d3c3a01")


class Bench:
    """One namespace's claims; `wait` lets its time go by."""

    def __init__(self, claims: Claims, namespace: str, clock: FakeClock | None) -> None:
        self.claims, self.namespace, self._clock = claims, namespace, clock
        self.wanted = ClaimedVolume(
            "data", f"restored-{namespace}", "by-hand", ("ReadWriteOnce",), VolumeMode.BLOCK
        )

    def until_bound(self) -> None:
        def is_so() -> bool:
            if self._clock is not None:
                self._clock.advance(1)
            claim = self.claims.find_claim("data")
            volume = self.claims.find_persistent_volume(self.wanted.persistent_volume)
            if claim is None or volume is None:
                return False
            return claim.phase == "Bound" and is_bound(claim, volume)

        until(is_so, 240, "the binding of a claim")

    def create_volume(self) -> str:
        policy = ReclaimPolicy.RETAIN
        wanted = NewPersistentVolume(self.wanted, VOLUME_ID, 1, policy, "uid-1")
        return self.claims.create_persistent_volume(wanted)

    def create_claim(self) -> str:
        return self.claims.create_claim(NewClaim(self.wanted, 1, "uid-1"))


@pytest.fixture(scope="module")
def site() -> Site:
    found = Stage(required_rig()).site("a")
    found.install()
    return found


def can_have_persistent_volumes(claims: Claims) -> bool:
    try:
        claims.find_persistent_volume("nobody-s")
    except Forbidden as error:
        assert error.reason == "PersistentVolumesForbidden"
        return False
    return True


@contextmanager
def real_bench(site: Site) -> Iterator[Bench]:
    namespace: Namespace = site.namespace(f"claims-{os.urandom(3).hex()}")
    namespace.create()
    site.install_persistent_volumes()
    try:
        with site.operator_api() as api:
            claims = KubeClaims(api, namespace.name, refusal=None)
            until(
                lambda: can_have_persistent_volumes(claims), 240, "the right to persistent volumes"
            )
            yield Bench(claims, namespace.name, None)
    finally:
        namespace.delete("pv", f"restored-{namespace.name}")
        namespace.delete("namespace", namespace.name)


@pytest.fixture(params=["fake", "real"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        clock, faults = FakeClock(), Faults()
        yield Bench(FakeClaims(FakeCloud(clock, faults), faults), NAMESPACE, clock)
        return
    with real_bench(request.getfixturevalue("site")) as found:
        yield found


def test_what_is_made_is_found_bound_and_deleted(bench: Bench) -> None:
    claims, name = bench.claims, bench.wanted.persistent_volume
    assert claims.find_claim("data") is None
    assert claims.find_persistent_volume(name) is None
    assert not claims.has_nodes_in("nova")
    assert not claims.has_nodes_in("no/label value")

    volume_uid = bench.create_volume()
    volume = claims.find_persistent_volume(name)
    assert volume is not None
    assert (volume.uid, volume.restore_uid, volume.volume_handle) == (
        volume_uid,
        "uid-1",
        VOLUME_ID,
    )
    assert (volume.claim_namespace, volume.claim_name) == (bench.namespace, "data")
    with pytest.raises(Conflict):
        bench.create_volume()

    claim_uid = bench.create_claim()
    with pytest.raises(Conflict):
        bench.create_claim()
    bench.until_bound()
    claim = claims.find_claim("data")
    assert claim is not None and claim.phase == "Bound"
    assert (claim.uid, claim.restore_uid) == (claim_uid, "uid-1")
    assert (claim.volume_mode, claim.access_modes) == (VolumeMode.BLOCK, ("ReadWriteOnce",))
    assert claim.storage_class == "by-hand"
    assert claim.requested_bytes == 1 << 30

    with pytest.raises(Conflict):
        claims.delete_claim("data", "another-uid")
    claims.delete_claim("data", claim_uid)
    until(lambda: claims.find_claim("data") is None, 240, "the claim's end")
    claims.delete_persistent_volume(name, volume_uid)
    until(lambda: claims.find_persistent_volume(name) is None, 240, "the volume's end")
    claims.delete_claim("data", claim_uid)
    claims.delete_persistent_volume(name, volume_uid)


def test_a_claim_that_names_no_volume_is_bound_to_the_one_reserved_for_it(bench: Bench) -> None:
    claim = replace(bench.wanted, persistent_volume="")
    uid = bench.claims.create_claim(NewClaim(claim, 1, ""))
    bench.create_volume()
    bench.until_bound()
    bench.claims.delete_claim("data", uid)


def test_without_the_overlay_the_reason_names_it(site: Site) -> None:
    folder = ROOT / "deploy" / "persistent-volumes"
    site.namespace(OPERATOR_NAMESPACE).run("delete", "-k", str(folder), "--ignore-not-found")
    with site.operator_api() as api:
        claims = KubeClaims(api, "default", refusal=None)
        until(lambda: not can_have_persistent_volumes(claims), 240, "the end of the right")
        with pytest.raises(Forbidden, match="deploy/persistent-volumes"):
            claims.has_nodes_in("nova")
        assert claims.find_claim("data") is None  # that is in every installation
    site.install_persistent_volumes()
