"""What workers share of alerts: each known one as a claim without a service, under its fingerprint."""

from collections.abc import Callable, Iterable

from balancemw.alerts import Desk, Entry, entry_of
from balancemw.health import Mark
from balancemw.stores import Claim


class SharedAlerts:
    """The entries of `desk` that are to be told, and the way in for those of others. A `Courier` carries them.

    In which order they are written and read makes no difference: of two entries of one alert every worker takes the
    same for the later, and a worker that reads an earlier one than it knows writes its own again.

    Args:
        desk: whose alerts they are.
        changed: called when there is something to carry.
    """

    def __init__(self, desk: Desk, changed: Callable[[], None]) -> None:
        self._desk = desk
        self._changed = changed
        self._waiting: dict[str, Entry] = {}
        desk.ledger.changed = self._note

    def _note(self, entry: Entry) -> None:
        self._waiting[entry.fingerprint] = entry
        self._changed()

    def take(self, worker: str) -> list[Claim]:
        """What `worker` is to tell; comes back by `put_back` when that fails."""
        claims: list[Claim] = []
        while self._waiting:
            fingerprint, entry = self._waiting.popitem()
            mark = Mark("alert", "entry", entry.text(), entry.starts_at, entry.until)
            claims.append(Claim(("", fingerprint, "alert"), entry.starts_at, worker, mark))
        return claims

    def put_back(self, claims: Iterable[Claim]) -> None:
        """They could not be told."""
        for entry in _entries(claims):
            self._waiting.setdefault(entry.fingerprint, entry)

    def retell(self) -> None:
        """The store has forgotten everything."""
        for entry in self._desk.entries():
            self._waiting.setdefault(entry.fingerprint, entry)

    def adopt(self, claims: Iterable[Claim], now: float) -> None:
        """Take over what others said."""
        self._desk.absorb(_entries(claims), now)

    def after_fork(self) -> None:
        """The parent tells what is waiting."""
        self._waiting.clear()


def _entries(claims: Iterable[Claim]) -> list[Entry]:
    entries: list[Entry] = []
    for claim in claims:
        try:
            entries.append(entry_of(claim.mark.reason if claim.mark is not None else ""))
        except ValueError:  # another version's
            continue
    return entries
