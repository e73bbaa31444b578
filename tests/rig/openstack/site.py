"""One OpenStack site: its settings, its five services, and what tests ask of it."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig.openstack import ceph, databases, installation, schemas, seed, volumes
from tests.rig.openstack.cinder_state import fresh_service, has_pools
from tests.rig.openstack.rest import Cloud, status_of
from tests.rig.openstack.services import site_services
from tests.rig.openstack.template import render
from tests.rig.part import Environment, Part

if TYPE_CHECKING:
    from tests.rig.rig import Rig

ADMIN_PASSWORD = "rig-admin"
SERVICE_PASSWORD = "rig-service"
# What Barbican encrypts secrets with (Fernet). The rig's secrets protect nothing.
BARBICAN_KEY = base64.urlsafe_b64encode(b"\x42" * 32).decode()
SETTINGS = {"keystone": "keystone.conf", "glance": "glance-api.conf", "cinder": "cinder.conf"}

# What set_options takes: section -> option -> value.
Options = Mapping[str, Mapping[str, str]]


class Site:
    """OpenStack site "a" or "b". Same kind of cloud, nothing in common but the machine."""

    def __init__(self, rig: Rig, letter: str) -> None:
        self.rig = rig
        self.letter = letter
        self.name = f"site-{letter}"
        self.region = f"Region{letter.upper()}"
        self.folder = rig.state / self.name
        self.auth_url = f"http://127.0.0.1:{self.port('keystone')}/v3"
        self.image_url = f"http://127.0.0.1:{self.port('glance')}"
        self.volume_url = f"http://127.0.0.1:{self.port('cinder')}/v3"
        self.key_manager_url = f"http://127.0.0.1:{self.port('barbican')}"
        self.admin = Cloud(self.auth_url, "admin", ADMIN_PASSWORD, "admin")

    @property
    def seeded(self) -> Path:
        """A file that is there when the site has its users, projects and volume types."""
        return self.folder / "seeded"

    @property
    def backend(self) -> str:
        """What holds the volumes: "rbd" or "nfs". Also the name of the default volume type."""
        return self.rig.backend(self.letter)

    @property
    def encrypted_volumes(self) -> Path:
        """A file that is there when the site has, or is getting, an encrypted volume type."""
        return self.folder / "encrypted-volumes"

    @property
    def volume_types(self) -> list[str]:
        """All volume types, the default one first; `luks` (encrypted) where there is a Barbican."""
        return [self.backend, *(["luks"] if self.encrypted_volumes.exists() else [])]

    @property
    def _backends(self) -> list[str]:
        return [self.backend, *(["rbd"] if "luks" in self.volume_types[1:] else [])]

    @property
    def group_types(self) -> list[str]:
        return ["one-by-one", *(["one-moment"] if self.backend == "rbd" else [])]

    def port(self, service: str) -> int:
        return self.rig.ports[f"{self.name}.{service}"]

    def service_names(self, service: str) -> list[str]:
        """The processes of "keystone", "glance" or "cinder", as the supervisor knows them."""
        if service not in SETTINGS:
            raise KeyError(f"{service}; there are {', '.join(SETTINGS)}")
        every = [each.name for each in site_services(self)]
        return [name for name in every if name.split(".")[1].split("-")[0] == service]

    @property
    def projects(self) -> dict[str, dict[str, str]]:
        """Project name -> project_id, username, password, application_credential_id, .._secret."""
        found: dict[str, dict[str, str]] = json.loads((self.folder / seed.CREDENTIALS).read_text())
        return found

    # Settings that a test changes.

    def set_options(self, service: str, options: Options, restart: bool = True) -> None:
        """Adds options to the settings of "keystone", "glance" or "cinder" and restarts it.

        They stay until reset_options, also over restarts. Returns when the service is ready.
        """
        every = self._changed_options()
        changed = every.setdefault(service, {})
        for section, values in options.items():
            changed.setdefault(section, {}).update(values)
        self._keep_options(every, service, restart)

    def reset_options(self, service: str, restart: bool = True) -> None:
        """Takes back all that set_options has changed at this service; no restart if nothing."""
        every = self._changed_options()
        if every.pop(service, None) is not None:
            self._keep_options(every, service, restart)

    def restart(self, service: str) -> None:
        """Restarts all processes of "keystone", "glance" or "cinder", waits until ready."""
        names = self.service_names(service)
        supervisor = self.rig.supervisor
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(supervisor.stop, names))
            list(pool.map(supervisor.start, names))
            list(pool.map(supervisor.wait_ready, names))

    # Volumes as the back end holds them.

    def volume_blocks(self, volume_id: str) -> Iterator[bytes]:
        """The volume's bytes in order, in pieces, read past Cinder straight from the back end."""
        return volumes.blocks(self, volume_id)

    def volume_sha256(self, volume_id: str) -> str:
        """The hex digest of all bytes of the volume."""
        return volumes.sha256(self, volume_id)

    def write_volume(self, volume_id: str, pieces: Mapping[int, bytes]) -> None:
        """Writes bytes at offsets into a volume that nobody uses, past Cinder."""
        volumes.write(self, volume_id, pieces)

    # Settings files.

    def settings(self, service: str) -> Path:
        return self.folder / "etc" / SETTINGS[service]

    def render_settings(self) -> None:
        """Writes the settings files, and the folders that they name."""
        for folder in (
            "keystone/fernet-keys", "keystone/credential-keys", "glance/images", "glance/staging",
            "glance/tasks", "cinder/conversion", "cinder/mnt", "cinder/lock",
            "cinder/coordination", "export", "etc",
        ):  # fmt: skip
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        for service in SETTINGS:
            self._render(service)
        # Where oslo.config looks for it below HOME.
        self._fill("barbican.conf", self.folder / "etc" / ".barbican" / "barbican.conf")
        shares = self.folder / "etc" / "nfs_shares"
        shares.write_text(f"127.0.0.1:{self.folder}/export\n")

    def make_keys(self) -> None:
        """Keystone's signing keys, once: with others every token and credential is void."""
        for kind in ("fernet-keys", "credential-keys"):
            folder = self.folder / "keystone" / kind
            folder.chmod(0o700)
            for number in "01":
                key = folder / number
                if not key.exists():
                    aside = folder / f"new-{number}"
                    aside.touch(mode=0o600)
                    aside.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
                    aside.rename(key)

    def _render(self, service: str) -> None:
        changed = self._changed_options().get(service, {})
        self._fill(SETTINGS[service], self.settings(service), _as_settings(changed))

    def _fill(self, template: str, target: Path, appended: str = "") -> None:
        rig = self.rig
        urls = {
            f"{name.upper()}_DATABASE": databases.database_url(
                rig, schemas.database(name, self.letter)
            )
            for name in (*SETTINGS, "barbican")
        }
        render(
            template, target, appended=appended,
            SITE=self.letter, REGION=self.region, STATE=self.folder,
            CONF=self.folder / "etc", LOG_FOLDER=rig.state / "log",
            VENV=installation.folder(rig), AUTH_URL=self.auth_url,
            GLANCE_PORT=self.port("glance"), CINDER_PORT=self.port("cinder"),
            KEY_MANAGER_URL=self.key_manager_url, BARBICAN_KEY=BARBICAN_KEY,
            BACKEND=",".join(dict.fromkeys(self._backends)), DEFAULT_TYPE=self.backend,
            CEPH_CONF=ceph.settings(rig),
            TRANSPORT=databases.transport_url(rig, self.letter),
            SERVICE_PASSWORD=SERVICE_PASSWORD, **urls,
        )  # fmt: skip

    def _changed_options(self) -> dict[str, dict[str, dict[str, str]]]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "options.json").read_text())
            return found
        except FileNotFoundError:
            return {}

    def _keep_options(self, every: dict[str, Any], service: str, restart: bool) -> None:
        self.service_names(service)
        aside = self.folder / "options.json.new"
        aside.write_text(json.dumps(every, indent=1))
        os.replace(aside, self.folder / "options.json")
        self._render(service)
        if restart:
            self.restart(service)

    # Readiness.

    def answers(self, url: str, *good: int) -> bool:
        return status_of(url) in good

    def cinder_service_ready(self, binary: str, process: str) -> bool:
        """Whether a Cinder process has reported since it began, and the scheduler has its pool."""
        began = self.rig.supervisor.started_at(process)
        if began is None or not fresh_service(self, binary, began):
            return False
        others = [f"{self.name}.cinder-volume", f"{self.name}.cinder-scheduler"]
        both = all(self.rig.supervisor.is_running(name) for name in others)
        return has_pools(self) if both else True


