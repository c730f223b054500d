"""``balancemw status``, asked of a real app, and of servers that are none."""

import asyncio
import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from balancemw.admin.client import NoAnswer, status_of, surface_of
from balancemw.admin.picture import pictures
from balancemw.cli import main
from balancemw.status_command import TOKEN as VARIABLE
from tests.adapters.replicas import free_port
from tests.adapters.servers import uvicorn
from tests.admin.conftest import SETTINGS, TOKEN, Site
from tests.discovery.serving import Served


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    file: Path = tmp_path_factory.mktemp("status") / "balancemw.toml"
    file.write_text(SETTINGS + '\n[services."empty"]\nnodes = []\n')
    with uvicorn("tests.admin.apps:starlette_app", env={"BALANCEMW_SETTINGS": str(file)}) as base:
        site = Site(base, "starlette")
        yield site
        site.close()


@pytest.fixture(autouse=True)
def _no_token_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


class Says(Served):
    """Answers everything with one body and status."""

    def __init__(self, body: str, status: int = 200, **headers: str) -> None:
        self._body, self._status, self._headers = body, status, headers
        super().__init__()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=self._body, status=self._status, headers=self._headers)


class TestOfAnApp:
    def test_every_node_with_what_is_known_of_it(self, app: Site, capsys: pytest.CaptureFixture[str]):
        assert main(["status", app.base, "--token", TOKEN]) == 0
        out = capsys.readouterr().out
        assert "inventory: 4 nodes, peak_ewma" in out
        assert "empty: 0 nodes, peak_ewma" in out
        for node in ("127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003", "[::1]:7004"):
            (line,) = (line for line in out.splitlines() if node in line)
            state, weight, in_flight, latency, success = (cell.strip() for cell in line.split("│")[2:7])
            assert (state, weight, in_flight) == ("up", "1", "0")
            assert latency == "–" or latency.endswith(" ms")  # whether it was called, when the app started
            assert success in ("–", "100.0%")
        assert "0 retries of 100 allowed" in out

    def test_a_node_that_is_out_is_the_exit_status_and_has_its_reason(
        self, app: Site, capsys: pytest.CaptureFixture[str]
    ):
        app.order("127.0.0.1:7001", action="drain", reason="a [new] disk", ttl=600)
        assert main(["status", f"{app.base}/_balancer/status", "--token", TOKEN]) == 1
        (line,) = (line for line in capsys.readouterr().out.splitlines() if "127.0.0.1:7001" in line)
        assert "draining" in line
        assert "operator drain: a [new] disk (until " in line
        app.order("127.0.0.1:7001", action="up", reason="done")
        assert main(["status", app.base, "--token", TOKEN]) == 0

    def test_as_json_it_is_what_the_app_said(self, app: Site, capsys: pytest.CaptureFixture[str]):
        assert main(["status", app.base, "--token", TOKEN, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["services"] == app.get("/status").json()["services"]

    def test_the_token_need_not_stand_on_the_command_line(self, app: Site, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv(VARIABLE, TOKEN)
        assert main(["status", app.base]) == 0
        assert main(["status", app.base, "--token", "another"]) == 2

    @pytest.mark.parametrize("token", ["wrong", "", "two words", "tök\ren"])
    def test_a_wrong_token(self, app: Site, token: str, capsys: pytest.CaptureFixture[str]):
        assert main(["status", app.base, "--token", token]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert {"wrong": "answers 401", "": "a token is needed"}.get(token, "no token has") in told.err

    def test_another_path(self, app: Site, capsys: pytest.CaptureFixture[str]):
        assert main(["status", f"{app.base}/elsewhere", "--token", TOKEN]) == 2
        assert "does not answer with JSON" in capsys.readouterr().err  # the app answers there itself


class TestOfSomethingElse:
    @pytest.mark.parametrize(
        ("body", "status", "told"),
        [
            ("<html>", 200, "does not answer with JSON"),
            ("[" * 100_000, 200, "does not answer with JSON"),
            ("[]", 200, "no status of balancemw"),
            ('{"services": {"a": {"nodes": [{"name": "x"}]}}}', 200, "no status of balancemw"),
            ('{"services": {"a": []}}', 200, "no status of balancemw"),
            ("{}", 404, "need an admin.token"),
            ("", 503, "answers 503 Service Unavailable"),
        ],
    )
    def test_it_is_said_in_clear_words(self, body: str, status: int, told: str, capsys: pytest.CaptureFixture[str]):
        with Says(body, status) as server:
            assert main(["status", server.url, "--token", TOKEN]) == 2
        assert told in capsys.readouterr().err

    def test_the_token_goes_nowhere_else(self, capsys: pytest.CaptureFixture[str]):
        with Says("{}") as other, Says("", 302, Location=f"{other.url}/_balancer/status") as server:
            assert main(["status", server.url, "--token", TOKEN]) == 2
            assert other.asked == []
        assert "leads to another place" in capsys.readouterr().err

    def test_nobody_is_there(self, capsys: pytest.CaptureFixture[str]):
        assert main(["status", f"http://127.0.0.1:{free_port()}", "--token", TOKEN]) == 2
        assert "cannot be reached" in capsys.readouterr().err

    def test_an_answer_that_does_not_come_or_does_not_end(self, monkeypatch: pytest.MonkeyPatch):
        class Silent(Served):
            async def answer(self, request: web.Request) -> web.StreamResponse:
                await asyncio.sleep(60)
                raise AssertionError

        with Silent() as server, pytest.raises(NoAnswer, match=r"did not answer within 0\.1 s"):
            asyncio.run(status_of(server.url, TOKEN, 0.1))
        monkeypatch.setattr("balancemw.admin.client._LARGEST", 1000)
        with Says("x" * 1001) as server, pytest.raises(NoAnswer, match="answers with more than"):
            asyncio.run(status_of(server.url, TOKEN))

    def test_without_rich_the_tables_are_plain(
        self, app: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        monkeypatch.delitem(sys.modules, "balancemw.admin.picture", raising=False)
        monkeypatch.setitem(sys.modules, "rich.console", None)  # type: ignore[arg-type]
        app.order("127.0.0.1:7001", action="drain", reason="a [new] disk")
        assert main(["status", app.base, "--token", TOKEN]) == 1
        lines = capsys.readouterr().out.splitlines()
        app.order("127.0.0.1:7001", action="up", reason="done")
        start = lines.index("inventory: 4 nodes, peak_ewma")
        assert lines[start + 1].split() == ["node", "state", "weight", "in", "flight", "latency", "success"]
        assert set(lines[start + 2]) == {"-", " "}
        assert [line.split()[0] for line in lines[start + 3 : start + 7]] == [
            "127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003", "[::1]:7004",
        ]  # fmt: skip
        assert lines[start + 3].split()[1] == "draining"
        assert "127.0.0.1:7001: operator drain: a [new] disk" in lines
        assert "empty: 0 nodes, peak_ewma" in lines


@pytest.mark.parametrize(
    ("url", "surface"),
    [
        ("http://a:1", "http://a:1/_balancer"),
        ("a:1", "http://a:1/_balancer"),
        ("https://a/", "https://a/_balancer"),
        ("http://[::1]:8000", "http://[::1]:8000/_balancer"),
        ("http://a/app/_balancer/", "http://a/app/_balancer"),
        ("http://a/x/status?y", "http://a/x"),
        ("http://a/status", "http://a/_balancer"),
    ],
)
def test_where_the_surface_is(url: str, surface: str):
    assert surface_of(url) == surface


@pytest.mark.parametrize("url", ["", "http://", "ftp://a", "http://[::1", "http://a:x", "http://a:0", "http://u:p@a"])
def test_what_is_no_url_is_not_asked(url: str, capsys: pytest.CaptureFixture[str]):
    assert main(["status", url, "--token", TOKEN]) == 2
    told = capsys.readouterr().err
    assert ("is not a url" in told) != ("user or password" in told)


def shown(node: dict[str, Any], now: float = 0.0, width: int = 160) -> str:
    """The table of one service with this node and another one."""
    other = {"name": "b:2", "state": "up", "priority": 0}
    out = io.StringIO()
    for picture in pictures({"services": {"s": {"nodes": [node, other]}}}, now):
        Console(file=out, width=width).print(picture)
    return out.getvalue()


class TestTheTable:
    def test_zone_and_priority_only_where_they_tell_something(self):
        plain = shown({"name": "a:1", "state": "up", "zone": "", "priority": 0})
        both = shown({"name": "a:1", "state": "up", "zone": "z", "priority": 2})
        assert [word in text for text in (plain, both) for word in ("zone", "priority")] == [False, False, True, True]

    def test_a_narrow_terminal_has_the_marks_below(self):
        mark = {"source": "traffic", "kind": "ejected", "reason": "it cannot be reached"}
        service = {"nodes": [{"name": "10.100.200.1:8000", "state": "ejected", "marks": [mark]}]}
        out = io.StringIO()
        for picture in pictures({"services": {"s": service}}, 0.0, narrow=True):
            Console(file=out, width=72).print(picture)
        lines = out.getvalue().splitlines()
        assert lines[-1] == "10.100.200.1:8000: traffic ejected: it cannot be reached"
        assert "marks" not in out.getvalue()
        assert max(map(len, lines)) <= 72

    @pytest.mark.parametrize("narrow", [True, False])
    def test_where_there_is_no_room_names_are_folded_and_not_cut(self, narrow: bool):
        names = [f"inventory-with-a-long-name-{i}.prod.example.com:800{i}" for i in range(3)]
        nodes = [{"name": name, "state": "slow_start", "latency_ms": 12.34, "success_rate": 1.0} for name in names]
        out = io.StringIO()
        for picture in pictures({"services": {"s": {"nodes": nodes}}}, 0.0, narrow=narrow):
            Console(file=out, width=72).print(picture)
        rows = [line.split("│")[1].strip() for line in out.getvalue().splitlines() if line.startswith("│")]
        assert "".join(rows) == "".join(names)
        assert "…" not in out.getvalue() or not narrow

    @pytest.mark.parametrize(("delay", "told"), [(52.34, "52.3 ms"), (None, "–")])
    def test_what_is_hedged_only_where_something_is(self, delay: float | None, told: str):
        service = {"nodes": [{"name": "a:1", "state": "up"}], "hedge": {"delay_ms": delay, "hedges": 60, "wins": 58}}
        out = io.StringIO()
        for picture in pictures({"services": {"s": service}}, 0.0):
            Console(file=out, width=160).print(picture)
        assert f"hedged after {told}: 60 hedges, of which 58 won" in out.getvalue()
        assert "hedge" not in shown({"name": "a:1", "state": "up"})

    def test_a_time_is_shown_with_its_day_where_that_is_another(self):
        def until(at: object) -> str:
            marks = [{"source": "traffic", "kind": "ejected", "reason": "dead", "until": at}]
            return shown({"name": "a:1", "state": "ejected", "marks": marks}, now=1e9)

        assert f"until {time.strftime('%H:%M:%S', time.localtime(1e9 + 60))}" in until(1e9 + 60)
        assert "until 2001-09-1" in until(1e9 + 86400 * 2)
        assert "until 1e+300" in until(1e300)
        assert "until" not in until(None)

    def test_nothing_that_a_node_is_called_can_control_the_terminal(self):
        told = shown({"name": "\x1b[31ma:1", "state": "[bold]odd", "marks": [{"reason": "\x07\x1b]0;x\x07"}, 5]})
        assert "\x1b" not in told
        assert "\x07" not in told
        assert "[bold]odd" in told

    def test_no_services(self):
        out = io.StringIO()
        for picture in pictures({"services": {}}, 0.0):
            Console(file=out).print(picture)
        assert out.getvalue() == "no services\n"
