"""Backs up OpenStack Cinder volumes through Glance into an S3 bank, and restores them anywhere."""
