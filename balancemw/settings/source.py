"""Settings from a TOML file, or from the one that the environment names."""

import os
import tomllib
from collections.abc import Mapping
from typing import Any

from balancemw.errors import SettingsError
from balancemw.settings.words import one_line

VARIABLE = "BALANCEMW_SETTINGS"

# Where null means "none"; TOML has no null, so the word stands for it there.
NULLABLE = ("timeout", "attempt_timeout", "probe", "discovery", "hedge", "subset")


def from_environment() -> dict[str, Any]:
    """The settings of the file that ``BALANCEMW_SETTINGS`` names.

    Raises:
        SettingsError: no such variable, or the file cannot be read.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        how = "pass a mapping or the path of a TOML file, or name one in the environment variable"
        raise SettingsError([f"no settings: {how} {VARIABLE}" + ("" if path is None else ", which is empty")])
    return from_file(path, told=f"{VARIABLE}={path}")


def from_file(path: str | os.PathLike[str], told: str = "") -> dict[str, Any]:
    """The settings of the TOML file at `path`, ``"none"`` turned into None where null is allowed.

    Args:
        path: the file.
        told: how messages name it; as `path` unless given.

    Raises:
        SettingsError: with the file and the place in it.
    """
    name = os.fsdecode(path)
    fault = ""
    try:
        with open(name, "rb") as file:
            return _nulls(tomllib.loads(_text(file.read())))
    except OSError as error:
        fault = f"cannot be read: {error.strerror or error}"
    except RecursionError:
        fault = "is nested too deeply"
    except ValueError as error:  # TOMLDecodeError and UnicodeError are, and so is a path with a null byte
        fault = str(error)
    raise SettingsError([one_line(f"{told or name or repr(name)}: {fault}")])


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ValueError(
            f"not UTF-8, which TOML files are: byte 0x{data[error.start]:02x} (at line {line}, byte {column})"
        ) from None


def _nulls(raw: dict[str, Any]) -> dict[str, Any]:
    services = raw.get("services")
    sections = [*services.values()] if isinstance(services, Mapping) else []
    for section in (*sections, raw.get("defaults")):
        nulled(section, NULLABLE)
    nulled(raw.get("inbound"), ("timeout",))
    nulled(raw.get("admin"), ("token",))
    nulled(raw.get("alerts"), ("url", "receiver", "token", "user", "password"))
    return raw


def nulled(section: object, keys: tuple[str, ...]) -> None:
    """Turn ``"none"`` into None where that stands below one of `keys`."""
    if isinstance(section, dict):
        section.update({key: None for key in keys if section.get(key) == "none"})
