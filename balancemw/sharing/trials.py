"""Trial calls: one per pool, whichever worker makes it."""

from collections.abc import Callable, Iterable

from balancemw.sharing.contact import TTL
from balancemw.sharing.shared import Shared
from balancemw.stores import Store

_UNUSED = 1.0
"""Seconds for which a worker keeps a trial that none of its calls makes, before another worker gets the chance."""

_AGAIN = 0.1  # seconds until a trial is asked for again that another worker has
_YIELD = 0.5  # the same for one of our own that was given back unused

_Trial = tuple[Shared, str]


class Trials:
    """The trials that are due, and those of them that are ours. For one thread.

    The right is fetched beforehand, in the background, so that no call waits for it. It ends by itself when its owner
    dies, and it goes round among the workers until one has a call to make.

    Args:
        worker: in whose name they are held.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._ours: dict[_Trial, tuple[float, float]] = {}  # since when, and when to be prolonged
        self._not_before: dict[_Trial, float] = {}

    def tend(
        self,
        shared: Iterable[Shared],
        store: Store,
        now: float,
        real: float,
        *,
        workers: int,
        catch_up: Callable[[], None],
    ) -> None:
        """Fetch, prolong and give back.

        Args:
            shared: of all services.
            store: where they are held.
            now: on the balancer's clock.
            real: real seconds.
            workers: how many there are.
            catch_up: reads what others have said.
        """
        due = {(each, url) for each in shared for url in each.due(now)}
        self._not_before = {trial: at for trial, at in self._not_before.items() if at > real and trial in due}
        self._keep(due, store, now, real, workers)
        fresh = [
            trial for trial in due - self._ours.keys() - self._not_before.keys() if self._fetch(trial, store, real)
        ]
        if fresh:
            catch_up()  # its last trial may have told already what this one would
        for each, url in fresh:
            if url in each.due(now):
                self._ours[each, url] = (real, real + TTL / 4)
                each.grant(url)
            else:
                store.release(_name(each, url), self._worker)

    def _fetch(self, trial: _Trial, store: Store, real: float) -> bool:
        if store.hold(_name(*trial), self._worker, TTL):
            return True
        self._not_before[trial] = real + _AGAIN
        return False

    def _keep(self, due: set[_Trial], store: Store, now: float, real: float, workers: int) -> None:
        for trial, (since, prolong_at) in list(self._ours.items()):
            each, url = trial
            trying = each.trying(url, now)
            used = trying or (trial in due and (workers == 1 or real - since < _UNUSED))
            if used and real < prolong_at:
                continue
            if used and store.hold(_name(each, url), self._worker, TTL):
                self._ours[trial] = (since, real + TTL / 4)
                continue
            each.revoke(url)
            del self._ours[trial]
            if trial in due:
                self._not_before[trial] = real + _YIELD
            store.release(_name(each, url), self._worker)

    def drop(self) -> None:
        """What was ours may be another's by now."""
        for each, url in self._ours:
            each.revoke(url)
        self._ours.clear()

    def names(self) -> list[str]:
        """The leases held."""
        return [_name(*trial) for trial in self._ours]


def _name(shared: Shared, url: str) -> str:
    return f"trial:{shared.pool.name}:{url}"
