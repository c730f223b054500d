"""``balancemw demo``: real replicas die, hang, slow down and fail under real load, and callers see nothing of it.

processes   three replicas (`replica`) and an app (`starlette_app`, `flask_app`, `django_app`)
load        the callers
script      what is done to the replicas, and when
scene       what is seen of it, in `words`: shown by `live`, or by `plain`
outcome     what came of it, told by `summary`
"""

from balancemw.demo.run import main

__all__ = ["main"]
