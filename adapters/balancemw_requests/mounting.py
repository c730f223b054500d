"""Mounting the adapter in a session."""

import weakref
from typing import Any
from urllib.parse import urlsplit

from requests import Session
from requests.adapters import BaseAdapter

from balancemw import Balancer
from balancemw_requests.adapter import BalancedAdapter, Key


def mount(session: Session, balancer: Balancer, *, key: Key | None = None, **options: Any) -> BalancedAdapter:
    """Balance what `session` sends to ``http://<service>/…`` and ``https://<service>/…``; all else is as it was.

    A replica's own url decides between http and https, and it may have a path prefix. The response, its url, cookies
    and redirects are those of the url that was asked for. Replicas are reached without a proxy, whatever the
    environment says. Mounted once more, a new adapter takes the place of the former one.

    Args:
        session: whose requests they are.
        balancer: whose services they are.
        key: for services whose strategy goes by key: gives it for a request.
        options: of `BalancedAdapter`.

    Returns:
        The adapter, which can be mounted in other sessions too.
    """
    adapter = BalancedAdapter(balancer, key=key, **options)
    former = [session.adapters.get(prefix) for prefix in adapter.prefixes]
    for prefix in adapter.prefixes:
        session.mount(prefix, adapter)
    for each in former:
        if isinstance(each, BalancedAdapter) and each not in session.adapters.values():
            each.close()
    if "get_adapter" not in vars(session):
        _find_by_host(session)
    return adapter


def _find_by_host(session: Session) -> None:
    """Have `session` find our adapter also where no prefix can: behind a user's name, and where nothing follows a host.

    What is found by a prefix stays found by it. A copy of the session does without.
    """
    here = weakref.ref(session)  # which would else hold on to itself

    def get_adapter(url: str) -> BaseAdapter:
        session: Any = here()
        found: BaseAdapter = type(session).get_adapter(session, url)
        if "@" not in url and url.count("/") > 2:
            return found
        try:
            split = urlsplit(url)
        except ValueError:
            return found
        ours = session.adapters.get(f"{split.scheme}://{split.hostname}/")
        return ours if isinstance(ours, BalancedAdapter) else found

    session.get_adapter = get_adapter  # type: ignore[method-assign]
