"""The desk where alerts arrive: it takes them in, counts them, and sees to what follows."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import Lock

from balancemw.alerts.ledger import Entry, Ledger
from balancemw.alerts.marking import NOTHING, Marking, known_as
from balancemw.alerts.matching import Matcher
from balancemw.alerts.payload import Alert, Listed, plain, read_webhook
from balancemw.events import News
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.settings import AlertSettings
from balancemw.standing import Change

_LAST = 10  # unmatched alerts that are shown
_SHOWN = 100  # firing alerts that are shown
_LABELS = 20  # labels of an unmatched alert that are shown

COUNTED = ("received", "matched", "unmatched", "new", "renewed", "resolved", "stale", "refused", "truncated")
"""What is counted of alerts that webhooks bring; see docs/alerts.md."""

Hasten = Callable[[Pool, Peer], object]


class Desk:
    """Takes alerts in and keeps the marks of source ``alert``. Threads may use it at once; it does no I/O.

    Processes share alerts as entries of the ledger: `ledger.changed` is called, under the desk's lock, with each entry
    that is new here; `absorb` takes those of others; `entries` gives all. From the same entries every process derives
    the same marks, so in which order entries come, how often and through whom makes no difference.

    Args:
        settings: what alerts mean.
        pools: of all services.
        news: where it is told what concerns no service.
        epoch: seconds since the epoch at zero of the balancer's clock.

    Attributes:
        ledger: the known alerts.
        hasten: has a node's check made at once; set by what makes the checks.
    """

    def __init__(self, settings: AlertSettings, pools: Iterable[Pool], *, news: News, epoch: float) -> None:
        pools = tuple(pools)
        self._settings = settings
        self._matcher = Matcher(settings.match, pools)
        self.ledger = Ledger(settings.lease, {"alertname", "severity", *self._matcher.labels})
        self._marking = Marking(self.ledger, self._matcher, settings, pools, epoch)
        self._news = news
        self._epoch = epoch
        self.hasten: Hasten = lambda _pool, _peer: None
        self._lock = Lock()  # taken before a pool's, never within; nothing is told while it is held
        self._counts = dict.fromkeys(COUNTED, 0)
        self._unmatched: deque[Mapping[str, str]] = deque(maxlen=_LAST)
        for pool in pools:
            pool.overruled = partial(self.overrule, pool)

    def after_fork(self) -> None:
        """Begin anew in a child process; what is known stays."""
        self._lock = Lock()

    def receive(self, document: object, now: float) -> dict[str, int]:
        """Take in a webhook; returns how many of its alerts are of which sort.

        Raises:
            Malformed: it is none; then nothing has changed.
        """
        webhook = read_webhook(document)
        taken = webhook.alerts[: self._settings.max]
        with self._lock:
            counts = Counter(received=len(webhook.alerts), truncated=webhook.truncated)
            counts["refused"] = len(webhook.alerts) - len(taken)
            counts += Counter(self._take(alert, now) for alert in taken)
            counts["matched"] = len(taken) - counts["unmatched"]
            for name in COUNTED:
                self._counts[name] += counts[name]
            self._tell_of(counts)
            self._marking.settle(now)
        self._news.tell()
        return {name: counts[name] for name in COUNTED}

    def _take(self, alert: Alert, now: float, *, listed: bool = False) -> str:
        if not self._matcher.find(alert.labels):
            self._unmatched.append(_shown_labels(alert.labels))
            return "unmatched"
        found = self.ledger.take(alert, now + self._epoch, listed=listed)
        entry = self.ledger.get(alert.fingerprint)
        if found == "new" and entry is not None:
            self._act_at_once(entry, now)
        return found

    def _act_at_once(self, entry: Entry, now: float) -> None:
        """What is done but once about an alert that has begun to fire."""
        reaction = self._settings.reaction(entry.labels.get("severity", ""))
        for pool, peer in self._matcher.find(entry.labels):
            if reaction.probe:
                self.hasten(pool, peer)
            if reaction.kind == "note":
                pool.amend("alert", [Change(peer, event="noted", reason=entry.told)], now)

    def _tell_of(self, counts: Mapping[str, int]) -> None:
        if counts["unmatched"]:
            last = ", ".join(f'{name}="{value}"' for name, value in list(self._unmatched[-1].items())[:8])
            what = (
                f"{counts['unmatched']} of {counts['received']} alerts are about no node of ours; the last: {{{last}}}"
            )
            self._news.note(None, "unmatched", "alert", what)
        if counts["refused"] or counts["truncated"]:
            what = f"{counts['refused']} alerts were too many, and Alertmanager left out {counts['truncated']}"
            self._news.note(None, "alerts_lost", "alert", what)

    # -- from elsewhere

    def reconcile(self, listed: Iterable[Listed], gone: Iterable[str], now: float) -> None:
        """Take in what Alertmanager has now.

        Args:
            listed: its alerts. Of those that are silenced or inhibited only what is known already is heard.
            gone: fingerprints of alerts that it had listed before, and has no more.
            now: the balancer's clock.
        """
        with self._lock:
            known = {entry.fingerprint for entry in self.ledger.firing}
            for fingerprint in known.intersection(gone):
                self.ledger.gone(fingerprint, now + self._epoch)
            for each in listed:
                heard = each.active or each.alert.fingerprint in known
                if heard and self._matcher.find(each.alert.labels):
                    self._take(each.alert, now, listed=True)
            self._marking.settle(now)
        self._news.tell()

    def listed(self) -> set[str]:
        """Fingerprints of the alerts that fire and that Alertmanager has listed before."""
        with self._lock:
            return {entry.fingerprint for entry in self.ledger.firing if entry.listed}

    def absorb(self, entries: Iterable[Entry], now: float) -> None:
        """Take in entries of other processes."""
        entries = [entry for entry in entries if entry.until > now + self._epoch]
        with self._lock:
            known = {entry.fingerprint for entry in self.ledger.firing}
            self.ledger.absorb(entries)
            for entry in self.ledger.firing:
                if entry.fingerprint not in known:
                    self._act_at_once(entry, now)
            self._marking.settle(now)
        self._news.tell()

    def entries(self) -> list[Entry]:
        """All that is known, for a store that has lost it."""
        with self._lock:
            return list(self.ledger)

    def overrule(self, pool: Pool, peer: Peer, now: float) -> None:
        """An operator has said that the node is well."""
        with self._lock:
            self._marking.overrule(pool, peer)
            self._marking.settle(now)
        self._news.tell()

    # -- from time to time

    def keep_up(self, now: float) -> None:
        """Do what time demands. Costs next to nothing when there is nothing to do, and never waits."""
        if now < self._marking.due or not self._lock.acquire(blocking=False):
            return
        try:
            self._marking.settle(now)
        finally:
            self._lock.release()
        self._news.tell()

    def status(self) -> dict[str, object]:
        """What is known, as plain JSON-able data; times are seconds since the epoch."""
        with self._lock:
            firing = self.ledger.firing
            return {
                **self._counts,
                "firing": len(firing),
                "alerts": [self._shown(entry) for entry in firing[:_SHOWN]],
                "unmatched_last": [dict(labels) for labels in self._unmatched],
            }

    def _shown(self, entry: Entry) -> dict[str, object]:
        return {
            "fingerprint": plain(entry.fingerprint),
            "alert": entry.told,
            "reaction": str(self._settings.reaction(entry.labels.get("severity", ""))),
            "nodes": [self._shown_target(entry, pool, peer) for pool, peer in self._matcher.find(entry.labels)],
            "since": entry.starts_at,
            "until": entry.until,
        }

    def _shown_target(self, entry: Entry, pool: Pool, peer: Peer) -> dict[str, object]:
        verdict = self._marking.verdicts.get(peer, NOTHING)
        effect = "none"
        if known_as(pool, peer) in entry.overruled:
            effect = "overruled"
        elif verdict.held is not None and verdict.held.entry.fingerprint == entry.fingerprint:
            effect = "held_back"
        elif verdict.claim is not None and verdict.claim.entry.fingerprint == entry.fingerprint:
            effect = verdict.claim.reaction.kind
        return {"service": pool.name, "node": peer.node.name, "effect": effect}


def _shown_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    return {plain(name, 100): plain(value, 100) for name, value in list(labels.items())[:_LABELS]}
