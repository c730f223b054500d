"""The app in a project as ``startproject`` makes it: system checks, commands, and the development server."""

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.adapters.replicas import free_port
from tests.adapters.servers import ROOT, process

INSTALLED = 'INSTALLED_APPS += ["shop", "balancemw_django"]'
BEHIND = 'MIDDLEWARE += ["balancemw_django.middleware.BalanceMiddleware"]'
GOOD = 'BALANCEMW = {"services": {"inventory": {"nodes": ["http://a:1"]}}}'
BROKEN = 'BALANCEMW = {"services": {"inventory": {"nodes": [], "retry": {"backof": 1}, "timeout": "x"}}}'

VIEWS = """
import threading
from django.http import HttpResponse
from django.urls import path
from balancemw import Node, balanced

@balanced("inventory", idempotent=True)
def stock(node: Node) -> str:
    return node.name

def threads(request):
    before = [thread.name for thread in threading.enumerate()]
    stock()
    after = [thread.name for thread in threading.enumerate()]
    return HttpResponse(f"{before}\\n{after}")

urlpatterns = [path("threads", threads)]
"""

COMMAND = """
from django.core.management.base import BaseCommand
from shop.urls import stock

class Command(BaseCommand):
    def handle(self, *args, **options):
        self.stdout.write(stock())
"""

REQUEST = """
from django.test import Client
from balancemw import BalancerNotConfigured
from shop.urls import stock
try:
    stock()
except BalancerNotConfigured:
    print("none yet")
print(Client().get("/threads").status_code, stock())
"""


