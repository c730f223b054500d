"""The direction of imports is part of the design: what docs/architecture.md draws, these tests hold."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# aiohttp is not among them: the engine's own checks use it.
FRAMEWORKS = {"django", "fastapi", "flask", "starlette", "werkzeug"}
CLIENTS = {"httpx", "httpx2", "requests", "urllib3"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_only_go_down():
    command = "from importlinter.cli import lint_imports_command as lint; lint()"
    linter = run("-c", command, "--no-cache", "--no-logo")
    assert linter.returncode == 0, linter.stdout + linter.stderr


def test_importing_the_engine_imports_no_framework_and_no_client_but_aiohttp():
    fresh = run("-c", "import sys, balancemw; print(*{name.partition('.')[0] for name in sys.modules})")
    assert fresh.returncode == 0, fresh.stderr
    assert set(fresh.stdout.split()).isdisjoint(FRAMEWORKS | CLIENTS)


def test_every_module_has_its_place_in_the_table_of_floors():
    table = (ROOT / "docs" / "architecture.md").read_text().partition("\n## Floors")[2].partition("\n## ")[0]
    found = (path for path in (ROOT / "balancemw").iterdir() if path.suffix in ("", ".py"))
    modules = {path.stem for path in found if not path.name.startswith("_")}
    assert modules - set(re.findall(r"`(\w+)/?`", table)) == set()
