"""balancemw for Flask."""

from balancemw_flask.extension import Balance

__all__ = ["Balance"]
