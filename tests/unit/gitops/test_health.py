"""Each kind in each situation, as kstatus, Argo CD and Flux see it."""

from __future__ import annotations

from typing import Any

import pytest

from cinderbank.api.crd import crd
from cinderbank.api.v1alpha1 import RESOURCES
from cinderbank.api.v1alpha1.resource import API_VERSION, Resource
from tests.gitops import argocd, flux, kstatus
from tests.gitops.every_kind import NEVER, RECORDERS, recorded
from tests.gitops.kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING
from tests.gitops.recorded import Recorded, an_object

KINDS = [resource.kind for resource in RESOURCES]
HEALTH = {
    CURRENT: "Healthy",
    IN_PROGRESS: "Progressing",
    FAILED: "Degraded",
    TERMINATING: "Progressing",
}


def status_schema(resource: Resource) -> dict[str, Any]:
    schema = crd(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["status"]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recorded(kind: str) -> None:
    assert kind in RECORDERS, (
        f"{kind} has no recorded statuses, so nobody knows what Flux and Argo CD make of it: add it to"
        " RECORDERS in tests/gitops/every_kind.py, whose first lines say how"
    )
    assert {each.kind for each in recorded(kind)} == {kind}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_known_to_argo_cd_and_flux(kind: str) -> None:
    entries, listed = argocd.config_map(), flux.expressions()
    assert f"{argocd.HEALTH}cinderbank.io_{kind}" in entries, "deploy/gitops/argocd"
    assert (API_VERSION, kind) in listed, "deploy/gitops/flux/health-checks"


def test_no_other_kind_is() -> None:
    named = {key.rsplit("_", 1)[1] for key in argocd.config_map()}
    assert named | {kind for _, kind in flux.expressions()} <= set(KINDS)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.kind)
def test_every_phase_is_recorded(resource: Resource) -> None:
    phase = status_schema(resource)["properties"].get("phase")
    if phase is None:
        return
    seen = {each.found["status"].get("phase") for each in recorded(resource.kind)}
    assert seen - {None} == set(phase["enum"]) - NEVER.get(resource.kind, set())


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.kind)
def test_an_object_that_nobody_has_seen_is_never_current(resource: Resource) -> None:
    """Of a status without conditions kstatus says Current, so a kind that has some begins with one."""
    if "conditions" not in status_schema(resource)["properties"]:
        return
    found = an_object(resource.kind, resource.status_default)
    assert kstatus.verdict(found) == IN_PROGRESS, f"{resource.kind}.status_default"


@pytest.mark.parametrize("kind", KINDS)
def test_kstatus(kind: str) -> None:
    assert wrong(kind, lambda each: (kstatus.verdict(each.found), each.expected)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_argo_cd_says_the_same(kind: str) -> None:
    def compared(each: Recorded) -> tuple[str, str]:
        return argocd.health(each.found)[0], "Degraded" if each.unsound else HEALTH[each.expected]

    assert wrong(kind, compared) == []


@pytest.mark.parametrize("kind", KINDS)
def test_flux_says_the_same(kind: str) -> None:
    """Flux waits for nothing that is being deleted, and asks no expression about it."""

    def compared(each: Recorded) -> tuple[str, str]:
        if each.expected == TERMINATING:
            return "", ""
        return flux.verdict(each.found), FAILED if each.unsound else each.expected

    assert wrong(kind, compared) == []


def wrong(kind: str, compared: Any) -> list[tuple[str, str, str, Any]]:
    """Situation, what is said, what is expected, and the conditions, of those that differ."""
    found = []
    for each in recorded(kind):
        said, expected = compared(each)
        if said != expected:
            conditions = each.found["status"].get("conditions")
            found.append((each.situation, said, expected, conditions))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_argo_cd_shows_why(kind: str) -> None:
    for each in recorded(kind):
        status, message = argocd.health(each.found)
        conditions = each.found["status"].get("conditions", ())
        told = {c["message"] for c in conditions} | {"Pending deletion"}
        assert message in told or message.startswith("Waiting for"), each.situation
        assert message or status != "Degraded", each.situation


@pytest.mark.parametrize("status", [None, {}, {"conditions": []}, {"observedGeneration": 1}])
def test_a_status_that_somebody_has_emptied_is_never_healthy(status: dict[str, Any] | None) -> None:
    found = an_object("VolumeBackup", {})
    found["status"] = status
    assert argocd.health(found)[0] == "Progressing"
    assert status is None or flux.verdict(found) == IN_PROGRESS
