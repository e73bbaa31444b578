"""gunicorn's settings, for Keystone and Glance. Given by GUNICORN_CMD_ARGS and not as arguments:
Keystone reads sys.argv too and ends at words it does not know.
"""

import os

wsgi_app = os.environ["RIG_APPLICATION"]
bind = os.environ["RIG_BIND"]
threads = int(os.environ["RIG_THREADS"])
worker_class = "gthread"
workers = 1
timeout = 0
graceful_timeout = 2
control_socket_disable = True
# When Glance's store holds less than Content-Length says, the client hangs until this is over.
keepalive = 2
