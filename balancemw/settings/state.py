"""Where what is known of the nodes is kept: the setting ``state``."""

import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import urlsplit

from balancemw.errors import did_you_mean
from balancemw.settings.words import shown

_REDIS = ("redis", "rediss", "unix")
_SCHEMES = ("sqlite", *_REDIS)
_KNOWN = '"memory", "sqlite:///file" or "redis://host:port/0"'


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Where marks, elections and the journal are kept.

    Attributes:
        kind: ``"memory"``, ``"sqlite"`` or ``"redis"``.
        place: for sqlite the absolute path of the file, for redis the url. Not in the repr: it may hold a password.
    """

    kind: str = "memory"
    place: str = field(default="", repr=False)


def parse_state(value: object) -> StateSettings:
    """The state settings out of ``"memory"`` or a url.

    Raises:
        ValueError: it is neither, or what it needs is not installed. The text never repeats a url.
    """
    if not isinstance(value, str):
        raise ValueError(f"expected {_KNOWN}, got {shown(value)}")
    if value == "memory":
        return StateSettings()
    scheme, colon, rest = value.partition(":")
    if not colon or scheme not in _SCHEMES:
        word = scheme if colon else value
        raise ValueError(f"expected {_KNOWN}{did_you_mean(word, ('memory', *_SCHEMES))}")
    if not value.isprintable() or " " in value:
        raise ValueError("a url has no spaces or control characters")
    if scheme == "sqlite":
        return StateSettings("sqlite", _file(rest))
    _check_redis(value, scheme)
    return StateSettings("redis", value)


def _file(rest: str) -> str:
    """The path behind ``sqlite:``, of which ``///`` comes first; a fourth slash makes it absolute."""
    path = rest.removeprefix("///")
    if path == rest:
        raise ValueError('write "sqlite:///file" for a relative path, "sqlite:////directory/file" for an absolute one')
    if not path or path.endswith("/"):
        raise ValueError('the name of the file is missing; write "sqlite:///file"')
    if path == ":memory:":
        raise ValueError('a database in memory is shared with nobody; write "memory"')
    if "?" in path or "#" in path:
        raise ValueError("a file has no options: write the path alone")
    return os.path.abspath(path)  # a process may change its directory later


def _check_redis(url: str, scheme: str) -> None:
    try:
        parts = urlsplit(url)
        port, host, path = parts.port, parts.hostname, parts.path
    except ValueError:
        raise ValueError('not a url; write "redis://host:port/0"') from None
    if port == 0:
        raise ValueError("a port is a number from 1 to 65535")
    if scheme == "unix":
        if not path.strip("/"):
            raise ValueError('the path of the socket is missing; write "unix:///run/redis.sock"')
    elif not host:
        raise ValueError(f'the host is missing; write "{scheme}://host:port/0"')
    elif path.strip("/") and not path.strip("/").isdigit():
        raise ValueError(f'behind the host stands the number of a database; write "{scheme}://host:port/0"')
    if find_spec("redis") is None:
        raise ValueError("needs an extra that is not installed: pip install 'balancemw[redis]'")
