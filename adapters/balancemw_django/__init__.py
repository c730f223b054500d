"""Django: calls out of views, streamed bodies and commands go to replicas, and fail over.

INSTALLED_APPS += ["balancemw_django"]
MIDDLEWARE += ["balancemw_django.middleware.BalanceMiddleware"]
BALANCEMW = {"services": {"inventory": {"nodes": ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]}}}
"""

try:
    from balancemw_django.own import balancer
except ModuleNotFoundError as error:
    if error.name != "django":
        raise
    raise ModuleNotFoundError("balancemw_django needs Django: pip install 'balancemw[django]'", name="django") from None

__all__ = ["balancer"]
