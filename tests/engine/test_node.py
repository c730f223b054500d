"""Nodes: the address that a user writes, and the identity made of it."""

import copy
import dataclasses
import pickle
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import Node
from balancemw.node import normal_url

SECRET = "s3cr3t"


class TestUrl:
    @pytest.mark.parametrize(
        ("written", "url"),
        [
            ("http://a:8001", "http://a:8001"),
            ("http://a:8001/", "http://a:8001"),
            ("http://a:8001///", "http://a:8001"),
            ("http://a", "http://a"),
            ("http://a:", "http://a"),
            ("HTTPS://Example.COM:8443/Api/V1/", "https://example.com:8443/Api/V1"),
            ("http://10.0.0.1:80/x/y", "http://10.0.0.1:80/x/y"),
            ("http://a:0080", "http://a:80"),
            ("http://[::1]:8001/", "http://[::1]:8001"),
            ("http://[2001:DB8::1]", "http://[2001:db8::1]"),
            ("http://[fe80::1%25eth0]:80", "http://[fe80::1%25eth0]:80"),
            ("http://bücher.example", "http://bücher.example"),
        ],
    )
    def test_one_spelling(self, written: str, url: str):
        assert Node(written).url == url
        assert normal_url(url) == url

    @pytest.mark.parametrize(
        ("url", "host", "port", "name"),
        [
            ("http://a:8001/prefix", "a", 8001, "a:8001"),
            ("http://a", "a", 80, "a:80"),
            ("https://a", "a", 443, "a:443"),
            ("http://[::1]:8001", "::1", 8001, "[::1]:8001"),
            ("https://[2001:db8::1]/x", "2001:db8::1", 443, "[2001:db8::1]:443"),
        ],
    )
    def test_parts(self, url: str, host: str, port: int, name: str):
        node = Node(url)
        assert (node.host, node.port, node.name) == (host, port, name)
        assert str(node) == url

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("", "expected a url like 'http://host:port'"),
            ("a:8001", "expected a url like 'http://host:port'"),
            ("//a:8001", "expected a url like 'http://host:port'"),
            ("http:a", "expected a url like 'http://host:port'"),
            ("http:///x", "expected a url like 'http://host:port'"),
            ("http://:80", "expected a url like 'http://host:port'"),
            ("ftp://a", "expected a url like 'http://host:port'"),
            ("ws://a", "expected a url like 'http://host:port'"),
            ("http://[::1", "expected a url like 'http://host:port'"),
            ("http://[::g]", "expected a url like 'http://host:port'"),
            ("http://[::1]garbage:80", "expected a url like 'http://host:port'"),
            ("http://garbage[::1]:80", "expected a url like 'http://host:port'"),
            ("http://[v1.x]:80", "expected a url like 'http://host:port'"),
            ("http://a:0", "a port is a number from 1 to 65535"),
            ("http://a:65536", "a port is a number from 1 to 65535"),
            ("http://a:-1", "a port is a number from 1 to 65535"),
            ("http://a:+80", "a port is a number from 1 to 65535"),
            ("http://a:x", "a port is a number from 1 to 65535"),
            ("http://a:\uff18\uff10", "a port is a number from 1 to 65535"),
            ("http://a/?x=1", "a node's url has no query and no fragment"),
            ("http://a?", "a node's url has no query and no fragment"),
            ("http://a/x#y", "a node's url has no query and no fragment"),
            ("http://a/#", "a node's url has no query and no fragment"),
            ("http://a b", "a url has no spaces or control characters"),
            (" http://a", "a url has no spaces or control characters"),
            ("http://a\n", "a url has no spaces or control characters"),
            ("http://a\x7f", "a url has no spaces or control characters"),
            ("http://a\x85", "a url has no spaces or control characters"),
            ("http://a/\u2028", "a url has no spaces or control characters"),
            ("http://a/\ud800", "a url has no spaces or control characters"),
            (80, "expected a url like 'http://host:port', got int"),
            (None, "expected a url like 'http://host:port', got NoneType"),
            (b"http://a", "expected a url like 'http://host:port', got bytes"),
        ],
    )
    def test_what_is_no_address_is_refused(self, url: Any, problem: str):
        with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
            Node(url)

    @pytest.mark.parametrize(
        "url",
        [
            f"http://user:{SECRET}@a:80",
            f"http://{SECRET}@a",
            f"http://user:{SECRET}@a:x",
            f"http://user:{SECRET}@",
            f"http://user:{SECRET}@[::1",
            f"http://user:[{SECRET}]@a",
            f"http://user:{SECRET}@a℀b",
            f"http://user:{SECRET} @a",
            f"http://user:{SECRET}@a?x",
            f"ftp://user:{SECRET}@a",
            f"http://a:{SECRET}@80",
        ],
    )
    def test_a_password_is_refused_and_never_repeated(self, url: str):
        with pytest.raises(ValueError, match=r"url|port") as caught:
            Node(url)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_a_password_is_named_as_the_problem(self):
        with pytest.raises(ValueError, match="must not carry a user or password"):
            Node("http://user:password@a:80")

    @given(st.text() | st.from_regex(r"https?://[\[\]:a-zA-Z0-9.%/?#@\\-]*", fullmatch=True))
    def test_any_text_has_one_spelling_or_is_refused(self, text: str):
        try:
            url = normal_url(text)
        except ValueError:
            return
        assert normal_url(url) == url
        node = Node(text)
        assert node.host
        assert 0 < node.port <= 65535
        assert "@" not in url.split("/")[2]
        url.encode()


