"""How the demo runs gunicorn; a version that does not know a setting ignores it."""

from balancemw.demo.processes import WORKERS

worker_class = "gthread"
workers = WORKERS
threads = 32
keepalive = 0  # the load opens a connection per request
graceful_timeout = 1
loglevel = "warning"
control_socket_disable = True  # it would be made in the user's home
