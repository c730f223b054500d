"""balancemw for Starlette, FastAPI and any other ASGI app."""

from balancemw_starlette.middleware import BalanceMiddleware

__all__ = ["BalanceMiddleware"]