class TestWeight:
    @pytest.mark.parametrize("weight", [1, 2.5, 1e-9, 1e9, True])
    def test_above_zero(self, weight: float):
        assert Node("http://a", weight).weight == weight
        assert type(Node("http://a", weight).weight) is float

    @pytest.mark.parametrize("weight", [0, -1, -0.0, float("nan"), float("inf"), float("-inf")])
    def test_other_weights_are_refused(self, weight: float):
        with pytest.raises(ValueError, match=r"^weight must be above 0, got "):
            Node("http://a", weight)


class TestIdentity:
    def test_defaults(self):
        node = Node("http://a")
        assert (node.weight, node.zone, node.priority, dict(node.metadata)) == (1.0, "", 0, {})

    @pytest.mark.parametrize(
        "name", ["url", "weight", "zone", "priority", "metadata", "name", "host", "port", "something"]
    )
    def test_frozen(self, name: str):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            setattr(Node("http://a"), name, "x")

    def test_metadata_is_a_copy_and_read_only(self):
        given_metadata = {"rack": "1"}
        node = Node("http://a", metadata=given_metadata)
        given_metadata["rack"] = "2"
        assert node.metadata["rack"] == "1"
        with pytest.raises(TypeError):
            node.metadata["rack"] = "3"  # type: ignore[index]

    def test_equal_and_hashed_by_what_was_configured(self):
        node = Node("http://a/", 2, "z", 1, {"rack": "1"})
        same = Node("HTTP://A", 2.0, "z", 1, {"rack": "1"})
        assert node == same
        assert hash(node) == hash(same)
        assert {node: "found"}[same] == "found"

    @pytest.mark.parametrize(
        "change",
        [{"url": "http://b"}, {"weight": 2}, {"zone": "z"}, {"priority": 1}, {"metadata": {"rack": "1"}}],
    )
    def test_different_when_anything_configured_differs(self, change: Mapping[str, Any]):
        assert Node("http://a") != dataclasses.replace(Node("http://a"), **change)

    def test_replace_makes_the_parts_anew(self):
        moved = dataclasses.replace(Node("http://a:1", 3, metadata={"rack": "1"}), url="http://b:2")
        assert (moved.name, moved.host, moved.port, moved.weight) == ("b:2", "b", 2, 3.0)
        assert moved.metadata == {"rack": "1"}

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickled(self, protocol: int):
        node = Node("https://[::1]:8001/x", 2.5, "z", 3, {"rack": {"row": 1}})
        back = pickle.loads(pickle.dumps(node, protocol))
        assert back == node
        assert (back.name, back.host, back.port) == (node.name, node.host, node.port)
        assert back.metadata == node.metadata

    def test_copied(self):
        node = Node("http://a", metadata={"racks": ["1"]})
        assert copy.copy(node) == node
        deep = copy.deepcopy(node)
        assert deep == node
        deep.metadata["racks"].append("2")  # type: ignore[attr-defined]
        assert node.metadata == {"racks": ["1"]}
