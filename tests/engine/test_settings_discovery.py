"""The settings of discovery: what each kind takes, and how what is wrong is told."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from balancemw.cli import main
from balancemw.errors import SettingsError
from balancemw.settings import ConsulSettings, FileSettings, Settings, advice
from tests.engine.test_settings_problems import of_service, problems

CALLABLE = "tests.discovery.callables:sync"
KNOWN = 'dns, srv, file, consul, kubernetes, or "package.module:callable"'


def told(**discovery: Any) -> list[str]:
    found = of_service({"discovery": discovery})
    assert all(each.startswith("discovery") for each in found)
    return [each.removeprefix("discovery").removeprefix(".") for each in found]


def of(**discovery: Any) -> Any:
    return Settings.load({"services": {"s": {"discovery": discovery}}}).services["s"].discovery


@pytest.mark.parametrize(
    ("discovery", "text"),
    [
        (5, 'discovery: expected a mapping or "package.module:callable", got 5; write {"kind": "dns",'),
        ("dns", "discovery: expected a mapping or \"package.module:callable\", got 'dns'; write"),
        ({}, f"discovery.kind: missing; write one of {KNOWN}"),
        ({"kind": 5}, "discovery.kind: expected a string, got 5"),
        ({"kind": "dsn"}, f"discovery.kind: unknown kind 'dsn'; did you mean 'dns'? (known: {KNOWN})"),
        ({5: 1}, "discovery: every key must be a string, got 5"),
        ("os:nope", "discovery: cannot import 'os:nope'"),
        ({"kind": "os:nope"}, "discovery.kind: cannot import 'os:nope'"),
        ({"kind": "os:sep"}, "discovery.kind: 'os:sep' is not callable"),
    ],
)
def test_a_kind_that_is_none(discovery: Any, text: str):
    (found,) = of_service({"discovery": discovery})
    assert found.startswith(text)


def test_all_that_is_wrong_with_a_kind_is_told_at_once():
    found = told(kind="dns", nam="shop", port=0, timeout="5", ttl_min=9)
    assert [each.split(": ")[0] for each in found] == ["nam", "timeout", "name", "port"]
    assert found[0].startswith("nam: unknown option of kind 'dns'; did you mean 'name'? (it takes: kind, timeout, ")
    assert told(kind=CALLABLE, intervall=1)[0].startswith("intervall: unknown option of a callable; did you mean")


@pytest.mark.parametrize(
    ("discovery", "text"),
    [
        ({"kind": "dns"}, 'name: missing; write the name to look up, like "inventory.internal"'),
        ({"kind": "consul"}, "service: missing; write what the service is called there"),
        ({"kind": "file"}, "path: missing; write the path of a JSON or TOML file"),
        ({"kind": "file", "path": "nodes.yaml"}, "path: expected a path that ends in .json or .toml, got 'nodes.yaml'"),
        ({"kind": "file", "path": "a\0.json"}, "path: expected a path that ends in .json or .toml"),
        ({"kind": "dns", "name": "no name"}, "name: expected a name to look up"),
        ({"kind": "dns", "name": "a", "scheme": "ftp"}, "scheme: expected 'http' or 'https', got 'ftp'"),
        ({"kind": "dns", "name": "a", "prefix": "v1"}, "prefix: must begin with '/', got 'v1'"),
        ({"kind": "dns", "name": "a", "prefix": "/v1?x"}, "prefix: a path prefix has no spaces"),
        ({"kind": "dns", "name": "a", "prefix": "/v 1"}, "prefix: a path prefix has no spaces"),
        ({"kind": "dns", "name": "a", "nameservers": "1.1.1.1"}, "nameservers: expected a list of addresses, got one"),
        ({"kind": "dns", "name": "a", "nameservers": ["a.b"]}, "nameservers[0]: expected the address of a server like"),
        ({"kind": "dns", "name": "a", "nameservers": ["::1/x"]}, "nameservers[0]: expected the address of a server"),
        ({"kind": "dns", "name": "a", "records": ["MX"]}, "records[0]: is not valid: 'MX'"),
        ({"kind": "dns", "name": "a", "weight": 0}, "weight: must be above 0, got 0"),
        ({"kind": "dns", "name": "a", "metadata": 5}, "metadata: expected a mapping, got 5"),
        ({"kind": "srv", "name": "a", "weight": 2}, "weight: unknown option of kind 'srv'"),
        ({"kind": "srv", "name": "a", "ttl_min": 5, "ttl_max": 3}, "ttl_max: ttl_min (5) is above ttl_max (3)"),
        ({"kind": "srv", "name": "a", "ttl_min": 500}, "ttl_min: ttl_min (500) is above ttl_max (300)"),
        ({"kind": "consul", "service": ""}, "service: must not be empty"),
        ({"kind": "consul", "service": "a/b"}, "service: expected a name without spaces and any of / ? # %"),
        ({"kind": "consul", "service": "a", "address": "ftp://b"}, "address: expected a url like 'http://host:port'"),
        ({"kind": "consul", "service": "a", "wait": 601}, "wait: must be at most 600, got 601"),
        ({"kind": "consul", "service": "a", "token": 5}, "token: expected a string, got a value that is not shown"),
        ({"kind": "consul", "service": "a", "token": "s3\ncret"}, "token: a token has no spaces, control characters"),
        ({"kind": "kubernetes", "service": "a", "port": 0}, "port: expected the name of a port or a number from 1"),
        ({"kind": "kubernetes", "service": "a", "port": ""}, "port: expected the name of a port or a number from 1"),
        ({"kind": "kubernetes", "service": "a", "port": True}, "port: expected the name of a port or a number from 1"),
    ],
)
def test_an_option_that_is_wrong(discovery: Any, text: str):
    (found,) = told(**discovery)
    assert found.startswith(text)
    assert "cret" not in found


def test_nodes_may_be_left_out_with_discovery_and_only_then():
    assert Settings.load({"services": {"s": {"discovery": CALLABLE}}}).services["s"].nodes == ()
    assert problems({"services": {"s": {"discovery": None}}}) == [
        'services.s.nodes: missing; write ["http://host:port"]'
    ]
    both = Settings.load({"services": {"s": {"discovery": CALLABLE, "nodes": ["http://a:1"]}}}).services["s"]
    assert [node.url for node in both.nodes] == ["http://a:1"]
    assert advice(Settings.load({"services": {"s": {"discovery": CALLABLE}}})) == []


def test_defaults_are_merged_into_the_same_kind_only():
    loaded = Settings.load(
        {
            "defaults": {"discovery": {"kind": "consul", "address": "http://consul:8500", "token": "t0ken"}},
            "services": {
                "a": {"discovery": {"service": "alpha"}},
                "b": {"discovery": {"kind": "consul", "service": "beta", "token": ""}},
                "c": {"discovery": {"kind": "file", "path": "c.json"}},
                "d": {"discovery": None, "nodes": []},
            },
        }
    ).services
    alpha, beta = loaded["a"].discovery, loaded["b"].discovery
    assert isinstance(alpha, ConsulSettings)
    assert isinstance(beta, ConsulSettings)
    assert (alpha.service, alpha.address, alpha.token) == ("alpha", "http://consul:8500", "t0ken")
    assert (beta.service, beta.address, beta.token) == ("beta", "http://consul:8500", "")
    assert isinstance(loaded["c"].discovery, FileSettings)
    assert loaded["d"].discovery is None
    assert "t0ken" not in repr(loaded["a"])


def test_what_is_wrong_in_defaults_is_told_there():
    source = {"defaults": {"discovery": {"kind": "consul", "wait": 0}}, "services": {"s": {}, "t": {}}}
    assert set(problems(source)) == {
        "defaults.discovery.wait: must be above 0, got 0",
        "defaults.discovery.service: missing; write what the service is called there",
    }


def test_settings_can_be_pickled_and_told_apart():
    settings = of(kind="dns", name="a.", prefix="/v1/", records=[], metadata={"a": 1})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert (settings.prefix, settings.records) == ("/v1", ("A", "AAAA"))
    assert hash(settings) == hash(of(kind="dns", name="a.", prefix="/v1"))
    assert of(kind="os:getcwd").call is os.getcwd
    assert of(kind="os:getcwd") != of(kind="os:getcwd", interval=3)


def test_in_a_file_none_stands_for_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "balancemw.toml"
    file.write_text(
        '[defaults]\ndiscovery = {kind = "kubernetes", port = "http"}\n'
        '[services.a]\ndiscovery = {service = "a", scheme = "https"}\n'
        '[services.b]\ndiscovery = "none"\nnodes = ["http://b:1"]\n'
    )
    assert main(["check", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok: 2 services, 1 node"
    assert lines[1].startswith("warning: services.a.discovery.scheme: the nodes found are addresses")


def test_settings_already_made_are_taken(tmp_path: Path):
    made = FileSettings(kind="file", path=str(tmp_path / "nodes.json"))
    assert Settings.load({"services": {"s": {"discovery": made}}}).services["s"].discovery is made
    with pytest.raises(SettingsError):
        Settings.load({"services": {"s": {"discovery": object()}}})
