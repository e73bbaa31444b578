"""Fills a new site: users, projects, catalogue, application credentials, volume types.

Every step finds what is there already, so that an interrupted `up` can be run again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig.commands import run
from tests.rig.openstack import installation
from tests.rig.openstack.rest import Cloud
from tests.rig.openstack.services import service_environment

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site

CREDENTIALS = "credentials.json"
CREDENTIAL_NAME = "cinderbank"
NO_COMPUTE_URL = "http://127.0.0.1:9/v2.1"
# Different names at the two sites; the second project of site a sees nothing of the first.
PROJECTS: dict[str, tuple[str, ...]] = {"a": ("alpha", "gamma"), "b": ("beta",)}
# Cloud in clouds.yaml -> site and project.
CLOUDS = {"a": ("a", "alpha"), "a-gamma": ("a", "gamma"), "b": ("b", "beta")}
ENCRYPTION = {
    "provider": "luks",
    "cipher": "aes-xts-plain64",
    "key_size": 256,
    "control_location": "front-end",
}


def bootstrap(site: Site) -> None:
    """Keystone's own first user, project, roles and endpoint; nothing new when run again."""
    from tests.rig.openstack.site import ADMIN_PASSWORD

    interfaces = ("public", "internal", "admin")
    urls = [word for i in interfaces for word in (f"--bootstrap-{i}-url", site.auth_url)]
    run(
        installation.program(site.rig, "keystone-manage"),
        "--config-file", site.settings("keystone"),
        "bootstrap", "--bootstrap-password", ADMIN_PASSWORD,
        "--bootstrap-region-id", site.region, *urls,
        env=service_environment(site), cwd=site.folder,
    )  # fmt: skip


def identity(site: Site) -> None:
    """Service users, catalogue, and the projects with a user and an application credential each."""
    _service_users(site)
    _catalogue(site)
    credentials = {name: _project(site, name) for name in PROJECTS[site.letter]}
    path = site.folder / CREDENTIALS
    aside = path.with_name(f"{path.name}.new")
    aside.touch(mode=0o600)
    aside.write_text(json.dumps(credentials, indent=1))
    os.replace(aside, path)


def volume_types(site: Site) -> None:
    """A type named like the back end, and `luks` on RBD, whose volumes are encrypted, where wanted."""
    url = f"{site.volume_url}/types"
    there = {
        each["name"] for each in site.admin.call("GET", f"{url}?is_public=None")["volume_types"]
    }
    for name in site.volume_types:
        if name in there:
            continue
        backend = "rbd" if name == "luks" else site.backend
        body = {"name": name, "extra_specs": {"volume_backend_name": backend}}
        made = site.admin.call("POST", url, {"volume_type": body})["volume_type"]
        if name == "luks":
            encryption = {"encryption": ENCRYPTION}
            site.admin.call("POST", f"{url}/{made['id']}/encryption", encryption)


def group_types(site: Site) -> None:
    """`one-by-one`, and on RBD `one-moment`, which promises snapshots of one moment."""
    url = f"{site.volume_url}/group_types"
    known = site.admin.call("GET", url, microversion="3.11")["group_types"]
    there = {each["name"] for each in known}
    for name in site.group_types:
        if name in there:
            continue
        body = {"group_type": {"name": name, "is_public": True}}
        made = site.admin.call("POST", url, body, microversion="3.11")["group_type"]
        if name == "one-moment":
            specs = {"group_specs": {"consistent_group_snapshot_enabled": "<is> True"}}
            site.admin.call("POST", f"{url}/{made['id']}/group_specs", specs, microversion="3.11")


def cloud_names() -> list[str]:
    return [*CLOUDS, "a-admin", "b-admin"]


