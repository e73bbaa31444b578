"""What every ports.glance.Glance keeps: the engine's fake and the real thing alike."""

from __future__ import annotations

from tests.contract.openstack.site import Site


def test_a_new_image_is_queued_and_has_no_sizes(site: Site) -> None:
    made = site.glance.create_image(name=f"{site.run}-new", disk_format="qcow2")
    assert (made.status, made.disk_format) == ("queued", "qcow2")
    (found,) = site.glance.images_named(f"{site.run}-new")
    assert (found.id, found.size_bytes, found.hash_value) == (made.id, None, None)
    assert found.created_at is not None


def test_names_are_exact_and_not_unique(site: Site) -> None:
    name = f"{site.run}-twice"
    made = [site.glance.create_image(name=name, disk_format="raw") for _ in range(2)]
    assert {it.id for it in site.glance.images_named(name)} == {it.id for it in made}
    assert list(site.glance.images_named(name[:-1])) == []


def test_an_active_image_has_size_and_hash(site: Site) -> None:
    made = site.glance.create_image(name=f"{site.run}-active", disk_format="raw")
    site.fill(made)
    (found,) = site.glance.images_named(made.name)
    assert found.status == "active"
    assert found.size_bytes
    assert found.hash_algo in (None, "sha512")


def test_deleted_is_gone_and_may_be_deleted_again(site: Site) -> None:
    made = site.glance.create_image(name=f"{site.run}-gone", disk_format="raw")
    for _ in range(2):
        site.glance.delete_image(made.id)
        assert list(site.glance.images_named(f"{site.run}-gone")) == []
