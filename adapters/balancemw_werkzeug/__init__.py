"""balancemw for any WSGI app."""

from balancemw_werkzeug.middleware import BalanceMiddleware

__all__ = ["BalanceMiddleware"]