def _as_settings(options: Options) -> str:
    """Sections to append: oslo.config takes the last value where an option is given twice."""
    lines = []
    for section, values in options.items():
        lines.append(f"[{section}]")
        lines.extend(f"{name} = {value}" for name, value in values.items())
    return "\n".join(["", "# Changed by a test.", *lines, ""]) if lines else ""


# The part of the rig that a site is.


def _before_start(site: Site) -> None:
    if site.backend == "rbd":
        installation.link_ceph_modules(site.rig)
    site.render_settings()
    site.make_keys()
    loaded = site.folder / "tables.loaded"
    if not loaded.exists():
        schemas.load(site.rig, site.letter, site.settings)
        loaded.touch()


def _start(site: Site) -> None:
    """Starts all five at once. Cinder becomes ready only when its user is there, so seed between."""
    rig = site.rig
    names = [service.name for service in site_services(site)]
    for name in names:
        rig.supervisor.start(name)
    if not site.seeded.exists():
        began = time.monotonic()
        with rig.progress.waiting_for(f"{site.name}.keystone's first user"):
            seed.bootstrap(site)
        rig.wait_ready(f"{site.name}.keystone")
        seed.identity(site)
        rig.wait_ready(f"{site.name}.cinder-api")
        seed.volume_types(site)
        seed.group_types(site)
        site.seeded.touch()
        rig.say(f"{site.name}: users, projects and types ({time.monotonic() - began:.1f} s)")
    for name in names:
        rig.wait_ready(name)


def _environment(rig: Rig) -> Environment:
    if not all(site.seeded.exists() for site in rig.sites):
        return {}  # a rig without OpenStack, by `up --only`
    path = rig.state / "clouds.yaml"
    seed.write_clouds(rig.sites, path)
    return {"OS_CLIENT_CONFIG_FILE": (str(path), "clouds: " + ", ".join(seed.cloud_names()))}


def part(letter: str) -> Part:
    return Part(
        f"site-{letter}",
        needs=("namespace", "openstack-packages", "databases", "ceph"),
        services=lambda rig: site_services(rig.site(letter)),
        before_start=lambda rig: _before_start(rig.site(letter)),
        start=lambda rig: _start(rig.site(letter)),
        environment=_environment if letter == "a" else lambda _rig: {},
    )