class Project:
    """A copy of the project in `original`, with settings of its own."""

    def __init__(self, original: Path, directory: Path) -> None:
        self.directory = shutil.copytree(original, directory)

    def configure(self, *lines: str) -> None:
        """Add lines to the settings."""
        with (self.directory / "shop" / "settings.py").open("a") as settings:
            settings.write("\n".join(["", *lines, ""]))

    @property
    def environment(self) -> dict[str, str]:
        paths = [str(self.directory), str(ROOT), str(ROOT / "adapters")]
        return {"PYTHONPATH": os.pathsep.join(paths), "DJANGO_SETTINGS_MODULE": "shop.settings"}

    def manage(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The exit status of ``manage.py`` and what it said."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "manage.py", *arguments],
            cwd=self.directory,
            env={**os.environ, **self.environment, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("django")
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", directory], check=True)
    (directory / "shop" / "urls.py").write_text(VIEWS)
    commands = directory / "shop" / "management" / "commands"
    commands.mkdir(parents=True)
    (commands / "stock.py").write_text(COMMAND)
    return directory


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Project:
    return Project(original, tmp_path / "project")


# -- system checks


def test_good_settings_pass_the_checks(project: Project) -> None:
    project.configure(INSTALLED, BEHIND, GOOD)
    assert project.manage("check") == (0, "System check identified no issues (0 silenced).\n")


def test_every_problem_is_an_error(project: Project) -> None:
    project.configure(INSTALLED, BEHIND, BROKEN)
    status, said = project.manage("check")
    assert status == 1
    assert "Traceback" not in said
    assert (
        "\n?: (balancemw.E001) BALANCEMW: services.inventory.retry.backof: unknown key; did you mean 'backoff'?\n"
        in said
    )
    assert "\n?: (balancemw.E001) BALANCEMW: services.inventory.timeout: expected a number, got 'x'\n" in said
    assert "identified 2 issues" in said


def test_missing_settings_are_an_error_that_says_what_to_write(project: Project) -> None:
    project.configure(INSTALLED, BEHIND)
    status, said = project.manage("check")
    assert status == 1
    assert "(balancemw.E001) BALANCEMW: missing; write BALANCEMW = {" in said
    assert "BALANCEMW_SETTINGS" in said


def test_what_cannot_work_together_is_a_warning(project: Project) -> None:
    project.configure(INSTALLED, BEHIND, 'BALANCEMW = {"services": {"inventory": {"nodes": []}}}')
    status, said = project.manage("check")
    assert status == 0
    assert "?: (balancemw.W001) BALANCEMW: services.inventory.nodes: the list is empty" in said


def test_the_app_without_its_middleware_is_a_warning(project: Project) -> None:
    project.configure(INSTALLED, GOOD, 'MIDDLEWARE += ["no.such.Middleware"]')
    status, said = project.manage("check")
    assert status == 0
    assert "?: (balancemw.W002)" in said
    assert "\tHINT: Add 'balancemw_django.middleware.BalanceMiddleware' to MIDDLEWARE.\n" in said


def test_middleware_derived_from_ours_is_ours(project: Project) -> None:
    project.configure(INSTALLED, GOOD, 'MIDDLEWARE += ["shop.derived.Derived"]')
    derived = "from balancemw_django.middleware import BalanceMiddleware\nclass Derived(BalanceMiddleware): pass\n"
    (project.directory / "shop" / "derived.py").write_text(derived)
    assert project.manage("check")[1].startswith("System check identified no issues")


@pytest.mark.parametrize("setting", ['BALANCEMW = BASE_DIR / "balancemw.toml"', ""], ids=["setting", "environment"])
def test_settings_may_be_in_a_file(project: Project, setting: str) -> None:
    project.configure(INSTALLED, BEHIND, setting)
    file = project.directory / "balancemw.toml"
    env = None if setting else {"BALANCEMW_SETTINGS": str(file)}
    name = "BALANCEMW" if setting else "BALANCEMW_SETTINGS"
    assert f"(balancemw.E001) {name}: {file}: cannot be read: No such file" in project.manage("check", env=env)[1]
    file.write_text('[services.inventory]\nnodes = ["http://b:2"]\nnode = 1\n')
    assert f"(balancemw.E001) {name}: services.inventory.node: unknown key" in project.manage("check", env=env)[1]
    file.write_text('[services.inventory]\nnodes = ["http://b:2"]\n')
    assert project.manage("stock", env=env) == (0, "b:2\n")


# -- commands


def test_commands_make_balanced_calls(project: Project) -> None:
    project.configure(INSTALLED, BEHIND, GOOD)
    assert project.manage("stock") == (0, "a:1\n")


def test_with_broken_settings_commands_report_as_ever(project: Project) -> None:
    project.configure(INSTALLED, BEHIND, BROKEN)
    assert project.manage("diffsettings")[0] == 0  # a command that asks for no checks
    for command in (["migrate"], ["runserver", "--noreload", str(free_port())]):
        status, said = project.manage(*command)
        assert status == 1
        assert "SystemCheckError: System check identified some issues:" in said
        assert "(balancemw.E001) BALANCEMW: services.inventory.retry.backof: unknown key" in said


def test_without_checks_broken_settings_are_told_where_they_are_needed(project: Project) -> None:
    project.configure(INSTALLED, BEHIND, BROKEN)
    for code in ("from shop.urls import stock; stock()", "from django.core.wsgi import *; get_wsgi_application()"):
        status, said = project.manage("shell", "-c", code)
        assert status == 1
        assert "balancemw.errors.SettingsError: 2 problems in the balancemw settings:" in said
        assert "\n  - BALANCEMW: services.inventory.timeout: expected a number, got 'x'\n" in said


def test_the_middleware_alone_is_enough_for_requests(project: Project) -> None:
    project.configure(BEHIND, GOOD, 'ALLOWED_HOSTS = ["*"]')
    status, said = project.manage("shell", "-c", REQUEST)
    assert (status, said.splitlines()[-2:]) == (0, ["none yet", "200 a:1"])


def test_the_development_server_starts_no_thread_before_the_first_call(project: Project) -> None:
    checked = '{"services": {"inventory": {"nodes": ["http://127.0.0.1:9"], "probe": True}}}'
    project.configure(INSTALLED, BEHIND, f"BALANCEMW = {checked}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        process(["django", "runserver", "--noreload", str(port)], url, project.environment),
        urllib.request.urlopen(f"{url}/threads") as answer,
    ):
        before, after = answer.read().decode().splitlines()
    assert "balancemw" not in before
    assert "balancemw" in after
