"""``balancemw demo``: real replicas die, hang, slow down and fail under real load, and callers see nothing of it.

processes   three replicas (`replica`) and the workers of an app (`starlette_app`, `flask_app`, `django_app`)
load        the callers
script      what is done to the replicas, and said of them through the app's `admin` surface, and when
scene       what is seen of it, in `words`: shown by `live`, or by `plain`
journal     what the app itself tells of it afterwards
outcome     what came of it, told by `summary`
"""

from balancemw.demo.run import main

__all__ = ["main"]
