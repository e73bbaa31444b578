"""The one door to OpenStack: nothing else imports openstack or keystoneauth1."""
