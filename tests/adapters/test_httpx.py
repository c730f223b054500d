"""A balanced request of httpx or httpx2 looks like any other to its caller, and reaches a replica as it was meant."""

from typing import Any

import pytest

from balancemw import DeadlineExceeded, NoNodeAvailable, deadline
from tests.adapters.httpx_callers import FLAVOURS, Counts, Flavour, balanced, caller, counts
from tests.adapters.replicas import free_port
from tests.adapters.scripted import answering, half, reset, scripted

pytestmark = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)


# -- what the caller sees


def test_the_response_is_that_of_the_url_that_was_asked_for(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        replica.act = answering(201, b"made", "Content-Type: text/plain; charset=ascii", "X-Two: a", "X-Two: b")
        response = client.get("http://inventory/stock/1?a=b")
        assert (response.status_code, response.text, response.reason_phrase) == (201, "made", "As told")
        assert response.url == response.request.url == "http://inventory/stock/1?a=b"
        assert response.headers.get_list("x-two") == ["a", "b"]
        assert response.http_version == "HTTP/1.1"
        assert "network_stream" in response.extensions
        assert response.num_bytes_downloaded == 4
        assert response.elapsed.total_seconds() > 0
        assert isinstance(response, flavour.module.Response)
        assert isinstance(response.request, flavour.module.Request)
        assert "x-envoy-attempt-count" not in response.request.headers


def test_a_status_of_the_client_s_fault_is_an_answer(flavour: Flavour) -> None:
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = answering(404)
        response = client.get("http://inventory/")
        with pytest.raises(flavour.module.HTTPStatusError, match="404"):
            response.raise_for_status()
        assert [len(replica.seen) for replica in replicas] == [1, 0]


def test_cookies_belong_to_the_service(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        replica.plan.append(answering(200, b"", "Set-Cookie: basket=7; Path=/"))
        client.get("http://inventory/")
        client.get("http://inventory/")
        assert [seen.headers.get("cookie") for seen in replica.seen] == [None, "basket=7"]
        assert {cookie.domain for cookie in client.client.cookies.jar} == {"inventory.local"}


@pytest.mark.parametrize("location", ["/there?x=1", "http://inventory/there?x=1", "//inventory/there?x=1"])
def test_redirects_stay_with_the_service(flavour: Flavour, location: str) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica]), follow_redirects=True) as client:
        replica.plan.append(answering(307, b"moved", f"Location: {location}"))
        response = client.post("http://inventory/here", content=b"body", auth=("user", "secret"))
        assert response.url == "http://inventory/there?x=1"
        assert [past.url for past in response.history] == ["http://inventory/here"]
        assert [(seen.target, seen.body) for seen in replica.seen] == [("/here", b"body"), ("/there?x=1", b"body")]
        assert len({seen.headers["authorization"] for seen in replica.seen}) == 1  # it was the same origin
        assert [seen.headers["x-envoy-attempt-count"] for seen in replica.seen] == ["1", "1"]


def test_digest_authentication_signs_the_logical_path(flavour: Flavour) -> None:
    with scripted() as [replica]:
        challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
        replica.plan.append(answering(401, b"", challenge))
        auth = flavour.module.DigestAuth("user", "secret")
        with caller(flavour, balanced([replica], "/app"), auth=auth) as client:
            assert client.get("http://inventory/secret?x=1").status_code == 200
        assert [seen.target for seen in replica.seen] == ["/app/secret?x=1"] * 2
        assert 'uri="/secret?x=1"' in replica.seen[1].headers["authorization"]


