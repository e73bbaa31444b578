"""Glance with its images on the Ceph of the volumes, as most clouds on Ceph have it.

Cinder makes a volume of a raw image there by cloning it: at once, and with the image as its parent. Whether
Glance can delete an image with children is a matter of Ceph's clone format: of format 1 (a cluster whose
`require_min_compat_client` is before mimic, as in the rig) it answers 409, of format 2 the image goes into
Ceph's trash. https://docs.ceph.com/en/latest/rbd/rbd-openstack/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.rig.openstack import ceph

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site

CLIENTS = {1: "luminous", 2: "mimic"}
"""The oldest client that the cluster serves, by the clone format that follows from it."""


@contextmanager
def images_on_ceph(site: Site, clone_format: int) -> Iterator[None]:
    """Inside, what is uploaded to this site goes to Ceph; images in files stay readable. Before its end
    delete what was made: Glance forgets where they lie. Needs a site whose volumes are on RBD."""
    if site.backend != "rbd":
        raise ValueError(f"{site.name} has its volumes on {site.backend}, not on Ceph")
    pool = _pool(site)
    ceph.make_pool(site.rig, pool)
    _serve(site, clone_format)
    try:
        site.set_options(
            "glance",
            {
                "DEFAULT": {
                    "enabled_backends": "file:file,ceph:rbd",
                    "show_image_direct_url": "true",
                },
                "glance_store": {"default_backend": "ceph"},
                "ceph": {
                    "rbd_store_pool": pool,
                    "rbd_store_user": "admin",
                    "rbd_store_ceph_conf": str(ceph.settings(site.rig)),
                },
            },
        )
        yield
    finally:
        site.reset_options("glance")
        _serve(site, 1)


def empty_trash(site: Site) -> None:
    """Frees what Glance has put into Ceph's trash, which nobody else does: not Glance, nor Cinder when the
    last clone goes. CommandFailed when one of it still has clones."""
    ceph.empty_trash(site.rig, _pool(site))


def parent_of(site: Site, volume_id: str) -> str:
    """The `pool/image@snapshot` that a volume on RBD is a clone of; empty when it is none."""
    return ceph.rbd_parent(site.rig, ceph.pool(site.letter), f"volume-{volume_id}")


def _pool(site: Site) -> str:
    return f"images-{site.letter}"


def _serve(site: Site, clone_format: int) -> None:
    ceph.ceph(site.rig, "osd", "set-require-min-compat-client", CLIENTS[clone_format])
