"""What an adapter does differ in: all of it, so that nothing else may."""

import aiohttp
import pytest

from tests.clients.conduct import closes
from tests.clients.preserves import balanced_only, only
from tests.clients.site import Site

# On the wire: two headers more, see test_wire.py. Statuses that are retried, and errors of our own: see
# test_failover.py. Nothing else, but what follows.


@only("aiohttp")
@balanced_only
def test_aiohttp_tells_which_replica_answered(site: Site) -> None:
    """`url` and `real_url` are the caller's; `request_info.url` is where the request went."""
    got = site.session().get("/a").raw
    assert str(got.request_info.url) == site.replica.url + "/a"
    assert str(got.request_info.real_url) == str(got.real_url) == str(got.url) == site.base + "/a"


@only("aiohttp")
@balanced_only
def test_aiohttp_is_not_told_to_try_again_on_its_own(site: Site) -> None:
    """It would, for an idempotent method whose connection was lost, and so double the tries."""
    site.replica.on("/a", closes)
    with pytest.raises(aiohttp.ServerConnectionError) as failed:
        site.session().get("/a")
    assert not isinstance(failed.value, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    assert isinstance(failed.value.__cause__, aiohttp.ServerDisconnectedError)
    assert len(site.replica.requests) == 3
