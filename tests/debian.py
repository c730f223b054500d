"""Programs that come from Debian's packages and not from Python's."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program; skips the test where it is not installed."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if found is None:
        pytest.skip(f"{name} is not here: `make servers` installs it on Debian (package {package})")
    return found
