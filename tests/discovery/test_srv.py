"""SRV records, asked of a real name server; and what becomes of their priorities and weights."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.discovery.found import SourceError
from balancemw.discovery.srv import Record, nodes_of
from tests.discovery.dnsmasq import name_server
from tests.discovery.finding import asking, finding, settings_of
from tests.discovery.test_dns import failing, found, once

NAME = "_http._tcp.shop.test"


def srv(server: Any, **options: Any) -> dict[str, Any]:
    return {"kind": "srv", "name": NAME, "nameservers": [server.address], "timeout": 2, **options}


def record(target: str, port: int, priority: int, weight: int) -> str:
    return f"srv-host={NAME},{target},{port},{priority},{weight}"


def test_targets_are_nodes_with_their_names_ports_priorities_and_weights():
    records = [record("a.shop.test", 8001, 0, 3), record("b.shop.test", 8002, 0, 1), record("c.shop.test", 8003, 7, 5)]
    with name_server(*records, ttl=9) as server:
        answer = asking(once, **srv(server, scheme="https", prefix="/v1", zone="z", metadata={"a": 1}))
    assert answer.good_for == 9
    assert sorted((node.url, node.priority, node.weight, node.zone) for node in found(answer)) == [
        ("https://a.shop.test:8001/v1", 0, 3.0, "z"),
        ("https://b.shop.test:8002/v1", 0, 1.0, "z"),
        ("https://c.shop.test:8003/v1", 7, 5.0, "z"),
    ]
    assert {node.name for node in found(answer)} >= {"a.shop.test:8001"}


def test_a_service_that_is_decidedly_not_available_is_a_failure_and_its_nodes_stay():
    with name_server(record("a.shop.test", 8001, 0, 3)) as server, finding(srv(server)) as shop:
        shop.until_urls("http://a.shop.test:8001")
        server.serve(f"srv-host={NAME}")  # dnsmasq's way to say "."
        told = shop.wait_for("discovery_failed").reason
        assert told == f"srv {NAME}: its records say that the service is not available; the one node known stays"
        assert shop.available() == ["http://a.shop.test:8001"]
        server.serve(record("b.shop.test", 8001, 0, 3))
        shop.until_urls("http://b.shop.test:8001")


def test_no_such_name_and_no_such_record():
    with name_server("host-record=_http._tcp.shop.test,10.0.0.1") as server:
        assert asking(once, **srv(server)).found == ()
        assert asking(failing, **{**srv(server), "name": "_x._tcp.test"}) == "there is no such name"


SETTINGS = settings_of(kind="srv", name=NAME)
RECORDS = st.lists(
    st.builds(
        Record,
        st.integers(0, 3),
        st.integers(0, 65535),
        st.sampled_from([0, 80, 8000]),
        st.sampled_from(["a.test", "b.test", "A.test", "c.test", ""]),
    ),
    max_size=12,
)


@given(RECORDS)
def test_weights_are_above_0_and_shares_are_those_of_the_rfc(records: list[Record]):
    there = [each for each in records if each.target and each.port]
    if records and not there:
        with pytest.raises(SourceError, match="not available"):
            nodes_of(records, SETTINGS)
        return
    nodes = [each.node for each in nodes_of(records, SETTINGS)]
    assert len({node.url for node in nodes}) == len(nodes)
    assert {(node.name) for node in nodes} == {f"{each.target.lower()}:{each.port}" for each in there}
    for node in nodes:
        same = [each for each in there if f"{each.target.lower()}:{each.port}" == node.name]
        assert node.priority == min(each.priority for each in same)
        assert node.weight > 0


@given(st.lists(st.integers(0, 100), min_size=1, max_size=6))
def test_records_of_weight_0_share_what_is_left_to_them(weights: list[int]):
    """RFC 2782 draws from 0 to the sum, and 0 alone falls to those of weight 0."""
    records = [Record(0, weight, 80, f"n{index}.test") for index, weight in enumerate(weights)]
    nodes = {each.node.host: each.node.weight for each in nodes_of(records, SETTINGS)}
    light = [f"n{index}.test" for index, weight in enumerate(weights) if not weight]
    if light:
        share = sum(nodes[host] for host in light) / sum(nodes.values())
        assert share == pytest.approx(1 / (1 + sum(weights)))
    assert all(nodes[f"n{index}.test"] == weight for index, weight in enumerate(weights) if weight)


def test_a_target_that_is_no_host_is_no_answer():
    with pytest.raises(SourceError, match="not what is expected of SRV records"):
        nodes_of([Record(0, 1, 80, "no host")], SETTINGS)
