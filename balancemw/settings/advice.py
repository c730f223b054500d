"""Settings that are valid each by itself but cannot do together what they seem to promise."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from math import ceil
from random import Random

from balancemw.errors import did_you_mean
from balancemw.settings.admin import LEAST_TOKEN, AdminSettings
from balancemw.settings.alerts import AlertSettings
from balancemw.settings.document import Settings
from balancemw.settings.models import EjectionSettings, RouteSettings, ServiceSettings, SlowStartSettings
from balancemw.settings.sources import DnsSettings, KubernetesSettings
from balancemw.settings.words import key_text
from balancemw.strategies import resolve

Piece = tuple[str, str]
"""A key, below the service or route if it is about one, and what is to be said of it."""

LEAST_SUBSET = 3
"""Nodes below which it cannot be said which of them is the odd one."""

_ROOM = 1.5
"""How often more hedges may be due than are allowed, before that is worth a word."""

_MUCH = 16 * 1024 * 1024
"""Bytes of a request's body above which it is worth a word that they are kept."""


def advice(settings: Settings) -> list[str]:
    """What is valid but of no use, one line each with the full key, such as
    ``services.inventory.retry.backoff: 1 s is above backoff_max (0.25 s), the cap on each wait``.
    """
    of_services = [
        f"{key_text(('services', name))}.{key}: {text}"
        for name, service in settings.services.items()
        for topic in (
            _nodes,
            _discovery,
            _strategy,
            _preferred,
            _times,
            _retry,
            _hedge,
            _ejection,
            _keep,
            _probe,
            _probe_answers,
        )
        for key, text in topic(service)
    ]
    of_routes = [
        f"{key_text(('routes', prefix))}.{key}: {text}"
        for prefix, route in settings.routes.items()
        for key, text in _route(prefix, route, settings.services[route.service])
    ]
    of_all = [f"{key}: {text}" for topic in (_admin, _same_place, _alerts) for key, text in topic(settings)]
    return of_services + of_routes + of_all


def _route(prefix: str, route: RouteSettings, service: ServiceSettings) -> Iterator[Piece]:
    if prefix == "/" and route.keep_prefix:
        yield "keep_prefix", "has no effect with '/': there is nothing to take off"
    if route.body_limit != RouteSettings(service="").body_limit and service.retry.attempts == 1:
        text = f"has no effect with retry.attempts = 1 of service {route.service!r}: nothing is sent again"
        yield "body_limit", text
    if route.body_limit > _MUCH:
        yield "body_limit", f"{route.body_limit} bytes: so much may be held in memory for each request under way"


def _nodes(service: ServiceSettings) -> Iterator[Piece]:
    if not service.nodes and service.discovery is None:
        yield "nodes", "the list is empty: every call fails with NoNodeAvailable until replace() fills it"
    for name, count in Counter(node.name for node in service.nodes).items():
        if count > 1:
            yield "nodes", f"{count} nodes are called {name!r}; tell them apart by their urls, not by that name"


def _discovery(service: ServiceSettings) -> Iterator[Piece]:
    found = service.discovery
    if isinstance(found, DnsSettings | KubernetesSettings) and found.scheme == "https":
        text = "the nodes found are addresses: the client adapters want certificates for the service's name"
        yield "discovery.scheme", f"{text}, and functions of your own for the address, unless they ask otherwise"


def _strategy(service: ServiceSettings) -> Iterator[Piece]:
    name = service.strategy.name
    if name in ("random", "round_robin") and len({node.weight for node in service.nodes}) > 1:
        yield "strategy", f"{name!r} ignores weights, and the nodes' differ; 'weighted_{name}' heeds them"
    if name == "load_weighted" and len({node.weight for node in service.nodes}) > 1:
        yield "strategy", f"{name!r} measures what weights guess: the nodes' count only until they report their load"
    if service.strategy.options.get("balance_factor") is not None and len(service.nodes) == 1:
        yield "strategy.balance_factor", "has no effect with one node: there is no other for its keys to go on to"
    if name == "consistent_hash" and service.slow_start != SlowStartSettings():
        yield "slow_start", "has no effect with 'consistent_hash', where a key belongs to its node from the start"