def test_user_and_password_in_the_url_become_a_header_only(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        client.get("http://user:secret@inventory/")
        assert replica.seen[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
        assert replica.seen[0].headers["host"] == "inventory"


def test_other_hosts_and_schemes_pass_untouched(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([])) as client:
        assert client.get(replica.url + "/x").text == "ok"
        assert "x-envoy-attempt-count" not in replica.seen[0].headers
        with pytest.raises(flavour.module.UnsupportedProtocol):
            client.get("lb://inventory/")


# -- what the replica gets

PATHS = ["/", "/a%20b?c=%20d+e", "/%2e%2e/%2F//x", "/p?", "/p?a=b?c=d&e", "/;v=1,2/@:!$'()*", "/%C3%A4?q=%C3%A4"]


@pytest.mark.parametrize("prefix", ["", "/app/v1"])
def test_path_and_query_arrive_byte_for_byte(flavour: Flavour, prefix: str) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica], prefix)) as client:
        for path in PATHS:
            url = flavour.module.URL("http://inventory" + path)
            client.get(url)
            assert replica.seen[-1].target == prefix + url.raw_path.decode()


def test_a_target_of_the_caller_s_own_is_kept(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica], "/app")) as client:
        client.get("http://inventory/", extensions={"target": b"/un[quoted]"})
        client.request("OPTIONS", "http://inventory/", extensions={"target": b"*"})
        assert [seen.target for seen in replica.seen] == ["/app/un[quoted]", "*"]


def test_the_replica_is_called_by_the_service_s_name(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        client.get("http://INVENTORY:8080/")
        assert replica.seen[0].headers["host"] == "inventory:8080"


def test_the_replica_is_called_by_its_own_name_if_wished(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica], host_header="node")) as client:
        client.get("http://inventory/")
        client.get("http://inventory/", headers={"Host": "shop.example"})
        assert [seen.headers["host"] for seen in replica.seen] == [f"127.0.0.1:{replica.port}", "shop.example"]


def test_the_replica_is_told_of_try_and_time(flavour: Flavour) -> None:
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = reset
        client.get("http://inventory/", headers={"X-Request-Timeout-Ms": "1234", "X-Envoy-Attempt-Count": "9"})
        first, second = replicas[0].seen[0].headers, replicas[1].seen[0].headers
        assert (first["x-envoy-attempt-count"], second["x-envoy-attempt-count"]) == ("1", "2")
        assert first["x-request-timeout-ms"] == second["x-request-timeout-ms"] == "1234"
        client.get("http://inventory/")
        assert 0 < int(replicas[1].seen[-1].headers["x-request-timeout-ms"]) <= 10_000


def test_the_key_chooses_the_replica(flavour: Flavour) -> None:
    with scripted(3) as replicas:
        balancer = balanced(replicas, strategy="consistent_hash")
        balancer["inventory"].replace([replica.url for replica in replicas])
        with caller(flavour, balancer, key=lambda request: request.headers.get("x-customer")) as client:
            for customer in range(30):
                for _ in range(2):
                    client.get("http://inventory/", headers={"x-customer": str(customer)})
        found = [{seen.headers["x-customer"] for seen in replica.seen} for replica in replicas]
        assert all(found)
        assert sum(len(customers) for customers in found) == 30


# -- tries


