"""Two sites that were given one name by mistake see each other, with nothing between them but the bank."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Running, Scene
from tests.stage.cloud import until
from tests.stage.gate import LIMIT_SECONDS
from tests.stage.namespace import condition

pytestmark = pytest.mark.timeout(2400)


def test_a_site_name_that_two_clusters_have_is_told_in_both(
    scene: Scene, a: Running, b: Running
) -> None:
    ends = ((a, scene.at_a), (b, scene.at_b))
    for running, namespace in ends:
        twin = running.site.bank("twin", prefix=scene.prefix)
        twin["spec"] |= {"site": "paris", "validation": {"interval": "1s"}}
        namespace.apply(twin)
    uids = {
        running.site.letter: running.site.cluster.request("GET", "/api/v1/namespaces/kube-system")[
            "metadata"
        ]["uid"]
        for running, _ in ends
    }
    for running, namespace in ends:
        told = namespace.wait(
            "bank",
            "twin",
            lambda o: condition(o, "SiteShared").get("status") == "True",
            seconds=900,
        )
        other = uids["b" if running.site.letter == "a" else "a"]
        assert condition(told, "SiteShared")["reason"] == "SiteNameShared"
        assert other in condition(told, "SiteShared")["message"]
        assert condition(told, "Ready")["status"] == "True", "and nothing stops"
        until(
            lambda n=namespace: any(e["reason"] == "SiteNameShared" for e in n.events("twin")),  # type: ignore[misc]
            LIMIT_SECONDS,
            "the Event",
        )
        # Two banks of one cluster are of one site, and no mistake.
        alone = namespace.get("bank", "main")
        assert alone is not None and condition(alone, "SiteShared") == {}
        namespace.delete("bank", "twin")
