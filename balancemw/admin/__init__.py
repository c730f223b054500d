"""The admin surface: what is known, what happened, orders for nodes, and alerts, over HTTP. One for all adapters."""

from balancemw.admin.message import LONGEST_BODY, Asked
from balancemw.admin.surface import Admin, admin_of

__all__ = ["LONGEST_BODY", "Admin", "Asked", "admin_of"]
