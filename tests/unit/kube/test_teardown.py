"""When the bank's data is kept because somebody tears a namespace or a CRD down; the answers are those of
a real API server, see tests/integration/test_gitops.py."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import GROUP_VERSION_PATH, crd_path, namespace_path
from cinderbank.adapters.kube.teardown import is_torn_down
from cinderbank.domain.errors import CinderbankError, Forbidden, Unavailable

HERE: dict[str, Any] = {"metadata": {"name": "x"}}
LEAVING: dict[str, Any] = {"metadata": {"name": "x", "deletionTimestamp": "2026-11-22T20:00:00Z"}}
NO_RIGHT = Forbidden("403")


def served(*verbs: str) -> dict[str, Any]:
    other = {"name": "volumebackups/status", "verbs": ["create"]}
    return {"resources": [other, {"name": "volumebackups", "verbs": list(verbs)}]}


class Answers:
    """An API server that knows a namespace, a CRD and what it serves."""

    def __init__(self, namespace: Any, crd: Any, group: Any = None) -> None:
        self.known = {
            namespace_path("shop"): namespace,
            crd_path("VolumeBackup"): crd,
            GROUP_VERSION_PATH: group,
        }

    def get(self, path: str) -> dict[str, Any] | None:
        answer = self.known[path]
        if isinstance(answer, CinderbankError):
            raise answer
        return cast("dict[str, Any] | None", answer)


def torn_down(answers: Answers) -> bool:
    return is_torn_down(cast("KubeApi", answers), "VolumeBackup", "shop")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (Answers(HERE, HERE), False),
        (Answers(LEAVING, HERE), True),
        (Answers(None, HERE), True),
        (Answers(HERE, LEAVING), True),
        (Answers(HERE, None), True),
        (Answers(HERE, NO_RIGHT, served("delete", "get", "create")), False),
        (Answers(HERE, NO_RIGHT, served("delete", "get")), True),
        (Answers(HERE, NO_RIGHT, {"resources": []}), True),
        (Answers(HERE, NO_RIGHT, None), True),
        (Answers(LEAVING, NO_RIGHT, served("create")), True),
    ],
)
def test_who_is_leaving(answers: Answers, expected: bool) -> None:
    assert torn_down(answers) is expected


@pytest.mark.parametrize(
    "answers",
    [
        Answers(NO_RIGHT, HERE),
        Answers(Unavailable("away"), HERE),
        Answers(HERE, Unavailable("away")),
        Answers(HERE, NO_RIGHT, Unavailable("away")),
    ],
)
def test_who_does_not_know_does_nothing(answers: Answers) -> None:
    with pytest.raises(CinderbankError):
        torn_down(answers)