def _preferred(service: ServiceSettings) -> Iterator[Piece]:
    zone, subset, name = service.zone, service.subset, service.strategy.name
    if (zone or subset) and getattr(resolve(name, service.strategy.options)(Random(0)), "sticky", False):
        for key in ("zone",) * bool(zone) + ("subset",) * bool(subset):
            yield key, f"has no effect with {name!r}, where a call's key alone decides which node it belongs to"
        return
    zones = sorted({node.zone for node in service.nodes if node.zone})
    known = bool(service.nodes) and service.discovery is None
    if zone and known and zone not in zones:
        there = f"theirs: {', '.join(map(repr, zones))}" if zones else "none has a zone"
        yield "zone", f"no node is of zone {zone!r}{did_you_mean(zone, zones)} ({there}): none is preferred"
    if subset and subset < LEAST_SUBSET:
        yield (
            "subset",
            f"{subset} is few: load gets uneven, and nobody can tell which node is slow; 10 is a good number",
        )
    if subset and known:
        sides = Counter((node.priority, bool(zone) and node.zone == zone) for node in service.nodes)
        if max(sides.values()) <= subset:
            yield "subset", f"{subset} has no effect: there are no more nodes than that to choose from"


def _times(service: ServiceSettings) -> Iterator[Piece]:
    whole, one, attempts = service.timeout, service.attempt_timeout, service.retry.attempts
    if one is None:
        if whole is None:
            yield "attempt_timeout", "neither this nor timeout is set: a node that hangs holds its callers for ever"
        elif attempts > 1:
            yield "attempt_timeout", "without it a try that hangs uses up the whole call, and no other follows"
    elif whole is None:
        return
    elif one > whole:
        yield "attempt_timeout", f"{one:g} s is longer than timeout ({whole:g} s), which ends the try first"
    elif one == whole and attempts > 1:
        yield "attempt_timeout", f"{one:g} s is all of timeout: after a try that hangs no other follows"
    elif attempts * one > whole * (1 + 1e-9):
        fit = ceil(whole / one)
        yield "retry.attempts", f"tries of {one:g} s: only {fit} of {attempts} begin within timeout ({whole:g} s)"


def _retry(service: ServiceSettings) -> Iterator[Piece]:
    retry = service.retry
    if retry.attempts == 1:
        return
    if retry.backoff > retry.backoff_max:
        yield (
            "retry.backoff",
            f"{retry.backoff:g} s is above backoff_max ({retry.backoff_max:g} s), the cap on each wait",
        )
    if retry.budget == retry.budget_floor == 0:
        yield "retry.budget", f"this and budget_floor are 0: nothing is ever retried, for all {retry.attempts} attempts"
    if retry.statuses and 503 not in retry.statuses:
        yield "retry.statuses", "503 is not among them: a node that is going down or overloaded says just that"
    good = sorted(status for status in retry.statuses if status < 400)
    if good:
        yield "retry.statuses", f"{', '.join(map(str, good))}: no error, yet a call so answered counts as failed"


def _hedge(service: ServiceSettings) -> Iterator[Piece]:
    hedge, retry = service.hedge, service.retry
    if hedge is None:
        return
    if retry.attempts == 1:
        yield "hedge", "has no effect with retry.attempts = 1: a hedge is a second try"
    elif retry.budget == retry.budget_floor == 0:
        yield "hedge", "has no effect with retry.budget and retry.budget_floor 0, out of which hedges are paid"
    elif len(service.nodes) == 1 and service.discovery is None:
        yield "hedge", "has no effect with a single node: a hedge goes to another"
    elif service.strategy.name == "consistent_hash":
        yield "hedge", "a hedge goes to a node that the call's key does not belong to"
    one, share = service.attempt_timeout, hedge.percentile
    if share is not None and 1.0 - share > _ROOM * hedge.max_extra:
        text = f"{hedge.delay!r} asks for a hedge with {1.0 - share:.3g} of the calls"
        yield "hedge.delay", f"{text}, and max_extra allows {hedge.max_extra:g}: most that are due are not sent"
    if one is not None and isinstance(hedge.delay, float) and hedge.delay >= one:
        yield "hedge.delay", f"{hedge.delay:g} s is not below attempt_timeout ({one:g} s), which ends the try first"


