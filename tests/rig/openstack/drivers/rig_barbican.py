"""Barbican's WSGI application; its own entry point reads /etc/barbican and nothing else."""

import os

from paste import deploy

application = deploy.loadapp("config:" + os.environ["RIG_PASTE"])
