"""A Connection to one project of one cloud, from its own clouds.yaml and nothing else.

The file is the project's, the process is the operator's. So openstack.config, which would also read
OS_* variables, /etc/openstack, secure.yaml and vendor profiles, and which imports whatever module a
`vendor_hook` names, is not used: clouds.py reads the file, this module builds the session by hand.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from keystoneauth1 import session as keystone_session
from openstack.config.cloud_region import CloudRegion
from openstack.config.defaults import get_defaults
from openstack.connection import Connection

from cinderbank.adapters.openstack.clouds import Cloud, auth_plugin, read_cloud
from cinderbank.adapters.openstack.errors import mapped
from cinderbank.domain.errors import AuthRefused, InvalidSpec

__all__ = ["Connection", "connect"]

ANSWER_LIMIT_BYTES = 16 << 20
"""No answer that is read into memory may be longer: a page of 1000 volumes takes some 3 MiB."""

STRUCTURE_LIMIT = 1_000_000
"""Of `[`, `{` and `,` in an answer: 16 MiB of `{},` would become 400 MiB of Python objects."""

SERVICES = {"block-storage": "block_storage", "image": "image"}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until a connection must stand, and between two reads; the SDK has no default of its own."""

    connect_seconds: float = 10.0
    read_seconds: float = 60.0


def connect(
    clouds_yaml: Path, cloud_name: str, *, cacert: Path | None, timeouts: Timeouts = Timeouts()
) -> Connection:
    """A Connection that has a token, and whose block_storage and image proxies are made.

    It may be shared by threads: the proxies exist before the first thread does, keystoneauth locks
    its token, and urllib3's pool is thread-safe. (No cookie is kept, which is the part of a
    requests.Session that is not.) The owner calls close().

    Nothing is sent again by itself, but a request that was refused with 401: `retries` belongs to
    the call. A caller that sends a body MUST give one that can be iterated twice for that reason.

    Raises InvalidSpec, AuthRefused, Forbidden, Unavailable.
    """
    cloud = read_cloud(clouds_yaml, cloud_name)
    session = keystone_session.Session(
        auth=auth_plugin(cloud),
        session=_bounded_http(),
        verify=_verify(cloud, cacert),
        user_agent=user_agent(),
    )
    # The constructor takes one float; requests takes (connect, read), and keystoneauth hands it on.
    session.timeout = (timeouts.connect_seconds, timeouts.read_seconds)  # type: ignore[assignment]
    _keep_bodies_out_of_logs()
    connection = Connection(config=_region(cloud, session), strict_proxies=True)
    with mapped(
        "log in to",
        f"cloud {cloud.name} at {cloud.auth_url}",
        bad_request=InvalidSpec,
        not_found=AuthRefused,
    ):
        session.get_token()
        _check_catalogue(cloud, session)
        for proxy in SERVICES.values():
            getattr(connection, proxy)
    return connection


def user_agent() -> str:
    """`cinderbank/<version>`, for the cloud's access logs."""
    try:
        return f"cinderbank/{version('cinderbank')}"
    except PackageNotFoundError:
        return "cinderbank/unreleased"


