"""How keys and values are told to the user: shortened, on one line, and never a secret."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BeforeValidator

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = re.compile(r"token|passw|secret|credential|api_?key|authorization", re.IGNORECASE)
_LONGEST = 60
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST_RULE = "letters, digits, '-', '_' and '.', neither '-' nor '.' at an end, at most 63 characters between dots"
_HOST = re.compile(rf"{_LABEL}([.]{_LABEL})*")


def host_name(name: str) -> bool:
    """Whether `name` can stand for a host in a url, as the name of a service does in the client adapters."""
    return len(name) <= 253 and _HOST.fullmatch(name) is not None


def key_text(path: Path) -> str:
    """The key as the user would write it: ``services.inventory.nodes[1].weight``, ``services."a.b".nodes``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else _quoted(part))
    return text


def _quoted(part: str) -> str:
    if "@" in part:
        return '"(not shown)"'
    # repr escapes what is not printable, so that one problem stays one line on any terminal.
    return '"' + _short(repr(part)[1:-1].replace('"', '\\"')) + '"'


def shown(value: object) -> str:
    """`value` for a message: its repr in 60 characters when it is plain, else only what kind of thing it is."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if value is not None and not isinstance(value, str | int | float):
        return f"a value of type {type(value).__name__}"
    try:
        text = repr(value)
    except Exception:  # an int beyond sys.get_int_max_str_digits(), or a subclass with a repr of its own
        return f"a value of type {type(value).__name__}"
    return "a value that is not shown" if "@" in text else _short(text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def one_line(text: str) -> str:
    """`text` as one printable line, without anything that may be the user and password of a url."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return re.sub("//.*@", "//***@", line)


def looks_secret(key: object) -> bool:
    """Whether what stands under `key` should never be shown."""
    return isinstance(key, str) and _SECRET.search(key) is not None


def a_list(of: str, example: str, kinds: tuple[type, ...] = (list, tuple, set, frozenset)) -> BeforeValidator:
    """A validator that refuses what is no list, and says how to write one: `of` what, and an `example`."""

    def check(value: Any) -> Any:
        if isinstance(value, kinds):
            return value
        got, hint = shown(value), example
        if isinstance(value, str):
            got = "one string"
            if example.startswith('["') and _harmless(value):
                hint = f"[{json.dumps(value, ensure_ascii=False)}]"
        elif isinstance(value, int) and not isinstance(value, bool) and '"' not in example:
            hint = f"[{got}]"
        raise ValueError(f"expected a list of {of}, got {got}; write {hint}")

    return BeforeValidator(check)


def _harmless(value: str) -> bool:
    """Whether `value` may be repeated: short, printable, and no place in it for a password or a token."""
    return 0 < len(value) <= _LONGEST and value.isprintable() and not any(c in value for c in "@?")
