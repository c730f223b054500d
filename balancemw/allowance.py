"""Whether a failed call may be sent again: what the budget has left, and what is kept of it for the end of an outage.

While no node is good, a try that reached nobody will hardly be followed by one that does, and the retries would all be
spent when the first node is back. So some are kept until then, and a call that gets none lingers for a moment (see
`balancemw.call`): if a node is back by then, it is sent again.
"""

from threading import Lock

from balancemw.budget import Budget
from balancemw.events import News
from balancemw.roster import Roster


class Allowance:
    """Gives retries to the calls of one pool.

    Args:
        budget: how many there are.
        roster: whose nodes are good or not.
        lock: the pool's, which guards both.
        news: where it is told that there are none left.
    """

    def __init__(self, budget: Budget, roster: Roster, lock: Lock, news: News) -> None:
        self._budget = budget
        self._roster = roster
        self._lock = lock
        self._news = news

    def afford(self, now: float, *, unsent: bool, at_risk: bool) -> bool:
        """Take one retry, if one is left.

        Args:
            now: the time.
            unsent: whether it follows a try that reached nobody.
            at_risk: whether that try was the pool's risk: then the retry is owed.
        """
        budget = self._budget
        with self._lock:
            afforded = budget.withdraw(now, budget.kept_back if unsent and self._out else 0, owed=at_risk)
            if not afforded and (reason := budget.shortage(now)):
                self._news.note(None, "budget_exhausted", "pool", reason)
        self._news.tell()
        return afforded

    @property
    def may_return(self) -> bool:
        """Whether no node is good, and calls may be sent again when one is."""
        return self._out and bool(self._budget.share or self._budget.floor)

    def afford_return(self, now: float) -> bool:
        """Take one retry, of those kept back too, for a call that has lingered, if a node is good again."""
        if self._out:
            return False
        with self._lock:
            return self._budget.withdraw(now)

    @property
    def _out(self) -> bool:
        return not any(tier.healthy for tier in self._roster.tiers)