class _BoundedAdapter(keystone_session.TCPKeepAliveAdapter):
    """Reads a body that is wanted in memory up to ANSWER_LIMIT_BYTES, and no further; lets no answer
    lead to another host."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(request, *args, **kwargs)
        _refuse_to_go_elsewhere(response)
        if kwargs.get("stream") or (args and args[0]):
            return response
        body = bytearray()
        for block in response.iter_content(1 << 16):
            body += block
            if len(body) > ANSWER_LIMIT_BYTES:
                response.close()
                raise requests.exceptions.ContentDecodingError(
                    f"the answer is longer than {ANSWER_LIMIT_BYTES} bytes", request=request
                )
        if sum(body.count(each) for each in (b"[", b"{", b",")) > STRUCTURE_LIMIT:
            raise requests.exceptions.ContentDecodingError(
                f"the answer has more than {STRUCTURE_LIMIT} of [ {{ and ,", request=request
            )
        # What Response.content would have done, without a bound.
        response._content = bytes(body)
        return response


def _refuse_to_go_elsewhere(response: requests.Response) -> None:
    """keystoneauth follows a redirect with the token and the body, wherever it leads: to another host,
    back from https to http, or (from a hostile cloud) to what only the operator's network reaches."""
    location = response.headers.get("Location")
    if location is None or not 300 < response.status_code < 400:
        return
    here, there = urlsplit(response.url), urlsplit(urljoin(response.url, location))
    same_way = there.scheme in (here.scheme, "https")
    if there.hostname != here.hostname or not same_way:
        response.close()
        raise requests.exceptions.InvalidURL(
            f"it redirects to {there.scheme}://{there.hostname}, and a token does not go there;"
            " name the right URL in clouds.yaml or in the catalogue"
        )


def _bounded_http() -> requests.Session:
    http = requests.Session()
    http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    for scheme in ("http://", "https://"):
        http.mount(scheme, _BoundedAdapter())
    return http


def _verify(cloud: Cloud, cacert: Path | None) -> bool | str:
    """What requests takes: False, True (the system's CAs) or a CA file, which replaces those."""
    if not cloud.verify:
        return False
    if cacert is None:
        if cloud.names_cacert:
            raise InvalidSpec(
                f"clouds.yaml, cloud {cloud.name!r}: `cacert` names a file of another machine; put"
                " the certificate itself beside clouds.yaml, under the key `cacert`, and remove this"
            )
        return True
    try:
        ssl.create_default_context(cafile=str(cacert))
    except (OSError, ssl.SSLError) as exc:
        raise InvalidSpec("cacert is not a PEM file of CA certificates") from exc
    return str(cacert)


def _region(cloud: Cloud, session: keystone_session.Session) -> CloudRegion:
    """The SDK's own defaults, which Connection needs, but for those that send a call again by itself:
    image_status_code_retries is 5 there, and would repeat PUTs too."""
    config: dict[str, Any] = {
        key: value for key, value in get_defaults().items() if not key.endswith("_retries")
    }
    config["interface"] = cloud.interface
    for service, url in cloud.endpoint_overrides.items():
        config[f"{service.replace('-', '_')}_endpoint_override"] = url
    return CloudRegion(
        name=cloud.name, region_name=cloud.region_name, config=config, session=session
    )


def _check_catalogue(cloud: Cloud, session: keystone_session.Session) -> None:
    """Refuse a token without a project, a cloud without both services, and a choice of regions that nobody made."""
    auth: Any = session.auth
    access = auth.get_access(session)
    if not access.project_id:
        raise InvalidSpec(f"clouds.yaml, cloud {cloud.name!r}: the token is for no project")
    catalogue = access.service_catalog
    for service in SERVICES:
        if service in cloud.endpoint_overrides:
            continue
        found = catalogue.get_endpoints_data(service_type=service, interface=cloud.interface)
        regions = sorted({str(data.region_name) for many in found.values() for data in many})
        listed = ", ".join(regions[:20]) or "none"
        if cloud.region_name is None and len(regions) > 1:
            raise InvalidSpec(
                f"clouds.yaml, cloud {cloud.name!r}: region_name is missing and there are: {listed}"
            )
        if not regions or (cloud.region_name and cloud.region_name not in regions):
            raise InvalidSpec(
                f"clouds.yaml, cloud {cloud.name!r}: no {cloud.interface} {service} service in region"
                f" {cloud.region_name or '(any)'}; regions that have one: {listed}"
            )


def _keep_bodies_out_of_logs() -> None:
    """At DEBUG keystoneauth and the SDK log bodies, and urllib3 URLs; no setting of ours may ask for that."""
    for name in ("keystoneauth", "openstack", "urllib3"):
        logger = logging.getLogger(name)
        if logger.getEffectiveLevel() < logging.INFO:
            logger.setLevel(logging.INFO)
