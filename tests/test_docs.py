"""What README and docs have ready to paste: settings that are valid, commands that exist, calls that can be made."""

import logging
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from balancemw import Balancer, Event
from balancemw.cli import _parser
from balancemw.events import Events, News
from balancemw.settings import Settings
from balancemw.simulate import Scenario, ready
from tests.adapters.replicas import free_port

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BASE = {"services": {"inventory": {"nodes": ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]}}}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page.name, block, id=f"{page.name}-{index}")
        for page in PAGES
        for index, block in enumerate(blocks(page, "toml"))
    ],
)
def test_settings_are_valid_as_they_stand(page: str, block: str) -> None:
    given = tomllib.loads(block)
    if page == "simulate.md":
        assert Scenario.load(given).faults
    else:
        assert Settings.load({**BASE, **given}).services


def commands() -> list[tuple[str, list[str]]]:
    lines = [(page.name, line) for page in PAGES for line in re.findall(r"^\$ .*", page.read_text(), re.MULTILINE)]
    lines += [(page.name, line) for page in PAGES for line in re.findall(r"`(balancemw [^`]+)`", page.read_text())]
    told = []
    for page, line in lines:
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if "balancemw" in words:
            told.append((page, words[words.index("balancemw") + 1 :]))
    return told


def test_every_command_is_understood() -> None:
    told = commands()
    assert {words[0] for _, words in told} == {"check", "status", "demo", "simulate"}
    for page, words in told:
        try:
            options = _parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{page}: balancemw {shlex.join(words)}")
        if words[0] == "simulate" and not options.scenario.endswith(".toml"):
            assert ready(options.scenario)


def test_links_lead_somewhere() -> None:
    heads = {
        page: {_anchor(head) for head in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)} for page in PAGES
    }
    for page in PAGES:
        for link in re.findall(r"\]\((?!https:)([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in heads[target], f"{page.name}: {link}"


def _anchor(head: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")


def test_every_event_is_told_of_with_its_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "balancemw")
    section = (ROOT / "docs" / "faults.md").read_text().partition("## All events")[2].partition("\n## ")[0]
    news = News(Events(lambda: 0.0), "inventory")
    told: set[str] = set()
    for names, levels in re.findall(r"^\| (`.*?) \|.*\| ?([^|]*?) ?\|$", section, re.MULTILINE):
        events, shown = re.findall(r"`(\w+)`", names), re.findall(r"`(\w+)`", levels) or ["INFO"]
        for event, level in zip(events, shown if len(shown) > 1 else shown * len(events), strict=True):
            told.add(event)
            caplog.clear()
            if event == "failed":
                news.failed("10.0.0.1:8000", "refused", "for a test", 0.1, 0.0)
            else:
                news.note(None, event, "pool")
            news.tell()
            assert caplog.records[-1].levelname == level, event
    assert Event.__doc__ is not None
    known = Event.__doc__.partition("event: ")[2].partition("source: ")[0]
    assert told == set(re.findall(r"``(\w+)``", known))


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    nodes = [f"http://127.0.0.1:{free_port()}", "http://10.0.0.1:8000"]
    with Balancer({"services": {"inventory": {"nodes": nodes, "strategy": "round_robin"}}}) as made:
        yield made


def example(page: str, beginning: str) -> str:
    (found,) = (block for block in blocks(ROOT / page, "python") if block.startswith(beginning))
    return found


def test_the_loop(balancer: Balancer) -> None:
    asked: list[str] = []

    def get(url: str, timeout: float) -> SimpleNamespace:
        assert timeout > 0
        asked.append(url)
        return SimpleNamespace(status_code=503 if len(asked) == 1 else 200)

    space = {"balancer": balancer, "requests": SimpleNamespace(get=get)}
    exec("from balancemw import remaining\n" + example("README.md", "for attempt in"), space)
    assert space["response"].status_code == 200  # type: ignore[attr-defined]
    assert len(set(asked)) == 2


def test_what_there_is_to_see(balancer: Balancer, capsys: pytest.CaptureFixture[str]) -> None:
    exec(example("README.md", "balancer.status()"), {"balancer": balancer})
    (node,) = (
        node for node in balancer.status()["services"]["inventory"]["nodes"] if node["url"] == "http://10.0.0.1:8000"
    )
    assert node["state"] == "draining"
    assert "kernel update" in capsys.readouterr().out


def test_a_function_that_asks_for_load_reports() -> None:
    balancer = Balancer({"services": {"inventory": {"nodes": ["http://a"], "strategy": "prequal"}}})
    sent: dict[str, str] = {}

    def get(url: str, headers: dict[str, str], timeout: float) -> SimpleNamespace:
        sent.update(headers)
        return SimpleNamespace(status_code=200, headers={"endpoint-load-metrics": "TEXT named_metrics.in_flight=3"})

    space: dict[str, object] = {"balancer": balancer, "requests": SimpleNamespace(get=get)}
    code = "from balancemw import remaining\n" + example("docs/load-reports.md", "inventory =") + "stock('sku-1')\n"
    exec(code, space)
    assert sent == {"endpoint-load-metrics-format": "text"}
    balancer.close()