def write_clouds(sites: list[Site], path: Path) -> None:
    """clouds.yaml, written as JSON: every YAML reader takes it, and we need no library."""
    by_letter = {site.letter: site for site in sites}
    clouds: dict[str, Any] = {}
    for name, (letter, project) in CLOUDS.items():
        site = by_letter[letter]
        credential = site.projects[project]
        clouds[name] = {
            "auth_type": "v3applicationcredential",
            "auth": {
                "auth_url": site.auth_url,
                "application_credential_id": credential["application_credential_id"],
                "application_credential_secret": credential["application_credential_secret"],
            },
            **_common(site),
        }
    for site in sites:
        clouds[f"{site.letter}-admin"] = {
            "auth": {
                "auth_url": site.auth_url,
                "username": "admin",
                "password": "rig-admin",
                "project_name": "admin",
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            **_common(site),
        }
    aside = path.with_name(f"{path.name}.new")
    aside.touch(mode=0o600)
    aside.write_text(json.dumps({"clouds": clouds}, indent=2) + "\n")
    os.replace(aside, path)


def _common(site: Site) -> dict[str, Any]:
    return {"region_name": site.region, "identity_api_version": "3", "interface": "public"}


def _service_users(site: Site) -> None:
    from tests.rig.openstack.site import SERVICE_PASSWORD

    role_ids = {name: _ensure(site, "role", name)["id"] for name in ("service", "admin")}
    project = _ensure(site, "project", "service", domain_id="default")
    for name in ("glance", "cinder", "barbican"):
        user = _ensure(site, "user", name, domain_id="default", password=SERVICE_PASSWORD)
        for role_id in role_ids.values():
            _grant(site, project["id"], user["id"], role_id)


def _catalogue(site: Site) -> None:
    endpoints = site.admin.identity("GET", "/endpoints")["endpoints"]
    there = {(each["service_id"], each["interface"]) for each in endpoints}
    for name, kind, url in (
        ("glance", "image", site.image_url),
        ("cinder", "block-storage", site.volume_url),
        # Nobody listens there until `up --only barbican`.
        ("barbican", "key-manager", site.key_manager_url),
        # The Cinder CSI driver does not start without one; nobody listens there.
        ("nova", "compute", NO_COMPUTE_URL),
    ):
        service = _ensure(site, "service", name, type=kind)
        for interface in ("public", "internal", "admin"):
            if (service["id"], interface) in there:
                continue
            endpoint = {
                "service_id": service["id"],
                "interface": interface,
                "region_id": site.region,
                "url": url,
            }
            site.admin.identity("POST", "/endpoints", {"endpoint": endpoint})


def _project(site: Site, name: str) -> dict[str, str]:
    password = f"rig-{name}"
    project = _ensure(site, "project", name, domain_id="default")
    user = _ensure(site, "user", name, domain_id="default", password=password)
    _grant(site, project["id"], user["id"], _ensure(site, "role", "member")["id"])
    credential = _application_credential(site, user["id"], name, password)
    return {
        "project_id": project["id"],
        "username": name,
        "password": password,
        "application_credential_id": credential["id"],
        "application_credential_secret": credential["secret"],
    }


def _application_credential(site: Site, user_id: str, name: str, password: str) -> dict[str, str]:
    """A new one: its secret is told only once, so one of an interrupted `up` is of no use."""
    path = f"/users/{user_id}/application_credentials"
    cloud = Cloud(site.auth_url, name, password, name)
    for old in cloud.identity("GET", path)["application_credentials"]:
        if old["name"] == CREDENTIAL_NAME:
            cloud.identity("DELETE", f"{path}/{old['id']}")
    body = {"application_credential": {"name": CREDENTIAL_NAME, "unrestricted": False}}
    made: dict[str, str] = cloud.identity("POST", path, body)["application_credential"]
    return made


def _ensure(site: Site, kind: str, name: str, **values: Any) -> dict[str, Any]:
    """The thing of this kind and name, made if it is not there."""
    found: list[dict[str, Any]] = site.admin.identity("GET", f"/{kind}s?name={name}")[f"{kind}s"]
    if found:
        return found[0]
    made: dict[str, Any] = site.admin.identity(
        "POST", f"/{kind}s", {kind: {"name": name, **values}}
    )[kind]
    return made


def _grant(site: Site, project_id: str, user_id: str, role_id: str) -> None:
    site.admin.identity("PUT", f"/projects/{project_id}/users/{user_id}/roles/{role_id}")
