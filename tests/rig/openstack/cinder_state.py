"""Asks Cinder whether its own processes are alive."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.rig.openstack.rest import RestError

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site


def fresh_service(site: Site, binary: str, began: float, host: str | None = None) -> bool:
    """Whether `binary` (on `host`, if given) has reported after `began` (seconds since the epoch).

    `state` alone is not to be trusted: a killed one stays "up" for service_down_time.
    """
    for row in _get(site, "/os-services").get("services", []):
        if host not in (None, row["host"]):
            continue
        if row["binary"] == binary and row["state"] == "up" and row["updated_at"]:
            reported = datetime.fromisoformat(row["updated_at"]).replace(tzinfo=UTC)
            if reported.timestamp() > began:
                return True
    return False


def has_pools(site: Site) -> bool:
    """Whether the scheduler knows where to put a volume."""
    return bool(_get(site, "/scheduler-stats/get_pools").get("pools"))


def _get(site: Site, path: str) -> dict:  # type: ignore[type-arg]
    """The answer; {} while nobody answers well."""
    try:
        return dict(site.admin.call("GET", site.volume_url + path))
    except (RestError, OSError):
        return {}
