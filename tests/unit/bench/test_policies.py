"""What an API server's own counters say of writes."""

from __future__ import annotations

from tests.bench.policies import writes_of

METRICS = """\
# HELP apiserver_request_total [STABLE] Counter of apiserver requests
apiserver_request_total{code="200",component="apiserver",dry_run="",group="cinderbank.io",resource="volumebackups",scope="resource",subresource="status",verb="APPLY",version="v1alpha1"} 1.5e+01
apiserver_request_total{code="409",component="apiserver",dry_run="",group="cinderbank.io",resource="volumebackups",scope="resource",subresource="status",verb="APPLY",version="v1alpha1"} 2
apiserver_request_total{code="201",component="apiserver",dry_run="",group="cinderbank.io",resource="volumebackups",scope="resource",subresource="",verb="POST",version="v1alpha1"} 7
apiserver_request_total{code="200",component="apiserver",dry_run="",group="cinderbank.io",resource="volumebackups",scope="namespace",subresource="",verb="LIST",version="v1alpha1"} 9
apiserver_request_total{code="201",component="apiserver",dry_run="",group="events.k8s.io",resource="events",scope="resource",subresource="",verb="POST",version="v1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 99
"""


def test_writes_by_kind_and_verb() -> None:
    assert writes_of(METRICS) == {
        "volumebackups/status APPLY": 17,
        "volumebackups POST": 7,
        "events POST": 3,
    }