def test_what_fails_goes_to_another_replica(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        balancer = balanced(replicas)
        with caller(flavour, balancer) as client:
            for act in (reset, answering(503), lambda request: request.say("nonsense\r\n\r\n")):
                replicas[0].act = act
                assert client.get("http://inventory/").status_code == 200
        assert counts(balancer) == Counts(6, 3, 0)


def test_a_refused_connection_is_no_reason_to_fail_anything(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([f"http://127.0.0.1:{free_port()}", replica])) as client:
        assert client.post("http://inventory/", content=b"order").status_code == 200


@pytest.mark.parametrize(("headers", "again"), [({}, False), ({"Idempotency-Key": "7"}, True)])
def test_an_order_that_may_have_arrived_is_not_sent_again(
    flavour: Flavour, headers: dict[str, str], again: bool
) -> None:
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = reset
        if again:
            assert client.post("http://inventory/", content=b"order", headers=headers).status_code == 200
        else:
            with pytest.raises(flavour.module.TransportError):
                client.post("http://inventory/", content=b"order", headers=headers)
        assert [len(replica.seen) for replica in replicas] == [1, int(again)]


def test_when_tries_run_out_the_last_response_is_given(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        balancer = balanced(replicas, retry={"attempts": 2, "backoff": 0})
        with caller(flavour, balancer) as client:
            replicas[0].act, replicas[1].act = answering(502, b"first"), answering(503, b"second")
            response = client.get("http://inventory/")
            assert (response.status_code, response.text) == (503, "second")
        assert counts(balancer) == Counts(2, 2, 0)


def test_when_tries_run_out_the_last_error_is_raised_and_tells_the_story(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        balancer = balanced(replicas, retry={"attempts": 2, "backoff": 0})
        replicas[0].act = replicas[1].act = reset
        with caller(flavour, balancer) as client, pytest.raises(flavour.module.ReadError) as caught:
            client.get("http://inventory/stock")
        assert caught.value.request.url == "http://inventory/stock"
        [note] = caught.value.__notes__
        assert note.startswith(f"127.0.0.1:{replicas[0].port}: reset, 0.")
        assert counts(balancer).in_flight == 0


def test_a_replaced_response_leaves_its_connection_for_others(flavour: Flavour) -> None:
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = answering(503, b"x" * 60_000)
        for _ in range(3):
            client.get("http://inventory/")
        assert replicas[0].connections == 1
        replicas[0].act = answering(503, b"x" * 3_000_000)
        client.get("http://inventory/")
        replicas[0].act = answering(503)
        client.get("http://inventory/")
        assert replicas[0].connections == 2  # reading all of the large one would have cost more


def test_a_replaced_response_that_breaks_off_does_no_harm(flavour: Flavour) -> None:
    def half_refused(request: Any) -> None:
        request.say("HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nhalf")
        request.close_connection = True

    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = half_refused
        assert client.get("http://inventory/").status_code == 200


# -- errors of our own


def test_without_a_replica_the_error_is_the_library_s_and_ours(flavour: Flavour) -> None:
    balancer = balanced(["http://127.0.0.1:9"])
    balancer["inventory"].mark("127.0.0.1:9", "down", reason="maintenance")
    with caller(flavour, balancer) as client, pytest.raises(flavour.module.ConnectError) as caught:
        client.get("http://inventory/stock")
    assert isinstance(caught.value, NoNodeAvailable)
    assert "inventory" in str(caught.value)
    assert caught.value.request.url == "http://inventory/stock"


def test_when_time_is_up_the_error_is_the_library_s_and_ours(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        with deadline(0.0), pytest.raises(flavour.module.TimeoutException) as caught:
            client.get("http://inventory/stock")
        assert isinstance(caught.value, DeadlineExceeded)
        assert caught.value.request.url == "http://inventory/stock"
        assert replica.seen == []


def test_an_error_of_the_hooks_leaves_nothing_open(flavour: Flavour) -> None:
    with scripted() as [replica]:
        balancer = balanced([replica])
        with caller(flavour, balancer) as client:

            def stop(response: Any) -> None:
                raise LookupError("no")

            async def stop_async(response: Any) -> None:
                raise LookupError("no")

            client.client.event_hooks = {"response": [stop_async if flavour.is_async else stop]}
            with pytest.raises(LookupError):
                client.get("http://inventory/")
        assert counts(balancer) == Counts(1, 0, 0)


def test_a_body_that_breaks_off_is_an_error_and_the_replica_s(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        balancer = balanced(replicas)
        with caller(flavour, balancer) as client:
            replicas[0].act = half
            with pytest.raises(flavour.module.RemoteProtocolError) as caught:
                client.get("http://inventory/stock")
            assert caught.value.request.url == "http://inventory/stock"
        assert counts(balancer) == Counts(1, 1, 0)
        assert replicas[1].seen == []


def test_a_request_that_cannot_be_made_leaves_nothing_open(flavour: Flavour) -> None:
    with scripted() as [replica]:
        balancer = balanced([replica], "/" + "p" * 100)
        with caller(flavour, balancer) as client, pytest.raises(flavour.module.InvalidURL):
            client.get("http://inventory/" + "x" * 65_450)
        assert counts(balancer) == Counts(1, 0, 0)
