"""Volumes that a policy selects by the claims before them; `House` is of test_policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cinderbank.app.claimed_volumes import FORGOTTEN_SECONDS, YOUNG_SECONDS, ClaimedVolumes
from cinderbank.domain.claim import CSI_DRIVER
from cinderbank.domain.errors import Forbidden, Unavailable
from cinderbank.domain.policy import selection
from cinderbank.kube.known import key_of
from tests.unit.kube.test_policies import House
from tests.unit.policy.children import volume_id


def claim(house: House, name: str, handle: str, *, labels: dict[str, str], **changes: Any) -> None:
    claims = "/api/v1/namespaces/team/persistentvolumeclaims"
    body = {
        "metadata": {"namespace": "team", "name": name, "uid": f"uid-{name}", "labels": labels},
        "spec": {"volumeName": f"pv-{name}"},
        "status": {"phase": "Bound"},
    }
    house.kube.put(f"{claims}/{name}", body)
    spec = {
        "csi": {"driver": CSI_DRIVER, "volumeHandle": handle},
        "claimRef": {"uid": f"uid-{name}"},
        **changes,
    }
    house.kube.put(f"/api/v1/persistentvolumes/pv-{name}", {"metadata": {}, "spec": spec})


def test_claims_by_label() -> None:
    labels = {"app": "db"}
    house = House(selector={"persistentVolumeClaims": {"matchLabels": labels}}, trigger="now")
    claim(house, "one", volume_id(1), labels=labels)
    claim(house, "two", volume_id(2), labels={"app": "web"})
    claim(house, "nfs", volume_id(3), labels=labels, csi={"driver": "nfs.csi.k8s.io"})
    claim(house, "stolen", volume_id(3), labels=labels, claimRef={"uid": "somebody-else"})
    house.settle()
    found = [c["spec"]["source"]["volumeID"] for c in house.children()]
    assert found == [volume_id(1)]


def test_a_right_that_is_missing_is_told() -> None:
    house = House(selector={"persistentVolumeClaims": {"matchLabels": {"app": "db"}}})
    house.kube.list_all = _forbidden  # type: ignore[method-assign]
    raw = house.policy()
    house.runs.run(key_of(raw), raw)
    assert house.condition("Ready") == ("False", "Forbidden")


def _forbidden(path: str, labels: str = "") -> Any:
    raise Forbidden("persistentvolumeclaims is forbidden")


# --- what it costs, and where it ends -------------------------------------------------------------


LABELS = {"app": "db"}


class Reader:
    """The claims of House, read by a clock of the test's own."""

    def __init__(self, claims: int) -> None:
        self.house = House()
        for number in range(claims):
            claim(self.house, f"c{number}", volume_id(number), labels=LABELS)
        self.seconds = 0.0
        self.gets: list[str] = []
        get = self.house.kube.get

        def counted(path: str) -> Any:
            self.gets.append(path)
            return get(path)

        self.house.kube.get = counted  # type: ignore[method-assign]
        self.volumes = ClaimedVolumes(self.house.kube, lambda: self.seconds)  # type: ignore[arg-type]

    def later(self) -> Any:
        self.seconds += YOUNG_SECONDS + 1
        return self.volumes.claimed("team", LABELS)


def test_a_volume_is_read_once_for_each_state_of_its_claim() -> None:
    reader = Reader(3)
    assert len(reader.later().volumes) == 3
    assert len(reader.gets) == 3
    assert reader.volumes.claimed("team", LABELS) == reader.later()
    assert len(reader.gets) == 3
    claim(reader.house, "c1", volume_id(1), labels=LABELS, claimRef={"uid": "somebody-else"})
    assert reader.later().volumes == {volume_id(0), volume_id(2)}
    assert len(reader.gets) == 4, "of the claim that has changed"
    reader.house.kube.objects.pop("/api/v1/namespaces/team/persistentvolumeclaims/c0")
    assert reader.later().volumes == {volume_id(2)}


def test_a_volume_of_another_driver_is_read_once_too() -> None:
    reader = Reader(0)
    claim(reader.house, "nfs", volume_id(1), labels=LABELS, csi={"driver": "nfs.csi.k8s.io"})
    for _ in range(3):
        assert reader.later().volumes == frozenset()
    assert len(reader.gets) == 1


def test_claims_are_listed_once_a_minute_and_forgotten_when_nobody_asks() -> None:
    reader = Reader(1)
    for _ in range(10):
        reader.seconds += 1
        reader.volumes.claimed("team", LABELS)
    assert len(reader.house.kube.lists) == 1
    reader.seconds += FORGOTTEN_SECONDS + 1
    reader.volumes.claimed("team", {"app": "other"})
    assert list(reader.volumes._listings) == [("team", "app=other")]


def test_a_list_that_fails_is_not_taken_for_none() -> None:
    reader = Reader(2)
    reader.later()
    reader.house.kube.list_all = _away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        reader.later()


def _away(path: str, labels: str = "") -> Iterator[Any]:
    raise Unavailable("away")


@pytest.mark.parametrize("field", ["selector", "exclude"])
def test_more_claims_than_are_looked_at_is_told(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cinderbank.app.claimed_volumes.MOST_CLAIMS", 2)
    claims = {"persistentVolumeClaims": {"matchLabels": LABELS}}
    chosen = claims if field == "selector" else {"volumeNames": ["v*"], "exclude": claims}
    house = House(selector=chosen, trigger="now")
    for number in (1, 2, 3):
        claim(house, f"c{number}", volume_id(number), labels=LABELS)
    house.settle()
    assert house.condition("Stalled") == ("True", "TooManyClaims")
    assert str(selection.MOST_CLAIMS) in str(house.status["conditions"])
    made = [c["spec"]["source"]["volumeID"] for c in house.children()]
    assert made == ([volume_id(1), volume_id(2)] if field == "selector" else [volume_id(3)])
    fresh = House(selector=chosen)
    for number in (1, 2):
        claim(fresh, f"c{number}", volume_id(number), labels=LABELS)
    fresh.settle()
    assert fresh.condition("Stalled")[1] != "TooManyClaims"
