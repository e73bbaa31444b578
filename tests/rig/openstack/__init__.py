"""Two OpenStack sites, `a` and `b`: Keystone, Glance and Cinder each, with real back ends."""
