"""An adapter whose framework or client is not installed says which extra brings it."""

import subprocess
import sys

import pytest

_WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
try:
    import balancemw_{extra}
except ModuleNotFoundError as error:
    print(error.name, error)
"""


@pytest.mark.parametrize("extra", ["flask", "django", "requests"])
def test_what_is_missing_is_told_with_the_extra_that_brings_it(extra: str):
    code = _WITHOUT.format(module=extra, extra=extra)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"{extra} ")
    assert f"pip install 'balancemw[{extra}]'" in told


def test_what_is_missing_for_another_reason_is_told_as_it_is():
    code = _WITHOUT.format(module="balancemw_flask.extension", extra="flask")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("balancemw_flask.extension ")
    assert "pip install" not in told