def _ejection(service: ServiceSettings) -> Iterator[Piece]:
    ejection, one = service.ejection, service.attempt_timeout
    if ejection.consecutive == 0 and ejection.success_rate == 0:
        if service.probe is None:
            yield "ejection", "switched off, and no probe: a node that hangs or answers errors stays in the pool"
        return
    if ejection.success_rate and ejection.min_calls > 1 and one is not None and ejection.window < one:
        text = f"{ejection.window:g} s is shorter than attempt_timeout ({one:g} s)"
        yield "ejection.window", f"{text}: a caller's timeouts never meet in one window"


def _keep(service: ServiceSettings) -> Iterator[Piece]:
    ejection = service.ejection
    if ejection.consecutive == 0 and ejection.success_rate == 0:
        return
    tiers = Counter(node.priority for node in service.nodes)
    for priority, count in sorted(tiers.items()):
        if count > 1 and ceil(ejection.keep * count - 1e-9) >= count:
            where = f" of priority {priority}" if len(tiers) > 1 else ""
            yield "ejection.keep", f"{ejection.keep:g} of {count} nodes{where} is all of them: none is ever ejected"
    if len(service.nodes) == 1 and ejection != EjectionSettings():
        yield "ejection", "the only node of a service is never ejected"


def _probe(service: ServiceSettings) -> Iterator[Piece]:
    probe = service.probe
    if probe is None:
        return
    if probe.timeout >= probe.interval:
        yield "probe.timeout", f"{probe.timeout:g} s: a check may last beyond interval ({probe.interval:g} s)"
    if probe.fast_interval > probe.interval:
        text = f"{probe.fast_interval:g} s is above interval ({probe.interval:g} s)"
        yield "probe.fast_interval", f"{text}: a node that is changing is checked less often, not more"
    if probe.kind == "http":
        return
    defaults = {field.name: field.default for field in fields(probe)}
    for key in ("path", "method", "expect"):
        if getattr(probe, key) != defaults[key]:
            yield f"probe.{key}", f"has no effect with kind {probe.kind!r}, only with 'http'"


def _probe_answers(service: ServiceSettings) -> Iterator[Piece]:
    if service.probe is None or len(service.probe.expect) != 2:
        return
    (low, end), (start, high) = service.probe.expect
    if low == end < start == high and high % 100 == 99:
        yield "probe.expect", f"just the two statuses {low} and {high}; the range is written [[{low}, {high}]]"


def _admin(settings: Settings) -> Iterator[Piece]:
    admin = settings.admin
    if admin.token is None:
        if admin != AdminSettings():
            yield "admin.path", "has no effect without admin.token: there is no admin surface"
    elif len(admin.token) < LEAST_TOKEN:
        yield "admin.token", f"shorter than {LEAST_TOKEN} characters: whoever guesses it may take nodes out"


def _same_place(settings: Settings) -> Iterator[Piece]:
    """Paths of which one is never reached, as another one's answer comes first."""
    admin, health = settings.admin, settings.inbound.health_path
    if admin.token is not None:
        has = f"admin.path ({admin.path!r}) has all that is at or below it"
        for prefix in settings.routes:
            if _at_or_below(prefix, admin.path):
                yield key_text(("routes", prefix)), f"no request is ever forwarded: {has}"
        if health is not None and _at_or_below(health, admin.path):
            yield "inbound.health_path", f"one of the two cannot be reached: {has}"
    route = settings.routes.get((health or "").rstrip("/") or "/")
    if health is not None and route is not None:
        text = f"{health!r} is a route as well: the app answers there, and that path of service {route.service!r}"
        yield "inbound.health_path", f"{text} cannot be reached"


def _at_or_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


def _alerts(settings: Settings) -> Iterator[Piece]:
    alerts = settings.alerts
    if alerts.url is None:
        for key in ("interval", "receiver", "token", "user"):
            if getattr(alerts, key) != getattr(AlertSettings(), key):
                yield f"alerts.{key}", "has no effect without alerts.url, where Alertmanager is asked"
        if settings.admin.token is None and alerts != AlertSettings():
            yield "alerts", "nothing brings alerts: there is neither admin.token, for webhooks, nor alerts.url"
    elif alerts.interval >= alerts.lease:
        text = f"{alerts.interval:g} s is not below lease ({alerts.lease:g} s)"
        yield "alerts.interval", f"{text}: alerts may expire before they are heard of again"
