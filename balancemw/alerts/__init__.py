"""Alerts from outside: what a monitoring system sees and traffic cannot, turned into marks of source ``alert``.

    payload     what Alertmanager writes, read
    matching    from labels to nodes, by the rules of ``alerts.match``
    ledger      which alerts are known: order, replays, leases
    claims      what follows from them for the nodes, and no pool below ``keep``
    desk        all of that together: takes alerts in, keeps the marks as they should be
    source      asks Alertmanager what is firing, at start-up and from time to time

All but `source` decide only: no I/O and no clock of their own.
"""

from balancemw.alerts.desk import Desk
from balancemw.alerts.ledger import Entry, entry_of
from balancemw.alerts.payload import Malformed
from balancemw.alerts.source import Inquiry

__all__ = ["Desk", "Entry", "Inquiry", "Malformed", "entry_of"]
